"""`narrowgate logout`: the gate is told, nothing is left here, and what could not be done is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, refused
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.access_cache import Access, Asked, cached_access, keep_access
from narrowgate.cli.sign_in_files import (
    GateFacts,
    KeptSignIn,
    keep_facts,
    keep_sign_in,
    note_last_gate,
    read_facts,
    read_sign_in,
)


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    """A gate at which alice is signed in, with a credential for a cluster."""
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "", "2999-01-01T00:00:00Z"))
    note_last_gate(scripted.url)
    asked = Asked(scripted.url, "prod")
    keep_access(asked, asked.path(), Access.lasting("nga1_x.y", 1, 1))
    return scripted


def test_the_sign_in_ends_at_the_gate_and_is_gone_here(shell: Terminal, gate: ScriptedGate) -> None:
    done = shell.bare("logout")
    assert (done.code, done.err) == (0, f"signed out at {gate.url}\n")
    assert [call.form["token"] for call in gate.called("/oauth/revoke")] == ["ngr1_x"]
    assert read_sign_in(gate.url) is None
    asked = Asked(gate.url, "prod")
    assert cached_access(asked, asked.path()) is None
    assert read_facts(gate.url) is not None


def test_a_gate_that_is_away_is_said_so_with_what_follows(shell: Terminal, gate: ScriptedGate) -> None:
    gate.down()
    done = shell.bare("logout")
    assert done.code == 1
    assert "connection refused" in done.err
    assert "runs until 2999-01-01T00:00:00Z" in done.err
    assert read_sign_in(gate.url) is None


def test_a_gate_that_refuses_is_quoted(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/oauth/revoke", refused("invalid_request", "no such thing"))
    done = shell.bare("logout", "-o", "json")
    assert done.code == 1
    assert done.json == {"gate": gate.url, "wasSignedIn": True, "ended": False, "failure": "no such thing"}


def test_signing_out_twice_is_no_error(shell: Terminal, gate: ScriptedGate) -> None:
    shell.bare("logout")
    done = shell.bare("logout", gate.url)
    assert (done.code, done.err) == (0, f"nobody is signed in at {gate.url}\n")


def test_without_a_gate_one_is_asked_for(shell: Terminal, home: Path) -> None:
    done = shell.bare("logout")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
