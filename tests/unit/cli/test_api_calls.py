"""Calls of the API as the person who is signed in."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, granted, told

from narrowgate.cli.api_calls import called_by_person
from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateRefused, GateUnreachable
from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in

THING = "/api/v1/thing"
NO = told({"title": "not signed in", "detail": "this access credential is unknown"}, 401)


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    return scripted


def test_a_document_goes_as_json_and_one_comes_back(gate: ScriptedGate) -> None:
    gate.answers(THING, told({"id": "x"}))
    assert called_by_person(gate.url, "POST", "/thing", {"comment": "fine"}) == {"id": "x"}
    (call,) = gate.called(THING)
    assert (call.method, call.headers["Content-Type"]) == ("POST", "application/json")
    assert call.headers["Authorization"] == "Bearer nga1_a.b"


def test_without_a_document_nothing_goes(gate: ScriptedGate) -> None:
    gate.answers(THING, told({}))
    assert called_by_person(gate.url, "GET", "/thing") == {}
    assert "Content-Type" not in gate.called(THING)[0].headers


def test_a_credential_that_the_gate_does_not_believe_is_renewed_once(gate: ScriptedGate) -> None:
    gate.answers("/oauth/token", granted("nga1_1.x"), granted("nga1_2.x"))
    gate.answers(THING, NO, told({"id": "x"}))
    assert called_by_person(gate.url, "POST", "/thing", {}) == {"id": "x"}
    gate.answers(THING, NO)
    with pytest.raises(GateRefused, match="unknown"):
        called_by_person(gate.url, "POST", "/thing", {})


def test_what_is_refused_otherwise_is_not_sent_again(gate: ScriptedGate) -> None:
    gate.answers(THING, told({"detail": "you may not"}, 403))
    with pytest.raises(GateRefused, match="you may not"):
        called_by_person(gate.url, "POST", "/thing", {})
    assert len(gate.called(THING)) == 1


def test_what_may_have_been_done_is_not_sent_again(gate: ScriptedGate) -> None:
    gate.answers(THING, told({"detail": "its end could not be recorded"}, 503))
    with pytest.raises(GateUnreachable, match="could not be recorded"):
        called_by_person(gate.url, "POST", "/thing", {})
    assert len(gate.called(THING)) == 1


def test_nobody_who_is_not_signed_in_calls(scripted: ScriptedGate, home: Path) -> None:
    with pytest.raises(Failed, match="nobody is signed in"):
        called_by_person(scripted.url, "GET", "/thing")
