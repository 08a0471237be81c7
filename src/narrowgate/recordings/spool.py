"""Where recordings are until their store has them: written here, finished here, and sent from here again and again.

<folder>/<writer>/2026-11-21.<session>.live        being written
<folder>/<writer>/2026-11-21.<session>.tail0, 1    what is in no block yet
<folder>/<writer>/2026-11-21.<session>.recording   finished, on its way to the store
<folder>/<writer>/2026-11-21.<session>.unreadable  what a crash left and nobody can read
<folder>/<writer>/lock                             held by the process that writes
<folder>/<writer>/reserve                          room for the end of a recording that has filled the disk

Each process has a folder of its own; one that starts takes over those that nobody holds.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.recording import Header, RecordingHead
from narrowgate.file_lock import LOOK_SECONDS, is_taken, take
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.names import FINISHED, LIVE, name_in_spool, spool_path
from narrowgate.recordings.port import RecordingStore
from narrowgate.recordings.recovery import UNRECORDED, finish_cut, recover
from narrowgate.recordings.sealing import SALT_BYTES, Packing, RecordingKey, Sealing

_WRITER = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}", re.ASCII)


_PROBE_BYTES = 64 * 1024
"""As much as a block can be."""


_HEADER_BYTES = 16 * 1024
"""Of a recording with a long command line; what `begin` writes."""

_LOCK = "lock"
_LOOKERS_SECONDS = 2.0
"""For as long, all in all, a starting process waits for those who look whether anybody writes."""

_RESERVE = "reserve"
_RESERVE_BYTES = 1024 * 1024
"""The last block and the index of a recording of 4 GiB. Without them it could not be finished, hence not be sent, and
the disk would stay as full as it is.
"""


class SpoolInUse(Exception):
    """Another process writes in this spool."""


class Finished(msgspec.Struct, frozen=True):
    """A recording that waits for its store."""

    name: str
    path: Path
    size: int


class Spool:
    """One process's folder of recordings on their way. Calls block on the disk, `begin` hardly."""

    def __init__(self, folder: Path, lock: int, keys: Sequence[RecordingKey]) -> None:
        """Not for callers: they `open` one. The first key encrypts, all decrypt."""
        self._folder = folder
        self._lock = lock
        self._keys = tuple(keys)
        self._packing = Packing()

    @classmethod
    def open(cls, root: Path, writer: str, keys: Sequence[RecordingKey], *, wait: float = 0.0) -> Self:
        """Open the spool of `writer` under `root`. `wait`: seconds that a process which has it may take to end.

        Raises SpoolInUse, RecordingUnwritable.
        """
        if not _WRITER.fullmatch(writer):
            raise ValueError(f"{writer!r} cannot name a spool: use a-z, 0-9, '.' and '-', at most 63 characters")
        folder = root / writer
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _taken(folder, wait)
        except OSError as error:
            raise RecordingUnwritable.by(folder, error) from error
        if lock is None:
            raise SpoolInUse(f"{folder}: another process records here; stop it, or give each its own data folder")
        return cls(folder, lock, keys)

    def begin(self, header: Header, salt: bytes) -> LiveFile:
        """Begin a recording; its header is in a file when this returns. `salt`: random bytes that nobody uses again.

        Raises RecordingUnwritable; ValueError for a header that cannot be recorded.
        """
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        sealing = Sealing(salt, self._keys[0] if self._keys else None)
        return LiveFile.begin(self._folder, header, sealing, self._packing)

    def recover(self) -> tuple[tuple[RecordingHead, ...], tuple[str, ...]]:
        """Finish what was cut here and in spools that nobody holds any more; what the trail may say of them, and
        problems worded for people. Call it before the first `begin`: no recording of this process may be open.

        Raises RecordingUnwritable.
        """
        finished: list[RecordingHead] = []
        problems: list[str] = []
        try:
            for folder in sorted(each for each in self._folder.parent.iterdir() if each.is_dir()):
                lock = self._lock if folder == self._folder else _taken(folder)
                if lock is None:
                    continue
                try:
                    (folder / _RESERVE).unlink(missing_ok=True)
                    found = recover(folder, self._keys, self._packing)
                    self._take_over(folder)
                finally:
                    if folder != self._folder:
                        os.close(lock)
                finished += found.finished
                problems += found.problems
        except OSError as error:
            raise RecordingUnwritable.by(self._folder.parent, error) from error
        return tuple(finished), tuple(problems)

    def finish_cut(self, name: str) -> RecordingHead | None:
        """Finish a recording of this process that could not be finished when it ended, and that is closed.

        It may take the room that `probe` keeps aside. None where there is nothing to finish. Raises
        RecordingUnwritable, RecordingDamaged.
        """
        path = spool_path(self._folder, name, LIVE)
        try:
            (self._folder / _RESERVE).unlink(missing_ok=True)
            return finish_cut(path, self._keys, self._packing, UNRECORDED)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordingUnwritable.by(path, error) from error

    def probe(self) -> None:
        """Whether something can be written here now, and still be finished. Raises RecordingUnwritable."""
        self._set_aside()
        path = self._folder / "probe"
        try:
            path.write_bytes(bytes(_PROBE_BYTES))
            path.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise RecordingUnwritable.by(path, error) from error

    def finished(self) -> list[Finished]:
        """What waits for the store, oldest first. Raises OSError."""
        found: list[tuple[float, Finished]] = []
        for path in self._folder.glob(f"*{FINISHED}"):
            name = name_in_spool(path)
            if name is not None:
                status = path.stat()
                found.append((status.st_mtime, Finished(name, path, status.st_size)))
        return [each for _, each in sorted(found, key=lambda pair: (pair[0], pair[1].name))]

    def send(self, finished: Finished, store: RecordingStore) -> None:
        """Put it into its store, and remove it here once the store has it. Raises RecordingsUnavailable,
        OtherRecording, OSError: then it stays.
        """
        store.put(finished.name, finished.path)
        finished.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._lock)

    def require_room(self) -> None:
        """Raise RecordingUnwritable where a recording that began now could not hold its header. Some microseconds."""
        path = self._folder / "room"
        try:
            path.write_bytes(bytes(_HEADER_BYTES))
            path.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise RecordingUnwritable.by(path, error) from error

    def _set_aside(self) -> None:
        path = self._folder / _RESERVE
        try:
            with path.open("ab") as reserve:
                os.posix_fallocate(reserve.fileno(), 0, _RESERVE_BYTES)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise RecordingUnwritable.by(path, error) from error

    def _take_over(self, folder: Path) -> None:
        """Finished recordings of a process that is gone become this one's to send."""
        if folder != self._folder:
            for path in folder.glob(f"*{FINISHED}"):
                path.rename(self._folder / path.name)


def is_written(folder: Path) -> bool:
    """Whether a process of this machine writes in a spool now; what is live in others, a killed gate has left.

    Raises OSError.
    """
    return is_taken(folder / _LOCK)


def _taken(folder: Path, wait: float = 0.0) -> int | None:
    """The lock of a spool; None where another process still writes in it after `wait` seconds. Raises OSError."""
    path = folder / _LOCK
    lock = take(path, wait)
    deadline = time.monotonic() + _LOOKERS_SECONDS
    # A writer keeps others from sharing it. Somebody who only looks (`is_written`) shares, for microseconds.
    while lock is None and not is_taken(path) and time.monotonic() < deadline:
        lock = take(path, LOOK_SECONDS)
    return lock
