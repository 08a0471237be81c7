"""A task's or a sign-in's session is found by its id: the calls that were made with it, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import a_session, header
from tests.unit.cli.recorded_calls import OTHER, SIGN_IN, TASK, call, keep_sign_in
from tests.unit.cli.session_gate import SessionGate

from narrowgate.cli.call_session import find_call_session, recorded_lines, recording_text, with_bodies
from narrowgate.cli.session_place import SessionPlace
from narrowgate.config import find_config
from narrowgate.core.recording import BodyData, Ended, Entry, Kind, Noted
from narrowgate.core.stream_events import Direction

NAME = "2026-11-18/{}.recording"


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[SessionGate]:
    made = SessionGate(tmp_path, capsys)
    yield made
    made.close()


def place_of(gate: SessionGate) -> SessionPlace:
    return SessionPlace(find_config(str(gate.config)))


def test_a_task_has_the_calls_that_name_it_in_their_order(gate: SessionGate) -> None:
    gate.note(*call("a-1", at=3.0, task=TASK), *call("a-2", at=1.0, task=TASK), *call("a-3", at=2.0, task=OTHER))
    found = find_call_session(place_of(gate), TASK)
    assert found is not None
    assert (found.sort, found.is_whole) == ("task", True)
    assert [one.entry.audit_id for one in found.calls] == ["a-2", "a-1"]
    # The store knows nothing of it: the record does.
    assert found.told == (f"Task {TASK}.",)


def test_a_sign_in_has_the_calls_of_its_credential_alone(gate: SessionGate) -> None:
    keep_sign_in(gate.data)
    gate.note(
        *call("a-1", at=1.0, credential=SIGN_IN, person="alice"),
        *call("a-2", at=2.0, credential=OTHER, person="alice"),
        *call("a-3", at=3.0, credential=SIGN_IN, person="alice"),
    )
    found = find_call_session(place_of(gate), SIGN_IN)
    assert found is not None
    assert found.sort == "signIn"
    assert [one.entry.audit_id for one in found.calls] == ["a-1", "a-3"]
    assert found.told[0].startswith(f"Sign-in {SIGN_IN} of person:alice, at ")


@pytest.mark.parametrize("text", ["6b2a1f9e-0001", "0001", "", TASK.upper(), TASK + "a", TASK])
def test_other_ids_are_no_such_session(gate: SessionGate, text: str) -> None:
    assert find_call_session(place_of(gate), text) is None


def test_bodies_that_are_in_a_recording_are_read_from_there(gate: SessionGate) -> None:
    entries = [
        Entry(0, BodyData(b'{"a":', Direction.TO_POD)),
        Entry(1, BodyData(b"1}", Direction.TO_POD)),
        Entry(2, BodyData(b'{"b":', Direction.FROM_POD)),
        Entry(3, Noted("the rest of it is not kept")),
        Entry(4, Ended("over")),
    ]
    gate.record("a-1", entries, msgspec.structs.replace(header(), kind=Kind.API))
    gate.note(*call("a-1", task=TASK, recording=NAME.format("a-1")))
    place = place_of(gate)
    session = find_call_session(place, TASK)
    assert session is not None
    (found,) = session.calls
    whole = with_bodies(place, found)
    # What was cut is no object any more, and nothing is held against it.
    assert (whole.sent, whole.answered) == ({"a": 1}, None)
    assert "recorded: its bodies" in recording_text(place, found)
    assert recorded_lines(place, found) == []


def test_what_was_recorded_in_a_pod_is_told_and_shown(gate: SessionGate) -> None:
    gate.record("a-1", a_session())
    gate.note(*call("a-1", task=TASK, recording=NAME.format("a-1")))
    place = place_of(gate)
    session = find_call_session(place, TASK)
    assert session is not None
    (found,) = session.calls
    told = recording_text(place, found)
    assert "exec `sh -c ls` in ci/web-0" in told
    assert "exit code 0" in told
    assert told.endswith("narrowgate sessions replay a-1")
    assert ["README" in line.text for line in recorded_lines(place, found)].count(True) == 1
    assert with_bodies(place, found) == found


def test_a_recording_that_is_gone_is_said_to_be(gate: SessionGate) -> None:
    gate.note(*call("a-1", task=TASK, recording=NAME.format("a-1")))
    place = place_of(gate)
    session = find_call_session(place, TASK)
    assert session is not None
    (found,) = session.calls
    assert recording_text(place, found).startswith("its recording cannot be read: ")
    assert (recorded_lines(place, found), with_bodies(place, found)) == ([], found)


def test_programs_are_told_of_a_gate_without_a_record(gate: SessionGate) -> None:
    code, out, _ = gate.sessions("list", "-o", "json")
    assert (code, json.loads(out)) == (0, [])
    assert find_call_session(place_of(gate), TASK) is None
