"""Bytes that are held until a document is whole: in their order, and not without end."""

from __future__ import annotations

import pytest

from narrowgate.wire.answer import DOCUMENT_LIMIT, HeldBytes
from narrowgate.wire.json_spans import Unreadable


def test_what_is_held_is_taken_once() -> None:
    held = HeldBytes()
    held.add(b"a")
    held.add(b"b")
    assert (held.is_empty, held.take(), held.is_empty, held.take()) == (False, b"ab", True, b"")


def test_no_more_is_held_than_one_document_may_have() -> None:
    held = HeldBytes()
    held.add(b" " * DOCUMENT_LIMIT)
    with pytest.raises(Unreadable):
        held.add(b" ")
