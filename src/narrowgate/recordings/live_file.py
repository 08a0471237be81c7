"""A recording that is being written: entries in, a file out that holds them whatever happens next.

When `write` returns, the entries are in a file: of a killed gate nothing is lost, of a dead machine what came after the
last `sync`. Nothing here looks at a clock, and the nonces come from outside: the same calls make the same bytes. The
format is in `recordings/blocks.py`, what a crash leaves is taken up by `recordings/recovery.py`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.recording import LATEST, Entry, Header, RecordingHead, pieces
from narrowgate.recordings.append_file import AppendFile, sync_folder
from narrowgate.recordings.blocks import (
    BLOCK_BYTES,
    BLOCK_SPAN,
    HASH_BYTES,
    HEAD_BYTES,
    MOST_BLOCKS,
    PREAMBLE_BYTES,
    Blocks,
    Place,
    Places,
    chain_start,
    encoded,
    preamble,
    read_head,
    trailer,
)
from narrowgate.recordings.errors import RecordingDamaged, RecordingUnwritable
from narrowgate.recordings.names import FINISHED, LIVE, recording_name, spool_path
from narrowgate.recordings.sealing import Packing, Sealing
from narrowgate.recordings.tails import Tails


class ResumePoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a recording is whole."""

    length: int
    """Bytes up to the end of the last whole block."""
    blocks: int
    hash: bytes
    last: int
    """Time of the last entry in them."""
    ended: bool
    """Whether that entry says that the session is over."""


