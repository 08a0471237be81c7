"""Where the members of one JSON object, or the elements of one list, begin and end in its bytes.

A container is decoded to the raw bytes of what is in it. As the API server writes it, it is nothing but those, with
their keys, quotes, colons and commas: then their lengths say where each begins, and that no byte is unaccounted for
(whitespace, an escape in a key, a key that stands twice). Where one is, what stands between the values is read; it
takes longer, and is exact whatever the whitespace and the escapes. Two members of one name are refused: readers differ
about which one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Raw

from narrowgate.wire.unreadable import Unreadable as Unreadable

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}:,]|[^][{}:,"\s]+|"', re.DOTALL)
"""Strings, marks, what else stands between them (numbers, true, false, null), and a quote that nothing closes."""
_QUOTE: Final = ord('"')
_COMMA: Final = ord(",")
_KEY: Final = re.compile(rb'[ \t\r\n,]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_BETWEEN: Final = re.compile(rb"[ \t\r\n,]*")
_BEFORE_VALUE: Final = len(',"":')
"""Bytes before a value besides its key, as compact JSON has them: the first has a brace where others have a comma."""

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode

Span = tuple[int, int]
"""Where one value begins and ends in its container's bytes."""


def members_of(container: bytes) -> dict[str, Span]:
    """The members of an object, in their order. Raises Unreadable where it is no object, or two have one name."""
    try:
        decoded = _members(container)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
    found: dict[str, Span] = {}
    at = 0
    for key, value in decoded.items():
        start = at + len(key) + _BEFORE_VALUE
        at = start + len(value)
        found[key] = start, at
    # Every other way to write it is longer: an escape or a character outside ASCII in a key counts as one of it, a
    # member that another one of its name has replaced not at all.
    return found if at + 1 == len(container) else _spaced_members(container, decoded)


def values_of(container: bytes | Raw) -> dict[str, Raw]:
    """The members of an object by themselves, for whoever need not know where they stand. Raises Unreadable as
    `members_of` does.
    """
    try:
        decoded = _members(container)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
    # See `members_of`: braces, and for each member two quotes, a colon and a comma, of which the last has none.
    if sum(map(len, decoded)) + sum(map(len, decoded.values())) + 4 * len(decoded) + 1 != len(container):
        _spaced_members(bytes(container), decoded)
    return decoded


def elements_of(container: bytes) -> list[Span]:
    """The elements of a list. Raises Unreadable where it is none."""
    try:
        decoded = _elements(container)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
    found: list[Span] = []
    at = 1
    for value in decoded:
        end = at + len(value)
        found.append((at, end))
        at = end + 1
    return found if at == len(container) else _spaced_elements(container, decoded)


def elements_begun(container: bytes) -> list[Span]:
    """The elements that have come whole of a list whose end may be missing. What is between them is not looked at."""
    return list(_outermost(container))


def spliced(container: bytes, changed: Iterable[tuple[Span, bytes]]) -> bytes:
    """The container with these values replaced, which are in their order; everything else of it stays byte for byte."""
    parts, at = [], 0
    for (start, end), value in changed:
        parts += [container[at:start], value]
        at = end
    return b"".join((*parts, container[at:]))


def _spaced_members(container: bytes, decoded: dict[str, Raw]) -> dict[str, Span]:
    """The members of an object that is valid JSON, however it is written; `decoded` has the last of each name."""
    found: dict[str, Span] = {}
    at = container.index(b"{") + 1
    while (key_found := _KEY.match(container, at)) is not None:
        key = msgspec.json.decode(key_found[1], type=str)
        start = key_found.end()
        at = start + len(decoded[key])
        if key in found or container[start:at] != bytes(decoded[key]):
            # Not which: keys of managed fields repeat values.
            raise Unreadable("a key stands twice in one of its objects")
        found[key] = start, at
    return found


def _spaced_elements(container: bytes, decoded: list[Raw]) -> list[Span]:
    found: list[Span] = []
    at = container.index(b"[") + 1
    for value in decoded:
        between = _BETWEEN.match(container, at)
        start = between.end() if between is not None else at
        at = start + len(value)
        found.append((start, at))
    return found


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
                yield begun, end
        elif mark == _QUOTE and end - start == 1:
            return
        elif depth == 1 and mark != _COMMA:
            yield start, end
