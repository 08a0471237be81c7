"""Texts from outside on one line, without anything that acts on a screen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.control.notifications.printable_text import MOST_ITEMS, printable, printable_document


@given(st.text())
def test_whatever_is_written_is_printable_and_on_one_line(text: str) -> None:
    shown = printable(text, 50)
    assert shown.isprintable()
    assert len(shown) <= 50 * 10 + 3


def test_plain_text_stays_and_the_rest_is_named() -> None:
    assert printable("für alle") == "für alle"
    assert printable("a\nb\x00\u202e") == "a b\\x00\\u202e"
    assert printable("x" * 9, 4) == "xxxx..."


def test_documents_are_made_fit_all_the_way_down() -> None:
    made = printable_document({"a\n": ["x\ty", {"b": "\x1b"}], "n": 1, "t": ("q",) * 500})
    assert made["a "] == ["x y", {"b": "\\x1b"}]
    assert made["n"] == 1
    assert len(made["t"]) == MOST_ITEMS