class LiveFile:
    """One recording that is being written. One thread writes; `sync` may run in another at the same time."""

    def __init__(self, file: AppendFile, name: str, sealing: Sealing, packing: Packing) -> None:
        """Not for callers: they `begin` a recording, or `resume` one."""
        self.name = name
        self._file = file
        self._sealing = sealing
        self._blocks = Blocks(sealing, packing)
        self._tails = Tails(file.path, sealing)
        self._sealed = (0, b"")
        """How many blocks there are, and the hash of the last. One value: two threads look at it."""
        self._open: list[bytes] = []
        """Entries that are in no block yet."""
        self._open_bytes = 0
        self._first = 0
        """Time of the first of them."""
        self._last = 0
        """Time of the last entry."""
        self._names = 0
        """Files whose names are on the disk."""
        self._broken = ""
        self._is_closed = False
        self._on_disk = threading.Lock()
        """Held by the thread that syncs or closes: no file is closed under a sync."""

    @classmethod
    def begin(cls, folder: Path, header: Header, sealing: Sealing, packing: Packing) -> Self:
        """Begin a recording in this folder. The header is in the file when this returns.

        Raises RecordingUnwritable; ValueError for a header that cannot be recorded.
        """
        name = recording_name(header)
        entry = encoded(Entry(0, header))
        path = spool_path(folder, name, LIVE)
        live = cls(AppendFile(path), name, sealing, packing)
        start = preamble(sealing)
        block = live._blocks.block(0, entry, (0, 0), 1, chain_start(start))
        try:
            live._file.put(start + block)
        except RecordingUnwritable:
            live.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        live._sealed = (1, block[-HASH_BYTES:])
        return live

    @classmethod
    def resume(cls, path: Path, name: str, sealing: Sealing, packing: Packing, at: ResumePoint) -> Self:
        """Go on with what a crash left: `at` says where its last whole block ends. Raises RecordingUnwritable."""
        live = cls(AppendFile(path, length=at.length), name, sealing, packing)
        live._sealed, live._last = (at.blocks, at.hash), at.last
        return live

    @property
    def last(self) -> int:
        """Time of the last entry, microseconds since the beginning."""
        return self._last

    @property
    def is_broken(self) -> bool:
        """Whether a write or a sync failed: nothing can be recorded any more."""
        return bool(self._broken)

    @property
    def has_open_block(self) -> bool:
        """Whether entries are in no block yet."""
        return bool(self._open)

    @property
    def waiting(self) -> int:
        """Bytes beside the blocks that are kept until the next `sync`."""
        return self._tails.waiting

    @property
    def length(self) -> int:
        """Bytes on the disk, all in all."""
        return self._file.length + self._tails.waiting

    def write(self, entries: Sequence[Entry]) -> None:
        """Record. When this returns the entries are in a file; when it raises RecordingUnwritable, the session is over.

        Raises ValueError for an entry that is too long, or earlier than the one before: then none of them is recorded.
        """
        self._refuse_when_broken()
        ready = [(piece.at, encoded(piece)) for entry in entries for piece in pieces(entry)]
        last = self._last
        for at, _ in ready:
            if not last <= at < LATEST:
                raise ValueError(f"an entry at {at} cannot follow one at {last}")
            last = at
        try:
            self._add(ready)
        except (RecordingUnwritable, RecordingDamaged) as error:
            self._broken = str(error)
            raise

    def write_block(self, entries: Sequence[Entry]) -> None:
        """Record entries as one block that is there whole or not at all. Raises RecordingUnwritable.

        For what a crash left in the tails: those are not touched, so that a crash here changes nothing.
        """
        self._refuse_when_broken()
        self._open = [encoded(entry) for entry in entries]
        self._first, self._last = entries[0].at, entries[-1].at
        self.seal()

    def seal(self) -> None:
        """Close the open block, so that the trail can vouch for it. Raises RecordingUnwritable."""
        self._refuse_when_broken()
        try:
            self._seal()
        except RecordingUnwritable as error:
            self._broken = str(error)
            raise

    def sync(self) -> RecordingHead:
        """Put all that was written on the disk; what the trail may say now. Raises RecordingUnwritable."""
        with self._on_disk:
            return self._sync()

    def _sync(self) -> RecordingHead:
        self._refuse_when_broken()
        head = self.head()
        try:
            self._tails.sync(self._file)
            created = self._tails.created + 1
            if self._names != created:
                sync_folder(self._file.path.parent)
                self._names = created
        except RecordingUnwritable as error:
            self._broken = str(error)
            raise
        except OSError as error:
            self._broken = str(error)
            raise RecordingUnwritable.by(self._file.path, error) from error
        return head

    def head(self) -> RecordingHead:
        """The blocks that are in the file."""
        blocks, digest = self._sealed
        return RecordingHead(name=self.name, blocks=blocks, hash=digest.hex())

    def finish(self) -> RecordingHead:
        """Close the last block, add the index, put all on the disk, and call the file by its final name.

        Blocks on the disk, for long recordings some tenths of a second; no other call may run. Raises
        RecordingUnwritable: then the file stays as a killed gate would leave it.
        """
        try:
            with self._on_disk:
                return self._finish()
        finally:
            self.close()

    def _finish(self) -> RecordingHead:
        self._refuse_when_broken()
        try:
            self._seal()
            index_at = self._file.length
            number, digest = self._sealed
            index = self._blocks.index(self._places(number), self._last, digest)
            self._file.put(index + trailer(index_at))
            self._file.sync()
            path = self._file.path
            path.rename(path.with_suffix(FINISHED))
            sync_folder(path.parent)
            # Whatever stays of them is removed with the next look at the spool.
            with contextlib.suppress(OSError):
                self._tails.remove()
        except (RecordingUnwritable, RecordingDamaged) as error:
            self._broken = str(error)
            raise
        except OSError as error:
            self._broken = str(error)
            raise RecordingUnwritable.by(self._file.path, error) from error
        return RecordingHead(name=self.name, blocks=number, hash=digest.hex(), finished=True)

    def close(self) -> None:
        """Let go of the files as they are."""
        with self._on_disk:
            self._broken = self._broken or f"{self.name}: the recording is closed"
            if not self._is_closed:
                self._is_closed = True
                self._file.close()
                self._tails.close()

    def _refuse_when_broken(self) -> None:
        if self._broken:
            raise RecordingUnwritable(self._broken)

    def _add(self, ready: Sequence[tuple[int, bytes]]) -> None:
        loose: list[bytes] = []
        before = len(self._open)
        for at, entry in ready:
            if self._open and at - self._first > BLOCK_SPAN:
                self._seal()
                loose, before = [], 0
            if not self._open:
                self._first = at
            self._open.append(entry)
            self._open_bytes += len(entry)
            self._last = at
            loose.append(entry)
            if self._open_bytes >= BLOCK_BYTES:
                # What is in the blocks' file needs no place in the tail: large data is written once.
                self._seal()
                loose, before = [], 0
        if loose:
            self._tails.put(self._sealed[0], before, loose)

    def _seal(self) -> None:
        if not self._open:
            self._tails.sealed()
            return
        number, digest = self._sealed
        if number >= MOST_BLOCKS:
            raise RecordingUnwritable(f"{self.name}: the recording is too long; begin a new session")
        raw = b"".join(self._open)
        block = self._blocks.block(number, raw, (self._first, self._last), len(self._open), digest)
        self._file.put(block)
        self._sealed = (number + 1, block[-HASH_BYTES:])
        self._open, self._open_bytes = [], 0
        self._tails.sealed()

    def _places(self, blocks: int) -> Places:
        """Where the blocks are, by their heads in the file: while it is written nothing of that is in memory."""
        found = Places()
        offset = PREAMBLE_BYTES
        for number in range(blocks):
            head = read_head(self._file.read(offset, HEAD_BYTES), number, self.name)
            found.add(Place(head.first, offset))
            offset += head.length
        return found
