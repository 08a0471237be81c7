"""Questions whose time is over are written down as lapsed, and no others."""

from __future__ import annotations

from pathlib import Path

from tests.contract.test_store_approvals import a_question, answered_yes

from narrowgate.core.approvals import ApprovalState
from narrowgate.main.approval_ends import ApprovalEnds
from narrowgate.store.sqlite import SQLiteStore


def test_what_nobody_answered_or_used_in_time_lapses_and_the_rest_stays(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gate.db")
    store.approvals.add(a_question("waits"), by="x", at=1_000.0)
    store.approvals.add(answered_yes(a_question("unused")), by="x", at=1_000.0)
    later = a_question("later", lapses_at=1_301.0)
    store.approvals.add(later, by="x", at=1_000.0)
    ApprovalEnds(store).sweep(1_299.9)
    assert len(store.approvals.open()) == 3
    ApprovalEnds(store).sweep(1_300.0)
    assert store.approvals.open() == (later,)
    waits = store.approvals.get("waits")
    assert (waits.state, waits.ended_at) == (ApprovalState.LAPSED, 1_300.0)
    assert store.changes()[0].by == "gate"
    store.close()
