"""A session of calls as it is printed, as JSON, and as a page: what was denied stands out in each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.recorded_sessions import a_session
from tests.unit.cli.recorded_calls import TASK, call
from tests.unit.cli.session_gate import SessionGate

from narrowgate.core.decision import Deny

HOSTILE = "\x1b]52;c;aGk=\x07</script><b>"


def lamp(state: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "lamp", "namespace": "ci"}, "data": {"state": state}}


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[SessionGate]:
    made = SessionGate(tmp_path, capsys)
    made.record("a-3", a_session())
    made.note(
        *call("a-1", at=1.0, task=TASK, verb="get", answered=lamp("off")),
        *call("a-2", at=2.0, task=TASK, sent=lamp("on"), answered=lamp("on")),
        *call("a-3", at=3.0, task=TASK, verb="create", recording="2026-11-18/a-3.recording"),
        *call("a-4", at=4.0, task=TASK, verdict=Deny(message=f"not {HOSTILE}"), code=403),
    )
    yield made
    made.close()


def said(gate: SessionGate, *arguments: str) -> str:
    code, out, err = gate.sessions(*arguments)
    assert (code, err) == (0, "")
    return out


def test_show_has_a_line_for_each_call_and_nothing_of_what_changed(gate: SessionGate) -> None:
    told = said(gate, "show", TASK)
    lines = [line for line in told.splitlines() if line.startswith("2026-11-18T")]
    assert [line.split()[2] for line in lines] == ["get", "update", "create", "agent:ci"]
    assert lines[3].split()[1] == "DENIED"
    assert "data.state" not in told
    assert "recorded: exec" in told


def test_replay_has_what_changed_and_what_was_recorded_in_its_place(gate: SessionGate) -> None:
    told = said(gate, "replay", TASK)
    places = [
        told.index(text) for text in (" update ", '- data.state: "off"', '+ data.state: "on"', "README", "DENIED")
    ]
    assert places == sorted(places)


def test_what_callers_wrote_moves_nothing_on_the_terminal(gate: SessionGate) -> None:
    assert "\x1b" not in said(gate, "replay", TASK)


def test_programs_get_one_document_or_one_line_for_each_call(gate: SessionGate) -> None:
    document = json.loads(said(gate, "show", TASK, "-o", "json"))
    assert [one["denied"] for one in document["calls"]] == [False, False, False, True]
    assert document["calls"][1]["changes"] == ['- data.state: "off"', '+ data.state: "on"']
    lines = said(gate, "export", TASK, "--as", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == document["calls"]


def test_a_page_marks_what_was_denied_and_holds_no_markup_of_callers(gate: SessionGate) -> None:
    page = said(gate, "export", TASK, "--as", "html")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["tty"] is False
    marks = [mark for _, mark, _ in data["lines"]]
    assert marks.count("refused") == 1
    assert {"call", "come", "gone"} <= set(marks)
    assert "<b>" not in page.split('id="data">')[1].split("</script>")[0]
    times = [at for at, _, _ in data["lines"]]
    assert times == sorted(times)


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", TASK, "--raw", "stdout"),
        ("replay", TASK, "--search", "x"),
        ("replay", TASK, "--speed", "2"),
        ("replay", TASK, "--from", "1s"),
        ("export", TASK, "--as", "asciicast"),
    ],
)
def test_what_is_for_recordings_alone_is_misuse(gate: SessionGate, arguments: tuple[str, ...]) -> None:
    code, out, err = gate.sessions(*arguments)
    assert (code, out) == (2, "")
    assert "task or sign-in" in err
