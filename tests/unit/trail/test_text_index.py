"""Text of recordings: what is found, where, and that the lists of three characters are never the last word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.trail.texts import BEGAN, put_text

from narrowgate.trail.text_file import OVERLAP, PIECE
from narrowgate.trail.text_index import TextCounts, TextIndex, TextUnusable


@pytest.fixture
def texts(tmp_path: Path) -> Iterator[TextIndex]:
    opened = TextIndex.open(tmp_path)
    yield opened
    opened.close()


def sessions(texts: TextIndex, text: str) -> list[str]:
    return [session for session, number in texts.holding(text).items() if texts.find(number, text) is not None]


def test_a_text_is_found_whatever_its_case_and_marks(texts: TextIndex, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", 'root@db:~# echo "50% OFF*" | tee -- x\n')
    for text in ('"50% off*"', "ROOT@DB", "| tee --", " x\n", "~# "):
        assert sessions(texts, text) == ["r1"]
    for text in ("50%off", "echo OR", "db NOT x"):
        assert sessions(texts, text) == []


def test_runs_that_are_all_there_but_not_together_are_no_hit(texts: TextIndex, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "abcd bcde\n")
    assert list(texts.holding("abcde")) == ["r1"]
    assert sessions(texts, "abcde") == []


def test_where_a_recording_was_cut_never_matters(texts: TextIndex, tmp_path: Path) -> None:
    whole = "".join(f"line {number:04d} of it\n" for number in range(200))
    put_text(tmp_path, "r1", *whole[:300], whole[300:])
    for start in range(0, 500, 7):
        assert sessions(texts, whole[start : start + OVERLAP + 1]) == ["r1"]


def test_a_long_text_is_found_across_its_pieces_with_its_time(texts: TextIndex, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "a" * (PIECE - 3), "needle", "b" * PIECE + "end of it")
    (number,) = texts.holding("needle").values()
    for text, seconds in (("needle", 1.0), ("aneedleb", 0.0), ("leb", 1.0), ("end of it", 2.0)):
        place = texts.find(number, text)
        assert place is not None
        assert place.seconds == seconds


def test_a_hit_shows_its_line(texts: TextIndex, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "before\n", "a kernel panic was seen\n", "behind\n")
    (number,) = texts.holding("panic").values()
    place = texts.find(number, "PANIC")
    assert place is not None
    assert (place.seconds, place.stream, place.line) == (1.0, "output", "a kernel panic was seen")


def test_two_recordings_are_no_one_text(texts: TextIndex, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "one ")
    put_text(tmp_path, "r2", "two")
    assert list(texts.holding("one two")) == []


def test_the_newest_so_many_are_told_in_whatever_order_they_came(texts: TextIndex, tmp_path: Path) -> None:
    for second in (3, 1, 4, 0, 2):
        put_text(tmp_path, f"r{second}", "same same", began=BEGAN + second * 1_000_000)
    assert list(texts.holding("same", limit=3)) == ["r4", "r3", "r2"]


def test_many_may_begin_in_one_second(texts: TextIndex, tmp_path: Path) -> None:
    for number in range(50):
        put_text(tmp_path, f"r{number}", "same same")
    assert sorted(texts.holding("same")) == sorted(f"r{number}" for number in range(50))
    assert texts.counts() == TextCounts(searched=50)


@pytest.mark.parametrize("text", ["", "ab", "x" * 257, "a\0b"])
def test_what_cannot_be_looked_for_is_refused(texts: TextIndex, text: str) -> None:
    with pytest.raises(ValueError, match="3 to 256"):
        texts.holding(text)


def test_what_is_no_unicode_stands_nowhere(texts: TextIndex, tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "some text")
    with pytest.raises(TextUnusable, match="no Unicode"):
        texts.holding("abc\udcff")
