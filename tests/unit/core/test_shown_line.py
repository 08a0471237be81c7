"""The line that a terminal shows, as a shell draws it while somebody edits, over one row or several."""

from __future__ import annotations

import pytest

from narrowgate.core.shown_line import LONGEST_SHOWN, ShownLine


def shown(drawn: bytes, *, width: int = 0, size: int = 0) -> str:
    line = ShownLine(width=width)
    step = size or len(drawn)
    for at in range(0, len(drawn), step):
        line.feed(drawn[at : at + step])
    return line.text.rstrip()


@pytest.mark.parametrize(
    ("drawn", "text"),
    [
        (b"$ ls", "$ ls"),
        (b"$ lx\b\x1b[Ks", "$ ls"),
        (b"$ ls\r\x1b[K# id", "# id"),
        (b"$ \x1b[1;31mls\x1b[0m", "$ ls"),
        (b"\x1b]0;title\x07$ ls", "$ ls"),
        (b"$ s\b\x1b[@l", "$ ls"),
        (b"$ xls\b\b\b\x1b[P", "$ ls"),
        (b"abc\x1b[2D\x1b[J", "a"),
        (b"abc\x1b[2K\rx", "x"),
        (b"abc\x1b[2Jx", "x"),
        (b"abc\x1b[2Gx", "axc"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_one_row_is_read_as_it_is_drawn(drawn: bytes, text: str, size: int) -> None:
    assert shown(drawn, size=size) == text


@pytest.mark.parametrize(
    ("drawn", "text"),
    [
        (b"$ 345678901234", "$ 345678901234"),
        (b"$ 34567890" + b"1\b1234", "$ 345678901234"),
        (b"$ 34567890" + b" \r1234", "$ 345678901234"),
        (b"$ 34567890" + b"\rx", "x 34567890"),
        (b"$ 34567890" + b"12\x1b[A\rx", "x 3456789012"),
        (b"$ 345678901234\x1b[A\r$ ls\x1b[K", "$ ls      1234"),
        (b"$ 345678901234\x1b[A\r$ ls\x1b[J", "$ ls"),
        (b"$ 345678901234\r\x1b[K\x1b[A\r$ ls\x1b[K", "$ ls"),
        (b"$ 345678901234\x1b[1GX", "$ 34567890X234"),
        (b"ab\x1b[Bc", "ab          c"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_line_over_several_rows_is_put_together(drawn: bytes, text: str, size: int) -> None:
    assert shown(drawn, width=10, size=size) == text


def test_without_a_width_it_is_one_row() -> None:
    assert shown(b"$ 34567890 \r1234\x1b[A\x1b[B") == "1234567890"


def test_another_width_counts_from_then_on() -> None:
    line = ShownLine()
    line.resized(4)
    line.feed(b"abcdef\rx")
    assert line.text == "abcdxf"
    assert line.next_line(b"").text == ""
    following = line.next_line(b"")
    following.feed(b"abcdef\rx")
    assert following.text == "abcdxf", "the next line has the same"


def test_no_line_grows_beyond_what_is_looked_at() -> None:
    line = ShownLine(width=80)
    for drawn in (b"x" * 10_000, b"\x1b[9999B\x1b[9999By", b"\x1b[9999@" * 50, b"\x1b[" + b"1" * 5000):
        line.feed(drawn)
    assert len(line.text) <= LONGEST_SHOWN


def test_the_screen_of_an_editor_is_known_from_what_passed() -> None:
    assert ShownLine().next_line(b"a\x1b[?1049hb").is_screen
    assert not ShownLine(is_screen=True).next_line(b"a\x1b[?47lb").is_screen
    assert ShownLine(is_screen=True).next_line(b"ab").is_screen
