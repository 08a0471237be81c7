"""What a gate finds in its store when it starts: ends that came while it was away are written down, old ones go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.contract.test_store_approvals import a_question
from tests.contract.test_store_tasks import a_task
from tests.e2e.echo import Echo
from tests.e2e.gate import Gate
from tests.e2e.rules import allow

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

DAY = 86_400.0


@contextmanager
def store_of(gate: Gate) -> Iterator[Store]:
    gate.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store("", gate.data_dir)
    try:
        yield store
    finally:
        store.close()


def ended(name: str, at: float) -> Task:
    task = a_task(name, credential_hash=name.encode(), requested_at=at - 60, lapses_at=at + 60)
    return task.after(TaskEvent.ACTIVATED, at - 60).after(TaskEvent.COMPLETED, at)


def test_what_lapsed_is_written_down_and_what_was_over_for_long_enough_goes(echo: Echo, tmp_path: Path) -> None:
    now = time.time()
    gate = Gate(tmp_path / "gate", [echo.cluster("echo")], settings={"retention": {"tasks": "3d"}})
    gate.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [allow("none", "get", "pods", "none")])
    with store_of(gate) as store:
        for name, days in (("old", 4), ("recent", 2)):
            store.tasks.add(ended(name, now - days * DAY), by="agent:bot", at=now - days * DAY)
            asked_at = now - days * DAY
            question = a_question(
                name, digest=name, state=ApprovalState.DENIED, asked_at=asked_at, lapses_at=asked_at + 60
            )
            store.approvals.add(question, by="agent:bot", at=now - days * DAY)
        waits = msgspec.structs.replace(a_task("waits", requested_at=now - 60, lapses_at=now - 1), credential_hash=b"")
        store.tasks.add(waits, by="agent:bot", at=now - 60)
        store.approvals.add(
            a_question("waits", digest="", task="waits", asked_at=now - 60, lapses_at=now - 1), by="x", at=now
        )
    gate.start()
    try:
        with store_of(gate) as store:
            gate.wait_until(lambda: store.tasks.get("waits").state is TaskState.LAPSED, "the task has lapsed")
            gate.wait_until(lambda: store.approvals.get("waits").state is ApprovalState.LAPSED, "so has its question")
            gate.wait_until(lambda: len(store.tasks.listed()) == 2, "the old one is gone")
            gate.wait_until(lambda: len(store.approvals.listed()) == 2, "so is its question")
            assert {task.id for task in store.tasks.listed()} == {"waits", "recent"}
            assert {question.id for question in store.approvals.listed()} == {"waits", "recent"}
            # Whoever is told of changes is told for a month, however short tasks are kept.
            assert "old" in {change.subject for change in store.changes()}
    finally:
        gate.stop()
