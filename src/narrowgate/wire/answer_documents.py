"""The documents of one JSON answer, masked and reduced to what is shown: objects, lists, Tables, Statuses.

What the bytes are is told by what was asked, and by the kind that they name. Whatever else they turn out to be is
Unreadable, and then nothing more of them may leave.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from msgspec import Raw

from narrowgate.core.masking.choosing import ANYWHERE, Where
from narrowgate.core.masking.plan import Place, Plan
from narrowgate.wire.answer import Masks
from narrowgate.wire.json_frames import COLLECTIONS, is_list, is_status, is_table, text_of, top_of, value_of
from narrowgate.wire.json_mask import WHITESPACE, check
from narrowgate.wire.json_spans import Span, Unreadable, elements_of, members_of, spliced
from narrowgate.wire.shown_objects import ShownObjects, around_shown

_elements = msgspec.json.Decoder(list[Raw]).decode


class Documents:
    """Masks and reduces whole documents of one answer."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._varies = masks.varies
        self._anywhere = masks.plan(ANYWHERE)
        self.shown = ShownObjects(masks.shows) if masks.shows is not None else None
        """Which objects leave, where not all of them do."""
        self.columns: tuple[str, ...] = ()
        """Names of the columns of its Table, as far as they are known."""

    def document(self, document: bytes) -> bytes:
        """A document of any kind, nothing left out of it. It must have passed `check`."""
        members = top_of(document)
        if is_status(document, members):
            return self.status(document)
        if is_table(document, members):
            self.columns_of(document)
            return self._with(document, members.get("rows"), self.all_rows)
        if text_of(document, members.get("kind")).endswith("List"):
            # Some servers answer with a list where one object was asked for. Whether it is one, or an object of which
            # items are a part, cannot be told: it is masked as both.
            return self.object(self._with(document, members.get("items"), self.all_items))
        return self.object(document)

    def collection(self, document: bytes) -> bytes:
        """A document that should be a list: one that was too odd to be taken apart as it came."""
        check(document)
        members = top_of(document)
        if self.shown is not None:
            return self._reduced(document, members)
        if not is_list(document, members.get("items")):
            return self.document(document)
        self.require_frame(document, "items")
        return self._with(document, members.get("items"), self.items)

    def frame(self, frame: bytes, key: str) -> tuple[Span, ...]:
        """What stands around the objects of a list, which stand under the key: what of it does not leave, as spans.

        Raises Unreadable for a document that is more than a list of those.
        """
        self.require_frame(frame, key)
        return () if self.shown is None else around_shown(frame, key)

    def require_frame(self, frame: bytes, key: str) -> None:
        """Raise Unreadable for a document that is more than a list of what stands under the key."""
        members = top_of(frame)
        if any(is_list(frame, members.get(other)) for other in COLLECTIONS if other != key):
            raise Unreadable("it has items and rows")
        if text_of(frame, members.get("kind")) == "Status":
            raise Unreadable(f"it is a Status that has {key}")

    def status(self, document: bytes) -> bytes:
        """A `metav1.Status`."""
        return self._masked(document, self._anywhere, _status)

    def object(self, document: bytes) -> bytes:
        """An object of the resource. Raises Unreadable for what is none: of a text nothing would be masked."""
        if not (document.startswith(b"{") or document.lstrip(WHITESPACE).startswith(b"{")):
            raise Unreadable("there is something else where an object of the resource should be")
        return self._masked(document, self._plan(document), _objects)

    def items(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a list; nothing where none of it is shown."""
        if self.shown is None:
            return self.all_items(elements, raw)
        return self._joined([one for one in elements if self.shown.holds(one)], self.object)

    def rows(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a Table's rows; nothing where none of it is shown."""
        if self.shown is None:
            return self.all_rows(elements, raw)
        return self._joined([one for one in elements if self.shown.holds_row(one)], self._row)

    def all_items(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a list, none of it left out."""
        return _rebuilt(elements, raw, self.object)

    def all_rows(self, elements: list[Raw], raw: bytes) -> bytes:
        """A batch of a Table's rows, none of them left out."""
        return _rebuilt(elements, raw, self._row)

    def table(self, document: bytes, rows: Callable[[list[Raw], bytes], bytes]) -> bytes:
        """A Table of a watch that is reduced, its rows made into what `rows` says."""
        self.columns_of(document)
        return self._with(document, _collection(document, "rows"), rows, self.frame(document, "rows"))

    def columns_of(self, head: bytes) -> None:
        """Take down which columns a Table has; `head` is a document. A later event of a watch has none of its own."""
        written = value_of(head, members_of(head).get("columnDefinitions"))
        if written == b"null":
            return
        try:
            definitions = msgspec.json.decode(written, type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            raise Unreadable(f"the columns of its table cannot be read: {error}") from None
        names = [definition.get("name") for definition in definitions]
        self.columns = tuple(name if isinstance(name, str) else "" for name in names)

    def _reduced(self, document: bytes, members: dict[str, Span]) -> bytes:
        """A whole list, or Table, reduced to what is shown. A Status names no objects."""
        if is_status(document, members):
            if not members.keys().isdisjoint(COLLECTIONS):
                raise Unreadable("it is a Status that has objects")
            return self.status(document)
        if is_table(document, members):
            return self.table(document, self.rows)
        if "items" not in members:
            raise Unreadable("it is no list, and no Table either")
        return self._with(document, _collection(document, "items"), self.items, self.frame(document, "items"))

    def _with(
        self,
        document: bytes,
        collection: Span | None,
        batch: Callable[[list[Raw], bytes], bytes],
        cut: tuple[Span, ...] = (),
    ) -> bytes:
        """The document with its list made into what `batch` says, and without what is cut."""
        changed: list[tuple[Span, bytes]] = [(span, b"") for span in cut]
        if collection is not None and is_list(document, collection):
            whole = document[slice(*collection)]
            changed.append((collection, b"[%b]" % batch(_elements(whole), whole[1:-1])))
        return spliced(document, sorted(changed))

    def _joined(self, shown: list[Raw], mask: Callable[[bytes], bytes]) -> bytes:
        if self._anywhere is None and not self._varies:
            return b",".join(shown)
        return b",".join([mask(bytes(one)) for one in shown])

    def _row(self, row: bytes) -> bytes:
        members = top_of(row)
        inner = value_of(row, members.get("object"))
        plan = self._plan(inner)
        if plan is None:
            return row
        changed: list[tuple[Span, bytes]] = []
        if inner != b"null":
            changed.append((members["object"], self.object(inner)))
        if "cells" in members:
            changed.append((members["cells"], self._cells(value_of(row, members["cells"]), plan)))
        return spliced(row, sorted(changed))

    def _cells(self, cells: bytes, plan: Plan) -> bytes:
        if not is_list(cells, (0, len(cells))):
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


def _collection(document: bytes, key: str) -> Span | None:
    """Where the objects of a list stand; None where there are none. Raises Unreadable for what is no list of them."""
    found = top_of(document).get(key)
    if value_of(document, found) == b"null":
        return None
    if not is_list(document, found):
        raise Unreadable("there is something else where the objects of a list should be")
    return found


def _objects(plan: Plan) -> Place | None:
    return plan.objects


def _status(plan: Plan) -> Place | None:
    return plan.status


def _where(document: bytes) -> Where:
    """Where an object is. Raises Unreadable where two readers could read it differently."""
    metadata = value_of(document, members_of(document).get("metadata")) if document.startswith(b"{") else b"null"
    if not metadata.startswith(b"{"):
        return ANYWHERE
    members = members_of(metadata)
    namespace, name = (
        value_of(metadata, members.get(key)) if key in members else b'""' for key in ("namespace", "name")
    )
    if not (namespace.startswith(b'"') and name.startswith(b'"')):
        return ANYWHERE
    return Where(orjson.loads(namespace), orjson.loads(name))


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
