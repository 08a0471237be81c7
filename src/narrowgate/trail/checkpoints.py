"""The file of checkpoints: signed lines that name the heads of all writers, and a copy of it kept elsewhere.

Here belongs how a checkpoint is made and added. Every process that writes a journal adds to the same file, one at a
time under a lock, and carries over what the checkpoint before said about the others, so that a journal that vanishes
is missed. Each checkpoint carries the hash of the one before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from narrowgate.core.audit import timestamp
from narrowgate.core.audit_chain import (
    FORMAT,
    GENESIS,
    BrokenLine,
    Checkpoint,
    Head,
    checkpoint_line,
    digest,
    read_checkpoint,
)
from narrowgate.file_lock import FOR_EVER, held
from narrowgate.trail.journal import TrailDamaged
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.trail.segments import CHECKPOINTS, CHECKPOINTS_LOCK, OLDER_CHECKPOINTS, tail_of
from narrowgate.trail.signing import Signer

FILE_LIMIT = 16 * 1024 * 1024
"""Bytes after which the file is set aside as the older one (which it replaces): some 40,000 checkpoints, two days of
one every five seconds. Only the newest is needed to see a cut tail; older ones narrow down when."""


class Checkpoints:
    """Adds checkpoints. Blocks on the disk and on the lock: not for the event loop."""

    def __init__(
        self, folder: Path, signer: Signer, *, copy_to: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._signer = signer
        self._copy_to = copy_to
        self._clock = clock

    def add(self, head: Head, *, closed: bool = False) -> Checkpoint:
        """Sign and add a checkpoint with `head` as its writer's; `head` must be synced already.

        With `closed` it says that the writer stopped in order. Raises TrailUnwritable when either file cannot be
        written, TrailDamaged when the checkpoint before is not ours, NewerFormat.
        """
        try:
            with held(self._folder / CHECKPOINTS_LOCK, FOR_EVER):
                before, prev = self._last()
                checkpoint = self._next(before, prev, head, closed)
                line = self._signer.checkpoint(checkpoint_line(checkpoint))
                self._add_line(line)
                if self._copy_to is not None:
                    self._copy(self._copy_to, checkpoint.number, line)
        except OSError as error:
            raise TrailUnwritable.by(self._folder / CHECKPOINTS, error) from error
        return checkpoint

    def _next(self, before: Checkpoint | None, prev: str, head: Head, closed: bool) -> Checkpoint:
        heads = {} if before is None else {each.writer: each for each in before.heads}
        heads[head.writer] = head
        return Checkpoint(
            format=FORMAT,
            number=1 if before is None else before.number + 1,
            prev=prev,
            at=timestamp(self._clock()).decode(),
            by=head.writer,
            closed=closed,
            key=self._signer.verifier.key,
            heads=tuple(heads[writer] for writer in sorted(heads)),
        )

    def _last(self) -> tuple[Checkpoint | None, str]:
        """The newest checkpoint and its hash; a line that a crash left unfinished is cut off first."""
        path = self._folder / CHECKPOINTS
        if path.exists():
            _cut_torn_line(path)
        for candidate in (path, self._folder / OLDER_CHECKPOINTS):
            line = tail_of(candidate).last if candidate.exists() else None
            if line is not None:
                return self._trusted(line, candidate), digest(line)
        return None, GENESIS

    def _trusted(self, line: bytes, path: Path) -> Checkpoint:
        # Its heads are signed again with ours: what somebody else wrote there must not be carried over.
        try:
            checkpoint, _, _ = read_checkpoint(line, str(path))
        except BrokenLine as error:
            raise TrailDamaged(
                f"{path}: the last checkpoint is damaged: {error}; run `narrowgate audit verify`"
            ) from error
        if not self._signer.verifier.signed_checkpoint(line):
            raise TrailDamaged(
                f"{path}: the last checkpoint is not signed with this gate's key; restore the key or the file"
            )
        return checkpoint

    def _add_line(self, line: bytes) -> None:
        path = self._folder / CHECKPOINTS
        if path.exists() and path.stat().st_size + len(line) > FILE_LIMIT:
            path.replace(self._folder / OLDER_CHECKPOINTS)
        _append(path, line)

    def _copy(self, copy: Path, number: int, line: bytes) -> None:
        """Add to the copy what it has not yet; more than one line where it could not be written for a while."""
        last = 0
        if copy.exists():
            tail = tail_of(copy)
            last = 0 if tail.last is None else _number(tail.last)
            if (tail.last is not None and not last) or tail.torn[:1] not in (b"", b"{"):
                raise TrailDamaged(f"{copy}: the last line is no checkpoint; move the file away, a new one is begun")
            _cut_torn_line(copy)
        missing = [line] if last >= number - 1 else [each for each in self._lines() if _number(each) > last]
        _append(copy, b"".join(missing))

    def _lines(self) -> Iterator[bytes]:
        for path in (self._folder / OLDER_CHECKPOINTS, self._folder / CHECKPOINTS):
            if path.exists():
                with path.open("rb") as file:
                    yield from file


def _number(line: bytes) -> int:
    try:
        return read_checkpoint(line, CHECKPOINTS)[0].number
    except BrokenLine:
        return 0


def _append(path: Path, lines: bytes) -> None:
    """Add lines and sync them; all or nothing. Raises OSError, TrailUnwritable."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(file).st_size
        try:
            if os.write(file, lines) != len(lines):
                raise TrailUnwritable(f"{path}: a checkpoint did not fit; free some space")
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def _cut_torn_line(path: Path) -> None:
    tail = tail_of(path)
    if tail.torn:
        os.truncate(path, tail.whole_bytes)
