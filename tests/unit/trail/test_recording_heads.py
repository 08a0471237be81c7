"""What journals vouch for, read back; and that it tells a recording from another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.recorded_sessions import a_session, begin, recorded

from narrowgate.core.recording import RecordingHead
from narrowgate.recordings.errors import RecordingDamaged
from narrowgate.recordings.reading import open_file
from narrowgate.trail.journal import Journal
from narrowgate.trail.recording_heads import all_recording_heads, recording_heads
from narrowgate.trail.signing import Signer

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ONE, OTHER = "2026-11-18/one.recording", "2026-11-18/other.recording"


def head(name: str, blocks: int, *, finished: bool = False) -> RecordingHead:
    return RecordingHead(name=name, blocks=blocks, hash=f"{blocks:064x}", finished=finished)


def journal(folder: Path, writer: str, heads: list[RecordingHead]) -> None:
    opened = Journal.open(folder, writer, SIGNER)
    for each in heads:
        opened.append(b'{"auditID":"x","note":"\\"recording\\":{ is only a word here"}')
        opened.append_recording(each)
    opened.write()
    opened.close()


def test_the_heads_of_a_recording_are_found_in_all_journals(tmp_path: Path) -> None:
    journal(tmp_path, "gate-0", [head(ONE, 2), head(OTHER, 2), head(ONE, 5)])
    # A second process took it up after the first was killed.
    journal(tmp_path, "gate-1", [head(ONE, 6, finished=True)])
    assert recording_heads(tmp_path, ONE) == [head(ONE, 2), head(ONE, 5), head(ONE, 6, finished=True)]
    assert recording_heads(tmp_path, OTHER) == [head(OTHER, 2)]
    assert recording_heads(tmp_path, "2026-11-18/none.recording") == []
    assert len(list(all_recording_heads(tmp_path))) == 4


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    journal(tmp_path, "gate-0", [head(ONE, 2), head(ONE, 3)])
    path = tmp_path / "gate-0" / "00000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"blocks":2', b'"blocks":"2"'))
    assert recording_heads(tmp_path, ONE) == [head(ONE, 3)]


def test_a_recording_is_held_against_what_the_trail_says(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    live = begin(tmp_path / "a", session="one")
    live.write(a_session())
    journal(tmp_path / "trail", "gate-0", [live.sync(), live.finish()])
    heads = recording_heads(tmp_path / "trail", ONE)
    assert len(heads) == 2
    with open_file(tmp_path / "a" / "2026-11-18.one.recording", ()) as recording:
        assert recording.check(heads).finished
    (tmp_path / "b").mkdir()
    with open_file(recorded(tmp_path / "b", a_session()[:-1]), ()) as recording, pytest.raises(RecordingDamaged):
        recording.check(heads)
