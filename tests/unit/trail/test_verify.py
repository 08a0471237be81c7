"""The verdict as a whole; what happened to single lines is in test_chain_check.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.sealed import SIGNER, Trail

from narrowgate.trail.findings import Trouble
from narrowgate.trail.verify import NoTrail, verify


def test_an_untouched_trail_is_content_and_counted(trail: Trail) -> None:
    report = trail.verify()
    assert report.content
    assert report.checkpoints == 3
    (journal,) = report.journals
    assert (journal.segments, journal.lines, journal.sealed_seq, journal.head.seq) == (3, 17, 17, 17)


def test_entries_after_the_last_checkpoint_are_chained_but_not_sealed(trail: Trail) -> None:
    trail.add(99)
    (journal,) = trail.verify().journals
    assert (journal.sealed_seq, journal.head.seq) == (17, 18)


def test_a_missing_journal_is_found(trail: Trail) -> None:
    for path in (trail.folder / "w0").iterdir():
        path.unlink()
    (trail.folder / "w0").rmdir()
    assert trail.found() == [(Trouble.MISSING_JOURNAL, "w0", None, None)]


def test_progress_ends_with_everything_read(trail: Trail) -> None:
    told: list[tuple[int, int]] = []
    report = verify(trail.folder, SIGNER.verifier, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (report.bytes, report.bytes)


@pytest.mark.parametrize("is_there", [True, False])
def test_no_trail_is_said_in_a_sentence(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "trail").mkdir()
    with pytest.raises(NoTrail, match="give the data folder of a gate"):
        verify(tmp_path / "trail", SIGNER.verifier)
