"""A JSON list answer taken apart as it comes: what stands before its items, the items in batches, what stands behind.

The API server writes lists as one object with `items` (or `rows`, a Table) and may take hundreds of megabytes for it;
no more than a batch is held at a time. Whether a comma really stands between two items, and not in a string or within
an item, is told by the decoder: what stands before it must be a whole list of its own. How the bytes were cut never
matters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from narrowgate.wire.json_mask import WHITESPACE, require_text
from narrowgate.wire.json_spans import Span, Unreadable, elements_begun, members_of, spliced

BATCH_BYTES: Final = 256 * 1024
"""Items are taken in batches of about this size: large enough that a batch costs little, small enough to hold."""

ITEM_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of one item, or of what stands before or behind the items. etcd takes objects of 1.5 MiB, CRDs grow to some
more when they are converted."""

CANDIDATES: Final = 8
"""How many commas are tried before the items are told apart one by one."""

BORDER_BYTES: Final = 256
"""Bytes between two items at most, where their border is found quickly: a comma, and as much white space as people like
to look at."""

HEAD_CANDIDATES: Final = 256
"""How many keys that could begin the items are tried; a head has one, a single object with volumes some."""

_BEGIN: Final = re.compile(rb'(?<!\\)"(items|rows)"\s*:\s*\[')
_FIRST_KEY: Final = re.compile(rb'\{[ \t\r\n]*"[A-Za-z]{1,32}"')
_COMMA: Final = re.compile(rb"[ \t\r\n]*,")
_elements = msgspec.json.Decoder(list[Raw]).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode

Frame = Callable[[bytes, str], tuple[Span, ...]]
"""Is told what stands around the items, as a document in which there are none, and their key (`items`, `rows`): what
stands before them, before any comes, and all of it, before what stands behind them is sent on. Says which parts of it
are not sent on, in their order; none of them lies on both sides of the items. May raise Unreadable."""

Items = Callable[[list[Raw], bytes], bytes]
"""What becomes of a batch: its elements and its bytes, which hold those and what separates them, and nothing else. It
may become nothing where items may be dropped."""


