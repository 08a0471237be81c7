"""One process's journal: bounded segments of chained lines under `<folder>/<writer>/`.

Here belongs the order in which things reach those files, and how a journal is taken up again after a crash. In memory
only what is in the file counts: the head moves after the write. The system calls are in `trail/segment_file.py`,
reading back is `trail/verify.py` and `trail/read.py`.

One thread appends and writes; `sync`, `expired` and `drop` may run in a second one at the same time.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.audit import timestamp
from narrowgate.core.audit_chain import (
    FORMAT,
    GENESIS,
    LINE_LIMIT,
    SIGNED,
    BrokenLine,
    Dropped,
    Head,
    Interrupted,
    Payload,
    Recovered,
    SegmentStart,
    digest,
    event_line,
    frame,
    payload_of,
    unsigned_line,
)
from narrowgate.core.recording import RecordingHead
from narrowgate.file_lock import take
from narrowgate.trail.segment_file import SegmentFile, TrailUnwritable
from narrowgate.trail.segments import Segment, first_line_of, segment_path, segments_of, tail_of
from narrowgate.trail.signing import Signer

PENDING_LIMIT = 32 * 1024 * 1024
"""Bytes that wait in memory for `write`. One turn of the event loop adds some hundred KB at most."""


ENTRY_LIMIT = LINE_LIMIT - 1024
"""Bytes of one entry; the rest of a line (number, hash) has less than 200."""


class JournalInUse(Exception):
    """Another process writes this journal."""


class TrailDamaged(Exception):
    """What is on disk is not what a journal leaves behind, crash or not: someone must look before more is written."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How large a journal's files get and how long they stay."""

    segment_bytes: int = 64 * 1024 * 1024
    """A new segment begins with the batch after this. 64 MiB: a tenth of a second to verify, some 70,000 entries."""
    segment_age: float = 24 * 3600.0
    """Seconds after which a new segment begins, so that retention by age can let go of quiet journals."""
    retain_age: float | None = None
    """Seconds that a finished segment is kept; None keeps all."""
    retain_bytes: int | None = None
    """Total bytes of segments that are kept; None keeps all."""


_OwnPayload = SegmentStart | Recovered | Dropped | Interrupted | RecordingHead
_Pending = bytes | _OwnPayload
"""An event, encoded already, or one of the journal's own lines."""

_KINDS: dict[type[_OwnPayload], Payload] = {
    SegmentStart: Payload.SEGMENT,
    Recovered: Payload.RECOVERED,
    Dropped: Payload.DROPPED,
    Interrupted: Payload.INTERRUPTED,
    RecordingHead: Payload.RECORDING,
}


class Expired(msgspec.Struct, frozen=True):
    """Segments that retention lets go of, oldest first, and the last line of the last of them."""

    segments: tuple[Segment, ...]
    last: Head


