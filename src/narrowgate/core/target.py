"""Request targets: raw bytes to a parsed value, and back to the one way the gate writes that value.

Everything about the spelling of a target belongs here: percent-encoding, slashes, dots, queries. What a target means to
Kubernetes does not (`request_info`, `understand`). The gate sends upstream only what `rebuild` makes of a parsed value,
so nothing that was spelled oddly can be read one way here and another way there.

Decoding follows Go's net/url, which is what the API server reads with, where the two could differ we refuse:
a semicolon in a query (Go drops the pair), a broken escape in a query (Go drops the pair), bytes that are not UTF-8.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote_to_bytes

import msgspec

from narrowgate.core.malformed import Malformed

MAX_TARGET_BYTES = 128 * 1024
"""Longest target read. Exec sends its command in the query: 128 KiB is the longest single argument Linux passes on."""

MAX_QUERY_PAIRS = 4096
"""Most parameters in a query. Go reads a query of more than 10,000 as one without any; we stay well below that."""

MAX_CACHED_TARGET_BYTES = 1024
"""Targets above 1 KiB (continue tokens, long commands) come once and would only push others out of the caches."""

CACHED_TARGETS = 2048
"""Parsed targets kept: some 2,000 lines a fleet of agents repeats; at most about 10 MB with every key at its limit."""

CLUSTERS_PREFIX = "clusters"
"""First segment of targets that name their cluster: /clusters/<name>/..."""

# Paths that decoding and encoding leave as they are: nearly all. A segment holds no slash: matching takes linear time.
_PLAIN_SEGMENT = r"/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.~$&+,:=@-]+"
_PLAIN_PATH = re.compile(rf"(?:{_PLAIN_SEGMENT})+/?|/")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.~-]*")
_NOT_VISIBLE_ASCII = re.compile(rb"[^\x21-\x7e]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_HIDDEN_SEPARATOR = re.compile(r"%(?:2[eEfF]|5[cC])|\\")
_GO_PATH_SAFE = "$&+,:=@"
"""What net/url leaves as it is in a path besides letters, digits and `-_.~`; the semicolon, which it leaves too, is
encoded: some servers behind `/proxy` cut segments there."""


class Target(msgspec.Struct, frozen=True, cache_hash=True):
    """A canonical request target. Made by `parse_target` alone."""

    segments: tuple[str, ...]
    """Decoded, none of them empty, `.` or `..`; empty for `/`."""
    path: str
    """Decoded path, always with a leading slash; it ends in one exactly where the request's did."""
    query: tuple[tuple[str, str], ...] = ()
    """Decoded parameters in their order, repeats kept (`command=ls&command=-l`); `?a` and `?a=` are the same to Go."""

    def first(self, parameter: str) -> str | None:
        """The value that counts (the API server takes the first), or None where the parameter is absent."""
        for key, value in self.query:
            if key == parameter:
                return value
        return None


def parse_target(raw: bytes) -> Target:
    """Read the target of a request line (RFC 9112 section 3.2.1, origin-form only).

    Raises Malformed (400; 414 when it is too long) for every target that is not canonical: another form, empty or dot
    segments, encoded slashes, dots, backslashes or control characters, double encoding, bytes that are not UTF-8, a
    fragment, a semicolon or a broken escape in the query.
    """
    if len(raw) <= MAX_CACHED_TARGET_BYTES:
        return _parse_cached(raw)
    return _parse(raw)


def rebuild(target: Target) -> bytes:
    """Write a target as Go's net/url would (`URL.EscapedPath`, `QueryEscape`): what the API server is sent.

    `parse_target(rebuild(t)) == t` holds for every target that `parse_target` made.
    """
    path = target.path if _PLAIN_PATH.fullmatch(target.path) else quote(target.path, safe="/" + _GO_PATH_SAFE)
    if not target.query:
        return path.encode("ascii")
    pairs = "&".join([f"{_escape(key)}={_escape(value)}" for key, value in target.query])
    return f"{path}?{pairs}".encode("ascii")


