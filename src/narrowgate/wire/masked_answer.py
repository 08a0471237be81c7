"""One JSON answer of an API server, masked on its way: a single document, a list item by item, or a watch.

What the bytes are is told by what was asked, and by the kind that they name: an object of the resource, a
`metav1.Status`, a Table whose rows carry objects, a list, a watch event around any of those. Whatever else they turn
out to be is Unreadable, and then nothing more of them may leave.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from narrowgate.core.masking.choosing import ANYWHERE, Where
from narrowgate.core.masking.plan import Place, Plan
from narrowgate.wire.json_items import ItemStream
from narrowgate.wire.json_mask import MaskValue, check, mask_checked
from narrowgate.wire.json_spans import Span, Unreadable, elements_of, members_of, spliced

DOCUMENT_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a single document or of one watch event. Aggregated servers answer with more than etcd holds."""

TABLE_GROUP: Final = "meta.k8s.io/"
_elements = msgspec.json.Decoder(list[Raw]).decode


class Form(enum.Enum):
    """What sort of answer a request asks for."""

    OBJECT = "object"
    LIST = "list"
    WATCH = "watch"


class Masks(Protocol):
    """What holds for the objects of one answer."""

    @property
    def varies(self) -> bool:
        """Whether it differs from object to object."""
        ...

    def plan(self, where: Where) -> Plan | None:
        """What is masked of an object there."""
        ...

    def mask(self, plan: Plan) -> MaskValue:
        """How it is masked."""
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
            return _Single(document)
        case Form.LIST:
            return _Listed(document)
        case Form.WATCH:
            return _Watched(document)


class _Named(msgspec.Struct):
    """All that is read of an object to know where it is."""

    class Metadata(msgspec.Struct):
        name: str = ""
        namespace: str = ""

    metadata: Metadata


_named = msgspec.json.Decoder(_Named).decode


