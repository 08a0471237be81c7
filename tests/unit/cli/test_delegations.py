"""`narrowgate approvals delegate|delegations|undelegate`: what a person types, sent; what the gate says, shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in, note_last_gate

LIST = "/api/v1/delegations?limit=100"
MADE: dict[str, Any] = {
    "id": "d1",
    "person": "alice",
    "to": "bob",
    "groups": ["security", "sre"],
    "state": "inForce",
    "from": "2026-11-21T08:00:00Z",
    "until": "2026-11-28T00:00:00Z",
    "comment": "",
    "madeAt": "2026-11-21T08:00:00Z",
    "endedAt": None,
    "endedBy": "",
    "countsFor": ["sre"],
}


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    note_last_gate(scripted.url)
    return scripted


def page(*items: dict[str, Any], behind: str = "") -> Any:
    return told({"items": list(items), "metadata": {"continue": behind}})


def test_what_is_typed_is_what_is_sent_and_days_are_whole_ones(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/delegations", told(MADE, 201))
    done = shell.bare(
        "approvals", "delegate", "--to", "bob", "--from", "2026-11-22", "--until", "2026-11-27", "--groups",
        "sre, sec,",
        "--comment", "holiday",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert gate.called("/api/v1/delegations")[-1].document == {
        "to": "bob",
        "from": "2026-11-22T00:00:00Z",
        "until": "2026-11-28T00:00:00Z",
        "groups": ["sre", "sec"],
        "comment": "holiday",
    }
    assert "bob answers in your place for security, sre from 2026-11-21T08:00:00Z" in done.err
    assert "`approvals undelegate d1` ends that, and so does signing out" in done.err


def test_what_is_left_out_is_not_sent_and_moments_are_taken_as_they_are(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/delegations", told(MADE, 201))
    done = shell.bare("approvals", "delegate", "--to", "bob", "--until", "2026-11-27T18:00:00+01:00", "-o", "json")
    assert done.json == MADE
    assert gate.called("/api/v1/delegations")[-1].document == {"to": "bob", "until": "2026-11-27T17:00:00Z"}


@pytest.mark.parametrize(
    "typed",
    [
        ("delegate", "--to", "bob"),
        ("delegate", "--until", "2026-11-27"),
        ("delegate", "--to", "bob", "--until", "friday"),
        ("delegate", "--to", "bob", "--until", "2026-11-27", "--from", "now"),
        ("undelegate", "../agents"),
        ("undelegate",),
    ],
)
def test_misuse_is_exit_code_two_and_nothing_is_sent(
    shell: Terminal, gate: ScriptedGate, typed: tuple[str, ...]
) -> None:
    assert shell.bare("approvals", *typed).code == 2
    assert [one for one in gate.calls if "delegations" in one.path] == []


def test_the_list_says_who_answers_for_whom_and_what_counts_now(shell: Terminal, gate: ScriptedGate) -> None:
    asleep = MADE | {"id": "d2", "person": "eve\x1b[2J", "countsFor": []}
    gate.answers(LIST, page(MADE, behind="abc"))
    gate.answers(f"{LIST}&continue=abc", page(asleep))
    done = shell.bare("approvals", "delegations")
    heads, first, second = done.out.splitlines()
    assert heads.split("  ")[0] == "ID"
    assert first.split()[:4] == ["d1", "inForce", "alice", "bob"]
    assert first.endswith("sre")
    assert "eve?[2J" in second
    assert second.endswith("-")
    gate.answers(f"{LIST}&all=true", page())
    assert shell.bare("approvals", "delegations", "--all", "-o", "json").json == []


def test_it_is_taken_back_by_its_id(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/delegations/d1/end", told(MADE | {"state": "ended"}))
    done = shell.bare("approvals", "undelegate", "d1")
    assert (done.code, done.err) == (0, "bob does not answer in alice's place any more\n")
