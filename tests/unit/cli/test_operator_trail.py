"""What is done on the gate's machine is in the record before: what is done, by whom, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.operator_trail import on_record
from narrowgate.config import Config, gate_keys, parse_config
from narrowgate.core.audit import ActsOn
from narrowgate.trail.journal import JournalInUse
from narrowgate.trail.read import events
from narrowgate.trail.signing import Verifier
from narrowgate.trail.verify import verify

HOLD = ActsOn(verb="hold", resource="sessions", name="s1", because="case 12")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    text = f"apiVersion: narrowgate.dev/v1alpha1\nkind: Config\ndataDir: {tmp_path / 'data'}\n"
    config = parse_config(text, tmp_path / "narrowgate.yaml")
    gate_keys(config)
    return config


def entries(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line.event) for line in events(config.data_dir / "trail")]


def test_the_entry_is_there_before_anything_is_done_and_the_record_stays_whole(config: Config) -> None:
    seen: list[list[str]] = []

    def do() -> int:
        seen.append([one["stage"] for one in entries(config)])
        return 7

    assert on_record(config, HOLD, do) == 7
    assert seen == [["RequestReceived"]]
    on_record(config, ActsOn(verb="lift", resource="sessions", name="s1"), lambda: None)
    assert [(one["verb"], one["stage"], one["user"]["username"]) for one in entries(config)] == [
        (verb, stage, f"person:{local_operator()}")
        for verb in ("hold", "lift")
        for stage in ("RequestReceived", "ResponseComplete")
    ]
    key = (config.data_dir / "keys" / "checkpoint.pub").read_bytes()
    assert verify(config.data_dir / "trail", Verifier.from_pem(key)).content


def test_what_fails_is_said_to_have_failed(config: Config) -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        on_record(config, HOLD, fail)
    assert [one["stage"] for one in entries(config)] == ["RequestReceived", "ResponseComplete"]
    assert "the disk is gone" in json.dumps(entries(config)[-1])


def test_nothing_is_done_without_the_record(config: Config) -> None:
    done: list[bool] = []

    def meanwhile() -> None:
        with pytest.raises(JournalInUse):
            on_record(config, HOLD, lambda: done.append(True))

    on_record(config, HOLD, meanwhile)
    assert done == []
