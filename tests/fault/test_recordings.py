"""Recorders that are killed, disks that are full, stores that are away: nothing passes that is not recorded.

Full disks are small tmpfs mounts: these tests run as root.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.object_server import ObjectServer
from tests.fault.recording_load import payload
from tests.fault.test_trail_disk import fill, mounted
from tests.recorded_sessions import KEY, PACKING, a_session, begin, header, read

from narrowgate.core.recording import Ended, Entry, Noted, RecordingHead
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.proxy.recordings import LiveRecording, Recorder
from narrowgate.recordings.errors import RecordingDamaged, RecordingUnwritable
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.object_storage import store_of
from narrowgate.recordings.port import RecordingStore
from narrowgate.recordings.reading import Recording, open_file
from narrowgate.recordings.recovery import CUT, recover
from narrowgate.recordings.spool import Spool, SpoolInUse

ROUNDS = 12
DAY = "2026-11-18"
SLACK_SECONDS = 90.0
"""For what must happen soon, on a machine that does other things too."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as place:
        yield place


@asynccontextmanager
async def recorder_of(
    spool_folder: Path, store: RecordingStore, heads: list[RecordingHead] | None = None, limit: int = 1 << 30
) -> AsyncIterator[Recorder]:
    spool = Spool.open(spool_folder, "w0", (KEY,))
    spool.recover()
    told = [] if heads is None else heads
    recorder = Recorder(spool, store, told.append, spool_limit=limit)
    running = asyncio.gather(recorder.run())
    try:
        yield recorder
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await recorder.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(SLACK_SECONDS):
        while not what():  # noqa: ASYNC110 what is waited for happens in threads and in files
            await asyncio.sleep(0.02)


def output(data: bytes) -> ChannelData:
    return ChannelData(Channel.STDOUT, data)


