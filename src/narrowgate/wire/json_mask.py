"""Masks over the bytes of JSON documents: what is not masked stays byte for byte.

The plan is walked down the containers it leads into (`json_spans`), and nothing else is looked at. What becomes of a
value is said by `core.masking.objects`, and by nothing here; what it said of a list or a text is remembered as long as
the answer lasts, because objects of one answer repeat each other: pods of one workload differ in little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.plan import DEPTH_LIMIT, Arguments, Place
from narrowgate.wire.json_spans import Span, Unreadable, elements_of, members_of, spliced

_valid = msgspec.json.Decoder(Raw).decode

WHITESPACE: Final = b" \t\r\n"
"""Of JSON (RFC 8259, section 2)."""

REMEMBERED_BYTES: Final = 1024 * 1024
"""Bytes of values that the masker of a list remembers: those of a hundred workloads' pods, which come by namespace and
name, so that those of one come together. Beyond it all are forgotten."""

REMEMBERED_OF_WATCH: Final = 128 * 1024
"""The same of a watch: there may be a thousand of those, each lasting for hours."""

REMEMBERED_LENGTH: Final = 32 * 1024
"""Bytes of one value that is remembered: what is larger is hardly there twice."""

SHORT_LENGTH: Final = 32
"""Bytes of a string that is remembered though nothing is masked in it: names and switches repeat, digests do not."""

OVERHEAD: Final = 256
"""Bytes that remembering a value takes besides its own."""

_BEGINS: Final = (b"{", b"[")
_ENDS: Final = (b"}", b"]")
_QUOTE: Final = ord('"')

MaskValue = Callable[[Any, Place], Any]
"""The reference: a value as it leaves, from one place on. The very same object where nothing of it is masked."""

Leaves = Callable[[bytes, Place], bool]
"""Whether a string, as it is written, is one of which nothing is masked from that place on; False in doubt."""

_Way = Callable[[bytes, Place, int], bytes | None]
"""How a value at a place, at this depth, is masked."""


Told = tuple[bytes | None, tuple[tuple[str, int], ...]]
"""What became of a value, and what was counted for it, by rule."""

_UNCHANGED: Final[Told] = (None, ())


class JsonMasker:
    """Masks documents of one answer by one plan."""

    __slots__ = ("_counts", "_held", "_leaves", "_mask", "_remembers", "_told")

    def __init__(
        self,
        mask: MaskValue,
        counts: dict[str, int],
        remembers: int = REMEMBERED_BYTES,
        leaves: Leaves | None = None,
    ) -> None:
        """`counts` is where `mask` counts what it masks, by rule; `remembers` is for how many bytes. `leaves` spares
        asking `mask` about most strings.
        """
        self._remembers: Final = remembers
        self._leaves: Final = leaves
        self._mask: Final = mask
        self._counts: Final = counts
        self._told: Final[dict[tuple[Place, bytes], Told]] = {}
        self._held = 0

    def document(self, document: bytes, place: Place | None) -> bytes:
        """The document masked from `place` on; itself where nothing is. Raises Unreadable, and then nothing may leave.

        It must have passed `check`, by itself or as a part of something.
        """
        if place is None:
            return document
        body = document if document[-1:] in _ENDS and document[:1] in _BEGINS else document.strip(WHITESPACE)
        try:
            changed = self._value(body, place, 0)
        except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeError, RecursionError) as error:
            raise Unreadable(f"it is not valid JSON: {error}") from None
        except Malformed as error:
            raise Unreadable(error.message) from None
        if changed is None:
            return document
        if body is document:
            return changed
        before = len(document) - len(document.lstrip(WHITESPACE))
        return document[:before] + changed + document[before + len(body) :]

    def value(self, value: Any, place: Place) -> Any:
        """One value, read already: what the reference says of it. Raises Malformed."""
        return self._mask(value, place)

    def counted(self) -> dict[str, int]:
        """What was counted so far, by rule."""
        return self._counts.copy()

    def counted_since(self, before: dict[str, int]) -> tuple[tuple[str, int], ...]:
        """What was counted since then."""
        now = self._counts
        return tuple((rule, now[rule] - before.get(rule, 0)) for rule in now if now[rule] != before.get(rule))

    def count(self, counted: tuple[tuple[str, int], ...]) -> None:
        """Count this once more."""
        for rule, count in counted:
            self._counts[rule] = self._counts.get(rule, 0) + count

    @property
    def remembers(self) -> int:
        """For how many bytes it remembers what became of them."""
        return self._remembers

    @property
    def remembered(self) -> int:
        """Bytes that are remembered."""
        return self._held

    def _value(self, data: bytes, place: Place, depth: int) -> bytes | None:
        """The value as it leaves; None where it stays as it is."""
        if depth > DEPTH_LIMIT:
            raise Unreadable(f"it is nested more than {DEPTH_LIMIT} deep")
        kind = data[:1]
        if kind == b"{":
            if _is_beside(data, place):
                return None
            return self._whole(data, place) if place.hides else self._object(data, place, depth)
        if kind == b"[":
            if _is_beside(data, place):
                return None
            return self._once(data, place, self._whole if place.hides else self._list, depth)
        if kind == b'"' and self._leaves is not None:
            if len(data) <= SHORT_LENGTH:
                return self._once(data, place, self._short, depth)
            if self._leaves(data, place):
                # Hardly there twice: remembering it would push out what is.
                return None
        return self._once(data, place, self._whole, depth)

    def _once(self, data: bytes, place: Place, mask: _Way, depth: int) -> bytes | None:
        """What becomes of a value, or became of the same one before."""
        if len(data) > REMEMBERED_LENGTH:
            return mask(data, place, depth)
        told = self._told.get((place, data))
        if told is None:
            before = self._counts.copy()
            new = mask(data, place, depth)
            self._remember(data, place, _UNCHANGED if new is None else (new, self.counted_since(before)))
            return new
        new, counted = told
        self.count(counted)
        return new

    def _remember(self, data: bytes, place: Place, told: Told) -> None:
        size = len(data) + len(told[0] or b"") + OVERHEAD
        self._held += size
        if self._held > self._remembers:
            self._told.clear()
            self._held = size
        self._told[place, data] = told

    def _short(self, data: bytes, place: Place, depth: int) -> bytes | None:
        """A short string, which may stay for a reason that is sooner found."""
        return None if self._leaves is not None and self._leaves(data, place) else self._whole(data, place, depth)

    def _whole(self, data: bytes, place: Place, _depth: int = 0) -> bytes | None:
        """A value whose every byte may change."""
        value = orjson.loads(data)
        masked = self._mask(value, place)
        # Equal is not enough: 1 and true are equal.
        return None if masked is value else orjson.dumps(masked)

    def _object(self, data: bytes, place: Place, depth: int) -> bytes | None:
        members = members_of(data)
        for forget in place.forgets:
            if any(forget.tells(key) for key in members):
                return self._whole(data, place)
        if place.by_name:
            named = place.named(_text(data, members.get("name")), _text(data, members.get("kind")))
            if named is None:
                return None
            place = named
        changed: list[tuple[Span, bytes]] = []
        for key in _leading(place, members):
            below = place.child(key)
            if below is not None:
                span = members[key]
                new = self._value(data[span[0] : span[1]], below, depth + 1)
                if new is not None:
                    changed.append((span, new))
        return spliced(data, changed) if changed else None

    def _list(self, data: bytes, place: Place, depth: int) -> bytes | None:
        elements = elements_of(data)
        if isinstance(place.text, Arguments) and all(data[start] == _QUOTE for start, _ in elements):
            return self._arguments(data, place, elements)
        below = place.element
        if below is None:
            return None
        changed: list[tuple[Span, bytes]] = []
        for start, end in elements:
            new = self._value(data[start:end], below, depth + 1)
            if new is not None:
                changed.append(((start, end), new))
        return spliced(data, changed) if changed else None

    def _arguments(self, data: bytes, place: Place, elements: list[Span]) -> bytes | None:
        """A command line, masked as a whole; only the arguments that change are written anew."""
        value = orjson.loads(data)
        masked = self._mask(value, place)
        if masked is value:
            return None
        pairs = zip(elements, value, masked, strict=True)
        return spliced(data, [(span, orjson.dumps(new)) for span, old, new in pairs if new is not old])


def check(document: bytes) -> None:
    """Raise Unreadable where it is not one JSON value in UTF-8."""
    require_text(document)
    try:
        _valid(document)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None


def require_text(document: bytes) -> None:
    """Raise Unreadable for what is not UTF-8: the decoder does not look into strings that it skips."""
    if document.isascii():
        return
    try:
        document.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 at byte {error.start}") from None


def _is_beside(data: bytes, place: Place) -> bool:
    """Whether no key is in the container that leads to anything masked."""
    marks = place.marks
    if marks is None:
        return False
    # A loop, not `any`: this is asked of every container, and a generator costs more than most of the answers.
    for mark in marks:
        if mark in data:
            return False
    # The only ways to write a printable character of ASCII but as itself: such a key may be any. One byte is looked for
    # first, which takes a tenth of the time.
    return b"\\" not in data or (b"\\u" not in data and b"\\/" not in data)


def _leading(place: Place, members: dict[str, Span]) -> Iterable[str]:
    """The keys of the object that may lead on, in their order."""
    exact = place.exact
    if exact is None:
        return members
    if len(exact) == 1:
        return exact & members.keys()
    return [key for key in members if key in exact]


def _text(data: bytes, span: Span | None) -> str | None:
    """The text under a key, "" where there is no such key; None where it is no text."""
    value = orjson.loads(data[span[0] : span[1]]) if span is not None else ""
    return value if isinstance(value, str) else None
