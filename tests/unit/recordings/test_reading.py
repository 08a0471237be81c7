"""Recordings read back: little is read to seek; what is none, or not whole, is said. The laws are in tests/property."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, OTHER_KEY, a_session, begin, header, read, recorded

from narrowgate.core.recording import Entry
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.blocks import MARK, TRAILER, trailer
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.reading import WINDOW, BytesSource, FileSource, Recording, open_file


class Counting:
    """A source that remembers how much was asked of it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.where, self.size, self.read_bytes = "counted", len(content), 0

    def read(self, offset: int, length: int) -> bytes:
        found = self._content[offset : offset + length]
        self.read_bytes += len(found)
        return found


def long_one(folder: Path) -> bytes:
    noise = random.Random(7).randbytes(3_000_000)
    entries = [Entry(at * 1000, ChannelData(Channel.STDOUT, noise[at * 1000 :][:1000])) for at in range(3000)]
    return recorded(folder, entries, KEY).read_bytes()


def test_seeking_reads_little_of_a_long_recording(tmp_path: Path) -> None:
    source = Counting(long_one(tmp_path))
    assert source.size > 8 * WINDOW
    recording = Recording(source, (KEY,))
    first = next(recording.entries(2_500_000))
    assert first.at == 2_500_000
    assert source.read_bytes < 4 * WINDOW


def test_the_header_is_there_at_once(tmp_path: Path) -> None:
    path = recorded(tmp_path, a_session(), KEY)
    with FileSource(path) as source:
        recording = Recording(source, (OTHER_KEY, KEY))
        assert recording.header == header()
        assert recording.finished
        assert list(recording.entries(10**12)) == []


def test_without_its_key_nothing_is_read(tmp_path: Path) -> None:
    path = recorded(tmp_path, a_session(), KEY)
    for keys in ((), (OTHER_KEY,)):
        with pytest.raises(RecordingKeyMissing, match=KEY.id.hex()), open_file(path, keys):
            raise AssertionError("it was read")


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    content = recorded(tmp_path, a_session()).read_bytes()
    newer = content.replace(MARK, b"narrowgate recording 9\n", 1)
    with pytest.raises(NewerRecording, match="format 9"):
        Recording(BytesSource(newer, "newer"), ())


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, MARK, MARK + bytes(24), MARK + bytes(24) + trailer(47) * 9])
def test_what_is_no_recording_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(RecordingDamaged):
        Recording(BytesSource(content, "none"), ())


@pytest.mark.parametrize("index_at", [0, 46, 47, 1 << 40, (1 << 64) - 1])
def test_an_index_that_is_elsewhere_is_damage_and_no_way_out_of_the_file(tmp_path: Path, index_at: int) -> None:
    content = recorded(tmp_path, a_session()).read_bytes()
    moved = content[: -TRAILER.size] + trailer(index_at)
    with pytest.raises(RecordingDamaged):
        Recording(BytesSource(moved, "moved"), ()).check()
    with pytest.raises(RecordingDamaged):
        list(Recording(BytesSource(moved, "moved"), ()).entries(30))


def test_something_added_behind_the_end_shows(tmp_path: Path) -> None:
    content = recorded(tmp_path, a_session()).read_bytes()
    report = Recording(BytesSource(content + b"more", "longer"), ()).check()
    assert not report.finished
    assert report.unread_bytes > 4
    with pytest.raises(RecordingDamaged):
        Recording(BytesSource(content + content[-TRAILER.size :], "longer"), ()).check()


def test_one_that_is_being_written_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    (path,) = tmp_path.glob("*.live")
    for number, entry in enumerate(a_session(), start=1):
        live.write([entry])
        assert len(read(path, KEY)) == number + 1
        if number % 2:
            live.seal()
        if number % 3 == 0:
            live.sync()
    with open_file(path, (KEY,)) as recording:
        report = recording.check([live.head()])
    assert (report.finished, report.unread_bytes, report.last) == (False, 0, a_session()[-1].at)
    live.close()


def test_the_trail_is_believed_about_the_end(tmp_path: Path) -> None:
    live = begin(tmp_path)
    live.write(a_session()[:3])
    live.seal()
    early = live.sync()
    live.write(a_session()[3:])
    end = live.finish()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    assert Recording(BytesSource(content, "whole"), ()).check([early, end]).finished
    # Somebody leaves the last block away and says that it ended before.
    (tmp_path / "forged").mkdir()
    forged = recorded(tmp_path / "forged", a_session()[:3]).read_bytes()
    assert Recording(BytesSource(forged, "forged"), ()).check([early]).finished
    with pytest.raises(RecordingDamaged, match="ends before what the trail has seen"):
        Recording(BytesSource(forged, "forged"), ()).check([early, end])


def test_all_of_a_long_recording_is_checked_by_reading_it_once(tmp_path: Path) -> None:
    source = Counting(long_one(tmp_path))
    assert Recording(source, (KEY,)).check().finished
    # Windows overlap by what is cut of a block at their end.
    assert source.read_bytes < 1.6 * source.size
