"""What is found in the checkpoints themselves."""

from __future__ import annotations

from pathlib import Path

from tests.unit.trail.sealed import SIGNER, STRANGER, Trail

from narrowgate.trail.findings import Trouble
from narrowgate.trail.verify import verify


def test_missing_checkpoints_are_found(trail: Trail) -> None:
    (trail.folder / "checkpoints.jsonl").unlink()
    assert trail.found() == [(Trouble.MISSING_CHECKPOINTS, "checkpoints.jsonl", None, None)]


def test_another_key_makes_every_signature_bad(trail: Trail) -> None:
    report = verify(trail.folder, STRANGER.verifier)
    assert {problem.trouble for problem in report.problems} >= {Trouble.BAD_SIGNATURE}
    assert not report.content


def test_a_changed_checkpoint_is_named(trail: Trail) -> None:
    path = trail.folder / "checkpoints.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":7'))
    assert (Trouble.BAD_SIGNATURE, "checkpoints.jsonl", 2, None) in trail.found()


def test_a_copy_of_the_checkpoints_shows_what_a_matching_cut_of_both_files_hides(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trail")
    copy = tmp_path / "copy.jsonl"
    own = tmp_path / "trail" / "checkpoints.jsonl"
    copy.write_bytes(own.read_bytes())
    own.write_bytes(b"".join(own.read_bytes().splitlines(keepends=True)[:2]))
    trail.file(3).unlink()
    trail.write(2, trail.lines(2)[:4])
    assert trail.found() == []
    report = verify(trail.folder, SIGNER.verifier, checkpoints=copy)
    assert sorted(problem.trouble.value for problem in report.problems) == ["cut tail", "cut tail"]
