"""The pictures in the documents are the tables in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.core.approvals import APPROVAL_TRANSITIONS, ApprovalState
from narrowgate.core.state_picture import mermaid
from narrowgate.core.tasks import TASK_TRANSITIONS, TaskState

DOCUMENT = Path(__file__).parents[3] / "docs" / "tasks.md"


@pytest.mark.parametrize(
    "picture",
    [mermaid(TASK_TRANSITIONS, TaskState.REQUESTED), mermaid(APPROVAL_TRANSITIONS, ApprovalState.PENDING)],
    ids=["tasks", "approvals"],
)
def test_the_document_shows_the_table(picture: str) -> None:
    assert f"```mermaid\n{picture}```\n" in DOCUMENT.read_text()


def test_a_picture_has_every_state_and_every_way_out() -> None:
    picture = mermaid(TASK_TRANSITIONS, TaskState.REQUESTED)
    assert all(state.value in picture for state in TaskState)
    assert picture.count("--> [*]") == 5
    assert "active --> [*]" not in picture
