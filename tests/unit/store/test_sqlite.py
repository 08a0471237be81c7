"""What is SQLite's own about the SQLite store; what every store does is in tests/contract/test_store.py."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import pytest

from narrowgate.store.port import StoreUnavailable
from narrowgate.store.sqlite import SQLiteStore
from narrowgate.store.sqlite_file import SQLiteFile


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "gate.db"
    with closing(SQLiteStore(path)) as store:
        store.add_revision([("a.yaml", "x")], by="a", at=1.0)
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["gate.db", "gate.db-shm", "gate.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_acknowledged_change_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    with closing(SQLiteFile(path)) as database, database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL is 2"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    path.write_text("this is a letter, not a database\n" * 100)
    with pytest.raises(StoreUnavailable, match=r"gate\.db: .*not a database; .*correct `store`"):
        SQLiteStore(path)
    assert path.read_text().startswith("this is a letter")


@pytest.mark.parametrize("make", ["folder", "file in the way"])
def test_a_path_that_cannot_hold_a_database_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x" / "gate.db"
    if make == "folder":
        path.mkdir(parents=True)
    else:
        (tmp_path / "x").write_text("")
    with pytest.raises(StoreUnavailable, match=r"^\S+gate\.db: the store cannot be used"):
        SQLiteStore(path)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_database_that_is_taken_away_stops_the_stamps(tmp_path: Path, how: str) -> None:
    path = tmp_path / "gate.db"
    with closing(SQLiteStore(path)) as store:
        store.change_stamp()
        path.rename(tmp_path / "elsewhere.db")
        if how == "replaced":
            SQLiteStore(path).close()
        with pytest.raises(StoreUnavailable, match="restart the gate"):
            store.change_stamp()
