"""Where the members of one JSON object, or the elements of one list, begin and end in its bytes.

For documents that are not written as compactly as the API server writes them; slower than decoding, and exact whatever
the whitespace, the escapes and the order. Two members of one name are refused: readers differ about which one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}:,]|[^][{}:,"\s]+|"', re.DOTALL)
"""Strings, marks, what else stands between them (numbers, true, false, null), and a quote that nothing closes."""
_QUOTE: Final = ord('"')
_COMMA: Final = ord(",")


class Unreadable(Exception):
    """Bytes that are not the JSON they claim to be, or that two readers could read differently; the text says which."""


class Span(NamedTuple):
    """One value in its container's bytes."""

    start: int
    end: int


def members_of(container: bytes) -> dict[str, Span]:
    """The members of an object that is valid JSON. Raises Unreadable where two have one name."""
    found: dict[str, Span] = {}
    tokens = _outermost(container)
    for start, end in tokens:
        # A key, its colon, its value: the container is known to be valid.
        key = msgspec.json.decode(container[start:end], type=str)
        next(tokens)
        if key in found:
            raise Unreadable(f"the key {key[:60]!r} stands twice in one object")
        found[key] = _value(tokens)
    return found


def elements_of(container: bytes) -> list[Span]:
    """The elements of a list that is valid JSON, or of the beginning of one: then those that have come."""
    return [Span(start, end) for start, end in _outermost(container)]


def spliced(container: bytes, changed: list[tuple[Span, bytes]]) -> bytes:
    """The container with these values replaced; everything else of it stays byte for byte."""
    parts, at = [], 0
    for span, value in sorted(changed):
        parts += [container[at : span.start], value]
        at = span.end
    return b"".join((*parts, container[at:]))


def _value(tokens: Iterator[Span]) -> Span:
    return next(tokens)


def _outermost(container: bytes) -> Iterator[Span]:
    """Everything that stands directly in the container, commas left out: of an object key, colon, value and so on."""
    depth, begun = 0, 0
    for token in _TOKEN.finditer(container):
        start, end = token.span()
        mark = container[start]
        if mark in b"[{":
            depth += 1
            if depth == 2:
                begun = start
        elif mark in b"]}":
            depth -= 1
            if depth == 1:
                yield Span(begun, end)
        elif mark == _QUOTE and end - start == 1:
            return
        elif depth == 1 and mark != _COMMA:
            yield Span(start, end)
