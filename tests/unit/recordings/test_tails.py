"""What is in no block yet: frames, and the two files that take turns."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, OTHER_KEY, a_session, sealing

from narrowgate.recordings.append_file import AppendFile
from narrowgate.recordings.blocks import encoded
from narrowgate.recordings.sealing import RecordingKey, Sealing
from narrowgate.recordings.tails import Frame, Tails, frame, frames, loose_entries, tail_paths

ENTRIES = a_session()


def written(block: int, index: int, count: int, key: RecordingKey | None = None) -> bytes:
    return frame(sealing(key), block, index, [encoded(entry) for entry in ENTRIES[index : index + count]])


@pytest.mark.parametrize("key", [None, KEY])
def test_frames_are_read_until_the_first_that_is_torn(key: RecordingKey | None) -> None:
    content = written(1, 0, 2, key) + written(1, 2, 1, key)
    for cut in range(len(content) + 1):
        found, unread = frames(content[:cut], sealing(key), "here")
        whole = [Frame(1, 0, tuple(ENTRIES[:2])), Frame(1, 2, tuple(ENTRIES[2:3]))][: len(found)]
        assert found == whole
        assert unread == cut - len(written(1, 0, 2, key)) * (len(found) > 0) - len(written(1, 2, 1, key)) * (
            len(found) > 1
        )
    assert len(found) == 2


@pytest.mark.parametrize("at", range(0, 120, 3))
def test_a_changed_frame_is_not_read(at: int) -> None:
    content = bytearray(written(1, 0, 2, KEY))
    content[at % len(content)] ^= 1
    assert frames(bytes(content), sealing(KEY), "here") == ([], len(content))


def test_frames_of_another_recording_are_not_read() -> None:
    content = written(1, 0, 2)
    assert frames(content, Sealing(b"another salt 123", None), "here")[0] == []
    assert frames(written(1, 0, 2, KEY), sealing(OTHER_KEY), "here")[0] == []


def test_only_what_no_block_has_and_nothing_behind_a_gap_is_loose() -> None:
    one, two, three, four = (Frame(2, index, (ENTRIES[index],)) for index in range(4))
    before, after = Frame(1, 0, tuple(ENTRIES)), Frame(3, 0, tuple(ENTRIES))
    assert loose_entries([[before, one, two], []], 2) == ENTRIES[:2]
    assert loose_entries([[before], [one, two, three, four, after]], 2) == ENTRIES[:4]
    assert loose_entries([[one, three]], 2) == ENTRIES[:1]
    assert loose_entries([[two]], 2) == []
    assert loose_entries([], 2) == []


def test_the_files_take_turns_and_neither_is_emptied_before_the_blocks_are_safe(tmp_path: Path) -> None:
    live = tmp_path / "2026-11-18.x.live"
    blocks = AppendFile(live)
    tails = Tails(live, sealing())
    first, second = tail_paths(live)
    content = [encoded(ENTRIES[0])]
    tails.put(1, 0, content)
    tails.sealed()
    tails.put(2, 0, content)
    tails.sealed()
    tails.put(3, 0, content)
    # Both are needed until a sync, whatever is sealed meanwhile.
    assert first.stat().st_size > 0
    assert second.stat().st_size == 2 * first.stat().st_size
    assert tails.waiting == first.stat().st_size + second.stat().st_size
    tails.sync(blocks)
    assert first.stat().st_size == 0
    assert second.stat().st_size > 0
    tails.sealed()
    tails.sync(blocks)
    assert tails.waiting == 0
    # And on, with the same two files.
    for block in range(4, 12):
        tails.put(block, 0, content)
        tails.sealed()
        tails.sync(blocks)
    assert sorted(tmp_path.iterdir()) == sorted([live, first, second])
    assert tails.created == 2
    tails.remove()
    tails.close()
    blocks.close()
    assert list(tmp_path.iterdir()) == [live]
