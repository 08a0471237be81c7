"""One JSON answer of an API server, masked on its way: a single document, a list item by item, or a watch.

What the bytes are is told by what was asked, and by the kind that they name: an object of the resource, a
`metav1.Status`, a Table whose rows carry objects, a list, a watch event around any of those. Whatever else they turn
out to be is Unreadable, and then nothing more of them may leave.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
import orjson
from msgspec import Raw

from narrowgate.core.masking.choosing import ANYWHERE, Where
from narrowgate.core.masking.plan import Place, Plan
from narrowgate.wire.json_items import ItemStream
from narrowgate.wire.json_mask import WHITESPACE, JsonMasker, check
from narrowgate.wire.json_spans import Span, Unreadable, elements_of, members_of, spliced

DOCUMENT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a single document or of one watch event. Aggregated servers answer with more than etcd holds."""

TABLE_GROUP: Final = "meta.k8s.io/"
_COLLECTIONS: Final = ("items", "rows")
_FAILURES: Final = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoders raise: orjson's error and those of Unicode are ValueErrors. What is skipped at first may turn out to be
no text when it is read, or too deep for where it is read."""
_elements = msgspec.json.Decoder(list[Raw]).decode


class Form(enum.Enum):
    """What sort of answer a request asks for."""

    OBJECT = "object"
    LIST = "list"
    WATCH = "watch"


class Masks(Protocol):
    """What holds for the objects of one answer."""

    @property
    def shows(self) -> Callable[[Where], bool] | None:
        """Which of the objects of a list or a watch leave at all, asked once for each; None where all of them do."""
        ...

    @property
    def varies(self) -> bool:
        """Whether it differs from object to object."""
        ...

    def plan(self, where: Where) -> Plan | None:
        """What is masked of an object there."""
        ...

    def masker(self, plan: Plan) -> JsonMasker:
        """What masks it: the same one for the same plan, as long as the answer lasts."""
        ...


class MaskedAnswer(Protocol):
    """Bytes in, masked bytes out. Every call may raise Unreadable; then the answer must be broken off."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; what may be sent on by now."""
        ...

    def finish(self) -> bytes:
        """Take the end; the rest of what is to be sent."""
        ...

    @property
    def at_boundary(self) -> bool:
        """Whether what was sent on so far ends with a whole document, so that another may follow it."""
        ...


def masked_answer(form: Form, masks: Masks) -> MaskedAnswer:
    """What masks an answer of that form."""
    document = _Documents(masks)
    match form:
        case Form.OBJECT:
            return _Guarded(_Single(document))
        case Form.LIST:
            return _Guarded(_Listed(document))
        case Form.WATCH:
            return _Guarded(_Watched(document))


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
        except _FAILURES as error:
            raise Unreadable(f"it is not valid JSON: {error}") from None

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        try:
            return self._answer.finish()
        except _FAILURES as error:
            raise Unreadable(f"it is not valid JSON: {error}") from None


