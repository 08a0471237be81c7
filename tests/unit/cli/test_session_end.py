"""`narrowgate sessions end`: what is asked of the store or of the gate, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.session_gate import FIRST, RUNNING, SessionGate
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in
from narrowgate.config import find_config
from narrowgate.core.recording import Ended, Entry
from narrowgate.store.open import open_store


def ends(gate: SessionGate) -> dict[str, str]:
    config = find_config(str(gate.config))
    store = open_store(config.store, config.data_dir)
    try:
        return dict(store.session_ends.since(0))
    finally:
        store.close()


def test_a_session_that_runs_is_ended_by_who_works_here(recorded: SessionGate) -> None:
    live = recorded.begin("ffff")

    def gate() -> None:
        # What a gate does when it hears of it.
        while "ffff" not in ends(recorded):
            time.sleep(0.05)
        live.write([Entry(5, Ended("it was ended"))])
        live.finish()

    ending = threading.Thread(target=gate)
    ending.start()
    code, out, err = recorded.sessions("end", "ffff", "--because", "it looked at secrets", "-o", "json")
    ending.join()
    assert (code, json.loads(out), err) == (0, {"session": "ffff", "because": "it looked at secrets"}, "")
    assert ends(recorded)["ffff"].startswith("the session was ended by local:")


def test_what_is_over_cannot_be_ended(recorded: SessionGate) -> None:
    code, out, err = recorded.sessions("end", FIRST, "--because", "x")
    assert (code, out) == (1, "")
    assert f"session {FIRST} is over already" in err
    assert ends(recorded) == {}


@pytest.mark.parametrize("because", ["", "  ", "two\nlines", "\x1b[2J", "x" * 201])
def test_a_reason_is_one_line(recorded: SessionGate, because: str) -> None:
    assert recorded.sessions("end", RUNNING, "--because", because)[0] == 2
    assert ends(recorded) == {}


def test_a_reason_is_needed_and_two_places_are_misuse(recorded: SessionGate) -> None:
    assert recorded.sessions("end", RUNNING)[0] == 2
    assert recorded.sessions("end", RUNNING, "--because", "x", "--gate", "https://gate:8444")[0] == 2


RUNS = "/api/v1/sessions?running=true&limit=500"


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    assert home
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    return scripted


def items(*ids: str) -> Any:
    return told({"items": [{"id": one} for one in ids], "metadata": {"continue": ""}})


def test_a_gate_is_asked_by_who_is_signed_in(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(RUNS, items("abc-1", "abd-2"))
    gate.answers("/api/v1/sessions/abd-2/end", told({"id": "abd-2"}))
    done = shell.bare("sessions", "end", "abd", "--because", "odd", "--gate", gate.url)
    assert (done.code, done.out) == (0, "session abd-2 was ended\n"), done.err
    assert gate.called("/api/v1/sessions/abd-2/end")[-1].document == {"because": "odd"}


@pytest.mark.parametrize(
    ("said", "there", "why"),
    [
        ("ab", ("abc-1", "abd-2"), "part of several sessions"),
        ("x", ("abc-1",), "is no session that runs and that you may see"),
        ("../", ("../agents/x",), "is no session that runs and that you may see"),
    ],
)
def test_nothing_is_ended_that_was_not_named(
    shell: Terminal, gate: ScriptedGate, said: str, there: tuple[str, ...], why: str
) -> None:
    gate.answers(RUNS, items(*there))
    done = shell.bare("sessions", "end", said, "--because", "odd", "--gate", gate.url)
    assert (done.code, why in done.err) == (1, True)


def test_what_the_gate_refuses_is_said(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(RUNS, items("abc-1"))
    gate.answers("/api/v1/sessions/abc-1/end", told({"detail": "this session was over at noon"}, 409))
    done = shell.bare("sessions", "end", "abc-1", "--because", "odd", "--gate", gate.url)
    assert (done.code, "this session was over at noon" in done.err) == (1, True)


def test_what_does_not_answer_as_a_gate_does_is_named(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers(RUNS, told({"items": 5}))
    done = shell.bare("sessions", "end", "abc", "--because", "odd", "--gate", gate.url)
    assert (done.code, "does not answer as a gate does" in done.err) == (1, True)
