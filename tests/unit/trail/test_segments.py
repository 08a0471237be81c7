from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.trail.segments import Tail, first_line_of, segments_of, tail_of, writers_of


@pytest.mark.parametrize(
    ("content", "tail"),
    [
        (b"", Tail(0, None, b"")),
        (b"torn", Tail(0, None, b"torn")),
        (b"one\n", Tail(4, b"one\n", b"")),
        (b"one\ntwo\n", Tail(8, b"two\n", b"")),
        (b"one\ntwo\nto", Tail(8, b"two\n", b"to")),
        (b"\n", Tail(1, b"\n", b"")),
        (b"one\n" + b"x" * 100_000 + b"\n", Tail(100_005, b"x" * 100_000 + b"\n", b"")),
        (b"one\n" + b"x" * 300_000, Tail(4, b"one\n", b"x" * 300_000)),
    ],
)
def test_the_end_of_a_file_is_its_last_whole_line_and_what_is_torn(tmp_path: Path, content: bytes, tail: Tail) -> None:
    (tmp_path / "file").write_bytes(content)
    assert tail_of(tmp_path / "file") == tail


def test_only_segments_count_and_they_count_by_number(tmp_path: Path) -> None:
    journal = tmp_path / "w0"
    journal.mkdir()
    (tmp_path / "index.db").touch()
    for name in (
        "00000002.jsonl",
        "00000010.jsonl",
        "123456789.jsonl",
        "00000001.torn-5",
        "lock",
        "1.jsonl",
        "x.jsonl",
    ):
        (journal / name).touch()
    assert [segment.number for segment in segments_of(journal)] == [2, 10, 123456789]
    assert writers_of(tmp_path) == ["w0"]


def test_the_first_line_is_read_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one\ntwo\n")
    assert first_line_of(tmp_path / "file") == b"one\n"
