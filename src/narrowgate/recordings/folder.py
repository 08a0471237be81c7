"""Recordings kept in a folder: a folder for each day, a file for each recording, a file beside it for a hold."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from narrowgate.recordings.append_file import sync_folder
from narrowgate.recordings.names import is_day, is_recording_name
from narrowgate.recordings.port import (
    Hold,
    NoSuchRecording,
    OtherRecording,
    RecordingHeld,
    RecordingsUnavailable,
    Stored,
)

HOLD = ".hold"
"""Added to a recording's name."""

REMOVING = ".removing"
"""Added to the name of a recording that is about to be removed. Who removes writes this and then looks for a hold, who
holds writes the hold and then looks for this: so at least one of two at the same time sees the other.
"""


class FolderStore:
    """See `recordings.port.RecordingStore`."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when it is needed."""
        self._folder = folder
        self.where = f"file:{folder}"

    def put(self, name: str, path: Path) -> None:
        """See the port."""
        target = self._path(name)
        with self._reachable():
            self._make_folder(target.parent)
            if target.exists():
                if not filecmp.cmp(path, target, shallow=False):
                    raise OtherRecording(f"{target}: is another recording of that name; look at both")
                return
            try:
                # In the same file system nothing is copied, and the name is there whole or not at all.
                os.link(path, target)
            except FileExistsError:
                raise RecordingsUnavailable(f"{target}: somebody else put it at the same time; try again") from None
            except OSError:
                _copy(path, target)
            sync_folder(target.parent)

    def open(self, name: str) -> _StoredFile:
        """See the port."""
        path = self._path(name)
        try:
            return _StoredFile(path)
        except FileNotFoundError:
            raise NoSuchRecording(f"{self.where} has no recording {name}") from None
        except OSError as error:
            raise self._unavailable(error) from error

    def days(self) -> list[str]:
        """See the port."""
        with self._reachable():
            if not self._folder.exists():
                return []
            return sorted(each.name for each in self._folder.iterdir() if is_day(each.name) and each.is_dir())

    def of_day(self, day: str) -> Iterator[Stored]:
        """See the port."""
        with self._reachable():
            names = sorted(os.listdir(self._folder / day)) if is_day(day) and (self._folder / day).is_dir() else []
        for each in names:
            name = f"{day}/{each}"
            if is_recording_name(name):
                with contextlib.suppress(FileNotFoundError):
                    status = (self._folder / name).stat()
                    yield Stored(name, status.st_size, status.st_mtime)

    def remove(self, name: str) -> None:
        """See the port."""
        path = self._path(name)
        removing = path.with_name(path.name + REMOVING)
        with self._reachable():
            if not path.exists():
                return
            removing.touch(mode=0o600)
            is_held = self.held(name) is not None
            if not is_held:
                path.unlink(missing_ok=True)
            removing.unlink(missing_ok=True)
            # The day goes with its last recording.
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        if is_held:
            raise RecordingHeld(f"{name} is on hold; lift the hold first")

    def hold(self, name: str, hold: Hold) -> None:
        """See the port."""
        path = self._path(name)
        with self._reachable():
            if not path.exists():
                raise NoSuchRecording(f"{self.where} has no recording {name}")
            _write(self._hold_path(path), msgspec.json.encode(hold))
            is_being_removed = path.with_name(path.name + REMOVING).exists()
            if not path.exists():
                self._hold_path(path).unlink(missing_ok=True)
                raise NoSuchRecording(f"{self.where} has no recording {name}")
        if is_being_removed:
            raise RecordingsUnavailable(f"{name} is being removed at this moment; ask again")

    def lift(self, name: str) -> None:
        """See the port."""
        with self._reachable():
            self._hold_path(self._path(name)).unlink(missing_ok=True)

    def held(self, name: str) -> Hold | None:
        """See the port."""
        path = self._hold_path(self._path(name))
        with self._reachable():
            try:
                return read_hold(path.read_bytes(), str(path))
            except FileNotFoundError:
                return None

    def _path(self, name: str) -> Path:
        if not is_recording_name(name):
            raise NoSuchRecording(f'{self.where} has no recording "{name[:100]}"')
        return self._folder / name

    @staticmethod
    def _hold_path(path: Path) -> Path:
        return path.with_name(path.name + HOLD)

    def _make_folder(self, day: Path) -> None:
        if not day.is_dir():
            day.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(day.parent)

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> RecordingsUnavailable:
        place = error.filename or self._folder
        return RecordingsUnavailable(f"{place}: {(error.strerror or str(error)).lower()}; check the disk and its owner")


class _StoredFile:
    """A recording in the folder, opened anew for each piece: whoever replays may take his time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.where = str(path)
        self.size = path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        """See `recordings.reading.Source`."""
        try:
            with self._path.open("rb") as file:
                return os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            raise NoSuchRecording(f"{self.where}: was removed") from None
        except OSError as error:
            raise RecordingsUnavailable(f"{self.where}: {error.strerror}; check the disk") from error


def read_hold(content: bytes, where: str) -> Hold:
    """What a hold says; one that cannot be read holds all the same."""
    try:
        return msgspec.json.decode(content, type=Hold)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Hold(by="", reason=f"{where} cannot be read, and holds until it is lifted", at="")


def _copy(path: Path, target: Path) -> None:
    """To another file system: whole or not at all."""
    # By a name that nobody who looks for recordings finds, be it a backup.
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".coming")
    try:
        with os.fdopen(descriptor, "wb") as file, path.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)
    finally:
        os.unlink(temporary)


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".hold-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    sync_folder(path.parent)
