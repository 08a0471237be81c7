"""One segment open for writing: whole batches or nothing, and what a failing disk leaves behind.

Here belong the system calls that change a segment, and the two things that can go wrong with them: a write that is cut
short, and a sync after which nobody knows what is on the disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

_AGAIN_CHUNK = 1 << 20
"""Bytes written again at a time after a failed sync; any size works, 1 MiB keeps memory small."""


class TrailUnwritable(Exception):
    """The trail could not be written. Nothing half-written remains; whoever wanted the entry must refuse."""

    @classmethod
    def by(cls, path: Path, error: OSError) -> Self:
        """Say what the system refused, where, and what to do."""
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        return cls(f"{path}: the trail cannot be written: {reason}; {_ADVICE.get(error.errno or 0, 'check the disk')}")


class SegmentFile:
    """An open segment. One thread calls `put`; `sync` may run in another at the same time."""

    __slots__ = ("_fresh", "_suspect", "_synced", "_torn", "file", "length", "path")

    def __init__(self, path: Path, *, exclusive: bool) -> None:
        """Create the file (or open an empty one, where not `exclusive`). Raises TrailUnwritable."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if exclusive else 0)
        try:
            self.file = os.open(path, flags, 0o600)
        except OSError as error:
            raise TrailUnwritable.by(path, error) from error
        self.path = path
        self.length = 0
        """Bytes of whole lines; whatever lies beyond is not ours yet."""
        self._torn = False
        """Bytes of a failed write may lie beyond `length`."""
        self._synced = 0
        """Bytes known to be on disk."""
        self._suspect = False
        """The last sync failed."""
        self._fresh = True
        """The file's name may not be on disk yet."""

    def put(self, batch: bytes) -> None:
        """Add whole lines with one write. Raises TrailUnwritable; the file then ends where it ended before."""
        if self._torn:
            self._cut_back()
        # pwrite at a place we know, not O_APPEND: what a failed write left beyond it can never count as ours, and a
        # second try goes to the same place.
        try:
            written = os.pwrite(self.file, batch, self.length)
        except OSError as error:
            self._torn = True
            self._cut_back()
            raise TrailUnwritable.by(self.path, error) from error
        if written != len(batch):
            self._torn = True
            self._cut_back()
            raise TrailUnwritable(
                f"{self.path}: the trail cannot be written: the disk took {written} of {len(batch)} bytes; "
                "free some space or raise the file size limit"
            )
        self.length += written

    def sync(self, length: int) -> None:
        """Put the first `length` bytes on the disk (fdatasync), the file's name too. Raises TrailUnwritable.

        After a failed sync the kernel may count pages that it could not write as clean, and the next sync would
        succeed without them (PostgreSQL met this in 2018). So the same bytes are then written to the same place again.
        """
        try:
            if self._suspect:
                self._write_again(length)
            if length > self._synced or self._suspect:
                os.fdatasync(self.file)
            if self._fresh:
                sync_folder(self.path.parent)
        except OSError as error:
            self._suspect = True
            raise TrailUnwritable.by(self.path, error) from error
        self._suspect = self._fresh = False
        self._synced = length

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.file)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self.file, self.length)
        except OSError as error:
            # `_torn` stays: the next write begins here again, and fails while this fails.
            raise TrailUnwritable.by(self.path, error) from error
        self._torn = False

    def _write_again(self, length: int) -> None:
        at = self._synced
        while at < length:
            chunk = os.pread(self.file, min(_AGAIN_CHUNK, length - at), at)
            if not chunk:
                raise OSError(errno.EIO, "lines already written cannot be read back")
            at += os.pwrite(self.file, chunk, at)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk. Raises OSError."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "make the folder writable",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EFBIG: "raise the file size limit",
}
