"""The steps from an old database to this version's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from narrowgate.store import tables
from narrowgate.store.migrations import STEPS
from narrowgate.store.port import StoreUnavailable
from narrowgate.store.sqlite import SQLiteStore


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


def test_a_database_of_this_version_is_not_migrated_again(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    SQLiteStore(path).close()
    before = path.read_bytes()
    SQLiteStore(path).close()
    assert path.read_bytes() == before
