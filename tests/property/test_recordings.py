"""The laws of recordings: what is written is read, wherever it was cut, from any time on; any change is found."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recorded_sessions import KEY, PACKING, begin, header, read, recorded, sealing

from narrowgate.core.recording import (
    BodyData,
    Called,
    Ended,
    Entry,
    Exited,
    Noted,
    PortCounted,
    Resized,
    What,
)
from narrowgate.core.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
)
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.reading import BytesSource, Recording, open_file
from narrowgate.recordings.sealing import RecordingKey
from narrowgate.recordings.tails import tail_paths

numbers = st.integers(min_value=0, max_value=2**31)
texts = st.text(max_size=40)
data = st.binary(max_size=200) | st.builds(
    lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), st.sampled_from([10, 40_000, 70_000])
)
whats: st.SearchStrategy[What] = st.one_of(
    st.builds(ChannelOpened, st.sampled_from(Channel)),
    st.builds(ChannelData, st.sampled_from(Channel), data),
    st.builds(ChannelClosed, st.sampled_from(Channel), st.booleans()),
    st.builds(PortOpened, numbers, numbers),
    st.builds(PortData, numbers, data, st.sampled_from(Direction)),
    st.builds(PortError, numbers, data),
    st.builds(PortClosed, numbers, st.sampled_from(Direction), st.booleans()),
    st.builds(BodyData, data, st.sampled_from(Direction)),
    st.builds(Resized, numbers, numbers),
    st.builds(Exited, st.none() | st.integers(-(2**31), 2**31), texts),
    st.builds(Called, texts, texts, texts, numbers, texts),
    st.builds(Noted, texts),
    st.builds(PortCounted, numbers, st.sampled_from(Direction), numbers),
    st.builds(Ended, texts),
)


@st.composite
def sessions(draw: st.DrawFn) -> list[Entry]:
    steps = draw(st.lists(st.tuples(st.sampled_from([0, 0, 1, 50_000, 11_000_000]), whats), max_size=25))
    at, entries = 0, []
    for step, what in steps:
        at += step
        entries.append(Entry(at, what))
    return entries


keys = st.sampled_from([None, KEY])


@given(entries=sessions(), key=keys, seed=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read_however_it_was_handed_over(
    entries: list[Entry], key: RecordingKey | None, seed: object
) -> None:
    expected = [Entry(0, header()), *entries]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live = begin(folder, key)
        for entry in entries:
            live.write([entry])
            if hash((str(seed), entry.at)) % 3 == 0:
                live.sync()
        (path,) = folder.glob("*.live")
        # As a killed gate leaves it: nothing was closed.
        assert read(path, key) == expected
        live.finish()
        finished = path.with_suffix(".recording")
        assert read(finished, key) == expected
        with open_file(finished, (KEY,)) as recording:
            report = recording.check()
        assert (report.entries, report.loose, report.finished) == (len(expected), 0, True)
        assert [each.name for each in folder.iterdir()] == [finished.name]


@given(entries=sessions(), key=keys, since=st.integers(0, 300_000_000))
@settings(deadline=None, max_examples=60)
def test_reading_from_a_time_on_gives_what_reading_from_the_beginning_gives(
    entries: list[Entry], key: RecordingKey | None, since: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        live = begin(Path(name), key)
        live.write(entries)
        (path,) = Path(name).glob("*.live")
        times = {0, since, *(entry.at for entry in entries), *(entry.at + 1 for entry in entries)}
        everything = [Entry(0, header()), *entries]
        for time in times:
            assert read(path, key, time) == [entry for entry in everything if entry.at >= time]
        live.finish()
        for time in times:
            assert read(path.with_suffix(".recording"), key, time) == [
                entry for entry in everything if entry.at >= time
            ]


@given(entries=sessions(), key=keys)
@settings(deadline=None, max_examples=40)
def test_two_recorders_that_are_told_the_same_write_the_same_bytes(
    entries: list[Entry], key: RecordingKey | None
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        assert recorded(Path(one), entries, key).read_bytes() == recorded(Path(other), entries, key).read_bytes()


def several_blocks() -> list[Entry]:
    noise = bytes(range(256)) * 150
    return [Entry(at * 4_000_000, ChannelData(Channel.STDOUT, noise[at:])) for at in range(12)]


@pytest.fixture(scope="module", params=[None, KEY], ids=["plain", "encrypted"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Entry]]:
    path = recorded(tmp_path_factory.mktemp("finished"), several_blocks(), request.param)
    return path.read_bytes(), read(path, request.param)


@given(share=st.floats(0, 1))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_recording_is_read_to_its_last_whole_block(finished: tuple[bytes, list[Entry]], share: float) -> None:
    content, everything = finished
    cut = content[: int(len(content) * share)]
    if cut == content:
        return
    try:
        recording = Recording(BytesSource(cut, "cut"), (KEY,))
    except RecordingDamaged:
        first_block = 200
        assert len(cut) < first_block + 100
        return
    found = list(recording.entries())
    report = recording.check()
    assert found == everything[: len(found)]
    assert not report.finished
    assert len(found) == report.entries
    # Nothing that would have been whole is left out: what was not read is less than a block.
    assert report.unread_bytes < 64 * 1024 + 400


@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_change_of_any_byte_is_found(finished: tuple[bytes, list[Entry]], place: float, change: int) -> None:
    content, _ = finished
    at = int(len(content) * place)
    changed = content[:at] + bytes([content[at] ^ change]) + content[at + 1 :]
    try:
        report = Recording(BytesSource(changed, "changed"), (KEY,)).check()
    except (RecordingDamaged, RecordingKeyMissing, NewerRecording):
        return
    assert not report.finished


@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_recording_shows_nothing_that_was_not_recorded(
    finished: tuple[bytes, list[Entry]], place: float, change: int
) -> None:
    content, everything = finished
    at = int(len(content) * place)
    changed = content[:at] + bytes([content[at] ^ change]) + content[at + 1 :]
    found: list[Entry] = []
    try:
        for entry in Recording(BytesSource(changed, "changed"), (KEY,)).entries():
            found.append(entry)  # noqa: PERF402 what came before the error counts
    except (RecordingDamaged, RecordingKeyMissing, NewerRecording):
        pass
    assert found == everything[: len(found)]


@given(entries=sessions(), key=keys, cut=st.integers(0, 3_000))
@settings(deadline=None, max_examples=60)
def test_torn_tails_lose_only_what_was_torn(entries: list[Entry], key: RecordingKey | None, cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live = begin(folder, key)
        for entry in entries:
            live.write([entry])
        (path,) = folder.glob("*.live")
        copy = folder / "copy.live"
        shutil.copy(path, copy)
        for tail, of_copy in zip(tail_paths(path), tail_paths(copy), strict=True):
            if tail.exists():
                of_copy.write_bytes(tail.read_bytes()[: max(0, tail.stat().st_size - cut)])
        found = read(copy, key)
        live.close()
        assert found == [Entry(0, header()), *entries][: len(found)]
        if cut == 0:
            assert len(found) == len(entries) + 1


def test_a_recording_of_another_does_not_take_its_place(tmp_path: Path) -> None:
    live = LiveFile.begin(tmp_path, header(), sealing(), PACKING)
    live.write(several_blocks())
    heads = [live.sync(), live.finish()]
    (path,) = tmp_path.glob("*.recording")
    with open_file(path, ()) as recording:
        assert recording.check(heads).finished
    (tmp_path / "other").mkdir()
    other = recorded(tmp_path / "other", several_blocks()[:-1])
    with open_file(other, ()) as recording, pytest.raises(RecordingDamaged, match="trail"):
        recording.check(heads)
