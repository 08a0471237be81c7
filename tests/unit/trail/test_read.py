from __future__ import annotations

from pathlib import Path

from tests.unit.trail.sealed import SIGNER

from narrowgate.trail.journal import Bounds, Journal
from narrowgate.trail.read import complete_lines, events


def a_journal(folder: Path, writer: str, stamps: str) -> None:
    journal = Journal.open(folder, writer, SIGNER, bounds=Bounds(segment_bytes=600))
    for stamp in stamps:
        journal.append(b'{"auditID":"x","stageTimestamp":"%b"}' % stamp.encode())
        journal.write()
    journal.close()


def test_events_of_all_writers_come_in_order_of_time(tmp_path: Path) -> None:
    a_journal(tmp_path, "w0", "acegk")
    a_journal(tmp_path, "w1", "bdfh")
    found = list(events(tmp_path))
    assert "".join(line.at for line in found) == "abcdefghk"
    assert [line.writer for line in found][:4] == ["w0", "w1", "w0", "w1"]
    assert "".join(line.at for line in events(tmp_path, "c", "g")) == "cdef"


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    a_journal(tmp_path, "w0", "ab")
    path = tmp_path / "w0" / "00000001.jsonl"
    path.write_bytes(
        path.read_bytes().replace(b'{"auditID":"x","stageTimestamp":"a"}', b'{"auditID":', 1) + b"\xff\n{}"
    )
    assert "".join(line.at for line in events(tmp_path)) == "b"


def test_an_unfinished_line_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one\ntwo\nthr")
    assert list(complete_lines(tmp_path / "file")) == [(4, b"one\n"), (8, b"two\n")]
    assert list(complete_lines(tmp_path / "file", 4)) == [(8, b"two\n")]
