"""What is wrong with a recording is said in one word: by itself, and by what the trail vouches for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, a_session, begin

from narrowgate.core.recording import RecordingHead
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.reading import BytesSource, Recording
from narrowgate.recordings.verification import Fault, Found, Wrong, unreadable, verified

NAME = "2026-11-18/6b2a1f9e-0001.recording"


def made(folder: Path, session: str = "6b2a1f9e-0001", *, ends: bool = True) -> tuple[bytes, RecordingHead]:
    folder.mkdir(exist_ok=True)
    live = begin(folder, KEY, session)
    live.write(a_session())
    if ends:
        head = live.finish()
    else:
        live.seal()
        head = live.sync()
        live.close()
    (path,) = [*folder.glob(f"*{session}.recording"), *folder.glob(f"*{session}.live")]
    return path.read_bytes(), head


def look(
    content: bytes, heads: Sequence[RecordingHead], name: str = NAME, *, is_waiting: bool = False
) -> Found | Wrong:
    recording = Recording(BytesSource(content, name), (KEY,))
    return verified(name, recording, heads, is_waiting=is_waiting)


def test_one_that_is_what_was_written_is_found_with_what_is_vouched_for(tmp_path: Path) -> None:
    content, head = made(tmp_path)
    assert look(content, [head]) == Found(name=NAME, blocks=2, vouched=2, finished=True)
    unfinished, head = made(tmp_path / "live", ends=False)
    assert look(unfinished, [head], is_waiting=True) == Found(name=NAME, blocks=2, vouched=2, finished=False)
    assert look(unfinished, [], is_waiting=True) == Found(name=NAME, blocks=2, vouched=0, finished=False)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda content: content[:-40], Fault.SHORTENED),
        (lambda content: content[:-60] + bytes([content[-60] ^ 1]) + content[-59:], Fault.CHANGED),
    ],
)
def test_what_was_done_to_one_is_said(tmp_path: Path, change: Callable[[bytes], bytes], fault: Fault) -> None:
    content, head = made(tmp_path)
    found = look(change(content), [head])
    assert isinstance(found, Wrong)
    assert (found.name, found.fault) == (NAME, fault)


def test_one_without_an_end_is_shortened_where_it_was_stored_though_nobody_saw_its_end(tmp_path: Path) -> None:
    unfinished, head = made(tmp_path, ends=False)
    found = look(unfinished, [head])
    assert isinstance(found, Wrong)
    assert found.fault is Fault.SHORTENED


def test_another_one_under_the_name_is_swapped(tmp_path: Path) -> None:
    _, head = made(tmp_path / "one")
    other, _ = made(tmp_path / "two", "6b2a1f9e-0002")
    found = look(other, [head])
    assert isinstance(found, Wrong)
    assert found.fault is Fault.SWAPPED
    # Also where the record is forged as well, or lost: its header says whose it is.
    found = look(other, [])
    assert isinstance(found, Wrong)
    assert (found.fault, "6b2a1f9e-0002" in found.said) == (Fault.SWAPPED, True)


def test_one_that_goes_on_behind_its_end_is_swapped(tmp_path: Path) -> None:
    content, head = made(tmp_path)
    first = RecordingHead(name=NAME, blocks=1, hash="00" * 32)
    assert isinstance(look(content, [first]), Wrong)
    found = look(content, [RecordingHead(name=NAME, blocks=head.blocks, hash="00" * 32, finished=True)])
    assert isinstance(found, Wrong)
    assert found.fault is Fault.SWAPPED


def test_one_that_nobody_vouches_for_is_said_to_be(tmp_path: Path) -> None:
    content, _ = made(tmp_path)
    found = look(content, [])
    assert isinstance(found, Wrong)
    assert found.fault is Fault.UNVOUCHED


def test_what_cannot_be_read_is_not_said_to_be_changed() -> None:
    assert unreadable(NAME, RecordingKeyMissing("key 12 is missing")).fault is Fault.UNREADABLE
    assert unreadable(NAME, NewerRecording("format 9")).fault is Fault.UNREADABLE
    assert unreadable(NAME, RecordingDamaged("has no header")).fault is Fault.CHANGED
