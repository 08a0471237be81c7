"""Several lists in JSON as one: what stands around the first, and the items, or rows, of all of them.

They are parts of one list as it was at one version, and come one after the other. What holds for one list (`Masks`)
holds for what they make together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Raw

from narrowgate.wire.answer import FAILURES, Masks
from narrowgate.wire.answer_documents import Documents
from narrowgate.wire.json_frames import is_table, text_of, top_of, value_of
from narrowgate.wire.json_items import BATCH_BYTES, ItemStream
from narrowgate.wire.json_mask import check
from narrowgate.wire.json_spans import Span, Unreadable, members_of, spliced

_NO_ITEMS = b"]}"
"""What makes the beginning of a list a document of its own."""


class JoinedAnswer:
    """Bytes of one list after the other in, those of one list out (see `MaskedAnswer`). `turn` parts them."""

    def __init__(self, masks: Masks) -> None:
        self._documents = Documents(masks)
        self._parts: list[bytes] = []
        """What may be sent on."""
        self._head: bytes | None = None
        """The first list up to its items, as it is sent on; it is kept to tell its end by its length."""
        self._has_begun = False
        self._has_left = False
        self._has_items = False
        self._tail = b""
        self._key = ""
        self._columns = b"null"
        self._is_first = True
        self.version = ""
        """The version of the first list, once it is whole; empty where it says none."""
        self._stream = self._new_stream()

    @property
    def at_boundary(self) -> bool:
        """See `MaskedAnswer`."""
        return False

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        with _readable():
            self._stream.feed(data)
            return self._taken()

    def turn(self) -> bytes:
        """One list is whole and the next begins; what may be sent on. Raises Unreadable."""
        with _readable():
            self._end_of_list()
            self._is_first = False
            self._stream = self._new_stream()
            return self._taken()

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        with _readable():
            self._end_of_list()
            self._begin()
            return self._taken(is_end=True) + self._tail

    def _new_stream(self) -> ItemStream:
        return ItemStream(self._frame, self._items, drops=True)

    def _end_of_list(self) -> None:
        self._stream.finish()
        if (whole := self._stream.whole) is not None:
            self._without_items(whole)

    def _without_items(self, document: bytes) -> None:
        """A list whose items were not found on the way: it may have none (`null`)."""
        check(document)
        members = top_of(document)
        key = "rows" if is_table(document, members) else "items"
        span = members.get(key)
        if span is None or value_of(document, span) != b"null":
            raise Unreadable("one of several lists that belong together is none that could be joined")
        stream = self._new_stream()
        stream.feed(spliced(document, [(span, b"[]")]))
        stream.finish()
        if stream.whole is not None:
            raise Unreadable("one of several lists that belong together does not say where its items are")

    def _frame(self, frame: bytes, key: str) -> tuple[Span, ...]:
        """What stands around the items of one list: told twice, at last with what stands behind them."""
        cut = self._documents.frame(frame, key)
        columns = self._columns_in(frame, key)
        if not self._is_first:
            self._require_alike(key, columns)
            self._require_version(frame)
            return cut
        left = spliced(frame, [(span, b"") for span in cut])
        if self._head is None:
            self._head, self._key, self._columns = left[: -len(_NO_ITEMS)], key, columns
            return cut
        if columns != self._columns:
            raise Unreadable("the columns of its table stand behind its rows")
        self._tail = left[len(self._head) :]
        self.version = _version_of(frame)
        return cut

    def _columns_in(self, frame: bytes, key: str) -> bytes:
        if key != "rows":
            return b"null"
        self._documents.columns_of(frame)
        return value_of(frame, members_of(frame).get("columnDefinitions"))

    def _require_alike(self, key: str, columns: bytes) -> None:
        if key != self._key or columns != self._columns:
            raise Unreadable("the parts of a list have not the same columns, or are not all of one kind")

    def _require_version(self, frame: bytes) -> None:
        found = _version_of(frame)
        if found and found != self.version:
            raise Unreadable("the parts of a list are of different versions")

    def _items(self, elements: list[Raw], raw: bytes) -> bytes:
        left = self._documents.rows(elements, raw) if self._key == "rows" else self._documents.items(elements, raw)
        if left:
            self._begin()
            if self._has_items:
                self._parts.append(b",")
            self._has_items = True
            self._parts.append(left)
        return left

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._parts.append(self._head or b"")

    def _taken(self, *, is_end: bool = False) -> bytes:
        """What may be sent on: nothing before there is a batch of it, so that a small list may still be refused."""
        if not (is_end or self._has_left) and sum(map(len, self._parts)) < BATCH_BYTES:
            return b""
        self._has_left = True
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _version_of(frame: bytes) -> str:
    metadata = value_of(frame, top_of(frame).get("metadata"))
    return text_of(metadata, members_of(metadata).get("resourceVersion")) if metadata.startswith(b"{") else ""


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise Unreadable(f"it is not valid JSON: {error}") from None
