"""One JSON answer of an API server, masked on its way and reduced to what its reader may see: a single document, a list
item by item, or a watch.

What the bytes are is told by what was asked, and by the kind that they name: an object of the resource, a
`metav1.Status`, a Table whose rows carry objects, a list, a watch event around any of those. Whatever else they turn
out to be is Unreadable, and then nothing more of them may leave.
"""

from __future__ import annotations

from msgspec import Raw

from narrowgate.wire.answer import DOCUMENT_LIMIT, FAILURES, Form, HeldBytes, MaskedAnswer, Masks
from narrowgate.wire.answer_documents import Documents
from narrowgate.wire.json_items import ItemStream
from narrowgate.wire.json_mask import check
from narrowgate.wire.json_spans import Span, Unreadable
from narrowgate.wire.watched_answer import WatchedAnswer

__all__ = ["DOCUMENT_LIMIT", "Form", "MaskedAnswer", "Masks", "masked_answer"]


def masked_answer(form: Form, masks: Masks) -> MaskedAnswer:
    """What masks an answer of that form."""
    documents = Documents(masks)
    match form:
        case Form.OBJECT if documents.shown is None:
            return _Guarded(_Single(documents))
        case Form.OBJECT | Form.LIST:
            # Reduced is what lists; an object by itself is shown or not before it is asked for.
            return _Guarded(_Listed(documents))
        case Form.WATCH:
            return _Guarded(WatchedAnswer(documents))


class _Guarded:
    """An answer whose every failure to read says that it is unreadable, wherever in it that turned out."""

    def __init__(self, answer: MaskedAnswer) -> None:
        self._answer = answer

    @property
    def at_boundary(self) -> bool:
        """See `MaskedAnswer`."""
        return self._answer.at_boundary

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        try:
            return self._answer.feed(data)
        except FAILURES as error:
            raise Unreadable(f"it is not valid JSON: {error}") from None

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        try:
            return self._answer.finish()
        except FAILURES as error:
            raise Unreadable(f"it is not valid JSON: {error}") from None


class _Single:
    """One document, held until it is whole."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._parts = HeldBytes()
        self.at_boundary = True

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        self._parts.add(data)
        return b""

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        document = self._parts.take()
        check(document)
        return self._documents.document(document)


class _Listed:
    """A list, item by item."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._is_table = False
        self._is_begun = False
        self._stream = ItemStream(self._frame, self._items, drops=documents.shown is not None)
        self.at_boundary = False

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        return self._stream.feed(data)

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        rest = self._stream.finish()
        if self._stream.whole is None:
            return rest
        return self._documents.collection(self._stream.whole)

    def _frame(self, frame: bytes, key: str) -> tuple[Span, ...]:
        cut = self._documents.frame(frame, key)
        self._is_table = key == "rows"
        if self._is_table:
            before = self._documents.columns
            self._documents.columns_of(frame)
            if self._is_begun and self._documents.columns != before:
                raise Unreadable("the columns of its table stand behind its rows")
        self._is_begun = True
        return cut

    def _items(self, elements: list[Raw], raw: bytes) -> bytes:
        return self._documents.rows(elements, raw) if self._is_table else self._documents.items(elements, raw)
