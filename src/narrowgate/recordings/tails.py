"""What is recorded already and in no block yet: as bytes, and as the files beside a recording that is being written.

    frame   number of the block it will be in (8), entries of that block before it (4), entries in it (4), bytes (4),
            nonce (12), the entries (each with its length before it, encrypted where the recording is), check (16)

There are two files. New frames go to one; once its entries are in a block, the other one takes over, and the first is
emptied when that block is on the disk. So neither a killed gate nor a power cut loses what was to be kept, and neither
file grows much.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from pathlib import Path

import msgspec

from narrowgate.core.recording import Entry
from narrowgate.recordings.append_file import AppendFile
from narrowgate.recordings.blocks import BLOCK_LIMIT, decoded
from narrowgate.recordings.errors import RecordingDamaged
from narrowgate.recordings.sealing import NONCE_BYTES, Sealing

_HEAD = struct.Struct(f">QIII{NONCE_BYTES}s")
_CHECK_BYTES = 16


def frame(sealing: Sealing, block: int, index: int, entries: list[bytes]) -> bytes:
    """The frame of some encoded entries: they will be in `block`, behind `index` others."""
    nonce = sealing.nonce()
    raw = b"".join(entries)
    head = _HEAD.pack(block, index, len(entries), len(raw) + sealing.overhead, nonce)
    stored = head + sealing.close(nonce, raw, head)
    return stored + _check(sealing, stored)


def _check(sealing: Sealing, stored: bytes) -> bytes:
    # Tells a torn frame from a whole one, and the frames of two recordings apart. Whoever can change files can make it
    # again: only what is in a block is vouched for by the trail.
    return blake2b(stored, digest_size=_CHECK_BYTES, key=sealing.salt).digest()


class Frame(msgspec.Struct, frozen=True):
    """A frame that was read back."""

    block: int
    index: int
    entries: tuple[Entry, ...]


def frames(content: bytes, sealing: Sealing, where: str) -> tuple[list[Frame], int]:
    """The whole frames at the beginning of a tail, and how many bytes of it could not be read."""
    found: list[Frame] = []
    at = 0
    while len(content) - at >= _HEAD.size + _CHECK_BYTES:
        block, index, count, length, nonce = _HEAD.unpack_from(content, at)
        end = at + _HEAD.size + length
        stored = content[at:end]
        if length > BLOCK_LIMIT or _check(sealing, stored) != content[end : end + _CHECK_BYTES]:
            break
        try:
            raw = sealing.open(nonce, stored[_HEAD.size :], stored[: _HEAD.size], where)
            entries = tuple(decoded(raw, where))
        except RecordingDamaged:
            break
        if len(entries) != count:
            break
        found.append(Frame(block, index, entries))
        at = end + _CHECK_BYTES
    return found, len(content) - at


def loose_entries(tails: list[list[Frame]], block: int) -> list[Entry]:
    """The entries that will be in `block`, as far as none is missing between them. All are in one of the tails."""
    found: list[Entry] = []
    for one in sorted((each for tail in tails for each in tail if each.block == block), key=lambda each: each.index):
        if one.index != len(found):
            break
        found += one.entries
    return found


def tail_paths(live: Path) -> tuple[Path, Path]:
    """The two files beside a recording that is being written."""
    return live.with_suffix(".tail0"), live.with_suffix(".tail1")


class Tails:
    """The two files of one recording. `put` and `sealed` belong to one thread, `sync` may run in another."""

    def __init__(self, live: Path, sealing: Sealing) -> None:
        """Nothing is created before it is needed."""
        self._paths = tail_paths(live)
        self._sealing = sealing
        self._active: AppendFile | None = None
        self._parked: AppendFile | None = None
        """Holds only entries that are in blocks, of which nobody knows yet whether they are on the disk."""
        self._spare: list[AppendFile] = []
        """Empty ones."""
        self.created = 0
        """How many files there are: each has a name that must be put on the disk once."""

    @property
    def waiting(self) -> int:
        """Bytes that go once blocks are on the disk."""
        return (self._active.length if self._active else 0) + (self._parked.length if self._parked else 0)

    def put(self, block: int, index: int, entries: list[bytes]) -> None:
        """Keep entries until they are in `block`. Raises RecordingUnwritable."""
        if self._active is None:
            self._active = self._spare.pop() if self._spare else self._created()
        self._active.put(frame(self._sealing, block, index, entries))

    def sealed(self) -> None:
        """All entries that were put are in a block now, in the file if not on the disk."""
        if self._active is not None and self._parked is None:
            self._parked, self._active = self._active, None

    def sync(self, blocks: AppendFile) -> None:
        """Put blocks and loose entries on the disk, and let go of entries that are in blocks.

        In this order: a tail is only emptied when the blocks that replace it are safe. Raises RecordingUnwritable.
        """
        parked, active = self._parked, self._active
        blocks.sync()
        if active is not None:
            active.sync()
        if parked is not None:
            parked.clear()
            self._spare.append(parked)
            self._parked = None

    def remove(self) -> None:
        """The recording is finished, and nothing here is needed any more. Raises OSError."""
        for each in self._files():
            each.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files."""
        for each in self._files():
            each.close()
        self._active = self._parked = None
        self._spare = []

    def _created(self) -> AppendFile:
        file = AppendFile(self._paths[self.created])
        self.created += 1
        return file

    def _files(self) -> list[AppendFile]:
        return [each for each in (self._active, self._parked, *self._spare) if each is not None]
