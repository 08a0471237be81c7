"""What the doctor says of how recordings are kept: each way in which they can be lost, read, or never be made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dev.cluster.processes import free_ports
from tests.recorded_sessions import SECRET, a_session, header

from narrowgate.cli.doctor_recordings import LONG_SECONDS, MUCH, kept_recordings
from narrowgate.cli.doctor_report import Line, Outcome, is_well
from narrowgate.cli.program import run
from narrowgate.config import Config, parse_config
from narrowgate.main.text_filling import text_filling
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool
from narrowgate.trail.text_index import TEXT


def configured(folder: Path, text: str = "") -> Config:
    (folder / "recording.key").write_text(SECRET)
    key = "" if "encryption" in text else "encryption: {recordingKeyFile: recording.key}\n"
    (folder / "data" / "trail").mkdir(parents=True, exist_ok=True)
    head = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\ndataDir: data\n"
    (folder / "narrowgate.yaml").write_text(head + key + text)
    return parse_config(head + key + text, folder / "narrowgate.yaml")


def lines(config: Config) -> dict[str, Line]:
    found = list(kept_recordings(config, time.time()))
    return {line.check: line for line in sorted(found, key=lambda line: line.outcome is Outcome.FINDING)}


def findings(config: Config) -> list[str]:
    return [check for check, line in lines(config).items() if line.outcome is Outcome.FINDING]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool.open(tmp_path / "data" / "spool", "gate-0", ())) as spool:
        yield spool


def test_a_gate_that_keeps_all_is_well(tmp_path: Path, spool: Spool) -> None:
    config = configured(tmp_path)
    live = spool.begin(header(), bytes(16))
    found = list(kept_recordings(config, time.time()))
    assert [line.check for line in found if line.outcome is not Outcome.OK] == []
    assert is_well(found)
    live.close()


@pytest.mark.parametrize(
    ("text", "check", "said"),
    [
        ("encryption: {}\n", "recordings encrypted", "whoever can read"),
        ("audit: {sessions: None}\n", "sessions recorded", "audit.sessions is None"),
        ("audit: {portForwards: None}\n", "sessions recorded", "audit.portForwards is None"),
        ("recordings: file:recording.key\n", "store of recordings", "not a directory"),
    ],
)
def test_what_the_configuration_leaves_open_is_a_finding(tmp_path: Path, text: str, check: str, said: str) -> None:
    config = configured(tmp_path, text)
    assert findings(config) == [check]
    line = lines(config)[check]
    assert said in line.found
    assert line.to_do


def test_a_store_that_is_away_is_a_finding(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    text = (
        "recordings: s3://kept\n"
        f"objectStorage: {{endpoint: 'http://127.0.0.1:{port}', region: x, accessKeyId: a, secretKeyVariable: HOME}}\n"
    )
    config = configured(tmp_path, text)
    assert findings(config) == ["store of recordings"]
    assert os.environ["HOME"] not in lines(config)["store of recordings"].found


def test_a_spool_that_fills_is_a_finding(tmp_path: Path, spool: Spool) -> None:
    config = configured(tmp_path)
    live = spool.begin(header(), bytes(16))
    live.write(a_session())
    live.finish()
    (waiting,) = spool.finished()
    assert findings(config) == []
    assert "1 recordings wait" in lines(config)["spool of recordings"].found
    long_ago = time.time() - LONG_SECONDS - 60
    os.utime(waiting.path, (long_ago, long_ago))
    assert findings(config) == ["spool of recordings"]
    spool.send(waiting, FolderStore(tmp_path / "kept"))
    assert findings(config) == []
    with (waiting.path.parent / "large.tail0").open("wb") as large:
        large.truncate(MUCH + 1)
    assert findings(config) == ["spool of recordings"]


def test_what_killed_gates_left_is_a_finding_until_it_is_finished(tmp_path: Path, spool: Spool) -> None:
    config = configured(tmp_path)
    left = Spool.open(tmp_path / "data" / "spool", "gate-1", ())
    left.begin(header(), bytes(16)).close()
    assert findings(config) == []
    left.close()
    assert findings(config) == ["recordings of killed gates"]
    assert "nobody writes any more" in lines(config)["recordings of killed gates"].found
    spool.recover()
    assert findings(config) == []
    (tmp_path / "data/spool/gate-0/2026-11-18.a.unreadable").touch()
    assert "could not be read" in lines(config)["recordings of killed gates"].found


def test_text_that_is_not_searched_is_told(tmp_path: Path, spool: Spool) -> None:
    config = configured(tmp_path, "search: {text: None}\n")
    assert "search.text is None" in lines(config)["text searched"].found
    config = configured(tmp_path, "encryption: {}\n")
    live = spool.begin(header(), bytes(16))
    live.write(a_session())
    live.finish()
    (waiting,) = spool.finished()
    spool.send(waiting, FolderStore(tmp_path / "data" / "recordings"))
    text_filling(config).fill()
    assert lines(config)["text searched"].found == "1 recordings"
    (tmp_path / "data" / "trail" / TEXT).write_bytes(b"no database")
    assert "text searched" in findings(config)


def test_the_command_says_so_on_the_gates_machine_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWGATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NARROWGATE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", "--recordings"]) == 1
    assert "no gate is configured here" in capsys.readouterr().err
    configured(tmp_path, "audit: {sessions: None}\n")
    assert run(["doctor", "--recordings", "--config", str(tmp_path / "narrowgate.yaml")]) == 1
    said = capsys.readouterr()
    assert "audit.sessions is None" in said.out
    assert "to do: " in said.err
