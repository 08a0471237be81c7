"""Which objects of a list or a watch leave: those that their reader may see, and what stands around them.

An object is told by the namespace and the name in its metadata, a row of a Table by those of the object that it
carries. One that does not say its name is Unreadable: whether it may be seen cannot be told. What stands around the
objects must be what Kubernetes writes there (k8s.io/apimachinery/pkg/apis/meta/v1/types.go: `ListMeta`, `Table`), for
it leaves as it is, but for `remainingItemCount`, which counts what is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from msgspec import Raw

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.json_frames import is_table, text_of, top_of, value_of
from narrowgate.wire.json_spans import Span, Unreadable, members_of, values_of

_AROUND: Final = {
    "items": frozenset({"kind", "apiVersion", "metadata", "items"}),
    "rows": frozenset({"kind", "apiVersion", "metadata", "columnDefinitions", "rows"}),
}
_EMPTY: Final = (b"null", b'""')
_NULL: Final = Raw(b"null")


class ShownObjects:
    """What of one answer leaves."""

    def __init__(self, shows: Callable[[Where], bool]) -> None:
        """`shows` is asked once for each object."""
        self._shows = shows

    def holds(self, document: bytes | Raw) -> bool:
        """Whether this object leaves. Raises Unreadable where it does not say which one it is."""
        return self._shows(place_of(document))

    def holds_row(self, row: bytes | Raw) -> bool:
        """Whether this row of a Table leaves. Raises Unreadable where it has no object that says which one it is."""
        return self._shows(place_of(_object_of(row)))

    def require_bookmark(self, document: bytes | Raw) -> None:
        """Raise Unreadable for a bookmark's object, or row, that is about a hidden object. It should be about none."""
        place = _named(document)
        if place is not None and not self._shows(place):
            raise Unreadable("a bookmark of the watch names an object")

    def require_bookmark_row(self, row: bytes | Raw) -> None:
        """See `require_bookmark`."""
        self.require_bookmark(_object_of(row))


def place_of(document: bytes | Raw) -> Where:
    """Where an object is, its namespace empty where it is in none. Raises Unreadable where that cannot be told."""
    place = _named(document)
    if place is None:
        raise Unreadable("one of its objects does not say its name")
    return place


def around_shown(frame: bytes, key: str) -> tuple[Span, ...]:
    """What does not leave of a list that has nothing under its key, as spans. Raises Unreadable for what is no list of
    `items` and no Table of `rows`, or goes on in a next part: that would be one of a longer list than is shown.
    """
    members = top_of(frame)
    for member in members:
        if member not in _AROUND[key]:
            raise Unreadable(f"a list that is reduced has a member {member[:40]!r}")
    if {"kind", "apiVersion"} <= members.keys() and is_table(frame, members) != (key == "rows"):
        raise Unreadable(f"it is a {text_of(frame, members['kind'])[:40]!r} of {key}")
    span = members.get("metadata")
    metadata = value_of(frame, span)
    if span is None or metadata == b"null":
        return ()
    if not metadata.startswith(b"{"):
        raise Unreadable("the metadata of the list is no object")
    inner = members_of(metadata)
    if value_of(metadata, inner.get("continue")) not in _EMPTY:
        raise Unreadable("it goes on in a next part, which was not asked for")
    if "remainingItemCount" not in inner:
        return ()
    start, end = _member(metadata, inner, "remainingItemCount")
    return ((span[0] + start, span[0] + end),)


def _member(container: bytes, members: dict[str, Span], key: str) -> Span:
    """Where a member and the comma that parts it from its neighbours begin and end."""
    names = list(members)
    at = names.index(key)
    if at:
        return members[names[at - 1]][1], members[key][1]
    if len(names) > 1:
        return 1, container.index(b",", members[key][1]) + 1
    return 1, len(container) - 1


def _named(document: bytes | Raw) -> Where | None:
    """Where an object is; None where it has no name."""
    metadata = values_of(document).get("metadata")
    if metadata is None or metadata == _NULL:
        return None
    members = values_of(metadata)
    name = _text(members.get("name"))
    return Where(_text(members.get("namespace")), name) if name else None


def _text(value: Raw | None) -> str:
    if value is None:
        return ""
    written = bytes(value)
    if written[:1] != b'"':
        raise Unreadable("the name or namespace of one of its objects is no text")
    text: str = written[1:-1].decode() if b"\\" not in written else orjson.loads(written)
    return text


def _object_of(row: bytes | Raw) -> Raw:
    """The object that a row of a Table is about. Raises Unreadable where there is none."""
    found = values_of(row).get("object")
    if found is None:
        raise Unreadable("a row of the table does not say what it is about")
    return found
