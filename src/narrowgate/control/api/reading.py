"""What a call brings along, read strictly: JSON without doubles, known fields and parameters, all of it bounded.

Every doubt is a refusal that says where: a field that is ignored today would be a field somebody relied on.
"""

from __future__ import annotations

import asyncio
import re
import string
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.documents import parse_json
from narrowgate.core.malformed import Malformed

BODY_LIMIT = 1 << 20
"""Bytes of a body. The largest are policy files to be checked; a revision's are at most this."""

BODY_SECONDS = 30.0
"""A body takes no longer than this to come: a megabyte on a poor line."""

QUERY_LIMIT = 4096
"""Characters of a query string; the longest holds a `continue` token."""

MOST_PARAMETERS = 8
"""Of one query; no call has more than three."""

MOST_TAGS = 8
"""Entity tags in one If-Match; whoever writes back what they read sends one."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
"""RFC 7396, for PATCH."""

_TAGS = re.compile(r'\s*"([\x21\x23-\x7e]{0,64})"\s*')
"""One strong entity tag (RFC 9110, section 8.8.3)."""

_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_NEVER_ENCODED = frozenset(string.ascii_letters + string.digits + "-._~")
"""RFC 3986, section 2.3: programs that make addresses leave these as they are."""

_T = TypeVar("_T")


def refuse_disguised(request: Request, *, takes_slashes: bool) -> None:
    """Raise Problem for a path that is written otherwise than it need be: `%61gents`, or a slash as `%2F`.

    Whatever stands before the gate may judge by the path as it is written; it must not be led astray. `takes_slashes`:
    whether a parameter of the path may hold a slash (the name of a person), which programs encode.
    """
    for found in _ENCODED.findall(request.scope.get("raw_path") or b""):
        character = chr(int(found, 16))
        if character in _NEVER_ENCODED or (character in "/\\" and not takes_slashes):
            raise Problem(Trouble.NOT_FOUND, f"the path is written with %{found.decode()}; write it plainly")


async def read_body(request: Request, shape: type[Any] | None) -> tuple[Any, bytes]:
    """The body as a `shape`, and its bytes. Raises Problem."""
    content = await _content(request)
    if shape is None:
        if content:
            raise Problem(Trouble.UNREADABLE, "this call takes no body; send it without one")
        return None, content
    if not content and not needs_body(shape):
        return shape(), content
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    known = (JSON, MERGE_PATCH) if request.method == "PATCH" else (JSON,)
    if media_type.strip().lower() not in known or parameters.strip().lower() not in ("", "charset=utf-8"):
        raise Problem(Trouble.MEDIA_TYPE, f"send the body as JSON, with `Content-Type: {JSON}`")
    try:
        document = parse_json(content)
    except Malformed as error:
        raise Problem(Trouble.TOO_LARGE if error.code == 413 else Trouble.UNREADABLE, error.message) from None
    return _shaped(document, shape, "the body"), content


def needs_body(shape: type[Any]) -> bool:
    """Whether it has a field without a default: otherwise a call may come without a body."""
    return any(field.required for field in msgspec.structs.fields(shape))


def read_query(request: Request, shape: type[_T]) -> _T:
    """The query parameters as a `shape`. Raises Problem for one that is unknown, twice there, or of another kind."""
    # From the scope: Starlette makes `request.url` of the Host header, too, which may be anything.
    text = request.scope["query_string"].decode("latin-1")
    if len(text) > QUERY_LIMIT:
        raise Problem(Trouble.UNREADABLE, f"the query has more than {QUERY_LIMIT} characters")
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise Problem(Trouble.UNREADABLE, "the query cannot be read; write it as name=value&name=value") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Problem(Trouble.UNREADABLE, "a query parameter is there twice; send it once")
    # Text as it stands in an address: numbers and booleans are read from it.
    return _shaped(found, shape, "the query", strict=False)


def read_if_match(request: Request, *, heeded: bool) -> frozenset[str]:
    """The entity tags of If-Match. Raises Problem; where the call does not heed it, it is refused, not ignored."""
    found = request.headers.getlist("if-match")
    if not found:
        return frozenset()
    if not heeded:
        raise Problem(Trouble.UNREADABLE, "this call does not heed If-Match; send it without")
    parts = ",".join(found).split(",")
    matches = [_TAGS.fullmatch(part) for part in parts]
    tags = {match[1] for match in matches if match is not None}
    if len(parts) > MOST_TAGS or None in matches:
        raise Problem(Trouble.UNREADABLE, 'If-Match holds no entity tags; send the ETag as it came, like "0f3a..."')
    return frozenset(tags)


async def _content(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(Trouble.MEDIA_TYPE, "a compressed body is not read here; send it as it is")
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > BODY_LIMIT:
                    raise Problem(Trouble.TOO_LARGE, f"the body has more than {BODY_LIMIT} bytes; send less at a time")
    except TimeoutError:
        raise Problem(Trouble.SLOW, f"the body did not come within {BODY_SECONDS:g} s; send it again") from None
    except ClientDisconnect:
        raise Problem(Trouble.UNREADABLE, "the body was cut short") from None
    return bytes(content)


def _shaped(document: Any, shape: type[_T], what: str, *, strict: bool = True) -> _T:
    try:
        return msgspec.convert(document, shape, strict=strict)
    except msgspec.ValidationError as error:
        raise Problem(Trouble.INVALID, f"{what}: {_worded(str(error))}") from None


def _worded(text: str) -> str:
    """A complaint of msgspec's in our words."""
    text = text.replace("Object contains unknown", "unknown").replace("Object missing required", "missing required")
    return f"{text[:1].lower()}{text[1:]}".replace(" - at `$", " - at `")
