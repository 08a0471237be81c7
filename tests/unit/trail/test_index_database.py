"""Files of indexes: private from the first, all or nothing, and gone without a trace."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from narrowgate.trail.index_database import make_private, remove_file, transaction


def test_a_file_is_its_owners_alone_before_anything_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    make_private(path)
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (0o600, b"")


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as database:
        with transaction(database):
            database.execute("CREATE TABLE facts (name TEXT)")
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            _write_half(database)
        assert database.execute("SELECT count(*) FROM facts").fetchone() == (0,)


def _write_half(database: sqlite3.Connection) -> None:
    with transaction(database):
        database.execute("INSERT INTO facts VALUES ('half')")
        database.execute("INSERT INTO nowhere VALUES ('the rest')")


def test_a_removed_file_takes_with_it_what_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE facts (name TEXT)")
        assert len(list(tmp_path.iterdir())) == 3
        remove_file(path)
        assert list(tmp_path.iterdir()) == []
    remove_file(path)
