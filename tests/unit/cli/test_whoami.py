"""`narrowgate whoami`: the gate's answer, or what is known here while it is away."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, granted, refused, told
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in, note_last_gate


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    note_last_gate(scripted.url)
    return scripted


def test_the_gates_answer_is_shown_line_by_line(shell: Terminal, gate: ScriptedGate) -> None:
    done = shell.bare("whoami")
    assert done.code == 0
    assert done.out.splitlines() == [
        f"gate: {gate.url}",
        "confirmed: yes",
        "identity: person:alice",
        "name: alice",
        "clusters: prod",
        "sign in expires at: 2999-01-01T00:00:00Z",
    ]
    assert gate.called("/api/v1/whoami")[0].headers["Authorization"] == "Bearer nga1_a.b"


def test_programs_read_json(shell: Terminal, gate: ScriptedGate) -> None:
    document = shell.bare("whoami", gate.url, "-o", "json").json
    assert document["name"] == "alice"
    assert document["confirmed"] is True


def test_the_credential_is_used_again(shell: Terminal, gate: ScriptedGate) -> None:
    shell.bare("whoami")
    shell.bare("whoami")
    assert len(gate.called("/oauth/token")) == 1


def test_a_credential_that_the_gate_refuses_is_renewed_once(shell: Terminal, gate: ScriptedGate) -> None:
    no = told({"title": "not signed in", "detail": "this access credential is unknown"}, 401)
    gate.answers("/oauth/token", granted("nga1_1.x"), granted("nga1_2.x"))
    gate.answers("/api/v1/whoami", no, told({"name": "alice"}))
    assert shell.bare("whoami", "-o", "json").json["name"] == "alice"
    gate.answers("/api/v1/whoami", no)
    done = shell.bare("whoami")
    assert (done.code, done.err) == (1, "narrowgate: this access credential is unknown\n")


def test_while_the_gate_is_away_it_is_said_what_is_known_here(shell: Terminal, gate: ScriptedGate) -> None:
    gate.down()
    done = shell.bare("whoami", "-o", "json")
    assert done.code == 0
    assert (done.json["name"], done.json["confirmed"]) == ("alice", False)
    assert "connection refused" in done.err
    assert "this is what is known here" in done.err


def test_a_sign_in_that_is_over_says_what_to_run(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/oauth/token", refused("invalid_grant", "this sign-in is over"))
    done = shell.bare("whoami")
    assert done.code == 1
    assert done.err == f"narrowgate: this sign-in is over; run: narrowgate login {gate.url}\n"
    assert (
        shell.bare("whoami").err == f"narrowgate: nobody is signed in, {gate.url}: run: narrowgate login {gate.url}\n"
    )


def test_names_cannot_move_the_cursor(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/whoami", told({"name": "\x1b[2Jroot"}))
    assert "\x1b" not in shell.bare("whoami").out
