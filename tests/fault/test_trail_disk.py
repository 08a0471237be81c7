"""Disks that are full, fail to sync, are read-only or cut a write short: refused, nothing half-written, nothing lost.

The disks are real: small tmpfs mounts, and an ext4 on a loop device whose backing file cannot grow. Needs root.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.fault.trail_load import PEM, PRIVATE

from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.journal import Bounds, Journal
from narrowgate.trail.read import events
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.trail.signing import Signer
from narrowgate.trail.verify import verify


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr} (these tests mount file systems: run them as root)"


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    place.mkdir()
    run("mount", *arguments, str(place))
    try:
        yield place
    finally:
        run("umount", str(place))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as place:
        yield place


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while shutil.disk_usage(folder).free:
            file.write(bytes(4096))
    return ballast


def ids(folder: Path) -> list[str]:
    return [msgspec.json.decode(line.event)["auditID"] for line in events(folder)]


def entry(name: str, size: int = 0) -> bytes:
    return b'{"auditID":"%b","filler":"%b"}' % (name.encode(), b"x" * size)


def problems(folder: Path) -> list[str]:
    return [str(problem) for problem in verify(folder, Signer(PRIVATE).verifier).problems]


def test_a_full_disk_refuses_and_a_freed_one_goes_on_without_loss(small: Path) -> None:
    async def scenario() -> list[str]:
        trail = TrailWriter.open(small / "trail", "w0", PEM)
        await trail.record(entry("before"), durable=True)
        ballast = fill(small)
        refused = 0
        # The page that is open already may take a few more entries; then nothing does.
        for number in range(20):
            try:
                await trail.record(entry(f"while-full-{number}", 3000), durable=False)
            except TrailUnwritable:
                refused += 1
        assert "free some space" in trail.problem()
        assert refused >= 18
        trail.note(entry("noted-while-full", 3000))
        with pytest.raises(TrailUnwritable):
            await trail.record(entry("refused", 3000), durable=True)
        assert "trail cannot be written" in trail.problem()
        ballast.unlink()
        await trail.record(entry("after"), durable=True)
        assert trail.problem() == ""
        await trail.close()
        return ids(small / "trail")

    recorded = asyncio.run(scenario())
    assert [each for each in recorded if not each.startswith("while-full")] == ["before", "noted-while-full", "after"]
    assert len(recorded) <= 3 + 2
    assert problems(small / "trail") == []
    assert b'"interrupted":{"lost":0,' in (small / "trail" / "w0" / "00000001.jsonl").read_bytes()


def test_notes_beyond_the_limit_are_counted_and_the_count_is_written(small: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        trail = TrailWriter.open(small / "trail", "w0", PEM)
        ballast = fill(small)
        for number in range(10):
            trail.note(entry(f"large-{number}", 2_000_000))
        with pytest.raises(TrailUnwritable):
            await trail.record(entry("refused", 5000), durable=False)
        ballast.unlink()
        run("mount", "-o", "remount,size=64m", str(small))
        await trail.record(entry("after"), durable=True)
        await trail.close()

    asyncio.run(scenario())
    assert ids(small / "trail") == [*(f"large-{number}" for number in range(8)), "after"]
    assert b'"interrupted":{"lost":2,' in (small / "trail" / "w0" / "00000001.jsonl").read_bytes()
    assert problems(small / "trail") == []


@pytest.mark.parametrize("room", range(1, 600, 7))
def test_a_write_cut_short_at_any_byte_leaves_whole_lines_only(tmp_path: Path, room: int) -> None:
    signer = Signer(PRIVATE)
    checkpoints = Checkpoints(tmp_path, signer)
    journal = Journal.open(tmp_path, "w0", signer)
    segment = tmp_path / "w0" / "00000001.jsonl"
    before = segment.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        for name in ("one", "two", "three"):
            journal.append(entry(name, 200))
        with pytest.raises(TrailUnwritable, match="file size limit"):
            journal.write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert segment.read_bytes() == before

    journal.append(entry("later"))
    journal.write()
    checkpoints.add(journal.sync())
    journal.close()
    assert ids(tmp_path) == ["later"]
    assert problems(tmp_path) == []


@pytest.fixture
def starved_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An ext4 that takes writes into memory and cannot put them on its disk: the backing tmpfs is too small."""
    with mounted(tmp_path / "backing", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as backing:
        image = backing / "image"
        run("truncate", "-s", "64m", str(image))
        run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", str(image))
        with mounted(tmp_path / "disk", "-o", "loop,errors=continue,nodiscard", str(image)) as disk:
            yield backing, disk


def test_what_a_failed_sync_left_in_doubt_is_written_again(starved_disk: tuple[Path, Path], tmp_path: Path) -> None:
    backing, disk = starved_disk

    async def scenario() -> None:
        trail = TrailWriter.open(disk / "trail", "w0", PEM)
        await trail.record(entry("safe"), durable=True)
        # The disk takes none of it, though every write succeeds: only the sync can tell.
        for number in range(60):
            await trail.record(entry(f"large-{number}", 100_000), durable=False)
        for _ in range(3):
            # The kernel reports the failure once and would then call the lost pages clean. We must not.
            with pytest.raises(TrailUnwritable):
                await trail.record(entry("refused"), durable=True)
        run("mount", "-o", "remount,size=80m", str(backing))
        for _ in range(500):
            # The first of these finds the doubt and has the lines written anew; the gate refuses meanwhile.
            try:
                await trail.record(entry("after"), durable=True)
                break
            except TrailUnwritable:
                await asyncio.sleep(0.01)
        await trail.close()

    asyncio.run(scenario())
    # What is read now comes from the disk: the kernel is asked to forget the (clean) pages it holds in memory.
    for path in (disk / "trail").rglob("*.jsonl"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    names = ids(disk / "trail")
    assert names[0] == "safe"
    assert names[-1] == "after"
    assert [name for name in names if name.startswith("large")] == [f"large-{number}" for number in range(60)]
    assert problems(disk / "trail") == []


def test_a_read_only_folder_is_refused_with_what_to_do(small: Path) -> None:
    Journal.open(small / "trail", "w0", Signer(PRIVATE)).close()
    run("mount", "-o", "remount,ro", str(small))
    with pytest.raises(TrailUnwritable, match="read-only file system; make the folder writable"):
        Journal.open(small / "trail", "w0", Signer(PRIVATE))
    with pytest.raises(TrailUnwritable, match="make the folder writable"):
        Journal.open(small / "other", "w0", Signer(PRIVATE))


def test_a_segment_that_cannot_be_begun_changes_nothing(small: Path) -> None:
    signer = Signer(PRIVATE)
    checkpoints = Checkpoints(small, signer)
    journal = Journal.open(small, "w0", signer, bounds=Bounds(segment_bytes=1))
    head = journal.head
    ballast = fill(small)
    for _ in range(3):
        journal.append(entry("refused"))
        with pytest.raises(TrailUnwritable):
            journal.write()
    assert journal.head == head
    assert [path.name for path in sorted((small / "w0").glob("*.jsonl"))] == ["00000001.jsonl"]
    ballast.unlink()
    journal.append(entry("after"))
    journal.write()
    checkpoints.add(journal.sync())
    journal.close()
    assert ids(small) == ["after"]
    assert problems(small) == []


def test_a_copy_of_the_checkpoints_that_stays_away_too_long_stops_the_gate(small: Path, tmp_path: Path) -> None:
    now = [1_700_000_000.0]

    async def scenario() -> None:
        signer = Signer(PRIVATE)
        journal = Journal.open(tmp_path / "trail", "w0", signer)
        copy = small / "copy.jsonl"
        trail = TrailWriter(journal, Checkpoints(tmp_path / "trail", signer, copy_to=copy), clock=lambda: now[0])
        await trail.record(entry("first"), durable=False)
        await trail.seal()
        ballast = fill(small)
        while trail.problem() == "":
            # The copy's open page still has room for some.
            await trail.record(entry("meanwhile"), durable=False)
            await trail.seal()
        await trail.record(entry("in-grace"), durable=False)
        now[0] += 61
        with pytest.raises(TrailUnwritable, match="cannot be sealed"):
            await trail.record(entry("refused"), durable=False)
        ballast.unlink()
        await trail.seal()
        await trail.record(entry("after"), durable=False)
        await trail.close()
        # Whatever the copy missed was made up for.
        own = (tmp_path / "trail" / "checkpoints.jsonl").read_bytes()
        assert copy.read_bytes() == own

    asyncio.run(scenario())
    assert "refused" not in ids(tmp_path / "trail")
    report = verify(tmp_path / "trail", Signer(PRIVATE).verifier, checkpoints=small / "copy.jsonl")
    assert report.content
