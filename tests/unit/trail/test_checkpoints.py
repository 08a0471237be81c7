"""How checkpoints are added, and to which files."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.sealed import SIGNER, STRANGER, Trail

from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.journal import TrailDamaged


def test_a_checkpoint_of_somebody_else_is_not_carried_on(trail: Trail) -> None:
    with pytest.raises(TrailDamaged, match="not signed with this gate's key"):
        Checkpoints(trail.folder, STRANGER).add(trail.journal.head)


@pytest.mark.parametrize("text", ["my shopping list\n", "milk", "bread\nmilk"])
def test_a_copy_that_is_no_file_of_checkpoints_is_not_written_to(trail: Trail, tmp_path: Path, text: str) -> None:
    copy = tmp_path / "notes.txt"
    copy.write_text(text)
    with pytest.raises(TrailDamaged, match=r"notes\.txt: the last line is no checkpoint"):
        Checkpoints(trail.folder, SIGNER, copy_to=copy).add(trail.journal.head)
    assert copy.read_text() == text


def test_a_copy_begun_late_gets_all_that_is_there(trail: Trail, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    Checkpoints(trail.folder, SIGNER, copy_to=copy).add(trail.journal.head)
    assert copy.read_bytes() == (trail.folder / "checkpoints.jsonl").read_bytes()
