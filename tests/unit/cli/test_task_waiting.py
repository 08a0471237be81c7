"""Waiting for people, and collecting then: nothing is collected that nobody said yes to, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.task_waiting import INTERVAL_SECONDS, MOST_SILENCE, collected, interval_of

ASKS = [{"from": [{"group": "sre", "count": 2}, {"group": "security", "count": 1}], "within": "10m"}]
PENDING = {"state": "pending", "asks": ASKS, "lapsesAt": "2026-11-21T08:10:00Z"}
APPROVED = {"state": "approved"}
AWAY = GateUnreachable("the gate is away")


class Gate:
    """Answers in turn, the last for ever."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.done: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def post(self, path: str, document: object = None) -> dict[str, Any]:
        assert document is None
        self.done.append(path)
        return {"id": "t1", "state": "active", "credential": "ngt1_x"}


def test_it_asks_until_there_is_an_answer_and_collects_once(capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate(PENDING, PENDING, APPROVED)
    assert collected(gate, "t1", 0)["state"] == "active"
    assert (gate.asked, gate.done) == (["/approvals/t1"] * 3, ["/tasks/t1/collect"])
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "task t1 waits for 2 of sre and 1 of security until 2026-11-21T08:10:00Z"
    assert len(told) == 2


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"state": "denied", "endedBecause": "ask for less\x1b[2J"}, r"is denied \(ask for less\?\[2J\)"),
        ({"state": "lapsed", "endedBecause": "lapsed"}, "is lapsed,"),
        ({"state": "withdrawn", "endedBecause": "withdrawn by agent:bot"}, r"\(withdrawn by agent:bot\)"),
        ({"state": "spent"}, "is spent"),
        ({}, "is None"),
    ],
)
def test_what_nobody_said_yes_to_is_not_collected(answer: dict[str, Any], sentence: str) -> None:
    gate = Gate(PENDING, answer)
    with pytest.raises(Failed, match=sentence):
        collected(gate, "t1", 0)
    assert gate.done == []


def test_a_gate_that_is_away_for_a_while_is_waited_for_and_for_long_is_not() -> None:
    gate = Gate(PENDING, AWAY, AWAY, APPROVED)
    assert collected(gate, "t1", 0)["state"] == "active"
    gone = Gate(PENDING, AWAY)
    with pytest.raises(GateUnreachable):
        collected(gone, "t1", 0)
    assert len(gone.asked) == MOST_SILENCE + 2


@pytest.mark.parametrize("told", [None, 0, -1, 61, True, "2", float("nan"), [2]])
def test_an_interval_that_is_none_is_not_obeyed(told: object) -> None:
    assert interval_of({"interval": told}) == INTERVAL_SECONDS


def test_the_gate_says_how_often_it_is_asked() -> None:
    assert interval_of({"interval": 5}) == 5.0
