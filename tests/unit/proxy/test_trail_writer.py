"""The writer on an event loop: what it promises when nothing goes wrong (tests/fault has the rest)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.trail.recorded import KEY

from narrowgate.core.audit_chain import read_checkpoint
from narrowgate.proxy import trail_writer
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.trail.journal import Bounds
from narrowgate.trail.read import events
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.trail.segments import segments_of
from narrowgate.trail.signing import NoSuchKey, Verifier
from narrowgate.trail.verify import verify


def entry(name: object) -> bytes:
    return b'{"auditID":"%b"}' % str(name).encode()


def ids(folder: Path) -> list[str]:
    return [msgspec.json.decode(line.event)["auditID"] for line in events(folder)]


def test_an_entry_is_in_the_file_when_record_returns(tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(tmp_path, "w0", KEY)
        for durable in (False, True):
            await trail.record(entry(durable), durable)
            assert ids(tmp_path)[-1] == str(durable)
        await trail.close()

    asyncio.run(scenario())


def test_a_note_goes_along_with_the_next_entry_and_before_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(tmp_path, "w0", KEY)
        trail.note(entry("note"))
        assert ids(tmp_path) == []
        await trail.record(entry("entry"), durable=False)
        assert ids(tmp_path) == ["note", "entry"]
        await trail.close()

    asyncio.run(scenario())


def test_a_note_is_written_by_itself_when_nothing_follows(tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(tmp_path, "w0", KEY)
        trail.note(entry("note"))
        while not ids(tmp_path):  # noqa: ASYNC110 (what is waited for is a file)
            await asyncio.sleep(trail_writer.NOTE_DELAY)
        await trail.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_many_durable_entries_at_once_are_all_there_once_and_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(tmp_path, "w0", KEY)
        async with asyncio.TaskGroup() as tasks:
            for number in range(300):
                tasks.create_task(trail.record(entry(number), durable=True))
        await trail.close()

    asyncio.run(scenario())
    assert ids(tmp_path) == [str(number) for number in range(300)]


def test_a_caller_that_goes_away_while_it_waits_for_the_disk_harms_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(tmp_path, "w0", KEY)
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(trail.record(entry(number), durable=True)) for number in range(20)]
            await asyncio.sleep(0)
            for each in waiting[::2]:
                each.cancel()
        await trail.record(entry("after"), durable=True)
        await trail.close()

    asyncio.run(scenario())
    assert len(ids(tmp_path)) == 21


def test_closing_writes_what_was_noted_and_seals_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(tmp_path, "w0", KEY)
        trail.note(entry("last words"))
        await trail.close()
        await trail.close()
        with pytest.raises(TrailUnwritable, match="closed"):
            await trail.record(entry("late"), durable=False)
        trail.note(entry("too late"))

    asyncio.run(scenario())
    assert ids(tmp_path) == ["last words"]
    last = (tmp_path / "checkpoints.jsonl").read_bytes().splitlines(keepends=True)[-1]
    checkpoint = read_checkpoint(last, "here")[0]
    assert (checkpoint.closed, checkpoint.heads[0].seq) == (True, 2)


def test_running_seals_what_is_new_and_lets_go_of_what_is_old(tmp_path: Path) -> None:
    async def scenario() -> None:
        bounds = Bounds(segment_bytes=20_000, retain_bytes=60_000)
        trail = TrailWriter.open(tmp_path, "w0", KEY, bounds=bounds, copy_to=tmp_path / "copy.jsonl")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(trail.run())
            number = 0
            # Each new segment wakes it up.
            while not (segments := segments_of(tmp_path / "w0")) or segments[0].number == 1:
                await trail.record(entry(number), durable=number % 10 == 0)
                number += 1
            assert trail.problem() == ""
            running.cancel()
        await trail.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    report = verify(tmp_path, Verifier.from_pem(KEY), checkpoints=tmp_path / "copy.jsonl")
    assert report.content, [str(problem) for problem in report.problems]
    assert report.journals[0].dropped_through_seq > 0


def test_two_writers_vouch_for_each_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        trails = [TrailWriter.open(tmp_path, name, KEY) for name in ("w0", "w1")]
        for trail in trails:
            await trail.record(entry("x"), durable=True)
        for trail in trails:
            await trail.close()

    asyncio.run(scenario())
    last = (tmp_path / "checkpoints.jsonl").read_bytes().splitlines(keepends=True)[-1]
    assert [head.writer for head in read_checkpoint(last, "here")[0].heads] == ["w0", "w1"]


def test_a_key_that_is_none_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        TrailWriter.open(tmp_path / "trail", "w0", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")

    with pytest.raises(NoSuchKey, match="restore the trail's key"):
        asyncio.run(scenario())
    assert not (tmp_path / "trail").exists()
