"""What is over goes after the time that the operator says, and not before; lists of changes are kept for a month."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.test_store_approvals import a_question
from tests.contract.test_store_tasks import a_task

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.tasks import TaskEvent
from narrowgate.main.retention import BATCH, LEAST_LISTED, Retention
from narrowgate.store.port import Store
from narrowgate.store.sqlite import SQLiteStore

DAYS = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = SQLiteStore(tmp_path / "gate.db")
    yield opened
    opened.close()


def test_it_goes_after_so_long_and_not_before(store: Store) -> None:
    store.tasks.add(a_task().after(TaskEvent.LAPSED, 1_300.0), by="x", at=1_000.0)
    store.approvals.add(a_question("q", state=ApprovalState.DENIED), by="x", at=1_000.0)
    retention = Retention(store, 2 * DAYS)
    assert retention.prune(1_300.0 + 2 * DAYS) is False
    assert len(store.tasks.listed()) == len(store.approvals.listed()) == 1
    retention.prune(1_301.0 + 2 * DAYS)
    assert store.tasks.listed() == store.approvals.listed() == ()
    # Somebody may still have to be told what happened to them.
    assert len(store.changes()) == 2
    retention.prune(1_001.0 + LEAST_LISTED)
    assert len(store.changes()) == 1


def test_more_than_a_batch_is_told_so_that_the_rest_goes_soon(store: Store) -> None:
    for number in range(BATCH + 1):
        made = a_task(f"t{number}", credential_hash=b"%d" % number)
        store.tasks.add(made.after(TaskEvent.LAPSED, 1_300.0), by="x", at=1_000.0)
    retention = Retention(store, 2 * DAYS)
    assert retention.prune(2_000.0 + 2 * DAYS) is True
    assert retention.prune(2_000.0 + 2 * DAYS) is False
    assert store.tasks.listed() == ()
