"""A file that only grows, and what it refuses. Disks that fail are in tests/fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.recordings.append_file import AppendFile, sync_folder
from narrowgate.recordings.errors import RecordingUnwritable


def test_what_is_put_is_there_and_can_be_read_and_synced(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "file")
    file.put(b"one")
    file.put(b"two")
    assert (tmp_path / "file").read_bytes() == b"onetwo"
    assert file.read(2, 3) == b"etw"
    file.sync()
    sync_folder(tmp_path)
    file.clear()
    file.put(b"3")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"3"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_one_that_is_there_is_not_written_over_but_can_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"whole, torn")
    with pytest.raises(RecordingUnwritable, match="file exists"):
        AppendFile(tmp_path / "file")
    file = AppendFile(tmp_path / "file", length=5)
    file.put(b"!")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"whole!"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnwritable, match="no such file"):
        AppendFile(tmp_path / "gone" / "file")
    with pytest.raises(RecordingUnwritable, match="no such file"):
        AppendFile(tmp_path / "file", length=3)