class _Documents:
    """Masks whole documents of one answer."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._varies = masks.varies
        self._anywhere = masks.plan(ANYWHERE)
        self.columns: tuple[str, ...] = ()
        """Names of the columns of its Table, as far as they are known."""

    def document(self, document: bytes) -> bytes:
        """A document of any kind. It must have passed `check`."""
        members = _top(document)
        kind, version = _text(document, members.get("kind")), _text(document, members.get("apiVersion"))
        if kind == "Status" and version == "v1":
            return self._masked(document, self._anywhere, _status)
        if kind == "Table" and version.startswith(TABLE_GROUP):
            return self._table(document, members)
        if kind.endswith("List"):
            # Some servers answer with a list where one object was asked for. Whether it is one, or an object of which
            # items are a part, cannot be told: it is masked as both.
            return self.object(self._collected(document, members))
        return self.object(document)

    def collection(self, document: bytes) -> bytes:
        """A document that should be a list: one that was too odd to be taken apart as it came."""
        check(document)
        members = _top(document)
        if not _is_list(document, members.get("items")):
            return self.document(document)
        self.require_frame(document, "items")
        return self._collected(document, members)

    def require_frame(self, frame: bytes, key: str) -> None:
        """Raise Unreadable for a document that is more than a list of what stands under the key."""
        members = _top(frame)
        if any(_is_list(frame, members.get(other)) for other in _COLLECTIONS if other != key):
            raise Unreadable("it has items and rows")
        if _text(frame, members.get("kind")) == "Status":
            raise Unreadable(f"it is a Status that has {key}")

    def object(self, document: bytes) -> bytes:
        """An object of the resource. Raises Unreadable for what is none: of a text nothing would be masked."""
        if not (document.startswith(b"{") or document.lstrip(WHITESPACE).startswith(b"{")):
            raise Unreadable("there is something else where an object of the resource should be")
        return self._masked(document, self._plan(document), _objects)

    def items(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a list."""
        return _rebuilt(elements, raw, self.object)

    def rows(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a Table's rows."""
        return _rebuilt(elements, raw, self._row)

    def columns_of(self, head: bytes) -> None:
        """Take down which columns a Table has; `head` is a document. A later event of a watch has none of its own."""
        written = _bytes(head, members_of(head).get("columnDefinitions"))
        if written == b"null":
            return
        try:
            definitions = msgspec.json.decode(written, type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            raise Unreadable(f"the columns of its table cannot be read: {error}") from None
        names = [definition.get("name") for definition in definitions]
        self.columns = tuple(name if isinstance(name, str) else "" for name in names)

    def _table(self, document: bytes, members: dict[str, Span]) -> bytes:
        self.columns_of(document)
        rows = members.get("rows")
        if rows is None or not _is_list(document, rows):
            return document
        whole = document[slice(*rows)]
        return spliced(document, [(rows, b"[%b]" % self.rows(_elements(whole), whole[1:-1]))])

    def _collected(self, document: bytes, members: dict[str, Span]) -> bytes:
        items = members.get("items")
        if items is None or not _is_list(document, items):
            return document
        whole = document[slice(*items)]
        return spliced(document, [(items, b"[%b]" % self.items(_elements(whole), whole[1:-1]))])

    def _row(self, row: bytes) -> bytes:
        members = _top(row)
        inner = _bytes(row, members.get("object"))
        plan = self._plan(inner)
        if plan is None:
            return row
        changed: list[tuple[Span, bytes]] = []
        if inner != b"null":
            changed.append((members["object"], self.object(inner)))
        if "cells" in members:
            changed.append((members["cells"], self._cells(_bytes(row, members["cells"]), plan)))
        return spliced(row, sorted(changed))

    def _cells(self, cells: bytes, plan: Plan) -> bytes:
        if not _is_list(cells, (0, len(cells))):
            return cells
        spans = elements_of(cells)
        names = (*self.columns, *("" for _ in spans))[: len(spans)]
        masker = self._masks.masker(plan)
        return spliced(
            cells,
            [
                (span, masker.document(cells[slice(*span)], place))
                for span, place in zip(spans, plan.cells(names), strict=True)
                if place is not None
            ],
        )

    def _plan(self, document: bytes) -> Plan | None:
        if not self._varies:
            return self._anywhere
        return self._masks.plan(_where(document))

    def _masked(self, document: bytes, plan: Plan | None, root: Callable[[Plan], Place | None]) -> bytes:
        if plan is None:
            return document
        return self._masks.masker(plan).document(document, root(plan))


class _Single:
    """One document, held until it is whole."""

    def __init__(self, documents: _Documents) -> None:
        self._documents = documents
        self._parts = _Parts()
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

    def __init__(self, documents: _Documents) -> None:
        self._documents = documents
        self._is_table = False
        self._is_begun = False
        self._stream = ItemStream(self._frame, self._items)
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

    def _frame(self, frame: bytes, key: str) -> None:
        self._documents.require_frame(frame, key)
        self._is_table = key == "rows"
        if self._is_table:
            before = self._documents.columns
            self._documents.columns_of(frame)
            if self._is_begun and self._documents.columns != before:
                raise Unreadable("the columns of its table stand behind its rows")
        self._is_begun = True

    def _items(self, elements: list[Raw], raw: bytes) -> bytes:
        return self._documents.rows(elements, raw) if self._is_table else self._documents.items(elements, raw)


class _Watched:
    """A watch: one event after the other, each as soon as it is whole.

    An event takes one line, or several: then the first is its opening brace and the last its closing one, as they are
    written for people (`pretty=true`).
    """

    def __init__(self, documents: _Documents) -> None:
        self._documents = documents
        self._parts = _Parts()
        self._lines = _Parts()
        """Lines of an event that has not come whole."""

    @property
    def at_boundary(self) -> bool:
        """See `MaskedAnswer`."""
        return True

    def feed(self, data: bytes) -> bytes:
        """See `MaskedAnswer`."""
        self._parts.add(data)
        if b"\n" not in data:
            return b""
        lines = self._parts.take().split(b"\n")
        # What stands behind the last line end has not come whole.
        self._parts.add(lines.pop())
        return b"".join([self._line(line + b"\n") for line in lines])

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        rest = self._lines.take() + self._parts.take()
        return self._event(rest) if rest.strip() else rest

    def _line(self, line: bytes) -> bytes:
        if not self._lines.is_empty:
            self._lines.add(line)
            return self._event(self._lines.take()) if line.startswith(b"}") else b""
        text = line.strip(WHITESPACE)
        if text == b"{":
            self._lines.add(line)
            return b""
        return self._event(line) if text else line

    def _event(self, event: bytes) -> bytes:
        check(event)
        members = _top(event)
        inner = members.get("object")
        if inner is None:
            raise Unreadable("an event of the watch has no object")
        return spliced(event, [(inner, self._documents.document(event[slice(*inner)]))])


class _Parts:
    """Bytes that are held until they are whole, up to the limit."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._held = 0

    def add(self, data: bytes) -> None:
        """Hold these too. Raises Unreadable."""
        self._held += len(data)
        if self._held > DOCUMENT_LIMIT:
            raise Unreadable(f"one document of it has more than {DOCUMENT_LIMIT} bytes")
        self._parts.append(data)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._held

    def take(self) -> bytes:
        """All that is held."""
        parts, self._parts, self._held = self._parts, [], 0
        return b"".join(parts)


def _objects(plan: Plan) -> Place | None:
    return plan.objects


def _status(plan: Plan) -> Place | None:
    return plan.status


def _where(document: bytes) -> Where:
    """Where an object is. Raises Unreadable where two readers could read it differently."""
    metadata = _bytes(document, members_of(document).get("metadata")) if document.startswith(b"{") else b"null"
    if not metadata.startswith(b"{"):
        return ANYWHERE
    members = members_of(metadata)
    namespace, name = (_bytes(metadata, members.get(key)) if key in members else b'""' for key in ("namespace", "name"))
    if not (namespace.startswith(b'"') and name.startswith(b'"')):
        return ANYWHERE
    return Where(orjson.loads(namespace), orjson.loads(name))


def _top(document: bytes) -> dict[str, Span]:
    """The members of a document. Raises Unreadable where it is no JSON object."""
    body = document.strip(WHITESPACE)
    if body[:1] != b"{":
        raise Unreadable("it is not a JSON object")
    before = len(document) - len(document.lstrip(WHITESPACE))
    members = members_of(body)
    return members if not before else {key: (start + before, end + before) for key, (start, end) in members.items()}


def _bytes(document: bytes, span: Span | None) -> bytes:
    """One member's bytes; `null` where there is none."""
    return b"null" if span is None else document[slice(*span)]


def _is_list(document: bytes, span: Span | None) -> bool:
    return span is not None and document.startswith(b"[", span[0])


def _text(document: bytes, span: Span | None) -> str:
    written = _bytes(document, span)
    return msgspec.json.decode(written, type=str) if written.startswith(b'"') else ""


def _rebuilt(elements: list[Raw], raw: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """The batch with each element masked; itself where none changes."""
    plain = [bytes(element) for element in elements]
    masked = [mask(element) for element in plain]
    if all(map(operator.is_, masked, plain)):
        return raw
    if sum(map(len, plain)) + len(plain) - 1 == len(raw):
        return b",".join(masked)
    spans = elements_of(b"[%b]" % raw)
    return spliced(b"[%b]" % raw, zip(spans, masked, strict=True))[1:-1]
