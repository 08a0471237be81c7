"""What a credential opens, and what the gate says about it, as lines of the report."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, refused, told
from tests.unit.cli.test_doctor_tries import refusing, way
from tests.unit.cli.test_standing import LINE

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.cli.doctor_report import Line, Outcome
from narrowgate.cli.doctor_resting import KnownGate, resting
from narrowgate.cli.oauth_client import GatePort

TASK = {"id": "t1", "name": "bot", "purpose": "look", "state": "active", "endsAt": "2026-01-01T00:20:00Z"}


@pytest.fixture
def quiet(scripted: ScriptedGate) -> ScriptedGate:
    """A gate where everything is refused, and nothing stands."""
    refusing(scripted)
    said(scripted)
    return scripted


def said(scripted: ScriptedGate, standing: Any = (), tasks: Any = ()) -> None:
    scripted.answers("/api/v1/standing?limit=100", told({"items": list(standing)}))
    scripted.answers("/api/v1/tasks?limit=10", told({"items": list(tasks)}))


def known(scripted: ScriptedGate) -> KnownGate:
    return KnownGate(GatePort(scripted.url, scripted.authority_pem), (("127.0.0.1", scripted.port),), "")


def lines(scripted: ScriptedGate, gate: KnownGate | None = None, **more: Any) -> list[tuple[str, Outcome]]:
    return [(line.check, line.outcome) for line in looked(scripted, gate or known(scripted), **more)]


def looked(scripted: ScriptedGate, gate: KnownGate | None, **more: Any) -> tuple[Line, ...]:
    return resting(way(scripted, **more), gate, runs_plugins=False).lines


def test_nothing_open_and_nothing_told_is_all_clear(quiet: ScriptedGate) -> None:
    assert lines(quiet) == [("resting access", Outcome.OK)]


def test_one_request_that_gets_through_is_a_finding(quiet: ScriptedGate) -> None:
    quiet.answers("/api/v1/namespaces/ci/secrets?limit=1", told({}))
    line, *_ = looked(quiet, known(quiet))
    assert (line.outcome, "a token opens: list secrets -n ci" in line.found) == (Outcome.FINDING, True)


def test_one_request_without_an_answer_is_no_all_clear(quiet: ScriptedGate) -> None:
    quiet.answers("/api/v1/pods?limit=1", told({}, 503))
    line, *_ = looked(quiet, known(quiet))
    assert (line.outcome, "list pods -A: answered 503" in line.found) == (Outcome.NOT_TRIED, True)


def test_what_stands_and_runs_is_found_though_every_try_is_refused(quiet: ScriptedGate) -> None:
    said(quiet, [LINE], [TASK, TASK | {"state": "completed"}])
    assert lines(quiet) == [
        ("resting access", Outcome.OK),
        ("standing rule", Outcome.FINDING),
        ("active task", Outcome.FINDING),
    ]


def test_a_tasks_credential_is_asked_about_its_task_alone(quiet: ScriptedGate) -> None:
    made = new_task_credential()
    quiet.answers(f"/api/v1/tasks/{made.task}", told(TASK))
    assert lines(quiet, proof=made.text)[1:] == [("active task", Outcome.FINDING)]
    quiet.answers(f"/api/v1/tasks/{made.task}", told(TASK | {"state": "expired"}))
    assert lines(quiet, proof=made.text)[1:] == []
    quiet.answers(f"/api/v1/tasks/{made.task}", refused("not-signed-in", status=401))
    assert lines(quiet, proof=made.text)[1:] == []


def test_a_gate_that_cannot_say_why_leaves_what_was_tried(quiet: ScriptedGate) -> None:
    quiet.answers("/api/v1/standing?limit=100", told({}, 503))
    assert lines(quiet) == [("resting access", Outcome.OK), ("standing rule", Outcome.NOT_TRIED)]


def test_the_credential_of_another_server_is_never_shown_to_the_gate(quiet: ScriptedGate) -> None:
    elsewhere = KnownGate(GatePort(quiet.url, quiet.authority_pem), (("gate.example", 8443),), "")
    assert lines(quiet, elsewhere) == [("access around the gate", Outcome.OK)]
    assert quiet.called("/api/v1/standing?limit=100") == []


def test_without_a_gate_there_is_nobody_to_say_why(quiet: ScriptedGate) -> None:
    quiet.answers("/api/v1/pods?limit=1", told({}))
    (line,) = looked(quiet, None)
    assert (line.check, "--gate" in line.to_do) == ("resting access", True)
