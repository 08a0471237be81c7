"""What the trail says of a recording is found among everything else that it says."""

from __future__ import annotations

import os
from pathlib import Path

from tests.unit.trail.sealed import SIGNER

from narrowgate.core.recording import RecordingHead
from narrowgate.trail.journal import Journal
from narrowgate.trail.recording_heads import furthest_heads, heads_of

NAME = "2026-11-18/a.recording"


def test_the_heads_of_one_recording_are_found(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "gate-0", SIGNER)
    heads = [RecordingHead(name=NAME, blocks=blocks, hash="00" * 32, finished=blocks == 2) for blocks in (1, 2)]
    other = RecordingHead(name="2026-11-18/b.recording", blocks=9, hash="11" * 32)
    journal.append_recording(heads[0])
    journal.append_recording(other)
    # An event that speaks of it is none.
    journal.append(b'{"auditID":"a","annotations":{"narrowgate.dev/recording":"2026-11-18/a.recording"}}')
    journal.write()
    journal.append_recording(heads[1])
    journal.write()
    journal.close()
    assert heads_of(tmp_path, NAME, 0.0) == heads
    assert heads_of(tmp_path, "2026-11-18/c.recording", 0.0) == []


def test_what_nobody_has_written_to_since_it_began_is_not_read(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "gate-0", SIGNER)
    journal.append_recording(RecordingHead(name=NAME, blocks=1, hash="00" * 32))
    journal.write()
    journal.close()
    for path in (tmp_path / "gate-0").glob("*.jsonl"):
        os.utime(path, (1000, 1000))
    assert heads_of(tmp_path, NAME, 2000.0) == []
    assert len(heads_of(tmp_path, NAME, 500.0)) == 1


def test_of_all_recordings_the_furthest_head_is_kept_and_every_end(tmp_path: Path) -> None:
    def head(name: str, blocks: int, digest: str = "00", *, finished: bool = False) -> RecordingHead:
        return RecordingHead(name=f"2026-11-18/{name}.recording", blocks=blocks, hash=digest * 32, finished=finished)

    told = [
        [head("a", 1), head("b", 4), head("a", 2), head("a", 2, finished=True), head("c", 3, finished=True)],
        # Of another process that took them up, or of somebody who would like to have been one.
        [head("b", 3), head("b", 4, "11"), head("c", 9)],
    ]
    for writer, heads in enumerate(told):
        journal = Journal.open(tmp_path, f"gate-{writer}", SIGNER)
        for one in heads:
            journal.append_recording(one)
        journal.append(b'{"auditID":"a","annotations":{"narrowgate.dev/recording":"2026-11-18/z.recording"}}')
        journal.write()
        journal.close()
    steps: list[tuple[int, int]] = []
    found = furthest_heads(tmp_path, lambda done, total: steps.append((done, total)))
    assert {
        name[11:12]: [(one.blocks, one.hash[:2], one.finished) for one in heads] for name, heads in found.items()
    } == {
        "a": [(2, "00", False), (2, "00", True)],
        "b": [(4, "00", False), (4, "11", False)],
        "c": [(3, "00", True), (9, "00", False)],
    }
    assert steps[-1][0] == steps[-1][1] > 0
    assert len(steps) == 2
