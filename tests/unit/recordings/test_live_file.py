"""A recording that is being written: when blocks close, what is refused, what is on disk when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.recorded_sessions import BEGAN, KEY, PACKING, a_session, begin, header, read, recorded, sealing

from narrowgate.core.recording import ENTRY_LIMIT, LATEST, PIECE_LIMIT, Entry, Noted, RecordingHead
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.blocks import BLOCK_BYTES, BLOCK_SPAN
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.reading import open_file

SECOND = 1_000_000


def out(at: int, data: bytes = b"x") -> Entry:
    return Entry(at, ChannelData(Channel.STDOUT, data))


def live_path(folder: Path) -> Path:
    (path,) = folder.glob("*.live")
    return path


def test_the_header_is_in_the_file_before_anything_else_happens(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    assert read(live_path(tmp_path), KEY) == [Entry(0, header())]
    assert live.head() == RecordingHead(name="2026-11-18/6b2a1f9e-0001.recording", blocks=1, hash=live.head().hash)
    live.close()


def test_the_same_session_is_not_recorded_twice(tmp_path: Path) -> None:
    live = begin(tmp_path)
    with pytest.raises(RecordingUnwritable, match="file exists"):
        begin(tmp_path)
    assert read(live_path(tmp_path)) == [Entry(0, header())]
    live.close()


def test_a_block_closes_when_it_is_full_and_when_ten_seconds_passed(tmp_path: Path) -> None:
    live = begin(tmp_path)
    live.write([out(0, bytes(BLOCK_BYTES - 200))])
    assert live.head().blocks == 1
    live.write([out(1, bytes(200))])
    assert (live.head().blocks, live.has_open_block) == (2, False)
    live.write([out(2), out(2 + BLOCK_SPAN)])
    assert live.head().blocks == 2
    live.write([out(3 + BLOCK_SPAN)])
    assert (live.head().blocks, live.has_open_block) == (3, True)
    live.seal()
    assert (live.head().blocks, live.has_open_block) == (4, False)
    live.seal()
    assert live.head().blocks == 4
    live.close()


def test_what_fills_a_block_is_written_once(tmp_path: Path) -> None:
    live = begin(tmp_path)
    for at in range(10):
        live.write([out(at, os.urandom(BLOCK_BYTES))])
    assert live.waiting == 0
    assert [each.suffix for each in tmp_path.iterdir()] == [".live"]
    live.close()


def test_data_longer_than_an_entry_becomes_several(tmp_path: Path) -> None:
    data = os.urandom(2 * PIECE_LIMIT + 1)
    path = recorded(tmp_path, [out(5, data)], KEY)
    found = [entry.what for entry in read(path, KEY)[1:]]
    assert b"".join(what.data for what in found if isinstance(what, ChannelData)) == data
    assert len(found) == 3


@pytest.mark.parametrize(
    "entries",
    [
        [out(10), out(9)],
        [out(LATEST)],
        [out(-1)],
        [out(11), Entry(12, Noted("x" * ENTRY_LIMIT))],
    ],
    ids=["back in time", "after all time", "before the beginning", "too long"],
)
def test_what_cannot_be_recorded_is_refused_whole_and_breaks_nothing(tmp_path: Path, entries: list[Entry]) -> None:
    live = begin(tmp_path)
    live.write([out(3)])
    with pytest.raises(ValueError, match=r"cannot follow|too long"):
        live.write(entries)
    live.write([out(4)])
    live.finish()
    (path,) = tmp_path.iterdir()
    assert read(path)[1:] == [out(3), out(4)]


@pytest.mark.parametrize("session", ["../escape", "", "a/b"])
def test_a_session_that_cannot_name_a_file_creates_none(tmp_path: Path, session: str) -> None:
    with pytest.raises(ValueError, match="cannot name"):
        LiveFile.begin(tmp_path, header(session), sealing(), PACKING)
    assert list(tmp_path.iterdir()) == []


def test_after_its_end_nothing_is_recorded(tmp_path: Path) -> None:
    live = begin(tmp_path)
    live.finish()
    for late in (lambda: live.write([out(1)]), live.seal, live.sync, live.finish):
        with pytest.raises(RecordingUnwritable, match="closed"):
            late()
    live.close()
    assert live.is_broken


def test_what_the_trail_may_say_is_what_is_on_disk(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.write([out(at * 6 * SECOND) for at in range(6)])
    synced = live.sync()
    live.write([out(60 * SECOND)])
    finished = live.finish()
    assert (synced.blocks, synced.finished, finished.finished) == (3, False, True)
    (path,) = tmp_path.iterdir()
    with open_file(path, (KEY,)) as recording:
        assert recording.check([synced, finished]).hash == finished.hash


def test_nothing_of_a_session_is_readable_in_its_files_without_the_key(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.write([*a_session(), out(2 * SECOND, b"the very secret " * 5000), out(3 * SECOND, b"the very secret")])
    files = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    live.close()
    for word in (b"secret", b"web-0", b"agent:ci", b"README", BEGAN.to_bytes(8, "big")):
        assert word not in files
    live.close()


def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    live = begin(tmp_path)
    live.write([out(1)])
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
    live.close()
