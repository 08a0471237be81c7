"""A process's folder of recordings on their way."""

from __future__ import annotations

import fcntl
import shutil
import threading
from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, a_session, header, read

from narrowgate.core.recording import Ended
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool, SpoolInUse, is_written

NAME = "2026-11-18/6b2a1f9e-0001.recording"


def test_a_recording_waits_here_until_its_store_has_it(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool", "gate-0", (KEY,))
    live = spool.begin(header(), bytes(16))
    live.write(a_session())
    assert spool.finished() == []
    live.finish()
    (waiting,) = spool.finished()
    assert (waiting.name, waiting.size) == (NAME, waiting.path.stat().st_size)
    spool.send(waiting, FolderStore(tmp_path / "kept"))
    assert spool.finished() == []
    assert len(read(tmp_path / "kept" / NAME, KEY)) == len(a_session()) + 1
    spool.probe()
    spool.require_room()
    assert spool.finish_cut(NAME) is None
    spool.close()


def test_one_that_could_not_be_finished_is_finished_later(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "gate-0", ())
    live = spool.begin(header(), bytes(16))
    live.write(a_session())
    live.close()
    head = spool.finish_cut(NAME)
    assert head is not None
    assert (head.name, head.finished) == (NAME, True)
    spool.close()


@pytest.mark.parametrize("writer", ["", "..", "a/b", "A", "a" * 64])
def test_a_spool_has_a_plain_name(tmp_path: Path, writer: str) -> None:
    with pytest.raises(ValueError, match="cannot name a spool"):
        Spool.open(tmp_path, writer, ())


def test_a_salt_is_a_salt(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "gate-0", (KEY,))
    with pytest.raises(ValueError, match="16 bytes"):
        spool.begin(header(), b"")
    spool.close()


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingUnwritable, match="not a directory"):
        Spool.open(tmp_path / "file", "gate-0", ())


def test_room_is_kept_aside_for_the_end_of_what_fills_the_disk(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "gate-0", ())
    live = spool.begin(header(), bytes(16))
    live.write(a_session()[:3])
    live.close()
    spool.probe()
    assert (tmp_path / "gate-0" / "reserve").stat().st_blocks * 512 >= 1024 * 1024
    assert spool.finish_cut(NAME) is not None
    assert not (tmp_path / "gate-0" / "reserve").exists()
    (finished,) = spool.finished()
    assert isinstance(read(finished.path)[-1].what, Ended)
    assert "could not be recorded" in read(finished.path)[-1].what.reason
    spool.close()


def test_without_its_folder_there_is_no_room(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "gate-0", ())
    shutil.rmtree(tmp_path / "gate-0")
    with pytest.raises(RecordingUnwritable, match="cannot be written"):
        spool.require_room()
    with pytest.raises(RecordingUnwritable, match="cannot be written"):
        spool.probe()
    spool.close()


def test_whoever_looks_whether_anybody_writes_keeps_nobody_from_writing(tmp_path: Path) -> None:
    assert not is_written(tmp_path / "gate-0")
    spool = Spool.open(tmp_path, "gate-0", ())
    assert is_written(tmp_path / "gate-0")
    with pytest.raises(SpoolInUse):
        Spool.open(tmp_path, "gate-0", ())
    spool.close()
    assert not is_written(tmp_path / "gate-0")
    with (tmp_path / "gate-0/lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (look, fcntl.LOCK_UN)).start()
        # The look is over after a moment, as all of them are.
        Spool.open(tmp_path, "gate-0", ()).close()
