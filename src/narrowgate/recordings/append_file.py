"""A file that only grows: every write is there whole, or cut off again.

The system calls that change a recording are here. Unlike the trail (`trail/segment_file.py`), which must go on, nothing
is tried twice: a recording that failed once is over, and so is its session.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from narrowgate.recordings.errors import RecordingUnwritable


class AppendFile:
    """One open file. One thread calls `put` and `clear`; `sync` may run in another at the same time."""

    __slots__ = ("_file", "_synced", "length", "path")

    def __init__(self, path: Path, *, length: int | None = None) -> None:
        """Create the file; or, where its `length` is given, open it and cut it to that. Raises RecordingUnwritable."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if length is None else 0)
        try:
            self._file = os.open(path, flags, 0o600)
            if length is not None:
                os.ftruncate(self._file, length)
        except OSError as error:
            raise RecordingUnwritable.by(path, error) from error
        self.path = path
        self.length = length or 0
        self._synced = 0

    def put(self, content: bytes) -> None:
        """Add the bytes with one write. Raises RecordingUnwritable; the file then ends where it ended before."""
        try:
            written = os.pwrite(self._file, content, self.length)
        except OSError as error:
            self._cut_back()
            raise RecordingUnwritable.by(self.path, error) from error
        if written != len(content):
            self._cut_back()
            raise RecordingUnwritable(
                f"{self.path}: the recording cannot be written: the disk took {written} of {len(content)} bytes; "
                "free some space or raise the file size limit"
            )
        self.length += written

    def read(self, offset: int, length: int) -> bytes:
        """What was written there. Raises RecordingUnwritable."""
        try:
            return os.pread(self._file, length, offset)
        except OSError as error:
            raise RecordingUnwritable.by(self.path, error) from error

    def sync(self) -> None:
        """Put what was written so far on the disk. Raises RecordingUnwritable: then nobody knows what is there."""
        length = self.length
        if length == self._synced:
            return
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise RecordingUnwritable.by(self.path, error) from error
        self._synced = length

    def clear(self) -> None:
        """Begin again with an empty file. Raises RecordingUnwritable."""
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise RecordingUnwritable.by(self.path, error) from error
        self.length = self._synced = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _cut_back(self) -> None:
        # A reader finds a torn end by itself; this only spares it the trouble.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self.length)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk. Raises OSError."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
