"""What stands for one agent, from the gate's own store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.terminal import CONFIGURATION, POLICY

from narrowgate.cli.doctor_report import Outcome
from narrowgate.cli.doctor_rules import held_by_agent
from narrowgate.config import Config, find_config
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.store.open import open_store
from narrowgate.store.port import NotThere

NOW = 5_000.0
OK, FINDING, NOT_TRIED = Outcome.OK, Outcome.FINDING, Outcome.NOT_TRIED


def agent(name: str) -> AgentRecord:
    return AgentRecord(
        name=name, owner="person:olga", purpose="tests", cluster="prod", credential_id="", credential_hash=b"",
        created_at=900, expires_at=9_000,
    )  # fmt: skip


def task(name: str, until: float) -> Task:
    return Task(
        id=f"task{name}{until:g}",
        kind=Kind.AGENT,
        name=name,
        requested_by="person:olga",
        cluster="prod",
        purpose="look",
        rules=(read_wanted("get pods -n ci", 1),),
        credential_id=f"c{until}",
        credential_hash=f"h{until}".encode(),
        seconds=100.0,
        requested_at=until - 100.0,
        lapses_at=until - 99.0,
        state=TaskState.ACTIVE,
        began_at=until - 100.0,
        ends_at=until,
    )


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "narrowgate.yaml").write_text(CONFIGURATION)
    config = find_config(str(tmp_path / "narrowgate.yaml"))
    store = open_store(config.store, config.data_dir)
    store.add_revision([("ci.yaml", POLICY.replace("NAME", "ci"))], by="folder", at=100.0)
    for name in ("ci", "idle"):
        store.add_agent(agent(name), by="test", at=1_000.0)
    store.tasks.add(task("idle", NOW - 1), by="test", at=NOW - 200)
    store.tasks.add(task("ci", NOW + 50), by="test", at=NOW - 50)
    store.close()
    return config


def test_rules_and_tasks_of_the_agent_are_findings(config: Config) -> None:
    found = held_by_agent(config, "ci", NOW, was_tried=True)
    assert [(line.check, line.where, line.outcome) for line in found] == [
        ("standing rule", "ci/read", FINDING),
        ("active task", f"taskci{NOW + 50:g}", FINDING),
    ]
    assert "get,list,watch pods -n ci" in found[0].found


def test_what_time_has_ended_is_none_and_rules_alone_try_nothing(config: Config) -> None:
    found = held_by_agent(config, "idle", NOW, was_tried=False)
    assert [(line.check, line.outcome, line.counts) for line in found] == [
        ("rules in force", OK, True),
        ("resting access", NOT_TRIED, True),
    ]


def test_an_agent_that_is_not_there_is_said(config: Config) -> None:
    with pytest.raises(NotThere):
        held_by_agent(config, "nobody", NOW, was_tried=True)