class ItemStream:
    """One list answer. `feed` what comes, then `finish`; what they return is to be sent on, in that order.

    `items` is asked for every batch. What holds no list of items is returned by nobody: it is `whole` at the end.
    """

    def __init__(self, frame: Frame, items: Items, *, drops: bool = False) -> None:
        """`drops` says that items may be left out: then commas alone stand between those that are left, wherever white
        space stood, so that it does not hang on where the bytes were cut.
        """
        self._drops = drops
        self._frame = frame
        self._items = items
        self._parts: list[bytes] = []
        self._held = 0
        self._look_at = 1
        """Bytes that must be held before it is worth looking again."""
        self._tried_from = 0
        self._tries = 0
        self._head = b""
        self._lead = b""
        """The head, as long as it has not been sent on."""
        self._key = ""
        self._first_key = b""
        self._is_first = True
        self._has_left = False
        """Whether an item has been sent on."""
        self.whole: bytes | None = None
        """All of the answer, once finished, where it was no list."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes. Raises Unreadable."""
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._look_at:
            return b""
        buffer = self._joined()
        if not self._head:
            buffer = self._find_head(buffer)
            if not self._head:
                return b""
        batch = self._take_batches(buffer)
        if not batch:
            return b""
        # Not before there is an item: until then, whoever sends this on can still say something else.
        lead, self._lead = self._lead, b""
        return lead + batch

    def finish(self) -> bytes:
        """Take the end of it. Raises Unreadable where it ends too early."""
        buffer = self._joined()
        if not self._head:
            buffer = self._find_head(buffer)
            if not self._head:
                self.whole = self._joined()
                return b""
        end = self._end_of_items(buffer)
        part, tail = buffer[:end], buffer[end:]
        begin = len(self._head)
        cut = [span for span in self._look_around(self._head + tail) if span[0] >= begin]
        tail = spliced(tail, [((start - begin, end - begin), b"") for start, end in cut])
        elements = self._list_in(part)
        if elements is None or not (elements or self._is_first):
            raise Unreadable("its items are not valid JSON")
        if not elements:
            return self._lead + (b"" if self._drops else part) + tail
        return self._lead + self._masked(part, elements) + tail

    # --- before the items

    def _find_head(self, buffer: bytes) -> bytes:
        """Look for where the items begin; what follows it is returned, and the head is kept."""
        for found in _BEGIN.finditer(buffer, self._tried_from):
            self._tried_from = found.start() + 1
            self._tries += 1
            if self._tries > HEAD_CANDIDATES:
                break
            head = buffer[: found.end()]
            if _is_head(head):
                self._head = head
                self._key = found[1].decode()
                self._lead = spliced(head, [(span, b"") for span in self._look_around(head + b"]}")])
                self._look_at = BATCH_BYTES
                return buffer[found.end() :]
        if len(buffer) > ITEM_LIMIT:
            raise Unreadable(f"it has no items within its first {ITEM_LIMIT} bytes, and is no single object either")
        self._keep(buffer, min(2 * len(buffer), ITEM_LIMIT + 1))
        # A key and its bracket may have been cut apart.
        self._tried_from = max(self._tried_from, len(buffer) - 64)
        return b""

    # --- items

    def _take_batches(self, buffer: bytes) -> bytes:
        if len(buffer) < BATCH_BYTES:
            self._keep(buffer, BATCH_BYTES)
            return b""
        found = self._last_batch(buffer)
        if found is None:
            if len(buffer) > ITEM_LIMIT:
                raise Unreadable(f"one of its items has more than {ITEM_LIMIT} bytes")
            self._keep(buffer, min(2 * len(buffer), ITEM_LIMIT + 1))
            return b""
        end, elements = found
        self._keep(buffer[end:], BATCH_BYTES)
        return self._masked(buffer[:end], elements)

    def _last_batch(self, buffer: bytes) -> tuple[int, list[Raw]] | None:
        """The end of the last whole item that is followed by a comma, and all items up to it; None where none is."""
        if not self._first_key and (first := _FIRST_KEY.search(buffer)):
            self._first_key = first[0]
        tries, at = 0, len(buffer)
        while tries < CANDIDATES and self._first_key and (at := buffer.rfind(self._first_key, 0, at)) > 0:
            end = buffer.rfind(b"}", max(at - BORDER_BYTES, 0), at) + 1
            if end and buffer[end:at].strip(WHITESPACE) == b",":
                tries += 1
                if (elements := self._list_in(buffer[:end])) is not None:
                    return end, elements
        return self._slow_batch(buffer)

    def _slow_batch(self, buffer: bytes) -> tuple[int, list[Raw]] | None:
        """The same, told by counting brackets: for items that do not begin alike."""
        comma = self._comma_at(buffer)
        borders = [comma - 1 + end for _, end in elements_begun(b"[" + buffer[comma:])]
        # What is last may go on in what is still to come, or be what stands behind the items.
        for border in borders[-2 : -2 - CANDIDATES : -1]:
            if (elements := self._list_in(buffer[:border])) is not None:
                return border, elements
        return None

    def _list_in(self, part: bytes) -> list[Raw] | None:
        """The items in it, where it holds whole ones and nothing else."""
        try:
            return _elements(b"[%b]" % part[self._comma_at(part) :])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None

    def _comma_at(self, buffer: bytes) -> int:
        """Where the items of this part begin: behind the comma that parts it from the batch before."""
        if self._is_first:
            return 0
        if (comma := _COMMA.match(buffer)) is None:
            raise Unreadable("two of its items have no comma between them")
        return comma.end()

    def _masked(self, part: bytes, elements: list[Raw]) -> bytes:
        require_text(part)
        begin = self._comma_at(part)
        self._is_first = False
        left = self._items(elements, part[begin:])
        if not self._drops:
            return part[:begin] + left
        between = b"," if left and self._has_left else b""
        self._has_left = self._has_left or bool(left)
        return between + left

    # --- behind the items

    def _end_of_items(self, buffer: bytes) -> int:
        """Where the bracket that closes the items stands."""
        begin = self._comma_at(buffer)
        try:
            whole = b'{"":[' + buffer[begin:]
            items = bytes(_members(whole)[""])
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Unreadable(f"it ends within its items, or what follows them is not valid JSON: {error}") from None
        end = 4 + len(items)
        if whole[4:end] != items:
            raise Unreadable("what follows its items cannot be told from them")
        return begin + end - 6

    def _look_around(self, frame: bytes) -> tuple[Span, ...]:
        """Refuse what two readers could read differently around the items, such as a key that stands twice."""
        require_text(frame)
        members_of(frame)
        return self._frame(frame, self._key)

    def _joined(self) -> bytes:
        buffer = b"".join(self._parts)
        self._parts, self._held = [], 0
        return buffer

    def _keep(self, buffer: bytes, look_at: int) -> None:
        self._parts, self._held, self._look_at = [buffer], len(buffer), look_at


def _is_head(head: bytes) -> bool:
    """Whether the bracket at its end opens a list directly in the answer's object."""
    try:
        _members(head + b"]}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
