"""What a browser or an OAuth client posts: `application/x-www-form-urlencoded`, read strictly and within bounds.

Form data by hand rather than by Starlette's reader: that one takes uploads too, needs another library for them, and
lets a parameter that comes twice through, where one reader may see the first and another the last
(RFC 6749, section 3.1, refuses such requests).
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

FORM_LIMIT = 64 << 10
"""Bytes of a form: the longest holds a token with its groups, some 20 KB, and percent-encoding makes more of it."""

MOST_FIELDS = 64
"""Fields of one form; ours have under ten, a token request under fifteen."""

BODY_SECONDS = 20.0
"""For a whole form to come: a slow connection sends 64 KB in less, and a connection that is held open costs a place."""

MEDIA_TYPE = "application/x-www-form-urlencoded"


class FormRefused(Exception):
    """No form that we read; the text says why. Answer 400."""


class FormTooLarge(FormRefused):
    """More than the limit; the rest was not read. Answer 413."""


async def read_form(request: Request, limit: int = FORM_LIMIT, *, seconds: float = BODY_SECONDS) -> dict[str, str]:
    """The fields of a posted form, empty ones included. Raises FormRefused; also where it takes too many `seconds`.

    A field that comes twice, a body of another sort, or text that is not UTF-8 is refused: whoever checks a field and
    whoever uses it must have seen the same one.
    """
    media_type, _, _ = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != MEDIA_TYPE:
        raise FormRefused(f"the body is not {MEDIA_TYPE}")
    try:
        async with asyncio.timeout(seconds):
            body = await _body(request, limit)
    except TimeoutError:
        raise FormRefused(f"the body did not come within {seconds:g} s") from None
    return parse_form(body)


def parse_form(body: bytes) -> dict[str, str]:
    """The fields in `body`. Raises FormRefused."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except UnicodeDecodeError:
        raise FormRefused("the body is not percent-encoded UTF-8") from None
    except ValueError:
        raise FormRefused(f"the body is no form, or has more than {MOST_FIELDS} fields") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise FormRefused(f'"{name[:64]}" comes twice')
        fields[name] = value
    return fields


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise FormTooLarge(f"the body has more than {limit} bytes")
    except ClientDisconnect:
        raise FormRefused("the body was cut short") from None
    return bytes(body)
