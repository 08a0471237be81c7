"""What it means that a text holds another one, and what is shown of it."""

from __future__ import annotations

import pytest

from narrowgate.core.text_matching import LONGEST_SHOWN, folded, line_around


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Kernel PANIC", "kernel panic"),
        ("ÄÖÜ", "äöü"),
        ("ΑΣ", "ας"),
        ("ΣΑ", "σα"),
        ("ДА", "да"),
        ("\u0130x", "\u0130X"),
    ],
)
def test_case_makes_no_difference(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("ss", "ß"), ("a", "ä"), ("a b", "a  b"), ("\u0130", "i")])
def test_everything_else_does(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_a_folded_text_is_as_long_as_it_was() -> None:
    every = "".join(chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000)
    assert len(folded(every)) == len(every)
    assert folded(folded(every)) == folded(every)
    assert [folded(letter) for letter in every] == list(folded(every))


def test_the_line_around_a_hit_is_shown() -> None:
    text = "one\n  two three \nfour"
    assert line_around(text, text.index("three"), 5) == "two three"
    assert line_around(text, 0, 3) == "one"
    assert line_around(text, text.index("four"), 4) == "four"


def test_a_hit_over_two_lines_shows_both() -> None:
    assert line_around("x\nab\ncd\ny", 3, 3) == "ab cd"


def test_a_long_line_is_cut_around_the_hit() -> None:
    text = "a" * 500 + "needle" + "b" * 500
    shown = line_around(text, 500, 6)
    assert "needle" in shown
    assert (shown[:3], shown[-3:], len(shown)) == ("...", "...", LONGEST_SHOWN + 6)
    assert line_around(text, 0, 3).startswith("aaa")
    assert line_around("x" * 300, 10, 256).count("x") >= 256
