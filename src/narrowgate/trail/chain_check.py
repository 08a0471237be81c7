"""One journal checked line by line against its own chain, its signatures and the checkpoints that vouch for it.

Here belongs telling apart what happened: a line whose bytes changed, one that is gone, one that moved. The rule for
that is which of its neighbours still agree with it. The loop's first branch is the good line, at memory speed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, assert_never

from narrowgate.core.audit_chain import (
    GENESIS,
    LINE_LIMIT,
    SIGNED,
    BrokenLine,
    Dropped,
    Frame,
    Head,
    Interrupted,
    Payload,
    Recovered,
    SegmentStart,
    frame,
    payload_of,
)
from narrowgate.core.recording import RecordingHead
from narrowgate.trail.findings import Finding, Trouble
from narrowgate.trail.seals import Seal
from narrowgate.trail.segments import Segment, segments_of
from narrowgate.trail.signing import Verifier

PROBLEM_LIMIT = 100
"""Problems of one journal that are kept one by one; nobody reads more line by line."""

NOTE_LIMIT = 100
"""Notes of one journal that are kept."""

_GAP_LIMIT = 100_000
"""Missing numbers that are remembered, to tell a line that moved from one that is gone."""

_READ_AHEAD = 1 << 20
"""Bytes read from a file at once."""

_PROGRESS_LINES = 8192
"""Lines between two reports of progress: some 8 MB, a few hundredths of a second."""


class JournalCheck:
    """Checks one writer's journal: `run` it to the end, then read the attributes."""

    def __init__(self, folder: Path, verifier: Verifier, seals: Mapping[int, Seal]) -> None:
        self.writer = folder.name
        self.problems: list[Finding] = []
        self.more_problems = 0
        """Problems beyond `PROBLEM_LIMIT`."""
        self.notes: list[str] = []
        self.segments = 0
        self.lines = 0
        self.sealed_seq = 0
        """The last line that a signed checkpoint vouches for."""
        self.dropped_through_seq = 0
        self._folder = folder
        self._verifier = verifier
        self._seals = seals
        self._file = folder
        self._line = 0
        self._segment = 0
        self._seq = 0
        """Number of the last accepted line."""
        self._prev = GENESIS
        """Its hash."""
        self._at = _Place(folder, 0, 0)
        """Where the last accepted line stands."""
        self._reported = False
        """The line before is reported already: that its neighbours disagree with it is no news."""
        self._doubt: _Place | None = None
        """The line before the last, where the last one does not carry its hash: one of the two was changed, and the
        line after tells which."""
        self._gaps: dict[int, _Gap] = {}
        """The gap that each missing number belongs to; at most `_GAP_LIMIT` numbers."""
        self._after_close = False
        self._first: Frame | None = None
        """The first line of the oldest file, where that is not segment 1."""
        self._dropped: list[Dropped] = []
        self._rewritten = False
        self._skipped = 0
        """Segments missing before the one being read."""

    @property
    def head(self) -> Head:
        """The last line that was accepted."""
        return Head(self.writer, self._segment, self._seq, self._prev)

    def run(self) -> Iterator[int]:
        """Check everything; yields the bytes read since the last time. Raises OSError, NewerFormat."""
        segments = segments_of(self._folder)
        for segment in segments:
            try:
                file = io.BufferedReader(io.FileIO(segment.path), _READ_AHEAD)
            except FileNotFoundError:
                # Retention of a running gate took it meanwhile; if it was not that, the next segment misses it.
                continue
            with file:
                self._enter(segment)
                yield from self._read(file, is_last=segment is segments[-1])
        self._finish()

    def _read(self, file: io.BufferedReader[io.FileIO], *, is_last: bool) -> Iterator[int]:
        read = count = 0
        while line := file.readline(LINE_LIMIT):
            count += 1
            read += len(line)
            self._line = count
            if is_last and not line.endswith(b"\n") and not file.peek(1):
                self._unfinished(count)
                break
            self._check(line, count)
            if count % _PROGRESS_LINES == 0:
                yield read
                read = 0
        yield read

    def _unfinished(self, count: int) -> None:
        if self._after_close:
            self._find(Trouble.ADDED, None, "the gate had stopped in order before this was written")
        else:
            self._note(f"{self._file}, line {count}: unfinished: a write under way, or a crash")

    def _check(self, line: bytes, count: int) -> None:
        due = b'{"seq":%d,"prev":"%b","event":{' % (self._seq + 1, self._prev.encode())
        if line.startswith(due) and line.endswith(b"}}\n") and count > 1 and not self._after_close:
            self._accept(self._seq + 1, sha256(line).hexdigest())
        else:
            self._check_closely(line, count)

    def _accept(self, seq: int, hash_: str) -> None:
        if self._doubt is not None:
            # This line carries the hash of the one before, so that one is whole: the one before it was changed.
            self._blame(self._doubt)
        self._seq, self._prev = seq, hash_
        self._at = _Place(self._file, self._line, seq)
        self._reported = False
        self.lines += 1
        if seq in self._seals:
            self._compare_with_seal(seq, hash_)

    def _compare_with_seal(self, seq: int, hash_: str) -> None:
        seal = self._seals[seq]
        if seal.head.hash == hash_:
            self.sealed_seq = max(self.sealed_seq, seq)
            self._after_close = seal.closed
        elif not self._rewritten:
            self._rewritten = self._reported = True
            message = f"{seal.where}, vouches for another line; the last that is as sealed is {self.sealed_seq}"
            self._find(Trouble.REWRITTEN, seq, message)

    def _check_closely(self, line: bytes, count: int) -> None:
        after_close, self._after_close = self._after_close, False
        try:
            framed = frame(line)
            if count == 1:
                self._check_start(framed, line)
            elif framed.kind is Payload.SEGMENT:
                self._find(Trouble.ADDED, framed.seq, "a segment begins in the middle of a file")
            elif after_close:
                self._find(Trouble.ADDED, framed.seq, "the gate had stopped in order before this line was written")
            self._place(framed, sha256(line).hexdigest())
            self._read_own_payload(framed, line)
        except BrokenLine as error:
            self._find(Trouble.EDITED, self._seq + 1, str(error))
            self._reported = True

    def _place(self, framed: Frame, hash_: str) -> None:
        """Whether the line stands where its number and the hash it carries say."""
        due = self._seq + 1
        follows = framed.prev == self._prev
        if framed.seq == due and follows:
            self._accept(due, hash_)
        elif framed.seq == due:
            self._disagree(due, hash_)
        elif follows:
            self._find(Trouble.EDITED, due, f"it has number {framed.seq} where {due} is due")
            self._accept(due, hash_)
            self._reported = True
        elif framed.seq < due:
            self._went_back(framed.seq)
        else:
            if not (self._reported and framed.seq == due + 1):
                self._missing(due, framed.seq - 1)
            self._accept(framed.seq, hash_)

    def _disagree(self, seq: int, hash_: str) -> None:
        """The line does not carry the hash of the one before: one of the two was changed."""
        before, known = self._at, self._reported
        if self._doubt is not None:
            # Neither neighbour agrees with the line between them.
            self._doubt = None
            self._blame(before)
            known = True
        self._accept(seq, hash_)
        if not known:
            self._doubt = before

    def _blame(self, place: _Place) -> None:
        self._doubt = None
        message = "its bytes are not those whose hash its neighbours carry"
        self._add(Finding(Trouble.EDITED, place.file, place.line, place.seq, message))

    def _went_back(self, seq: int) -> None:
        gap = self._gaps.pop(seq, None)
        if gap is None:
            self._find(Trouble.REPEATED, seq, f"this entry was there before; {self._seq + 1} is due")
            return
        gap.missing -= 1
        if not gap.missing and gap.finding in self.problems:
            self.problems.remove(gap.finding)
        self._find(Trouble.REORDERED, seq, f"it stands behind entry {self._seq}")

    def _missing(self, first: int, last: int) -> None:
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        gap = _Gap(self._find(Trouble.DELETED, first, f"{which} missing before this line"), last - first + 1)
        for seq in range(first, min(last, first + _GAP_LIMIT - len(self._gaps)) + 1):
            self._gaps[seq] = gap

    # The beginning of a file, and the lines of the journal's own.

    def _enter(self, segment: Segment) -> None:
        self._file, self._line = segment.path, 0
        self.segments += 1
        self._skipped = segment.number - self._segment - 1 if self._segment else 0
        if self._skipped:
            gone = f"segment {self._segment + 1} is" if self._skipped == 1 else f"{self._skipped} segments are"
            self._find(Trouble.MISSING_SEGMENT, None, f"{gone} missing before this file, after entry {self._seq}")
        self._segment = segment.number

    def _check_start(self, framed: Frame, line: bytes) -> None:
        if framed.kind is not Payload.SEGMENT:
            self._find(Trouble.EDITED, framed.seq, "the file does not begin with the start of a segment")
            return
        start = payload_of(framed, SegmentStart, str(self._file))
        if not self._verifier.signed_journal_line(line):
            self._find(Trouble.BAD_SIGNATURE, framed.seq, f"the start is not signed by key {self._verifier.key}")
        if (start.writer, start.segment) != (self.writer, self._segment):
            message = f"this is segment {start.segment} of {start.writer}, not {self._segment} of {self.writer}"
            self._find(Trouble.REORDERED, framed.seq, message)
        if not self.lines and self._segment > 1:
            self._first = framed
        if self._skipped or self._first is framed:
            # What lies before is gone: the chain is taken up from here, and whether it may be gone is asked at the end.
            self._seq, self._prev = framed.seq - 1, framed.prev

    def _read_own_payload(self, framed: Frame, line: bytes) -> None:
        if framed.kind in SIGNED and not self._verifier.signed_journal_line(line):
            if framed.kind is Payload.DROPPED:
                self._find(Trouble.BAD_SIGNATURE, framed.seq, f"it is not signed by key {self._verifier.key}")
            return
        match framed.kind:
            case Payload.DROPPED:
                self._dropped.append(payload_of(framed, Dropped, str(self._file)))
            case Payload.RECOVERED:
                cut = payload_of(framed, Recovered, str(self._file))
                self._note(f"{cut.at}: a crash left {cut.bytes} bytes of an unfinished line, kept as {cut.kept_as}")
            case Payload.INTERRUPTED:
                gone = payload_of(framed, Interrupted, str(self._file))
                self._note(f"{gone.at}: not writable for a while, {gone.lost} ends of requests lost: {gone.because}")
            case Payload.RECORDING:
                payload_of(framed, RecordingHead, str(self._file))
            case Payload.EVENT | Payload.SEGMENT:
                pass
            case _:
                assert_never(framed.kind)

    def _finish(self) -> None:
        if self._doubt is not None:
            self._blame(self._doubt)
        if self._first is not None:
            self._check_dropped(self._first)
        beyond = [seal for seq, seal in self._seals.items() if seq > self._seq]
        if beyond:
            last = max(beyond, key=lambda seal: seal.head.seq)
            message = f"the journal ends here, but {last.where}, vouches for {last.head.seq} entries"
            self._add(Finding(Trouble.CUT_TAIL, self._at.file, self._at.line, self._at.seq, message))

    def _check_dropped(self, first: Frame) -> None:
        """The oldest files are gone: a signed line must say that retention removed just those."""
        oldest = int(next(iter(segments_of(self._folder))).path.stem)
        covering = [each for each in self._dropped if each.segment >= oldest - 1]
        exact = [each for each in covering if each.segment == oldest - 1]
        if covering and all((each.seq, each.hash) == (first.seq - 1, first.prev) for each in exact):
            self.dropped_through_seq = first.seq - 1
            self._note(f"entries up to {first.seq - 1} were removed: {covering[-1].because}")
            return
        gone = "segment 1 is" if oldest == 2 else f"segments 1 to {oldest - 1} are"
        message = f"{gone} missing, and no signed line says that retention removed them"
        self._add(Finding(Trouble.MISSING_SEGMENT, self._folder, None, None, message))

    def _find(self, trouble: Trouble, seq: int | None, message: str) -> Finding:
        finding = Finding(trouble, self._file, self._line or None, seq, message)
        self._add(finding)
        return finding

    def _add(self, finding: Finding) -> None:
        if len(self.problems) < PROBLEM_LIMIT:
            self.problems.append(finding)
        else:
            self.more_problems += 1

    def _note(self, note: str) -> None:
        if len(self.notes) < NOTE_LIMIT:
            self.notes.append(f"{self.writer}: {note}")


class _Place(NamedTuple):
    file: Path
    line: int
    seq: int


class _Gap:
    """Numbers that are missing in one place."""

    __slots__ = ("finding", "missing")

    def __init__(self, finding: Finding, missing: int) -> None:
        self.finding = finding
        self.missing = missing
