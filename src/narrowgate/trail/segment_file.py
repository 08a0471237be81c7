"""One segment open for writing: whole batches or nothing, and what a failing disk leaves behind.

Here belong the system calls that change a segment, and the two things that can go wrong with them: a write that is cut
short, and a sync after which nobody knows what is on the disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

_CHUNK = 1 << 20
"""Bytes written anew at a time after a failed sync; any size works."""


class TrailUnwritable(Exception):
    """The trail could not be written. Nothing half-written remains; whoever wanted the entry must refuse."""

    @classmethod
    def by(cls, path: Path, error: OSError) -> Self:
        """Say what the system refused, where, and what to do."""
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        return cls(f"{path}: the trail cannot be written: {reason}; {_ADVICE.get(error.errno or 0, 'check the disk')}")


class SegmentFile:
    """An open segment. One thread calls `put`; `sync` may run in another at the same time."""

    __slots__ = ("_fresh", "_rescued", "_synced", "_torn", "file", "in_doubt", "length", "path")

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
        self.in_doubt = False
        """The last sync failed: nobody knows what is on the disk, and nothing is added until a sync succeeds."""
        self._rescued = b""
        """The lines in doubt, while they are not in the file."""
        self._fresh = True
        """The file's name may not be on disk yet."""

    def put(self, batch: bytes) -> None:
        """Add whole lines with one write. Raises TrailUnwritable; the file then ends where it ended before."""
        if self.in_doubt:
            raise TrailUnwritable(f"{self.path}: the trail cannot be written: the disk failed to keep lines; check it")
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

        After a failed sync the kernel counts the pages that it could not write as clean, and the next sync would
        succeed without them (PostgreSQL met this in 2018); ext4 may not even let go of their blocks. So the lines in
        doubt are then taken out of the file and written to it anew.
        """
        try:
            if self.in_doubt:
                self._write_anew(length)
            elif length > self._synced:
                os.fdatasync(self.file)
            if self._fresh:
                sync_folder(self.path.parent)
        except OSError as error:
            self.in_doubt = True
            raise TrailUnwritable.by(self.path, error) from error
        self.in_doubt = self._fresh = False
        self._rescued = b""
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

    def _write_anew(self, length: int) -> None:
        # No `put` runs meanwhile: it refuses while there is doubt.
        if not self._rescued:
            rescued = os.pread(self.file, length - self._synced, self._synced)
            if len(rescued) < length - self._synced or b"\0" in rescued:
                # Lines never hold a zero byte: the kernel let go of a page that it had not written.
                raise OSError(errno.EIO, "lines already written cannot be read back")
            self._rescued = rescued
        os.ftruncate(self.file, self._synced)
        at = self._synced
        while at < length:
            at += os.pwrite(self.file, self._rescued[at - self._synced : at - self._synced + _CHUNK], at)
        os.fdatasync(self.file)


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
