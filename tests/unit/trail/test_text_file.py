"""The file of the text index: its versions, who may read it, and its locks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.trail.texts import put_text

from narrowgate.core.recorded_text import Stream
from narrowgate.trail.text_file import LOCK, TEXT, Piece, TextUnusable, lock_of, packed, remove, unpacked
from narrowgate.trail.text_index import TextIndex


def test_a_file_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    TextIndex.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / TEXT)) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(TextUnusable, match="its format is 9"):
        TextIndex.open(tmp_path)


def test_a_file_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / TEXT)) as database:
        database.execute("CREATE TABLE pieces (id INTEGER PRIMARY KEY, recording TEXT, offset INTEGER, text TEXT)")
        database.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='pieces', tokenize='trigram')")
        database.execute("PRAGMA user_version = 1")
    put_text(tmp_path, "r1", "some text")
    with closing(TextIndex.open(tmp_path)) as texts:
        assert list(texts.holding("some text")) == ["r1"]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    with closing(TextIndex.open(tmp_path)), lock_of(tmp_path, LOCK):
        put_text(tmp_path, "r1", "text")
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / TEXT).write_bytes(b"no database" * 1000)
    with pytest.raises(TextUnusable, match=r"text\.db: the text index cannot be used"):
        TextIndex.open(tmp_path)


def test_what_is_removed_leaves_nothing(tmp_path: Path) -> None:
    put_text(tmp_path, "r1", "text")
    remove(tmp_path)
    remove(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with lock_of(tmp_path, LOCK) as first, lock_of(tmp_path, LOCK) as second:
        assert (first, second) == (True, False)
    with lock_of(tmp_path, LOCK) as third:
        assert third


def test_a_piece_is_read_as_it_was_stored_and_anything_else_is_none(tmp_path: Path) -> None:
    piece = Piece(Stream.ERRORS, "text \U0001f600", ((0, 5), (3, 1 << 60)))
    assert unpacked(packed(piece)) == piece
    for content in (b"", b"x", packed(piece)[:-3]):
        with pytest.raises(ValueError, match="no piece"):
            unpacked(content)