class Journal:
    """An open journal. `append` and `write` belong to one thread; `sync` may run in another meanwhile."""

    def __init__(self, folder: Path, lock: int, signer: Signer, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._lock = lock
        self._signer = signer
        self._bounds = bounds
        self._clock = clock
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._open: SegmentFile | None = None
        self._began = 0.0
        """When the open segment began, Unix seconds."""
        self._finished: list[SegmentFile] = []
        """Segments that nothing is added to any more and that are not synced yet."""
        self._moving = threading.Lock()
        """Held while head and files change together, so that `sync` in its thread sees both or neither."""
        self.head = Head(folder.name, 0, 0, GENESIS)
        """The last line that is in the file."""

    @classmethod
    def open(
        cls,
        folder: Path,
        writer: str,
        signer: Signer,
        *,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
        wait: float = 0.0,
    ) -> Self:
        """Open (or begin) the journal of `writer` in the trail's folder, and start a segment of its own.

        A torn last line, as a crash leaves it, goes into a file beside the journal and into an entry. `wait`: seconds
        that a process which has it may take to end.
        Raises JournalInUse, TrailDamaged, NewerFormat, and TrailUnwritable where the folder cannot be written.
        """
        if not _WRITER.fullmatch(writer):
            raise ValueError(f"{writer!r} cannot name a journal: use a-z, 0-9, '.' and '-', at most 63 characters")
        own = folder / writer
        try:
            own.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _lock(own, wait)
        except OSError as error:
            raise TrailUnwritable.by(own, error) from error
        journal = cls(own, lock, signer, bounds or Bounds(), clock)
        try:
            journal._resume()
        except BaseException:
            journal.close()
            raise
        return journal

    def append(self, entry: bytes) -> None:
        """Add an audit event (one JSON object without a line break) to the next write; only memory changes.

        Raises ValueError for what is not one line, TrailUnwritable when more waits than `PENDING_LIMIT`.
        """
        size = len(entry)
        if b"\n" in entry or entry[:1] != b"{" or size > ENTRY_LIMIT:
            raise ValueError("an entry is one JSON object without a line break")
        if self._pending_bytes + size > PENDING_LIMIT:
            raise TrailUnwritable(f"{self._folder}: more than {PENDING_LIMIT} bytes wait for the disk; check it")
        self._pending.append(entry)
        self._pending_bytes += size

    def append_interrupted(self, lost: int, because: str) -> None:
        """Say in the next write that nothing could be written for a while, and how many notes that cost."""
        self._pending.append(Interrupted(lost=lost, because=because, at=self._now()))

    def append_recording(self, head: RecordingHead) -> None:
        """Vouch in the next write for the first blocks of a recording."""
        self._pending.append(head)

    def append_dropped(self, expired: Expired) -> None:
        """Say in the next write that retention removes these segments; `drop` them only after that is synced."""
        last = expired.last
        dropped = Dropped(segment=last.segment, seq=last.seq, hash=last.hash, because=self._retention(), at=self._now())
        self._pending.append(dropped)

    def write(self) -> Head:
        """Put all that was appended into the file with one write, and return the new head.

        All or nothing: where it fails or is cut short the file is cut back, the chain in memory stays where it was,
        what was appended is forgotten (its sender still has it), and TrailUnwritable says why.
        """
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        if not pending:
            return self.head
        if self._finished and self.in_doubt:
            raise TrailUnwritable(
                f"{self._folder}: the trail cannot be written: the disk failed to keep lines; check it"
            )
        if self._is_full() and not self.in_doubt:
            self._begin_segment(self.head.segment + 1, exclusive=True)
        batch, seq, prev = self._chained(pending, self.head.seq, self.head.hash)
        self._current().put(batch)
        with self._moving:
            self.head = Head(self.head.writer, self.head.segment, seq, prev)
        return self.head

    def sync(self) -> Head:
        """Put everything written so far on the disk and return the head that is safe now. Raises TrailUnwritable."""
        with self._moving:
            head, current, finished = self.head, self._current(), list(self._finished)
            length = current.length
        for each in finished:
            each.sync(each.length)
            with self._moving:
                self._finished.remove(each)
            each.close()
        current.sync(length)
        return head

    @property
    def in_doubt(self) -> bool:
        """Whether a sync failed: every write fails then until a `sync` succeeds."""
        return self._current().in_doubt or any(each.in_doubt for each in list(self._finished))

    def expired(self) -> Expired | None:
        """What retention lets go of now; None where that is nothing. Never the open segment."""
        finished = [each for each in segments_of(self._folder) if each.number < self.head.segment]
        sizes = {each.number: each.path.stat() for each in finished}
        kept = sum(status.st_size for status in sizes.values()) + self._current().length
        bounds, now = self._bounds, self._clock()
        gone: list[Segment] = []
        for each in finished:
            status = sizes[each.number]
            too_old = bounds.retain_age is not None and now - status.st_mtime > bounds.retain_age
            too_much = bounds.retain_bytes is not None and kept > bounds.retain_bytes
            if not too_old and not too_much:
                break
            gone.append(each)
            kept -= status.st_size
        return Expired(tuple(gone), self._last_of(gone[-1])) if gone else None

    def drop(self, expired: Expired) -> None:
        """Remove the files, oldest first, so that what is left is always the end of the chain."""
        for each in expired.segments:
            each.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; nothing is written any more."""
        for each in self._finished:
            each.close()
        self._finished.clear()
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # How a journal is taken up.

    def _resume(self) -> None:
        segments = segments_of(self._folder)
        if not segments:
            self._begin_segment(1, exclusive=True)
            return
        last = segments[-1]
        recovered = self._cut_torn_line(last)
        number = last.number + 1
        if last.path.stat().st_size == 0:
            # The crash came before the segment had a line: begin that same segment anew.
            number = last.number
            last = segments[-2] if len(segments) > 1 else last
        if number > 1:
            self.head = self._last_of(last)
        self._begin_segment(number, exclusive=number != segments[-1].number)
        if recovered is not None:
            self._pending.append(recovered)
            self.write()
        self.sync()

    def _last_of(self, segment: Segment) -> Head:
        """The head at the end of a finished segment."""
        line = tail_of(segment.path).last
        try:
            start = frame(first_line_of(segment.path))
            payload_of(start, SegmentStart, str(segment.path))
            if line is None:
                raise BrokenLine("it has no whole line")
            seq = frame(line).seq
        except BrokenLine as error:
            raise TrailDamaged(
                f"{segment.path}: {error}; run `narrowgate audit verify`, keep the folder, and begin with a new one"
            ) from error
        return Head(self._folder.name, segment.number, seq, digest(line))

    def _cut_torn_line(self, segment: Segment) -> Recovered | None:
        tail = tail_of(segment.path)
        if not tail.torn:
            return None
        kept_as = f"{segment.path.stem}.torn-{tail.whole_bytes}"
        try:
            # The bytes are safe elsewhere before they are cut off here.
            _write_new(segment.path.with_name(kept_as), tail.torn)
            file = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.ftruncate(file, tail.whole_bytes)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise TrailUnwritable.by(segment.path, error) from error
        return Recovered(
            segment=segment.number,
            offset=tail.whole_bytes,
            bytes=len(tail.torn),
            sha256=hashlib.sha256(tail.torn).hexdigest(),
            kept_as=kept_as,
            at=self._now(),
        )

    # How lines are made.

    def _is_full(self) -> bool:
        bounds = self._bounds
        return self._current().length >= bounds.segment_bytes or self._clock() - self._began >= bounds.segment_age

    def _begin_segment(self, number: int, *, exclusive: bool) -> None:
        path = segment_path(self._folder, number)
        started = SegmentFile(path, exclusive=exclusive)
        start = SegmentStart(format=FORMAT, writer=self.head.writer, segment=number, at=self._now())
        batch, seq, prev = self._chained([start], self.head.seq, self.head.hash)
        try:
            started.put(batch)
        except TrailUnwritable:
            started.close()
            path.unlink(missing_ok=True)
            raise
        with self._moving:
            if self._open is not None:
                # Synced and closed by the next `sync`: this may be the event loop, which never waits for the disk.
                self._finished.append(self._open)
            self._open = started
            self.head = Head(self.head.writer, number, seq, prev)
        self._began = self._clock()

    def _chained(self, pending: Sequence[_Pending], seq: int, prev: str) -> tuple[bytes, int, str]:
        """The lines for what is pending, and the number and hash of the last."""
        lines: list[bytes] = []
        for value in pending:
            seq += 1
            line = event_line(seq, prev, value) if isinstance(value, bytes) else self._own_line(seq, prev, value)
            prev = digest(line)
            lines.append(line)
        return b"".join(lines), seq, prev

    def _own_line(self, seq: int, prev: str, value: _OwnPayload) -> bytes:
        kind = _KINDS[type(value)]
        line = unsigned_line(seq, prev, kind, value)
        return self._signer.journal_line(line) if kind in SIGNED else line

    def _current(self) -> SegmentFile:
        if self._open is None:
            raise TrailUnwritable(f"{self._folder}: the journal is closed")
        return self._open

    def _now(self) -> str:
        return timestamp(self._clock()).decode()

    def _retention(self) -> str:
        age, total = self._bounds.retain_age, self._bounds.retain_bytes
        kept = [f"{age:.0f} seconds"] if age is not None else []
        kept += [f"{total} bytes"] if total is not None else []
        return f"retention keeps {' and at most '.join(kept)}"


_WRITER = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")

_PID_BYTES = 32
"""That are read of a lock, where its holder has written its process id."""


def _lock(folder: Path, wait: float) -> int:
    path = folder / "lock"
    file = take(path, wait)
    if file is None:
        holder = path.read_bytes()[:_PID_BYTES].decode("ascii", "replace").strip() or "unknown"
        raise JournalInUse(
            f"{folder} is written by another process (pid {holder}): stop it, or give this one another data folder"
        )
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        os.close(file)
        raise
    return file


def _write_new(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    finally:
        os.close(file)
