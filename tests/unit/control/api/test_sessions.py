"""Sessions by the API: those of the record that began one, and the end of one that runs."""

from __future__ import annotations

import time

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document
from tests.unit.control.api.recorded import began, did

from narrowgate.core.identity import Identity


@pytest.fixture
def recorded(api: Api) -> Api:
    did(api.folder / "trail", ("r1", "agent:hers", "person:olga"))
    began(
        api.folder / "trail",
        ("s1", "agent:hers", "person:olga", "exec", True),
        ("s2", "agent:theirs", "group:sre", "portforward", True),
        ("s3", "agent:hers", "person:olga", "attach", False),
        ("s4", "agent:hers", "person:olga", "log", True),
    )
    return api


def found(api: Api, who: Identity, query: str = "") -> list[str]:
    answer = api.call("GET", f"/sessions{query}", who=who)
    assert answer.status == 200, answer.text
    return [one["id"] for one in document(answer)["items"]]


def end(api: Api, session: str, who: Identity, because: str = "enough") -> int:
    return api.call("POST", f"/sessions/{session}/end", {"because": because}, who=who).status


def test_sessions_are_listed_newest_first_and_nothing_else_is(recorded: Api) -> None:
    assert found(recorded, PEOPLE["auditor"]) == found(recorded, ROOT) == ["s3", "s2", "s1"]
    assert found(recorded, PEOPLE["owner"]) == ["s3", "s1"]
    assert found(recorded, PEOPLE["member"]) == []


def test_those_that_run_are_told_from_those_that_are_over(recorded: Api) -> None:
    assert found(recorded, ROOT, "?running=true") == ["s2", "s1"]
    shown = {one["id"]: one for one in document(recorded.call("GET", "/sessions"))["items"]}
    assert (shown["s1"]["endedAt"], shown["s3"]["endedAt"] is None) == (None, False)
    assert shown["s1"]["command"] == ["sh", "-c", "ls /"]
    assert shown["s1"]["kind"] == "exec"
    assert (shown["s1"]["namespace"], shown["s1"]["pod"], shown["s1"]["cluster"]) == ("ci", "web-0", "dev")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("?who=hers", ["s3", "s1"]),
        ("?pod=web-0", ["s3", "s2", "s1"]),
        ("?pod=other", []),
        ("?namespace=ci&who=agent:theirs", ["s2"]),
        ("?cluster=prod", []),
        ("?task=t1", []),
        ("?limit=1", ["s3"]),
    ],
)
def test_they_are_found_by(recorded: Api, query: str, ids: list[str]) -> None:
    assert found(recorded, ROOT, query) == ids


def test_pages_go_on_where_the_one_before_ended(recorded: Api) -> None:
    first = document(recorded.call("GET", "/sessions?limit=2"))
    more = first["metadata"]["continue"]
    assert [one["id"] for one in document(recorded.call("GET", f"/sessions?continue={more}"))["items"]] == ["s1"]
    assert recorded.call("GET", f"/records?continue={more}").status == 400


def test_one_that_runs_is_ended_for_a_reason_that_everybody_hears(recorded: Api) -> None:
    assert end(recorded, "s1", PEOPLE["auditor"], "it looked at secrets") == 200
    ((session, why),) = recorded.store.session_ends.since(time.time() - 60).items()
    assert (session, why.startswith("the session was ended by person:")) == ("s1", True)
    assert why.endswith(": it looked at secrets")


def test_whoever_answers_for_an_agent_ends_its_sessions_and_nobody_elses(recorded: Api) -> None:
    assert end(recorded, "s1", PEOPLE["owner"]) == 200
    assert end(recorded, "s2", PEOPLE["owner"]) == 404
    assert end(recorded, "s2", PEOPLE["group-owner"]) == 200
    assert end(recorded, "s1", PEOPLE["member"]) == 404


def test_what_is_over_is_not_ended_again(recorded: Api) -> None:
    answer = recorded.call("POST", "/sessions/s3/end", {}, who=ROOT)
    assert (answer.status, "was over at" in detail(answer)) == (409, True)
    assert recorded.store.session_ends.since(0) == {}


@pytest.mark.parametrize("session", ["r1", "s4", "nope"])
def test_what_is_no_session_cannot_be_ended(recorded: Api, session: str) -> None:
    assert end(recorded, session, ROOT) == 404
    assert recorded.store.session_ends.since(0) == {}


@pytest.mark.parametrize("because", ["two\nlines", "\x1b[2J", "x" * 201])
def test_a_reason_is_one_line(recorded: Api, because: str) -> None:
    assert end(recorded, "s1", ROOT, because) in (400, 422)
    assert recorded.store.session_ends.since(0) == {}


@pytest.mark.parametrize("query", ["?since=yesterday", "?continue=x", "?who=" + "x" * 600])
def test_what_makes_no_sense_is_refused(recorded: Api, query: str) -> None:
    assert recorded.call("GET", f"/sessions{query}").status in (400, 422)
