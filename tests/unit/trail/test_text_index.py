"""Text of recordings: what is found, where it was cut, and what is forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from narrowgate.trail.text_index import OVERLAP, PIECE, TEXT, Hit, TextIndex, TextUnusable


@pytest.fixture
def texts(tmp_path: Path) -> Iterator[TextIndex]:
    opened = TextIndex.open(tmp_path)
    yield opened
    opened.close()


def test_a_text_is_found_whatever_its_case_and_marks(texts: TextIndex) -> None:
    texts.add_text("r1", 0, 'root@db:~# echo "50% OFF*" | tee -- x\r\n')
    for text in ('"50% off*"', "ROOT@DB", "| tee --", "x\r\n", "~# "):
        assert texts.holding(text) == {"r1": Hit("r1", 0)}
    for text in ("50%off", "echo OR", "db NOT x"):
        assert texts.holding(text) == {}


def test_where_a_recording_was_cut_never_matters(texts: TextIndex) -> None:
    whole = "".join(f"line {number:04d} of it\n" for number in range(200))
    for number, letter in enumerate(whole[:300]):
        texts.add_text("r1", number, letter)
    texts.add_text("r1", 300, whole[300:])
    for start in range(0, 500, 7):
        assert set(texts.holding(whole[start : start + OVERLAP + 1])) == {"r1"}


def test_a_long_text_is_found_across_its_pieces(texts: TextIndex) -> None:
    texts.add_text("r1", 5, "a" * (PIECE - 3) + "needle" + "b" * PIECE)
    assert texts.holding("needle") == {"r1": Hit("r1", 5)}


def test_two_recordings_are_no_one_text(texts: TextIndex) -> None:
    texts.add_text("r1", 0, "one ")
    texts.add_text("r2", 0, "two")
    assert texts.holding("one two") == {}


def test_the_newest_so_many_are_told(texts: TextIndex) -> None:
    for number in range(5):
        texts.add_text(f"r{number}", 0, "same same")
    assert list(texts.holding("same", limit=3)) == ["r4", "r3", "r2"]


def test_what_is_forgotten_is_found_no_more_and_nothing_else_is(texts: TextIndex) -> None:
    for name in ("r1", "r2"):
        texts.add_text(name, 0, "hello ")
        texts.add_text(name, 6, "world")
    texts.forget("r1")
    texts.forget("r1")
    assert set(texts.holding("hello world")) == {"r2"}
    texts.add_text("r1", 11, "anew")
    assert texts.holding("worldanew") == {}


@pytest.mark.parametrize("text", ["", "ab", "x" * 257, "a\0b"])
def test_what_cannot_be_looked_for_is_refused(texts: TextIndex, text: str) -> None:
    with pytest.raises(ValueError, match="3 to 256"):
        texts.holding(text)


def test_a_file_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    TextIndex.open(tmp_path).close()
    database = sqlite3.connect(tmp_path / TEXT)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(TextUnusable, match="its format is 9"):
        TextIndex.open(tmp_path)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    opened = TextIndex.open(tmp_path)
    opened.add_text("r1", 0, "text")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    opened.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_bytes(b"no database" * 1000)
    with pytest.raises(TextUnusable, match=r"text\.db: the text index cannot be used"):
        TextIndex.open(tmp_path)