class _Documents:
    """Masks whole documents of one answer."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._varies = masks.varies
        self._anywhere = masks.plan(ANYWHERE)
        self._columns: tuple[str, ...] = ()

    def document(self, document: bytes) -> bytes:
        """A document of any kind."""
        members = _top(document)
        kind, version = _text(document, members.get("kind")), _text(document, members.get("apiVersion"))
        if kind == "Status" and version == "v1":
            return self._masked(document, self._anywhere, _status)
        if kind == "Table" and version.startswith(TABLE_GROUP):
            return self._table(document, members)
        return self.object(document)

    def collection(self, document: bytes) -> bytes:
        """A document that may be a list: one that was too odd to be taken apart as it came."""
        items = _top(document).get("items")
        if items is None or document[items.start : items.start + 1] != b"[":
            return self.document(document)
        whole = document[items.start : items.end]
        return spliced(document, [(items, b"[%b]" % self.items(_elements(whole), whole[1:-1]))])

    def object(self, document: bytes) -> bytes:
        """An object of the resource."""
        return self._masked(document, self._plan(document), _objects)

    def items(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a list."""
        return _rebuilt(elements, raw, self.object)

    def rows(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a Table's rows."""
        return _rebuilt(elements, raw, self._row)

    def columns_of(self, head: bytes) -> None:
        """Take down which columns a Table has; `head` is a document. A later event of a watch has none of its own."""
        span = members_of(head).get("columnDefinitions")
        if span is None or head[span.start : span.end] == b"null":
            return
        try:
            definitions = msgspec.json.decode(head[span.start : span.end], type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            raise Unreadable(f"the columns of its table cannot be read: {error}") from None
        names = [definition.get("name") for definition in definitions]
        self._columns = tuple(name if isinstance(name, str) else "" for name in names)

    def _table(self, document: bytes, members: dict[str, Span]) -> bytes:
        self.columns_of(document)
        rows = members.get("rows")
        if rows is None or document[rows.start : rows.start + 1] != b"[":
            return document
        whole = document[rows.start : rows.end]
        return spliced(document, [(rows, b"[%b]" % self.rows(_elements(whole), whole[1:-1]))])

    def _row(self, row: bytes) -> bytes:
        members = members_of(row)
        changed: list[tuple[Span, bytes]] = []
        found = members.get("object")
        inner = row[found.start : found.end] if found is not None else b"null"
        plan = self._plan(inner)
        if found is not None and inner != b"null":
            changed.append((found, self._masked(inner, plan, _objects)))
        cells = members.get("cells")
        if cells is not None and plan is not None:
            changed.append((cells, self._cells(row[cells.start : cells.end], plan)))
        return spliced(row, changed)

    def _cells(self, cells: bytes, plan: Plan) -> bytes:
        spans = elements_of(cells)
        names = (*self._columns, *("" for _ in spans))[: len(spans)]
        mask = self._masks.mask(plan)
        return spliced(
            cells,
            [
                (span, mask_checked(cells[span.start : span.end], place, mask))
                for span, place in zip(spans, plan.cells(names), strict=True)
                if place is not None
            ],
        )

    def _plan(self, document: bytes) -> Plan | None:
        if not self._varies:
            return self._anywhere
        try:
            metadata = _named(document).metadata
        except msgspec.DecodeError:
            # Where it is cannot be told: every mask holds.
            return self._anywhere
        return self._masks.plan(Where(metadata.namespace, metadata.name))

    def _masked(self, document: bytes, plan: Plan | None, root: Callable[[Plan], Place | None]) -> bytes:
        if plan is None:
            return document
        return mask_checked(document, root(plan), self._masks.mask(plan))


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
        return self._documents.document(self._parts.take())


class _Listed:
    """A list, item by item."""

    def __init__(self, documents: _Documents) -> None:
        self._documents = documents
        self._is_table = False
        self._stream = ItemStream(self._begin, self._items)
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

    def _begin(self, head: bytes, key: str) -> None:
        self._is_table = key == "rows"
        if self._is_table:
            self._documents.columns_of(head + b"]}")

    def _items(self, elements: list[Raw], raw: bytes) -> bytes:
        return self._documents.rows(elements, raw) if self._is_table else self._documents.items(elements, raw)


class _Watched:
    """A watch: one event after the other, each as soon as it is whole."""

    def __init__(self, documents: _Documents) -> None:
        self._documents = documents
        self._parts = _Parts()

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
        return b"".join(self._event(line) + b"\n" for line in lines)

    def finish(self) -> bytes:
        """See `MaskedAnswer`."""
        rest = self._parts.take()
        return self._event(rest) if rest.strip() else rest

    def _event(self, line: bytes) -> bytes:
        if not line.strip():
            return line
        members = _top(line)
        inner = members.get("object")
        if inner is None:
            raise Unreadable("an event of the watch has no object")
        return spliced(line, [(inner, self._documents.document(line[inner.start : inner.end]))])


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

    def take(self) -> bytes:
        """All that is held."""
        parts, self._parts, self._held = self._parts, [], 0
        return b"".join(parts)


def _objects(plan: Plan) -> Place | None:
    return plan.objects


def _status(plan: Plan) -> Place | None:
    return plan.status


def _top(document: bytes) -> dict[str, Span]:
    """The members of a document that is one JSON object. Raises Unreadable."""
    check(document)
    if document.lstrip()[:1] != b"{":
        raise Unreadable("it is not a JSON object")
    return members_of(document)


def _text(document: bytes, span: Span | None) -> str:
    if span is None or document[span.start : span.start + 1] != b'"':
        return ""
    return msgspec.json.decode(document[span.start : span.end], type=str)


def _rebuilt(elements: list[Raw], raw: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """The batch with each element masked; itself where none changes."""
    plain = [bytes(element) for element in elements]
    masked = [mask(element) for element in plain]
    if all(new is old for new, old in zip(masked, plain, strict=True)):
        return raw
    if sum(map(len, plain)) + len(plain) - 1 == len(raw):
        return b",".join(masked)
    spans = elements_of(b"[%b]" % raw)
    return spliced(b"[%b]" % raw, list(zip(spans, masked, strict=True)))[1:-1]
