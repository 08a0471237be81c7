"""A segment on a disk that works; tests/fault/test_trail_disk.py has the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.trail.segment_file import SegmentFile, TrailUnwritable


def test_batches_follow_each_other(tmp_path: Path) -> None:
    file = SegmentFile(tmp_path / "s", exclusive=True)
    for batch in (b"one\n", b"two\nthree\n"):
        file.put(batch)
    file.sync(file.length)
    file.close()
    assert (tmp_path / "s").read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_that_is_there_is_not_begun_again(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    with pytest.raises(TrailUnwritable, match="file exists"):
        SegmentFile(tmp_path / "s", exclusive=True)


def test_in_doubt_nothing_is_added_until_a_sync_has_written_the_lines_anew(tmp_path: Path) -> None:
    file = SegmentFile(tmp_path / "s", exclusive=True)
    file.put(b"one\n")
    file.sync(file.length)
    file.put(b"two\n")
    file.in_doubt = True
    with pytest.raises(TrailUnwritable, match="failed to keep lines"):
        file.put(b"three\n")
    file.sync(file.length)
    file.put(b"three\n")
    file.close()
    assert (tmp_path / "s").read_bytes() == b"one\ntwo\nthree\n"


def test_lines_that_the_kernel_forgot_are_not_written_anew_as_nothing(tmp_path: Path) -> None:
    file = SegmentFile(tmp_path / "s", exclusive=True)
    file.put(b"one\n")
    file.in_doubt = True
    (tmp_path / "s").write_bytes(b"\0\0\0\0")
    with pytest.raises(TrailUnwritable, match="input/output error"):
        file.sync(file.length)
    assert file.in_doubt
    file.close()
