"""The checkpoints read back: which lines of which journals they vouch for, and what is wrong with themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from narrowgate.core.audit_chain import GENESIS, LINE_LIMIT, BrokenLine, Checkpoint, Head, digest, read_checkpoint
from narrowgate.file_lock import shared
from narrowgate.trail.findings import Finding, Trouble
from narrowgate.trail.segments import CHECKPOINTS, CHECKPOINTS_LOCK, OLDER_CHECKPOINTS
from narrowgate.trail.signing import Verifier


class Seal(msgspec.Struct, frozen=True):
    """One head that a signed checkpoint names."""

    head: Head
    closed: bool
    """The writer stopped here in order: only a signed segment start may follow."""
    where: str


class Seals:
    """All heads that signed checkpoints name, by writer and number of the line."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._by_writer: dict[str, dict[int, Seal]] = {}
        self.problems: list[Finding] = []
        self.notes: list[str] = []
        self.count = 0
        self._copied = 0
        """The newest checkpoint that a copy has."""

    def of(self, writer: str) -> dict[int, Seal]:
        """The seals of one writer, by sequence number."""
        return self._by_writer.get(writer, {})

    def writers(self) -> set[str]:
        """All writers that any checkpoint names."""
        return set(self._by_writer)

    def read_copy(self, path: Path) -> None:
        """Read a copy kept elsewhere: each line vouches for itself, since a copy may begin late. Before `read_own`."""
        for number, line in self._lines(path):
            checkpoint = self._take(line, path, number)
            if checkpoint is not None:
                self._copied = max(self._copied, checkpoint.number)

    def read_own(self, folder: Path) -> None:
        """Read the trail's own checkpoints: a chain without gaps, of which only the oldest part may be gone.

        Raises OSError, NewerFormat.
        """
        path = folder / CHECKPOINTS
        # Who adds a checkpoint waits meanwhile, or has added it whole.
        with shared(folder / CHECKPOINTS_LOCK):
            last = self._read_chain([each for each in (folder / OLDER_CHECKPOINTS, path) if each.exists()])
        if last < self._copied:
            message = f"it ends with checkpoint {last}, the copy has {self._copied}"
            self.problems.append(Finding(Trouble.CUT_TAIL, path, None, None, message))

    def _read_chain(self, paths: Sequence[Path]) -> int:
        due: int | None = None
        prev = GENESIS
        for path in paths:
            for number, line in self._lines(path):
                checkpoint = self._take(line, path, number)
                if checkpoint is None:
                    due = None if due is None else due + 1
                    prev = ""
                    continue
                if due is None and prev == GENESIS:
                    linked = path.name == OLDER_CHECKPOINTS or (checkpoint.number == 1 and checkpoint.prev == GENESIS)
                else:
                    linked = (due is None or checkpoint.number == due) and prev in ("", checkpoint.prev)
                if not linked:
                    self._unlinked(path, number, checkpoint, due or 1)
                due, prev = checkpoint.number + 1, digest(line)
        return (due or 1) - 1

    def _unlinked(self, path: Path, number: int, checkpoint: Checkpoint, due: int) -> None:
        trouble = Trouble.DELETED if checkpoint.number > due else Trouble.REORDERED
        message = f"checkpoint {checkpoint.number} stands where checkpoint {due} is due"
        if checkpoint.number == due:
            trouble, message = Trouble.EDITED, "the checkpoint before it is not the one it carries the hash of"
        self.problems.append(Finding(trouble, path, number, None, message))

    def _take(self, line: bytes, path: Path, number: int) -> Checkpoint | None:
        where = f"{path}, line {number}"
        self.count += 1
        try:
            checkpoint, _, _ = read_checkpoint(line, where)
        except BrokenLine as error:
            self.problems.append(Finding(Trouble.EDITED, path, number, None, f"this is no checkpoint: {error}"))
            return None
        if not self._verifier.signed_checkpoint(line):
            message = f"the checkpoint is not signed by key {self._verifier.key}"
            if checkpoint.key != self._verifier.key:
                message += f"; it names key {checkpoint.key}"
            self.problems.append(Finding(Trouble.BAD_SIGNATURE, path, number, None, message))
            return None
        for head in checkpoint.heads:
            self._keep(Seal(head, checkpoint.closed and checkpoint.by == head.writer, where), path, number)
        return checkpoint

    def _keep(self, seal: Seal, path: Path, number: int) -> None:
        head = seal.head
        seals = self._by_writer.setdefault(head.writer, {})
        known = seals.get(head.seq)
        if known is not None and known.head.hash != head.hash:
            message = f"it names another hash for entry {head.seq} of {head.writer} than {known.where}"
            self.problems.append(Finding(Trouble.REWRITTEN, path, number, None, message))
        if known is None or (seal.closed and not known.closed):
            seals[head.seq] = seal

    def _lines(self, path: Path) -> Iterator[tuple[int, bytes]]:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
                if not line.endswith(b"\n") and file.read(1) == b"":
                    self.notes.append(f"{path}, line {number}: the last checkpoint is unfinished, as a crash leaves it")
                    return
                yield number, line
