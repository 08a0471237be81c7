"""Recordings read back, from a file or from wherever else bytes can be asked for: in order, from a time on, or all of
it to see whether it is what was written.

A finished recording is whole or damaged. One that is being written, or that a crash cut, is read as far as it goes:
to its last whole block, then what its tails hold.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import msgspec

from narrowgate.core.recording import LATEST, Ended, Entry, Header, RecordingHead
from narrowgate.recordings.blocks import (
    FRAME_BYTES,
    HASH_BYTES,
    HEAD_BYTES,
    PREAMBLE_BYTES,
    TRAILER,
    Blocks,
    Head,
    Place,
    Places,
    chain_start,
    check_hash,
    read_head,
    read_preamble,
    read_trailer,
)
from narrowgate.recordings.errors import OtherThanVouched, RecordingDamaged, RecordingShortened
from narrowgate.recordings.live_file import ResumePoint
from narrowgate.recordings.sealing import Packing, RecordingKey, Sealing
from narrowgate.recordings.tails import frames, loose_entries, tail_paths

WINDOW = 256 * 1024
"""Bytes that are asked for at once: some ten blocks, and little enough for the first picture of a replay."""


class Source(Protocol):
    """Bytes that can be asked for from anywhere."""

    @property
    def where(self) -> str:
        """What to call it in complaints."""
        ...

    @property
    def size(self) -> int:
        """Bytes there are."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes; fewer only at the end. Raises what its kind of source raises."""
        ...


