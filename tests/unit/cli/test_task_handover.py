"""What the commands about tasks share: which task is meant, and what is shown of what a gate says."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Terminal

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.cli.task_caller import TaskCaller
from narrowgate.cli.task_handover import line_of, path_of_task, proof_of, text_of, worded_as

MADE = new_task_credential()


@pytest.fixture
def caller(scripted: ScriptedGate, shell: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch) -> TaskCaller:
    assert shell is not None
    monkeypatch.chdir(home.parent / "policies")
    monkeypatch.delenv("NARROWGATE_CONFIG", raising=False)
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", MADE.text)
    scripted.answers("/.well-known/oauth-authorization-server", told(scripted.metadata()))
    options = {"gate": scripted.url, "certificate_authority": Path(scripted.authority), "agent": ""}
    return TaskCaller(proof_of({**options, "credential_file": None, "key_file": None}))


def test_the_task_is_the_one_that_is_named_or_whose_credential_is_at_hand(caller: TaskCaller) -> None:
    assert path_of_task(caller, "abc234") == "/tasks/abc234"
    assert path_of_task(caller, "") == f"/tasks/{MADE.task}"
    for strange in ("../agents", "a b", "é", "a/b"):
        with pytest.raises(click.BadParameter, match="is no id of a task"):
            path_of_task(caller, strange)


def test_what_a_gate_says_moves_no_cursor() -> None:
    assert line_of("a\x1b[2Jb\n") == "a?[2Jb?"
    assert (text_of({"a": None}, "a"), text_of({}, "a"), text_of({"a": 3}, "a")) == ("", "", "3")


def test_a_value_that_cannot_be_read_is_misuse_of_its_option() -> None:
    with pytest.raises(click.BadParameter, match="odd") as caught, worded_as("--for"):
        raise ValueError("odd")
    assert caught.value.param_hint == "--for"
