"""`narrowgate sessions hold` and `lift`: what is held, what the record has of it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in
from narrowgate.recordings.retention import Kept, KnownKinds, remove_old
from narrowgate.trail.read import events

LATE = 4_000_000_000.0


def recorded_of(gate: SessionGate) -> list[dict[str, Any]]:
    return [json.loads(line.event) for line in events(gate.data / "trail")]


def let_go(gate: SessionGate) -> tuple[str, ...]:
    return remove_old(gate.store, Kept(60.0), LATE, 10, KnownKinds(gate.store, ()))


def test_a_hold_keeps_a_recording_until_it_is_lifted_and_both_are_in_the_record(recorded: SessionGate) -> None:
    code, out, err = recorded.sessions("hold", FIRST, "--because", "case 12", "-o", "json")
    assert (code, err) == (0, "")
    held = json.loads(out)
    assert (held["session"], held["by"], held["because"]) == (FIRST, local_operator(), "case 12")
    assert [name for name in let_go(recorded) if FIRST in name] == []
    assert recorded.sessions("lift", FIRST[:4])[:2] == (
        0,
        f"the hold of {local_operator()} on session {FIRST} is lifted: case 12\n",
    )
    assert len(let_go(recorded)) == 1
    told_of = [
        (one["stage"], one["verb"], one["objectRef"]["name"], one["annotations"].get("narrowgate.dev/asked-because"))
        for one in recorded_of(recorded)
    ]
    assert told_of == [
        ("RequestReceived", "hold", FIRST, "case 12"),
        ("ResponseComplete", "hold", FIRST, "case 12"),
        ("RequestReceived", "lift", FIRST, None),
        ("ResponseComplete", "lift", FIRST, None),
    ]
    assert {one["user"]["username"] for one in recorded_of(recorded)} == {f"person:{local_operator()}"}


def test_a_hold_is_shown_with_who_since_when_and_why(recorded: SessionGate) -> None:
    recorded.sessions("hold", FIRST, "--because", "case 12")
    lines = recorded.sessions("list")[1].splitlines()
    (held,) = [line for line in lines if line.startswith(FIRST)]
    assert local_operator() in held
    assert held.endswith(": case 12")
    assert [local_operator() in line for line in lines if line.startswith(SECOND)] == [False]
    shown = {one["session"]: one["hold"] for one in json.loads(recorded.sessions("list", "-o", "json")[1])}
    assert (shown[FIRST]["because"], shown[FIRST]["by"], shown[SECOND]) == ("case 12", local_operator(), None)
    assert "is on hold: " in recorded.sessions("show", FIRST)[1]
    assert json.loads(recorded.sessions("show", FIRST, "-o", "json")[1])["hold"] == shown[FIRST]
    assert "is on hold: " not in recorded.sessions("show", SECOND)[1]


def test_what_cannot_be_recorded_is_neither_held_nor_lifted(recorded: SessionGate) -> None:
    recorded.sessions("hold", FIRST, "--because", "case 12")
    (name,) = [one.name for one in recorded.store.of_day("2026-11-18") if FIRST in one.name]
    journal = recorded.data / "trail" / "operator"
    journal.rename(recorded.data / "operator")
    journal.write_bytes(b"")
    code, _, err = recorded.sessions("lift", FIRST)
    assert (code, err != "") == (1, True)
    assert recorded.store.held(name) is not None
    assert recorded.sessions("hold", SECOND, "--because", "x")[0] == 1
    assert recorded.store.held(name.replace(FIRST, SECOND)) is None


def test_what_is_not_in_its_store_cannot_be_held_and_that_is_in_the_record(recorded: SessionGate) -> None:
    code, _, err = recorded.sessions("hold", RUNNING, "--because", "x")
    assert (code, "not in its store yet" in err) == (1, True)
    assert [one["responseStatus"]["code"] for one in recorded_of(recorded) if one["stage"] == "ResponseComplete"] == [
        500
    ]
    code, _, err = recorded.sessions("lift", SECOND)
    assert (code, "is not on hold" in err) == (1, True)


@pytest.mark.parametrize("because", ["", "  ", "two\nlines", "\x1b[2J", "x" * 201])
def test_a_reason_is_one_line(recorded: SessionGate, because: str) -> None:
    assert recorded.sessions("hold", FIRST, "--because", because)[0] == 2
    assert recorded_of(recorded) == []


def test_two_places_are_misuse(recorded: SessionGate) -> None:
    assert recorded.sessions("lift", FIRST, "--gate", "https://gate:8444")[0] == 2
    assert recorded.sessions("hold", FIRST, "--because", "x", "--gate", "https://gate:8444")[0] == 2


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    assert home
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("otto", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    return scripted


def test_a_gate_is_asked_by_who_is_signed_in(shell: Terminal, gate: ScriptedGate) -> None:
    held = {"session": "abc-1", "by": "person:otto", "because": "case 12", "at": "2026-11-21T12:00:00Z"}
    gate.answers("/api/v1/sessions/abc-1/hold", told(held))
    gate.answers("/api/v1/sessions/abc-1/lift", told(held))
    done = shell.bare("sessions", "hold", "abc-1", "--because", "case 12", "--gate", gate.url)
    assert (done.code, done.out) == (0, "the recording of session abc-1 is on hold\n"), done.err
    assert gate.called("/api/v1/sessions/abc-1/hold")[-1].document == {"because": "case 12"}
    done = shell.bare("sessions", "lift", "abc-1", "--gate", gate.url, "-o", "json")
    assert (done.code, json.loads(done.out)) == (0, held), done.err


def test_an_address_is_made_of_an_id_alone(shell: Terminal, gate: ScriptedGate) -> None:
    done = shell.bare("sessions", "lift", "../agents/x", "--gate", gate.url)
    assert (done.code, "is no id of a session" in done.err) == (1, True)
