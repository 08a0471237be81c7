"""Whether the trail is what the gate wrote: every line, every file, every head that a checkpoint names.

Here belongs the judging of what is on disk, streaming and without changing anything; a gate may write meanwhile. A
problem names its place. What cannot be known is said too: lines after the last checkpoint are chained but not sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from narrowgate.core.audit_chain import Head
from narrowgate.trail.chain_check import JournalCheck
from narrowgate.trail.findings import Finding, Trouble
from narrowgate.trail.seals import Seals
from narrowgate.trail.segments import CHECKPOINTS, writers_of
from narrowgate.trail.signing import Verifier

PROBLEM_LIMIT = 100
"""Problems that are kept one by one; a trail with more is not read line by line by anybody."""

UNSEALED_LINES = 2
"""Lines a journal may have before its first checkpoint: a gate killed at its start leaves no more."""

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes to read in all."""


class NoTrail(Exception):
    """There is no trail at the place given."""


class JournalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one writer's journal."""

    writer: str
    segments: int
    lines: int
    head: Head
    sealed_seq: int
    """Up to this line a signed checkpoint vouches for the journal."""
    dropped_through_seq: int
    """Lines up to this one were removed by retention, as a signed line says; 0 where none were."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a verification."""

    journals: tuple[JournalReport, ...]
    checkpoints: int
    bytes: int
    problems: tuple[Finding, ...]
    """The first `PROBLEM_LIMIT`."""
    problem_count: int
    notes: tuple[str, ...]
    """Things worth knowing that are no problem."""

    @property
    def content(self) -> bool:
        """Whether nothing was found that should not be."""
        return self.problem_count == 0


def verify(
    folder: Path, verifier: Verifier, *, checkpoints: Path | None = None, progress: Progress | None = None
) -> Report:
    """Verify the trail in `folder`; with `checkpoints` also against a copy of the checkpoints that was kept elsewhere.

    Raises NoTrail where there is nothing to verify, OSError where it cannot be read, and NewerFormat.
    """
    if not folder.is_dir():
        raise NoTrail(f"{folder}: no trail here; give the data folder of a gate")
    # The order lets a gate write meanwhile: a journal that is listed has a checkpoint by the time those are read, and
    # journals only grow, so whatever a checkpoint names is in the files read after it.
    writers = writers_of(folder)
    seals = Seals(verifier)
    if checkpoints is not None:
        if not checkpoints.is_file():
            raise NoTrail(f"{checkpoints}: no checkpoints here; give the file that `audit.checkpoints` names")
        seals.read_copy(checkpoints)
    seals.read_own(folder)
    if not writers and not seals.count:
        raise NoTrail(f"{folder}: no journal here; give the data folder of a gate")
    checks = [JournalCheck(folder / writer, verifier, seals.of(writer)) for writer in writers]
    read = _run(checks, folder, progress)
    problems = [*seals.problems, *_missing(folder, seals, checks)]
    for check in checks:
        problems += check.problems
    return Report(
        journals=tuple(_journal_report(check) for check in checks),
        checkpoints=seals.count,
        bytes=read,
        problems=tuple(problems[:PROBLEM_LIMIT]),
        problem_count=len(problems) + sum(check.more_problems for check in checks),
        notes=(*seals.notes, *(note for check in checks for note in check.notes)),
    )


def _run(checks: list[JournalCheck], folder: Path, progress: Progress | None) -> int:
    total = sum(path.stat().st_size for path in folder.glob("*/*.jsonl"))
    done = 0
    for check in checks:
        for count in check.run():
            done += count
            if progress is not None:
                progress(done, max(total, done))
    return done


def _missing(folder: Path, seals: Seals, checks: list[JournalCheck]) -> list[Finding]:
    """What is named somewhere and not there at all."""
    findings = []
    for writer in sorted(seals.writers() - {check.writer for check in checks}):
        message = f"checkpoints vouch for {max(seals.of(writer))} entries of it"
        findings.append(Finding(Trouble.MISSING_JOURNAL, folder / writer, None, None, message))
    for check in checks:
        if check.writer not in seals.writers() and check.lines > UNSEALED_LINES:
            message = f"no signed checkpoint names the journal {check.writer}"
            findings.append(Finding(Trouble.MISSING_CHECKPOINTS, folder / CHECKPOINTS, None, None, message))
    return findings


def _journal_report(check: JournalCheck) -> JournalReport:
    return JournalReport(
        writer=check.writer,
        segments=check.segments,
        lines=check.lines,
        head=check.head,
        sealed_seq=check.sealed_seq,
        dropped_through_seq=check.dropped_through_seq,
    )