class FileSource:
    """A file, as long as it was when it was opened. Also a context that closes it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.where = str(path)
        self.size = os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        """See `Source`. Raises OSError."""
        return os.pread(self._file, min(length, max(0, self.size - offset)), offset)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BytesSource:
    """Bytes in memory."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content = content
        self.where = where
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        """See `Source`."""
        return self._content[offset : offset + length]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording holds, all of it read and found unchanged."""

    blocks: int
    entries: int
    """Those in blocks and those in the tails."""
    loose: int
    """Those in the tails."""
    last: int
    """Time of the last entry, microseconds."""
    hash: str
    """Of the last block, hex."""
    finished: bool
    unread_bytes: int = 0
    """Behind the last whole block: what a crash cut, or what somebody changed. A finished recording has none."""


class _Walked(msgspec.Struct, frozen=True):
    """A block on the way."""

    head: Head
    before: bytes
    content: bytes
    offset: int


class Recording:
    """A recording that can be read."""

    def __init__(
        self,
        source: Source,
        keys: Sequence[RecordingKey],
        *,
        packing: Packing | None = None,
        tails: Sequence[bytes] = (),
    ) -> None:
        """Read how it begins. `tails` is what stands beside one that is not finished.

        Raises RecordingDamaged, RecordingKeyMissing, NewerRecording, and what the source raises.
        """
        self._source = source
        start = source.read(0, PREAMBLE_BYTES)
        found = read_preamble(start, source.where)
        self._sealing = Sealing.of(found.salt, found.key_id, keys, source.where)
        self._blocks = Blocks(self._sealing, packing or Packing())
        self._start = chain_start(start)
        self._index_at = self._place_of_index()
        self._tails = [frames(tail, self._sealing, source.where) for tail in tails]
        first = next(self._walk(PREAMBLE_BYTES, 0, self._start), None)
        entries = self._entries_of(first) if first else []
        if not entries or not isinstance(entries[0].what, Header):
            raise RecordingDamaged(f"{source.where}: has no header")
        self.header = entries[0].what
        """Who was connected to what."""

    @property
    def finished(self) -> bool:
        """Whether it ends as a recorder ends it."""
        return self._index_at is not None

    @property
    def sealing(self) -> Sealing:
        """How its parts are encrypted, for whoever goes on writing it."""
        return self._sealing

    def entries(self, since: int = 0) -> Iterator[Entry]:
        """The entries from `since` (microseconds) on, in order; the header is the first.

        Raises RecordingDamaged where a finished one is not what was written, and what the source raises.
        """
        place, number = self._begin_of(since) if since > 0 else (Place(0, PREAMBLE_BYTES), 0)
        blocks = number
        for block in self._walk(place.offset, number, self._hash_before(place.offset)):
            blocks = block.head.number + 1
            if block.head.last >= since:
                yield from (entry for entry in self._entries_of(block) if entry.at >= since)
        yield from (entry for entry in self._loose(blocks) if entry.at >= since)

    def last_entries(self) -> Iterator[Entry]:
        """The entries of the last block and what is in none yet: how it ends, or where it is by now. Raises as
        `entries` does.
        """
        place, number = self._begin_of(LATEST)
        blocks = number
        for block in self._walk(place.offset, number, self._hash_before(place.offset)):
            blocks = block.head.number + 1
            yield from self._entries_of(block)
        yield from self._loose(blocks)

    def check(self, vouched: Sequence[RecordingHead] = ()) -> Report:
        """Read all of it. `vouched` is what the trail says: every head that it has of this recording.

        Raises RecordingDamaged, also where the recording is not the one that the trail speaks of.
        """
        entries, sealed = self._check(vouched)
        loose = self._loose(sealed.blocks)
        return Report(
            blocks=sealed.blocks,
            entries=entries + len(loose),
            loose=len(loose),
            last=loose[-1].at if loose else sealed.last,
            hash=sealed.hash.hex(),
            finished=self.finished,
            unread_bytes=0 if self.finished else self._source.size - sealed.length,
        )

    def resume_point(self) -> tuple[ResumePoint, list[Entry]]:
        """How far it is whole, and the loose entries that belong behind that. Raises as `check` does."""
        _, sealed = self._check(())
        return sealed, self._loose(sealed.blocks)

    def _check(self, vouched: Sequence[RecordingHead]) -> tuple[int, ResumePoint]:
        count = last = blocks = 0
        ended = False
        places = Places()
        digest, end = self._start, PREAMBLE_BYTES
        for block in self._walk(PREAMBLE_BYTES, 0, self._start):
            entries = self._entries_of(block)
            if block.head.first < last or any(one.at > two.at for one, two in pairwise(entries)):
                raise RecordingDamaged(f"{self._where(block.head.number)}: goes back in time")
            count += len(entries)
            places.add(Place(block.head.first, block.offset))
            ended = isinstance(entries[-1].what, Ended)
            blocks, last = block.head.number + 1, block.head.last
            digest, end = block.content[-HASH_BYTES:], block.offset + block.head.length
            if any(head.blocks == blocks and head.hash != digest.hex() for head in vouched):
                raise OtherThanVouched(f"{self._source.where}: is not the recording that the trail speaks of")
        if any(head.blocks > blocks or (head.finished and not self.finished) for head in vouched):
            raise RecordingShortened(f"{self._source.where}: ends before what the trail has seen of it")
        if any(head.finished and head.blocks != blocks for head in vouched):
            raise OtherThanVouched(f"{self._source.where}: goes on behind the end that the trail has seen")
        # The index, and nothing else, stands between the last block and the end, and says what is so.
        index_at = self._index_at
        if index_at is not None and bytes(self._places(index_at, blocks, digest)) != bytes(places):
            raise RecordingDamaged(f"{self._source.where}: its index speaks of other blocks")
        return count, ResumePoint(length=end, blocks=blocks, hash=digest, last=last, ended=ended)

    def _places(self, index_at: int, blocks: int | None, before: bytes) -> Places:
        where = f"{self._source.where}, index"
        content = self._source.read(index_at, self._source.size - TRAILER.size - index_at)
        head = read_head(content, blocks, where)
        if not head.is_index or head.length != len(content):
            raise RecordingDamaged(f"{where}: is not where it should be")
        return self._blocks.places(head, content, before, where)

    def _place_of_index(self) -> int | None:
        size = self._source.size
        index_at = read_trailer(self._source.read(max(0, size - TRAILER.size), TRAILER.size))
        if index_at is None:
            return None
        if not PREAMBLE_BYTES + FRAME_BYTES <= index_at <= size - TRAILER.size - FRAME_BYTES:
            raise RecordingDamaged(f"{self._source.where}: its index is not where it should be")
        return index_at

    def _begin_of(self, since: int) -> tuple[Place, int]:
        """The block from which on all entries since then are found, and its number."""
        if self._index_at is None:
            return self._look_for(since)
        places = self._places(self._index_at, None, self._source.read(self._index_at - HASH_BYTES, HASH_BYTES))
        # Entries of that very time may stand at the end of the block before.
        number = max(0, bisect_left(places, since, key=lambda place: place.first) - 1)
        if not places or not PREAMBLE_BYTES <= places[number].offset < self._index_at:
            raise RecordingDamaged(f"{self._source.where}: its index is not where it should be")
        return places[number], number

    def _look_for(self, since: int) -> tuple[Place, int]:
        """The same without an index: from head to head, without what is between them."""
        place, number = Place(0, PREAMBLE_BYTES), 0
        offset = PREAMBLE_BYTES
        for following in range(self._source.size // FRAME_BYTES):
            try:
                head = read_head(self._source.read(offset, HEAD_BYTES), following, self._source.where)
            except RecordingDamaged:
                break
            if head.is_index or head.first >= since or offset + head.length > self._source.size:
                break
            place, number = Place(head.first, offset), following
            offset += head.length
        return place, number

    def _hash_before(self, offset: int) -> bytes:
        return self._start if offset == PREAMBLE_BYTES else self._source.read(offset - HASH_BYTES, HASH_BYTES)

    def _walk(self, offset: int, number: int, before: bytes) -> Iterator[_Walked]:
        """The blocks from there on. One that is not finished ends with its last whole block."""
        end = self._index_at if self._index_at is not None else self._source.size
        window, window_at = b"", offset
        while offset < end:
            where = self._where(number)
            try:
                if offset + FRAME_BYTES > window_at + len(window):
                    window, window_at = self._source.read(offset, max(WINDOW, FRAME_BYTES)), offset
                head = read_head(window[offset - window_at :][:HEAD_BYTES], number, where)
                if head.is_index or offset + head.length > end:
                    raise RecordingDamaged(f"{where}: is cut")
                if offset + head.length > window_at + len(window):
                    window, window_at = self._source.read(offset, max(WINDOW, head.length)), offset
                content = window[offset - window_at :][: head.length]
                check_hash(content, before, where)
            except RecordingDamaged:
                if self.finished:
                    raise
                return
            yield _Walked(head, before, content, offset)
            before = content[-HASH_BYTES:]
            offset += head.length
            number += 1

    def _entries_of(self, block: _Walked) -> list[Entry]:
        return self._blocks.entries(block.head, block.content, block.before, self._where(block.head.number))

    def _loose(self, blocks: int) -> list[Entry]:
        return [] if self.finished else loose_entries([found for found, _ in self._tails], blocks)

    def _where(self, number: int) -> str:
        return f"{self._source.where}, block {number}"


@contextmanager
def open_file(path: Path, keys: Sequence[RecordingKey]) -> Iterator[Recording]:
    """A recording in a file, finished or not, as it is now. Raises as `Recording` does, and OSError."""
    # The tails first: entries move from them to the blocks, and what was in neither yet comes behind all that was.
    tails = [each.read_bytes() if each.exists() else b"" for each in tail_paths(path)]
    with FileSource(path) as source:
        yield Recording(source, keys, tails=tails)
