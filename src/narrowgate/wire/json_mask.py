"""Masks over the bytes of one JSON document: what is not masked stays byte for byte.

The plan is walked down the containers it leads into, and nothing else is looked at. A container is decoded to its
members' raw bytes; as the API server writes it, it is nothing but those with their keys, so that its length tells
whether any byte is unaccounted for (whitespace, escapes in a key, a key that stands twice). Where one is, the exact way
of `json_spans` is taken. What becomes of a value is said by `core.masking.objects`, and by nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.plan import DEPTH_LIMIT, Arguments, Place
from narrowgate.wire.json_spans import Span, Unreadable, elements_of, members_of, spliced

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_elements = msgspec.json.Decoder(list[Raw]).decode

_valid = msgspec.json.Decoder(Raw).decode

WHITESPACE: Final = b" \t\r\n"
"""Of JSON (RFC 8259, section 2)."""

MaskValue = Callable[[Any, Place], Any]
"""The reference: a value as it leaves, from one place on. The very same object where nothing of it is masked."""


def mask_document(document: bytes, place: Place | None, mask: MaskValue) -> bytes:
    """The document masked from `place` on; itself where nothing is. Raises Unreadable, and then nothing may leave."""
    check(document)
    return mask_checked(document, place, mask)


def check(document: bytes) -> None:
    """Raise Unreadable where it is not one JSON value in UTF-8."""
    require_text(document)
    try:
        _valid(document)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None


def mask_checked(document: bytes, place: Place | None, mask: MaskValue) -> bytes:
    """`mask_document` of what has been checked, be it by itself or as a part of something."""
    if place is None:
        return document
    body = document.strip(WHITESPACE)
    try:
        changed = _value(body, place, mask, 0)
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
    except Malformed as error:
        raise Unreadable(error.message) from None
    if changed is None:
        return document
    before = len(document) - len(document.lstrip(WHITESPACE))
    return document[:before] + changed + document[before + len(body) :]


def require_text(document: bytes) -> None:
    """Raise Unreadable for what is not UTF-8: the decoder does not look into strings that it skips."""
    try:
        document.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 at byte {error.start}") from None


def _value(raw: bytes | Raw, place: Place, mask: MaskValue, depth: int) -> bytes | None:
    """The value as it leaves; None where it stays as it is."""
    data = bytes(raw)
    kind = data[:1]
    if place.marks is not None and kind in (b"{", b"[") and b"\\u" not in data and not _has_any(data, place.marks):
        return None
    if not place.hides:
        if kind == b"{":
            return _object(data, place, mask, depth + 1)
        if kind == b"[":
            return _list(data, place, mask, depth + 1)
    return _whole(data, place, mask)


def _has_any(data: bytes, marks: tuple[bytes, ...]) -> bool:
    # A loop, not `any`: this is asked of every value, and a generator costs more than most of the answers.
    for mark in marks:  # noqa: SIM110
        if mark in data:
            return True
    return False


def _whole(data: bytes, place: Place, mask: MaskValue) -> bytes | None:
    """A value whose every byte may change."""
    value = orjson.loads(data)
    masked = mask(value, place)
    # Equal is not enough: 1 and true are equal.
    return None if masked is value else orjson.dumps(masked)


def _object(data: bytes, place: Place, mask: MaskValue, depth: int) -> bytes | None:
    if depth > DEPTH_LIMIT:
        raise Unreadable(f"it is nested more than {DEPTH_LIMIT} deep")
    members = _members(data)
    if not _is_compact(data, members):
        return _spaced_object(data, place, mask, depth)
    if any(forget.tells(key) for forget in place.forgets for key in members):
        return _whole(data, place, mask)
    here = _named(place, members)
    if here is None:
        return None
    changed: dict[str, bytes] = {}
    for key in _leading(here, members):
        below = here.child(key)
        if below is not None:
            new = _value(members[key], below, mask, depth)
            if new is not None:
                changed[key] = new
    if not changed:
        return None
    return b"{%b}" % b",".join(
        b'"%b":%b' % (key.encode(), changed[key] if key in changed else bytes(value)) for key, value in members.items()
    )


def _leading(place: Place, members: dict[str, Any]) -> list[str]:
    """The keys of the object that may lead on."""
    exact = place.exact
    if exact is None or len(exact) > len(members):
        return list(members)
    return [key for key in exact if key in members]


def _named(place: Place, members: Mapping[str, bytes | Raw]) -> Place | None:
    if not place.by_name:
        return place
    return place.named(_text(members.get("name")), _text(members.get("kind")))


def _text(raw: bytes | Raw | None) -> str | None:
    """The text under a key, "" where there is no such key; None where it is no text."""
    value = orjson.loads(bytes(raw)) if raw is not None else ""
    return value if isinstance(value, str) else None


def _is_compact(data: bytes, members: dict[str, Raw]) -> bool:
    """Whether every byte is accounted for: braces, and for each member a comma or none, quotes, key, colon, value.

    Whitespace, an escape or a character outside ASCII in a key, and a member that another one of its name has replaced
    all make the object longer than that.
    """
    count = len(members)
    length = 2 + sum(map(len, members)) + sum(map(len, members.values())) + 4 * count - (count > 0)
    return length == len(data)


def _spaced_object(data: bytes, place: Place, mask: MaskValue, depth: int) -> bytes | None:
    spans = members_of(data)
    if any(forget.tells(key) for forget in place.forgets for key in spans):
        return _whole(data, place, mask)
    here = _named(place, {key: data[spans[key].start : spans[key].end] for key in ("name", "kind") if key in spans})
    if here is None:
        return None
    changed: list[tuple[Span, bytes]] = []
    for key, span in spans.items():
        below = here.child(key)
        if below is not None:
            new = _value(data[span.start : span.end], below, mask, depth)
            if new is not None:
                changed.append((span, new))
    return spliced(data, changed) if changed else None


def _list(data: bytes, place: Place, mask: MaskValue, depth: int) -> bytes | None:
    if depth > DEPTH_LIMIT:
        raise Unreadable(f"it is nested more than {DEPTH_LIMIT} deep")
    elements = _elements(data)
    if isinstance(place.text, Arguments) and all(bytes(element).startswith(b'"') for element in elements):
        return _arguments(data, place, mask)
    below = place.element
    if below is None:
        return None
    masked = [_value(element, below, mask, depth) for element in elements]
    if all(new is None for new in masked):
        return None
    if len(data) == 1 + sum(map(len, elements)) + max(1, len(elements)):
        return b"[%b]" % b",".join(
            bytes(element) if new is None else new for element, new in zip(elements, masked, strict=True)
        )
    return spliced(data, [(span, new) for span, new in zip(elements_of(data), masked, strict=True) if new is not None])


def _arguments(data: bytes, place: Place, mask: MaskValue) -> bytes | None:
    """A command line, masked as a whole; only the arguments that change are written anew."""
    value = orjson.loads(data)
    masked = mask(value, place)
    if masked is value:
        return None
    pairs = zip(elements_of(data), value, masked, strict=True)
    return spliced(data, [(span, orjson.dumps(new)) for span, old, new in pairs if new is not old])
