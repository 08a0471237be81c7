"""What a recording may do to the terminal of whoever plays it: draw, and nothing else."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrowgate.core.safe_terminal import LONGEST_SEQUENCE, SafeTerminal

DRAWING = [
    "plain text\r\n\tgr\u00fcn \u4e16 \U0001f600",
    "\x1b[31mred\x1b[0m \x1b[1;38;5;208mx\x1b[38;2;1;2;3m\x1b[4:3m",
    "\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[1A\x1b[5B\x1b[C\x1b[D\x1b[3G\x1b[4d",
    "\x1b[?1049h\x1b[?25l\x1b[1;24r\x1b[2L\x1b[3M\x1b[4P\x1b[5@\x1b[2S\x1b[T\x1b[?25h\x1b[?1049l",
    "\x1b7\x1b8\x1bM\x1bD\x1b(0lqk\x1b(B\x1b[s\x1b[u\x1b[4h\x1b[4l",
]
BEYOND = [
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]52;c;?\x1b\\",
    "\x1b]0;title\x07",
    "\x1b]2;title\x1b\\",
    "\x1b]8;;http://evil.example/\x07",
    "\x1b]1337;File=name=eA==:eA==\x07",
    "\x1b]50;font\x07",
    "\x9d52;c;ZXZpbA==\x9c",
    "\x1bP$qm\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x1b_Ga=T;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstring\x1b\\",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[=c",
    "\x1b[5n",
    "\x1b[6n",
    "\x1b[?6n",
    "\x1b[?1$p",
    "\x1b[18t",
    "\x1b[21t",
    "\x1b[8;100;100t",
    "\x1b[?1000h",
    "\x1b[?1002;1006h",
    "\x1b[?1004h",
    "\x1b[?2004h",
    "\x1b[?1h",
    "\x1b[?1;25h",
    "\x1b[>4;2m",
    "\x1b[>1u",
    "\x1b[?u",
    "\x1b[1;2;3;4;5T",
    "\x1b[3J",
    "\x1b[5i",
    "\x1b[?5i",
    "\x1b[0x",
    "\x1b[!p",
    "\x1b[20;1R",
    "\x1bc",
    "\x1bZ",
    "\x1b=",
    "\x1b>",
    "\x1b%G",
    "\x1b[99999999A",
    "\x1b[9999b",
    "\x1b[" + "1;" * LONGEST_SEQUENCE + "m",
    "\x05",
    "\x07",
    "\x00\x7f\x11\x13",
    "\x9b5n",
]


def shown(*pieces: bytes, text_only: bool = False) -> str:
    terminal = SafeTerminal(text_only=text_only)
    return "".join(terminal.feed(piece) for piece in pieces) + terminal.finish()


@pytest.mark.parametrize("text", DRAWING)
def test_what_draws_passes_as_it_is(text: str) -> None:
    assert shown(text.encode()) == text


@pytest.mark.parametrize("text", BEYOND)
def test_what_reaches_beyond_the_screen_is_left_out_and_nothing_else_with_it(text: str) -> None:
    assert shown(f"before{text}after".encode()) in ("beforeafter", "before52;c;ZXZpbA==after", "before5nafter")
    assert "\x1b" not in shown(f"before{text}after".encode())


def test_a_sequence_within_another_does_not_get_through() -> None:
    assert shown(b"\x1b]0;a\x1b]52;c;eA==\x07b") == "b"
    assert shown(b"\x1b[\x1b]52;c;eA==\x07b") == "b"
    assert shown(b"\x1b\x1b]52;c;eA==\x07b") == "b"
    assert shown(b"\x1bP\x1b[31mred") == "\x1b[31mred"
    assert shown(b"\x1b[3\x001mred") == "\x1b[31mred"


def test_a_string_without_end_hides_what_follows_and_holds_nothing() -> None:
    terminal = SafeTerminal()
    assert all(terminal.feed(b"x" * 100_000) == "" for _ in range(3) if terminal.feed(b"\x1b]0;") == "")
    assert terminal.feed(b"\x18shown") == "shown"


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert shown(b"\xff\x9b31m\xc3") == "\ufffd\ufffd31m\ufffd"


def test_a_character_that_was_cut_is_whole_again() -> None:
    assert shown(b"\xe4\xb8", b"\x96") == "\u4e16"


def test_only_text_is_left_where_only_text_is_wanted() -> None:
    assert shown(b"\x1b[1mpa\x1b[0mnic\x1b]0;t\x07\x0e", text_only=True) == "panic"


ODD = st.lists(st.sampled_from([*DRAWING, *BEYOND, "\x1b", "[", "]", ";", "\x18", "1", "m"]), max_size=8)


@given(ODD, st.lists(st.integers(0, 400), max_size=6))
def test_where_it_is_cut_never_matters(parts: list[str], cuts: list[int]) -> None:
    data = "".join(parts).encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert shown(*pieces) == shown(data)


@given(st.binary(max_size=300))
def test_what_passes_holds_no_question_and_no_string(data: bytes) -> None:
    text = shown(b"\x1b" + data.replace(b"_", b"\x1b]"))
    assert not re.search(r"\x1b[\]PX^_Zc]|\x1b\[[^@-~]*[cntipqxy$](?<! q)|[\x00-\x07\x7f-\x9f]", text)


def test_what_is_safe_already_stays() -> None:
    for text in DRAWING:
        assert shown(shown(text.encode()).encode()) == text
