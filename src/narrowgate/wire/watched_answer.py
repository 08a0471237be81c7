"""A watch in JSON, masked and reduced to what is shown: one event after the other, each as soon as it is whole.

An event takes one line, or several: then the first is its opening brace and the last its closing one, as they are
written for people (`pretty=true`). What the types of events mean is k8s.io/apimachinery/pkg/watch/watch.go.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from narrowgate.wire.answer import HeldBytes
from narrowgate.wire.answer_documents import Documents
from narrowgate.wire.json_frames import is_status, is_table, text_of, top_of, value_of
from narrowgate.wire.json_mask import WHITESPACE, check
from narrowgate.wire.json_spans import Span, Unreadable, members_of, spliced
from narrowgate.wire.shown_objects import ShownObjects

_elements = msgspec.json.Decoder(list[Raw]).decode


class WatchedAnswer:
    """The events of one watch (see `MaskedAnswer`)."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._shown = ShownEvents(documents, documents.shown) if documents.shown is not None else None
        self._parts = HeldBytes()
        self._lines = HeldBytes()
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
        members = top_of(event)
        inner = members.get("object")
        if inner is None:
            raise Unreadable("an event of the watch has no object")
        if self._shown is not None:
            return self._shown.event(event, members)
        return spliced(event, [(inner, self._documents.document(event[slice(*inner)]))])


class ShownEvents:
    """The events of a watch whose reader may not see all objects: those about hidden ones leave nothing behind."""

    def __init__(self, documents: Documents, shown: ShownObjects) -> None:
        self._documents = documents
        self._shown = shown
        self._columns = b"null"
        """The columns of its Table, until an event with them has left: only the first that comes has them
        (k8s.io/apiserver/pkg/endpoints/handlers/response.go), and that one may be hidden."""

    def event(self, event: bytes, members: dict[str, Span]) -> bytes:
        """One whole event; nothing where it is about what is hidden. Raises Unreadable."""
        if members.keys() != {"type", "object"}:
            raise Unreadable("an event of the watch has more than a type and an object")
        span = members["object"]
        document = event[slice(*span)]
        kind = text_of(event, members["type"])
        match kind:
            case "ADDED" | "MODIFIED" | "DELETED":
                left = self._changed(document)
            case "BOOKMARK":
                left = self._bookmark(document)
            case "ERROR":
                left = self._error(document)
            case _:
                raise Unreadable(f"an event of the watch is of the type {kind[:40]!r}, which is not known")
        return b"" if left is None else spliced(event, [(span, left)])

    def _changed(self, document: bytes) -> bytes | None:
        if is_table(document, top_of(document)):
            return self._table(document)
        return self._documents.document(document) if self._shown.holds(document) else None

    def _table(self, document: bytes) -> bytes | None:
        """A Table's event: its rows that are shown; None where there are none."""
        columns = members_of(document).get("columnDefinitions")
        if (written := value_of(document, columns)) != b"null":
            self._columns = written
        reduced = self._documents.table(document, self._documents.rows)
        members = members_of(reduced)
        if value_of(reduced, members.get("rows")) in (b"[]", b"null"):
            return None
        left, self._columns = self._columns, b"null"
        if left == b"null" or written != b"null" or columns is None:
            return reduced
        return spliced(reduced, [(members["columnDefinitions"], left)])

    def _bookmark(self, document: bytes) -> bytes:
        members = top_of(document)
        if not is_table(document, members):
            self._shown.require_bookmark(document)
            return self._documents.document(document)
        rows = value_of(document, members.get("rows"))
        for row in _elements(rows) if rows != b"null" else ():
            self._shown.require_bookmark_row(bytes(row))
        if value_of(document, members.get("columnDefinitions")) != b"null":
            self._columns = b"null"
        return self._documents.table(document, self._documents.all_rows)

    def _error(self, document: bytes) -> bytes:
        if not is_status(document, top_of(document)):
            raise Unreadable("an event of the watch that says what went wrong is no Status")
        return self._documents.status(document)
