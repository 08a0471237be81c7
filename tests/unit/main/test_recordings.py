"""The recorder as the configuration wants it: encrypted, spooled, kept, and let go in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.recorded_sessions import SECRET, a_session, header

from narrowgate.config import Config, ConfigError, parse_config, recording_keys, recording_store
from narrowgate.core.recording import RecordingHead
from narrowgate.main.recordings import RecordingRetention, open_recorder
from narrowgate.recordings.errors import RecordingKeyMissing
from narrowgate.recordings.port import Hold
from narrowgate.recordings.reading import Recording
from narrowgate.recordings.retention import Kept

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"
NAME = "2026-11-18/6b2a1f9e-0001.recording"


def configured(folder: Path) -> Config:
    (folder / "key").write_text(SECRET)
    return parse_config(HEAD + "encryption: {recordingKeyFile: key}\n", folder / "narrowgate.yaml")


async def record(config: Config, heads: list[RecordingHead], *, ends: bool = True) -> None:
    recorder = open_recorder(config, "gate-0", heads.append)
    running = asyncio.gather(recorder.run())
    live = recorder.begin(header())
    live.write(*(entry.what for entry in a_session()))
    if ends:
        await live.end("over")
        async with asyncio.timeout(20):
            while recorder.waiting() != (0, 0):  # noqa: ASYNC110 it happens in a thread
                await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await recorder.close()


def test_a_session_is_recorded_with_the_operators_key_and_comes_to_its_store(tmp_path: Path) -> None:
    config = configured(tmp_path)
    heads: list[RecordingHead] = []
    asyncio.run(record(config, heads))
    source = recording_store(config).open(NAME)
    report = Recording(source, recording_keys(config)).check(heads)
    assert report.entries == len(a_session()) + 2
    with pytest.raises(RecordingKeyMissing, match=r"encryption\.recordingKeyFile"):
        Recording(source, ())
    assert b"README" not in (tmp_path / "narrowgate-data" / "recordings" / NAME).read_bytes()


def test_what_a_gate_left_is_finished_and_told_at_the_next_start(tmp_path: Path) -> None:
    config = configured(tmp_path)
    asyncio.run(record(config, [], ends=False))
    assert b"README" not in b"".join(
        each.read_bytes() for each in (tmp_path / "narrowgate-data" / "spool").rglob("*") if each.is_file()
    )
    heads: list[RecordingHead] = []
    recorder = open_recorder(config, "gate-0", heads.append)
    asyncio.run(recorder.close())
    assert [(head.name, head.finished) for head in heads] == [(NAME, True)]


def test_a_gate_without_the_key_that_it_is_told_of_does_not_start_to_record(tmp_path: Path) -> None:
    config = configured(tmp_path)
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigError):
        open_recorder(config, "gate-0", lambda _: None)


def test_recordings_go_when_they_were_kept_long_enough_and_held_ones_stay(tmp_path: Path) -> None:
    config = configured(tmp_path)
    asyncio.run(record(config, []))
    store = recording_store(config)
    (stored,) = store.of_day("2026-11-18")
    retention = RecordingRetention(store, Kept(86_400.0), ())
    store.hold(NAME, Hold(by="person:alice", reason="case 12", at="2026-11-21T12:00:00Z"))
    assert retention.remove(stored.modified + 86_401) is False
    assert len(list(store.of_day("2026-11-18"))) == 1
    store.lift(NAME)
    assert retention.remove(stored.modified + 86_399) is False
    assert len(list(store.of_day("2026-11-18"))) == 1
    assert retention.remove(stored.modified + 86_401) is False
    assert store.days() == []


def test_without_a_retention_nothing_is_looked_at(tmp_path: Path) -> None:
    config = configured(tmp_path)
    asyncio.run(record(config, []))
    retention = RecordingRetention(recording_store(config), Kept(), ())
    assert retention.remove(1e12) is False
    asyncio.run(retention.follow())
    assert recording_store(config).days() == ["2026-11-18"]