def killed_under_load(folder: Path, first: int, size: int, lines: int) -> list[tuple[str, int]]:
    """Run the load, kill it after so many lines, and return all entries that it said may pass."""
    root = Path(__file__).parents[2]
    program = [sys.executable, "-m", "tests.fault.recording_load", str(folder), str(first), str(size)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    whole = [line.decode().split() for line in said if line.endswith(b"\n")]
    return [(session, int(number)) for session, number in whole]


@pytest.mark.parametrize("size", [0, 3_000], ids=["small", "large"])
def test_whatever_may_have_passed_survives_every_kill(tmp_path: Path, size: int) -> None:
    chance = random.Random(21)
    said: dict[str, list[int]] = defaultdict(list)
    for number in range(ROUNDS // 2):
        for session, turn in killed_under_load(tmp_path, number * 1000, size, chance.randint(1, 2500)):
            said[session].append(turn)
    spool = Spool.open(tmp_path / "spool", "w0", (KEY,))
    _, problems = spool.recover()
    assert problems == ()
    for finished in spool.finished():
        spool.send(finished, FolderStore(tmp_path / "kept"))
    spool.close()
    assert len(said) >= ROUNDS // 2
    for session, turns in said.items():
        entries = read(tmp_path / "kept" / DAY / f"{session}.recording", KEY)
        data = [entry.what.data for entry in entries if isinstance(entry.what, ChannelData)]
        assert data[: len(turns)] == [payload(session, turn, 1 + size * (turn % 3)) for turn in turns]
        assert isinstance(entries[-1].what, Ended)
    assert [each.name for each in (tmp_path / "spool" / "w0").iterdir()] == ["lock"]


def test_a_cut_recording_is_finished_as_far_as_it_goes_and_says_that_it_was_cut(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.write(a_session()[:4])
    live.close()
    found = recover(tmp_path, (KEY,), PACKING)
    assert found.problems == ()
    (path,) = tmp_path.iterdir()
    assert read(path, KEY) == [
        Entry(0, header()),
        *a_session()[:4],
        Entry(1_500_000, Noted(CUT)),
        Entry(1_500_000, Ended(CUT)),
    ]
    with open_file(path, (KEY,)) as recording:
        assert recording.check(found.finished).finished


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_recovery_may_be_killed_anywhere_and_is_only_repeated(tmp_path: Path, share: float) -> None:
    """A recovery that was killed leaves some of what it writes behind the blocks; the tails are still there."""
    live = begin(tmp_path, KEY)
    for entry in a_session()[:5]:
        live.write([entry])
    live.close()
    (path,) = tmp_path.glob("*.live")
    tails = {tail: tail.read_bytes() for tail in tmp_path.glob("*.tail*")}
    before = path.read_bytes()
    recover(tmp_path, (KEY,), PACKING)
    done = path.with_suffix(".recording")
    expected, written = read(done, KEY), done.read_bytes()
    done.unlink()
    path.write_bytes(written[: len(before) + int((len(written) - len(before)) * share)])
    for tail, content in tails.items():
        tail.write_bytes(content)
    recover(tmp_path, (KEY,), PACKING)
    assert read(done, KEY) == expected
    assert {each.name for each in tmp_path.iterdir() if ".unreadable" not in each.name} == {done.name}


def test_what_stands_behind_a_change_is_kept_aside_and_said(tmp_path: Path) -> None:
    """Recovery must not finish what somebody began by changing one byte: the blocks behind it stay."""
    live = begin(tmp_path, KEY)
    for at in range(5):
        live.write([Entry(at, output(os.urandom(70_000)))])
    heads = [live.sync()]
    live.close()
    (path,) = tmp_path.glob("*.live")
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)
    found = recover(tmp_path, (KEY,), PACKING)
    assert len(found.problems) == 1
    (aside,) = tmp_path.glob("*.unreadable*")
    assert str(aside) in found.problems[0]
    assert bytes(content).endswith(aside.read_bytes())
    assert aside.stat().st_size > 200_000
    with open_file(path.with_suffix(".recording"), (KEY,)) as recording, pytest.raises(RecordingDamaged, match="trail"):
        recording.check([*heads, *found.finished])


def test_what_nobody_can_read_is_put_aside_and_said(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.close()
    (path,) = tmp_path.glob("*.live")
    os.truncate(path, 60)
    (tmp_path / f"{DAY}.empty.live").write_bytes(b"")
    found = recover(tmp_path, (KEY,), PACKING)
    assert found.finished == ()
    assert len(found.problems) == 1
    assert "put aside" in found.problems[0]
    assert [each.suffix for each in tmp_path.iterdir()] == [".unreadable"]


def test_without_the_key_a_cut_recording_waits_for_it(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.write(a_session()[:3])
    live.close()
    found = recover(tmp_path, (), PACKING)
    assert found.finished == ()
    assert KEY.id.hex() in found.problems[0]
    assert len(recover(tmp_path, (KEY,), PACKING).finished) == 1


@pytest.mark.parametrize("room", range(0, 1200, 37))
def test_a_write_cut_short_at_any_byte_is_refused_and_leaves_what_was_whole(tmp_path: Path, room: int) -> None:
    live = begin(tmp_path, KEY)
    live.write([Entry(1, output(b"before"))])
    sizes = [each.stat().st_size for each in tmp_path.iterdir()]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + room, limits[1]))
    recorded = 0
    try:
        while not live.is_broken:
            try:
                live.write([Entry(2 + recorded, output(os.urandom(300 + recorded)))])
            except RecordingUnwritable:
                break
            recorded += 1
        with pytest.raises(RecordingUnwritable, match="file size limit"):
            live.write([Entry(200, output(b"after"))])
        with pytest.raises(RecordingUnwritable):
            live.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(recover(tmp_path, (KEY,), PACKING).finished) == 1
    (path,) = tmp_path.iterdir()
    entries = read(path, KEY)
    assert len([entry for entry in entries if isinstance(entry.what, ChannelData)]) == 1 + recorded


def test_a_full_disk_ends_sessions_before_anything_passes_and_a_freed_one_makes_up(small: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        heads: list[RecordingHead] = []
        async with recorder_of(small, FolderStore(tmp_path / "kept"), heads) as recorder:
            live = recorder.begin(header("one"))
            live.write(output(b"before"))
            ballast = fill(small)
            passed = 0
            with contextlib.suppress(RecordingUnwritable):
                while True:
                    await live.wrote(output(os.urandom(5000)))
                    passed += 1
            with pytest.raises(RecordingUnwritable, match="free some space"):
                await live.wrote(output(b"after"))
            with pytest.raises(RecordingUnwritable):
                await live.end("over")
            with pytest.raises(RecordingUnwritable):
                recorder.begin(header("two"))
            assert "free some space" in recorder.problem()
            ballast.unlink()
            # Nobody asks for anything: the recorder finds out by itself, and finishes what it owes.
            await until(lambda: recorder.problem() == "" and (tmp_path / "kept" / DAY / "one.recording").exists())
            data = [each.what for each in read(tmp_path / "kept" / DAY / "one.recording", KEY)]
            assert len([what for what in data if isinstance(what, ChannelData)]) == 1 + passed
            again = recorder.begin(header("three"))
            head = await again.end("over")
            assert head in heads

    asyncio.run(scenario())


def test_a_store_that_is_away_keeps_recordings_in_the_spool_until_it_is_back(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path / "s3")

    async def scenario() -> None:
        store = store_of(server.bucket())
        async with recorder_of(tmp_path / "spool", store) as recorder:
            for session in ("one", "two"):
                live = recorder.begin(header(session))
                live.write(output(b"x" * 100_000))
                await live.end("over")
            await until(lambda: recorder.store_problem() != "")
            assert recorder.problem() == ""
            # One that is finished just as they are counted is counted twice, until they are counted again.
            await until(lambda: recorder.waiting()[0] == 2)
            assert recorder.waiting()[1] > 0
            await asyncio.to_thread(server.start)
            await until(lambda: recorder.waiting() == (0, 0))
            assert recorder.store_problem() == ""
            assert list((tmp_path / "spool" / "w0").glob("*.recording")) == []
            for session in ("one", "two"):
                source = await asyncio.to_thread(store.open, f"{DAY}/{session}.recording")
                assert (await asyncio.to_thread(Recording(source, (KEY,)).check)).finished

    try:
        asyncio.run(scenario())
    finally:
        server.stop()


def test_a_spool_that_is_full_lets_nothing_begin(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def scenario() -> None:
        nowhere = FolderStore(tmp_path / "file")
        async with recorder_of(tmp_path / "spool", nowhere, limit=50_000) as recorder:
            live = recorder.begin(header("one"))
            live.write(output(os.urandom(60_000)))
            await live.end("over")
            with pytest.raises(RecordingUnwritable, match="50000 bytes"):
                recorder.begin(header("two"))
            assert "50000 bytes" in recorder.problem()

    asyncio.run(scenario())


def test_two_hundred_sessions_at_once_are_all_recorded(tmp_path: Path) -> None:
    async def session(recorder: Recorder, number: int) -> None:
        live = recorder.begin(header(f"s{number}"))
        for turn in range(20):
            await live.wrote(output(b"%d.%d " % (number, turn) * 500))
            await asyncio.sleep(0)
        await live.end("over")

    async def scenario() -> None:
        heads: list[RecordingHead] = []
        async with recorder_of(tmp_path / "spool", FolderStore(tmp_path / "kept"), heads) as recorder:
            async with asyncio.TaskGroup() as tasks:
                for number in range(200):
                    tasks.create_task(session(recorder, number))
            await until(lambda: recorder.waiting() == (0, 0))
        for number in range(200):
            with open_file(tmp_path / "kept" / DAY / f"s{number}.recording", (KEY,)) as recording:
                vouched = [head for head in heads if head.name == f"{DAY}/s{number}.recording"]
                assert recording.check(vouched).entries == 22
                assert vouched[-1].finished

    asyncio.run(scenario())


def test_whoever_stops_waiting_for_the_end_does_not_stop_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        heads: list[RecordingHead] = []
        async with recorder_of(tmp_path / "spool", FolderStore(tmp_path / "kept"), heads) as recorder:
            live: LiveRecording = recorder.begin(header("one"))
            live.write(output(b"x"))
            ending: Awaitable[RecordingHead] = live.end("over")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await ending
            await until((tmp_path / "kept" / DAY / "one.recording").exists)
            assert [head.finished for head in heads] == [True]

    asyncio.run(scenario())


def test_a_slow_disk_slows_the_session_and_memory_stays(tmp_path: Path) -> None:
    """What waits beside the blocks is bounded by waiting for the disk, not by hope."""

    async def scenario() -> None:
        async with recorder_of(tmp_path / "spool", FolderStore(tmp_path / "kept")) as recorder:
            live = recorder.begin(header("one"))
            highest = 0
            for _ in range(4000):
                await live.wrote(output(b"y" * 30_000))
                highest = max(highest, live.file.waiting)
            await live.end("over")
            assert highest < 40 * 1024 * 1024

    asyncio.run(scenario())


def test_the_trail_hears_of_blocks_within_seconds_also_where_nothing_follows(tmp_path: Path) -> None:
    now = [100.0]

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool", "w0", (KEY,))
        heads: list[RecordingHead] = []
        recorder = Recorder(spool, FolderStore(tmp_path / "kept"), heads.append, clock=lambda: now[0])
        running = asyncio.gather(recorder.run())
        live = recorder.begin(header("one"))
        live.write(output(b"$ "))
        now[0] += 11
        await until(lambda: bool(heads))
        assert heads == [live.file.head()]
        assert heads[0].blocks == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await recorder.close()

    asyncio.run(scenario())


def test_two_processes_do_not_share_a_spool_and_one_takes_over_what_a_dead_one_left(tmp_path: Path) -> None:
    first = Spool.open(tmp_path, "w0", (KEY,))
    with pytest.raises(SpoolInUse):
        Spool.open(tmp_path, "w0", (KEY,))
    left = first.begin(header("cut"), bytes(16))
    left.write(a_session()[:2])
    done = first.begin(header("done"), bytes(15) + b"1")
    done.finish()
    second = Spool.open(tmp_path, "w1", (KEY,))
    assert second.recover() == ((), ())
    left.close()
    first.close()
    heads, problems = second.recover()
    assert problems == ()
    assert [head.name for head in heads] == [f"{DAY}/cut.recording"]
    assert {each.name for each in second.finished()} == {f"{DAY}/cut.recording", f"{DAY}/done.recording"}
    second.close()


def test_a_removed_spool_folder_is_an_error_and_not_a_silence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with recorder_of(tmp_path / "spool", FolderStore(tmp_path / "kept")) as recorder:
            shutil.rmtree(tmp_path / "spool")
            with pytest.raises(RecordingUnwritable):
                recorder.begin(header("one"))
            assert recorder.problem()

    before = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - before < SLACK_SECONDS


@pytest.mark.parametrize("seed", range(2))
def test_syncs_that_never_stop_lose_nothing_and_mix_nothing(tmp_path: Path, seed: int) -> None:
    """The writer seals and the other thread empties tails, at every moment that the two can meet."""
    live = begin(tmp_path, KEY)
    done = threading.Event()
    heads: list[RecordingHead] = []

    def sync() -> None:
        while not done.is_set():
            heads.append(live.sync())

    syncing = threading.Thread(target=sync)
    syncing.start()
    chance = random.Random(seed)
    expected = [Entry(0, header())]
    (path,) = tmp_path.glob("*.live")
    try:
        for at in range(600):
            size = chance.choice((0, 1, 1, 100, 30_000, 66_000))
            expected.append(Entry(at, output(b"%d." % at + bytes(size))))
            live.write(expected[-1:])
            if at % 200 == 100:
                # Whoever looks on meanwhile, or finds this after a kill, sees all of it.
                assert read(path, KEY) == expected
    finally:
        done.set()
        syncing.join()
    heads.append(live.finish())
    (finished,) = tmp_path.iterdir()
    assert read(finished, KEY) == expected
    with open_file(finished, (KEY,)) as recording:
        assert recording.check(heads).finished
