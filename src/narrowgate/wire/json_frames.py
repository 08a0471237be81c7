"""What a JSON document says of itself at its top: its kind, its version, where its list begins and ends."""

from __future__ import annotations

from typing import Final

import msgspec

from narrowgate.wire.json_mask import WHITESPACE
from narrowgate.wire.json_spans import Span, Unreadable, members_of

TABLE_GROUP: Final = "meta.k8s.io/"
COLLECTIONS: Final = ("items", "rows")
"""Keys of what a list, or a Table, consists of."""


def top_of(document: bytes) -> dict[str, Span]:
    """The members of a document. Raises Unreadable where it is no JSON object."""
    body = document.strip(WHITESPACE)
    if body[:1] != b"{":
        raise Unreadable("it is not a JSON object")
    before = len(document) - len(document.lstrip(WHITESPACE))
    members = members_of(body)
    return members if not before else {key: (start + before, end + before) for key, (start, end) in members.items()}


def value_of(document: bytes, span: Span | None) -> bytes:
    """One member's bytes; `null` where there is none."""
    return b"null" if span is None else document[slice(*span)]


def is_list(document: bytes, span: Span | None) -> bool:
    """Whether that member is a list."""
    return span is not None and document.startswith(b"[", span[0])


def text_of(document: bytes, span: Span | None) -> str:
    """The text of a member; empty where it is none. Raises msgspec.DecodeError or ValueError for what is no Unicode."""
    written = value_of(document, span)
    return msgspec.json.decode(written, type=str) if written.startswith(b'"') else ""


def is_status(document: bytes, members: dict[str, Span]) -> bool:
    """Whether it says that it is a `metav1.Status`."""
    return text_of(document, members.get("kind")) == "Status" and text_of(document, members.get("apiVersion")) == "v1"


def is_table(document: bytes, members: dict[str, Span]) -> bool:
    """Whether it says that it is a `meta.k8s.io` Table."""
    version = text_of(document, members.get("apiVersion"))
    return text_of(document, members.get("kind")) == "Table" and version.startswith(TABLE_GROUP)
