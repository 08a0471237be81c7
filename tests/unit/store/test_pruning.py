"""What an older version wrote goes, too; what every store must do is in tests/contract/test_store_pruning.py."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.contract.test_store_tasks import a_task

from narrowgate.core.tasks import TaskEvent
from narrowgate.store.sqlite import SQLiteStore


def test_a_task_whose_end_was_not_kept_by_itself_goes_by_when_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    store = SQLiteStore(path)
    store.tasks.add(a_task("old").after(TaskEvent.LAPSED, 1_300.0), by="agent:bot", at=1_000.0)
    store.tasks.add(a_task("waits", credential_hash=b"2"), by="agent:bot", at=1_000.0)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE tasks SET ended_at = NULL")
    try:
        assert store.pruning.tasks(1_000.25, 10) == 0
        assert store.pruning.tasks(1_000.26, 10) == 1
        assert [task.id for task in store.tasks.listed()] == ["waits"]
    finally:
        store.close()