def split_cluster(target: Target) -> tuple[str, Target]:
    """Take `/clusters/<name>` off the front: the name, and the rest as a target of its own.

    The name is "" where the target has no such prefix. Raises Malformed for `/clusters` without a name: nothing but
    clusters' APIs lives on the data port, so it can only be a mistake.
    """
    segments = target.segments
    if not segments or segments[0] != CLUSTERS_PREFIX:
        return "", target
    if len(segments) == 1:
        raise Malformed("the path ends after /clusters: write /clusters/<name>/... with the name of a cluster")
    name = segments[1]
    path = target.path[len(CLUSTERS_PREFIX) + len(name) + 2 :] or "/"
    return name, Target(segments[2:], path, target.query)


def _escape(text: str) -> str:
    return text if _PLAIN_VALUE.fullmatch(text) else quote_plus(text)


def _parse(raw: bytes) -> Target:
    if len(raw) > MAX_TARGET_BYTES:
        raise Malformed(f"the request target has {len(raw)} bytes: at most {MAX_TARGET_BYTES} are read", code=414)
    if (strange := _NOT_VISIBLE_ASCII.search(raw)) is not None:
        raise Malformed(
            f"byte 0x{strange.group()[0]:02x} at offset {strange.start()} of the request target: "
            "only visible ASCII is read there, everything else must be percent-encoded"
        )
    text = raw.decode("ascii")
    if not text.startswith("/"):
        raise Malformed("the request target does not begin with a slash: only the origin form, /path?query, is served")
    if "#" in text:
        raise Malformed("the request target has a fragment (#...): fragments are not sent to servers; encode it as %23")
    path, _, query = text.partition("?")
    if _PLAIN_PATH.fullmatch(path) is None:
        path = _decode_path(path)
    segments = () if path == "/" else tuple(path.strip("/").split("/"))
    return Target(segments, path, _parse_query(query) if query else ())


_parse_cached = lru_cache(maxsize=CACHED_TARGETS)(_parse)


def _decode_path(path: str) -> str:
    if (hidden := _HIDDEN_SEPARATOR.search(path)) is not None:
        raise Malformed(
            f"the path holds {hidden.group()}: dots are written plainly, and no name has a slash or backslash"
        )
    decoded = _decode(path, "path")
    if (twice := _ESCAPE.search(decoded)) is not None:
        raise Malformed(f"the path is encoded twice: it still holds {twice.group()} after decoding")
    if not decoded.isprintable():
        raise Malformed("the path holds an encoded control or invisible character")
    if "//" in decoded:
        raise Malformed("the path holds an empty segment (//): write a single slash")
    if not {".", ".."}.isdisjoint(decoded.split("/")):
        raise Malformed("the path holds a dot segment (. or ..): write the path it leads to")
    return decoded


def _parse_query(query: str) -> tuple[tuple[str, str], ...]:
    if ";" in query:
        raise Malformed("the query holds a semicolon: separate parameters with &, encode a semicolon in a value as %3B")
    pieces = query.split("&")
    if len(pieces) > MAX_QUERY_PAIRS:
        raise Malformed(f"the query has {len(pieces)} parameters: at most {MAX_QUERY_PAIRS} are read")
    pairs = []
    for piece in pieces:
        if piece:  # Go skips the empty ones in a=1&&b=2 too
            key, _, value = piece.partition("=")
            pairs.append((_query_key(key), _query_value(value)))
    return tuple(pairs)


def _query_key(raw: str) -> str:
    key = _query_value(raw)
    if not key.isprintable():
        raise Malformed("the name of a query parameter holds a control or invisible character")
    return key


def _query_value(raw: str) -> str:
    if "%" not in raw and "+" not in raw:
        return raw
    value = _decode(raw.replace("+", " "), "query")
    if "\0" in value:  # a line break in a command is ordinary; a NUL can be part of no argument
        raise Malformed("the query holds %00: no parameter may hold a NUL")
    return value


def _decode(text: str, where: str) -> str:
    if "%" not in text:
        return text
    if (broken := _BROKEN_ESCAPE.search(text)) is not None:
        seen = text[broken.start() : broken.start() + 3]
        raise Malformed(f"the {where} holds the broken escape {seen}: write % as %25")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"the {where} holds encoded bytes that are not UTF-8") from None
