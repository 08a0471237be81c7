"""Several questions answered by one call: each that is named, by itself, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.control.api.calling import Api, document
from tests.unit.control.api.questions import asked, bearer_of, signed_in

from narrowgate.control.api.answering_together import MOST_TOGETHER
from narrowgate.core.approvals import ApprovalState


def answer(api: Api, who: Any, *ids: str, **other: str) -> list[dict[str, Any]]:
    body = {"ids": list(ids), "answer": "yes"} | other
    made = api.call("POST", "/approvals/answers", body, who=who)
    assert made.status == 200, made.text
    found: list[dict[str, Any]] = document(made)["items"]
    return found


@pytest.fixture
def ada(api: Api) -> str:
    for number in range(3):
        asked(api, id=f"q{number}", digest=f"d{number}")
    return bearer_of(api, signed_in(api, "ada", "sre"))


def states(api: Api) -> list[tuple[ApprovalState, int]]:
    found = (api.store.approvals.get(f"q{number}") for number in range(3))
    return [(one.state, len(one.said)) for one in found]


def test_each_that_is_named_is_answered_and_no_other(api: Api, ada: str) -> None:
    items = answer(api, ada, "q0", "q2", "q0", comment="fine")
    assert [(one["id"], one["problem"]) for one in items] == [("q0", ""), ("q2", "")]
    assert [one["approval"]["answers"][0]["comment"] for one in items] == ["fine", "fine"]
    assert [said for _, said in states(api)] == [1, 0, 1]


def test_a_no_is_one_for_each(api: Api, ada: str) -> None:
    answer(api, ada, "q0", "q1", answer="no", comment="not today")
    assert [state for state, _ in states(api)] == [ApprovalState.DENIED, ApprovalState.DENIED, ApprovalState.PENDING]
    assert api.store.approvals.get("q1").ended_because == "not today"


def test_what_cannot_be_answered_is_said_and_keeps_no_other_from_it(api: Api, ada: str) -> None:
    asked(api, id="gone", digest="x", state=ApprovalState.WITHDRAWN)
    items = answer(api, ada, "gone", "nowhere", "q1")
    assert ["withdrawn" in items[0]["problem"], "there is no approval" in items[1]["problem"]] == [True, True]
    assert (items[0]["approval"], items[2]["problem"]) == (None, "")
    assert [said for _, said in states(api)] == [0, 1, 0]


def test_whoever_may_not_answer_one_answers_none_that_way_either(api: Api, ada: str) -> None:
    olga = bearer_of(api, signed_in(api, "olga", "sre"))
    other = bearer_of(api, signed_in(api, "eve", "developers"))
    bot = api.agent("bot", groups=("sre",)).text
    for who in (olga, other, bot):
        assert all(one["problem"] for one in answer(api, who, "q0", "q1"))
    assert [said for _, said in states(api)] == [0, 0, 0]


@pytest.mark.parametrize(
    "body",
    [
        {"ids": [], "answer": "yes"},
        {"ids": [f"q{number}" for number in range(MOST_TOGETHER + 1)], "answer": "yes"},
        {"ids": ["q0"]},
        {"ids": ["q0"], "answer": "maybe"},
        {"ids": ["q0"], "answer": "yes", "all": True},
    ],
)
def test_what_is_not_said_one_by_one_is_refused(api: Api, ada: str, body: dict[str, Any]) -> None:
    assert api.call("POST", "/approvals/answers", body, who=ada).status == 422
    assert [said for _, said in states(api)] == [0, 0, 0]


def test_a_no_needs_a_reason_as_it_does_alone(api: Api, ada: str) -> None:
    items = answer(api, ada, "q0", answer="no", comment=" ")
    assert "write one line" in items[0]["problem"]
    assert states(api)[0] == (ApprovalState.PENDING, 0)


def test_the_record_names_them_all(api: Api, ada: str) -> None:
    answer(api, ada, "q0", "q2")
    entry = api.entries()[-1]
    assert (entry["verb"], entry["objectRef"]["name"]) == ("answer", "q0,q2")
