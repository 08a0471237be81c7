"""What is SQLite's own about the SQLite store; what every store does is in tests/contract/test_store.py."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from narrowgate.store import tables
from narrowgate.store.migrations import STEPS
from narrowgate.store.open import open_store
from narrowgate.store.port import StoreUnavailable
from narrowgate.store.sqlite import SQLiteStore


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
    with closing(SQLiteStore(path)) as store, store._reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL is 2"
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_the_migrations_make_the_tables_that_the_queries_expect(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "migrated.db").close()
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    declared = create_engine("sqlite://")
    tables.metadata.create_all(declared)

    def shape(engine: object) -> dict[str, object]:
        seen = inspect(engine)
        return {
            table: (
                [(column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(table)],
                seen.get_pk_constraint(table)["constrained_columns"],
                sorted(tuple(unique["column_names"]) for unique in seen.get_unique_constraints(table)),
                sorted((index["name"], *index["column_names"]) for index in seen.get_indexes(table)),
            )
            for table in seen.get_table_names()
        }

    try:
        assert shape(migrated) == shape(declared)
    finally:
        migrated.dispose()
        declared.dispose()


def test_a_newer_schema_is_refused_by_its_number_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    SQLiteStore(path).close()
    newer = len(STEPS) + 1
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE narrowgate_schema SET version = ?", (newer,))
    with pytest.raises(StoreUnavailable, match=f"schema {newer}"):
        SQLiteStore(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT version FROM narrowgate_schema").fetchall() == [(newer,)]


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


@pytest.mark.parametrize(
    ("url", "says"),
    [("postgresql://db/gate", "not in this version"), ("mongo:x", '"mongo:x"'), ("sqlite:", "sqlite:<file>")],
)
def test_a_store_that_this_version_has_not_is_refused_in_words(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says):
        open_store(url, tmp_path)


def test_without_a_url_the_store_is_in_the_data_folder(tmp_path: Path) -> None:
    open_store("", tmp_path).close()
    assert (tmp_path / "gate.db").exists()
