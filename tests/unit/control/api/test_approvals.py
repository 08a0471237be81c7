"""Calls about approvals: people in the groups that are asked answer, each once, and nobody for themselves."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document, person
from tests.unit.control.api.questions import asked, bearer_of, signed_in
from tests.unit.control.browsing import Answer

from narrowgate.core.approvals import ApprovalState, Matter
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.store.port import NotThere

ADA, BEN, CLEO, OLGA = (person(name) for name in ("ada", "ben", "cleo", "olga"))


def ids(api: Api, who: Identity | str, query: str = "") -> list[str]:
    return [item["id"] for item in document(send(api, "GET", f"/approvals{query}", who=who))["items"]]


def proof(api: Api, who: Identity | str) -> Identity | str:
    """An access credential of the sign-in that an identity names, where that is theirs; else what was given."""
    if isinstance(who, str):
        return who
    try:
        sign_in = api.store.sign_ins.get(who.credential)
    except NotThere:
        return who
    return bearer_of(api, sign_in) if sign_in.person == who.name else who


def send(api: Api, method: str, target: str, body: object = None, **more: Any) -> Answer:
    more["who"] = proof(api, more["who"])
    return api.call(method, target, body, **more)


async def sent(api: Api, method: str, target: str, body: object = None, *, who: Identity) -> Answer:
    return await api.called(method, target, body, who=proof(api, who))


def bot(api: Api) -> str:
    """Bot's own credential."""
    return api.agent("bot").text


@pytest.fixture
def team(api: Api) -> Api:
    for name in ("ada", "ben", "olga"):
        signed_in(api, name, "sre")
    signed_in(api, "cleo", "developers")
    return api


def test_two_people_of_the_group_say_yes_and_then_it_is_approved(team: Api) -> None:
    asked(team)
    first = document(send(team, "POST", "/approvals/q1/approve", {"comment": "fine"}, who=ADA))
    assert (first["state"], first["mayAnswer"]) == ("pending", True)
    second = document(send(team, "POST", "/approvals/q1/approve", who=BEN))
    assert (second["state"], second["mayAnswer"]) == ("approved", False)
    assert [(one["person"], one["answer"], one["comment"]) for one in second["answers"]] == [
        ("ada", "yes", "fine"),
        ("ben", "yes", ""),
    ]
    assert team.store.approvals.get("q1").state is ApprovalState.APPROVED


def test_one_person_twice_is_one_person_by_whichever_sign_in(team: Api) -> None:
    asked(team)
    signed_in(team, "ada", "sre", number=7)
    other = msgspec.structs.replace(ADA, credential="signin-ada-7")
    for who in (ADA, ADA, other):
        assert document(send(team, "POST", "/approvals/q1/approve", who=who))["state"] == "pending"
    assert len(team.store.approvals.get("q1").said) == 1


def test_one_no_denies_with_its_reason_whoever_said_yes(team: Api) -> None:
    asked(team)
    send(team, "POST", "/approvals/q1/approve", who=ADA)
    denied = document(send(team, "POST", "/approvals/q1/deny", {"reason": "not today"}, who=BEN))
    assert (denied["state"], denied["endedBecause"]) == ("denied", "not today")
    late = send(team, "POST", "/approvals/q1/approve", who=ADA)
    assert (late.status, detail(late)) == (409, "approval q1 is denied: it cannot be answered any more")


def test_a_no_takes_a_reason_in_one_line(team: Api) -> None:
    asked(team)
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "a\nb"}, {"reason": "x" * 501}, {"comment": "x"}):
        assert send(team, "POST", "/approvals/q1/deny", body, who=ADA).status == 422, body
    assert send(team, "POST", "/approvals/q1/approve", {"comment": "\x1b[2J"}, who=ADA).status == 422
    assert team.store.approvals.get("q1").said == ()


def test_neither_the_owner_nor_whom_it_is_for_answers_although_they_are_in_the_group(team: Api) -> None:
    asked(team)
    signed_in(team, "zoe", "sre")
    for who in (OLGA, person("zoe")):
        for answer, body in (("approve", {}), ("deny", {"reason": "x"})):
            refused = send(team, "POST", f"/approvals/q1/{answer}", body, who=who)
            assert (refused.status, "by or for themselves" in detail(refused)) == (403, True)
    assert team.store.approvals.get("q1").said == ()


def test_no_role_answers_what_the_group_is_asked(team: Api) -> None:
    asked(team, ("security", 1))
    signed_in(team, "root", "admins")
    for who in (ROOT, PEOPLE["auditor"], PEOPLE["approver"]):
        refused = send(team, "POST", "/approvals/q1/approve", who=who)
        assert (refused.status, "in none of the groups" in detail(refused)) == (403, True)


def test_somebody_else_is_told_that_there_is_none(team: Api) -> None:
    asked(team)
    for method, way in (("GET", ""), ("POST", "/approve"), ("POST", "/withdraw")):
        answer = send(team, method, f"/approvals/q1{way}", who=CLEO)
        assert answer.status == 404
        assert detail(answer) == detail(send(team, method, f"/approvals/nope{way}", who=CLEO)).replace("nope", "q1")


def test_an_agent_never_answers_whatever_it_is_called_and_in_whatever_group(team: Api) -> None:
    asked(team)
    own = send(team, "POST", "/approvals/q1/approve", who=bot(team))
    assert (own.status, "only people answer" in detail(own)) == (403, True)
    named = team.agent("ada", groups=("sre",)).text
    assert send(team, "POST", "/approvals/q1/approve", who=named).status == 404
    assert team.store.approvals.get("q1").said == ()


def test_groups_are_those_of_the_newest_sign_in_not_those_that_a_credential_names(team: Api) -> None:
    asked(team)
    signed_in(team, "ada", "developers", number=9)
    before = msgspec.structs.replace(ADA, groups=("sre",))
    assert send(team, "POST", "/approvals/q1/approve", who=before).status in (403, 404)
    assert team.store.approvals.get("q1").said == ()


def test_whoever_left_the_group_in_between_does_not_count_any_more(team: Api) -> None:
    asked(team)
    send(team, "POST", "/approvals/q1/approve", who=ADA)
    team.store.sign_ins.end("signin-ada", "left", by="person:root", at=time.time())
    assert document(send(team, "POST", "/approvals/q1/approve", who=BEN))["state"] == "pending"
    signed_in(team, "dan", "sre")
    assert document(send(team, "POST", "/approvals/q1/approve", who=person("dan")))["state"] == "approved"


def test_an_answer_takes_a_sign_in_that_runs_not_a_token_alone(team: Api) -> None:
    asked(team)
    signed_in(team, "dan", "sre")
    token = msgspec.structs.replace(person("dan"), credential="jti-of-a-token")
    others = msgspec.structs.replace(person("dan"), credential="signin-ada")
    for who in (token, others):
        refused = send(team, "POST", "/approvals/q1/approve", who=who)
        assert (refused.status, "from a sign-in that runs" in detail(refused)) == (403, True)
    assert send(team, "POST", "/approvals/q1/approve", who=person("dan")).status == 200


def test_the_console_answers_as_the_command_line_does(team: Api) -> None:
    asked(team, ("sre", 1))
    gina = person("gina", "sre")
    assert team.by_cookie(gina, "POST", "/approvals/q1/approve", sec_fetch_site="cross-site").status == 403
    assert document(team.by_cookie(gina, "POST", "/approvals/q1/approve"))["state"] == "approved"


def test_what_has_lapsed_is_not_answered_and_is_kept_as_lapsed(team: Api) -> None:
    now = time.time()
    asked(team, asked_at=now - 700, lapses_at=now - 1)
    assert document(send(team, "GET", "/approvals/q1", who=ADA))["state"] == "lapsed"
    for who in (ADA, BEN):
        refused = send(team, "POST", "/approvals/q1/approve", who=who)
        assert refused.status == 409
    assert team.store.approvals.get("q1").state is ApprovalState.LAPSED


def test_of_answers_at_one_time_none_is_lost(team: Api) -> None:
    names = [f"p{number}" for number in range(5)]
    for name in names:
        signed_in(team, name, "sre")
    asked(team, ("sre", 5))

    async def all_at_once() -> list[int]:
        calls = (sent(team, "POST", "/approvals/q1/approve", who=person(name)) for name in names)
        return [answer.status for answer in await asyncio.gather(*calls)]

    assert asyncio.run(all_at_once()) == [200] * 5
    question = team.store.approvals.get("q1")
    assert (question.state, sorted(said.person for said in question.said)) == (ApprovalState.APPROVED, names)


def test_yes_and_no_at_one_time_come_to_one_end(team: Api) -> None:
    asked(team, ("sre", 1))

    async def both() -> list[int]:
        yes = sent(team, "POST", "/approvals/q1/approve", who=ADA)
        no = sent(team, "POST", "/approvals/q1/deny", {"reason": "no"}, who=BEN)
        return sorted(answer.status for answer in await asyncio.gather(yes, no))

    assert asyncio.run(both()) == [200, 409]
    assert len(team.store.approvals.get("q1").said) == 1


def test_an_idempotency_key_answers_twice_and_counts_once(team: Api) -> None:
    asked(team)
    key = {"Idempotency-Key": "4b1f0c1e-9f3e-4d55-8a53-0f1b6d4a6d11"}
    first = send(team, "POST", "/approvals/q1/approve", who=ADA, headers=key)
    again = send(team, "POST", "/approvals/q1/approve", who=ADA, headers=key)
    assert document(first) == document(again)
    assert again.header("idempotency-replayed") == "true"


def test_the_list_has_what_waits_for_one_and_what_is_ones_own(team: Api) -> None:
    asked(team)
    asked(team, ("security", 1), id="q2", digest="e" * 64)
    asked(team, id="q3", digest="f" * 64, about=Matter(asked_by="agent:other", chain=("agent:other",)))
    assert sorted(ids(team, ADA)) == ["q1", "q2", "q3"]  # bound to the role approver
    assert sorted(ids(team, BEN)) == ["q1", "q3"]
    assert sorted(ids(team, OLGA)) == ["q1", "q2", "q3"]
    assert sorted(ids(team, bot(team))) == ["q1", "q2"]
    assert ids(team, CLEO) == []
    for everybody in ("admin", "auditor", "approver"):
        assert sorted(ids(team, PEOPLE[everybody])) == ["q1", "q2", "q3"]


def test_what_is_over_is_listed_only_where_that_is_asked(team: Api) -> None:
    now = time.time()
    asked(team, ("sre", 1))
    asked(team, id="q2", digest="e" * 64, asked_at=now - 700, lapses_at=now - 1)
    send(team, "POST", "/approvals/q1/approve", who=BEN)
    assert ids(team, BEN) == []
    assert {item["state"] for item in document(send(team, "GET", "/approvals?all=true", who=BEN))["items"]} == {
        "approved",
        "lapsed",
    }


def test_pages_show_every_question_once_even_among_many_that_one_may_not_see(team: Api) -> None:
    now = time.time()
    for number in range(7):
        group = "sre" if number % 2 else "security"
        asked(team, (group, 1), id=f"q{number}", digest=str(number), about=Matter(), asked_at=now - number)
    seen, token = [], ""
    while True:
        page = document(send(team, "GET", f"/approvals?limit=2&continue={token}", who=BEN))
        seen += [item["id"] for item in page["items"]]
        if not (token := page["metadata"]["continue"]):
            break
    assert seen == ["q1", "q3", "q5"]


def test_it_is_withdrawn_by_whoever_asked_or_owns_or_administers_and_by_nobody_else(team: Api) -> None:
    signed_in(team, "zoe")
    names = ("agent:bot", "person:olga", "person:zoe", "person:root")
    for number, (name, who) in enumerate(zip(names, (bot(team), OLGA, person("zoe"), ROOT), strict=True)):
        question = asked(team, id=f"q{number}", digest=str(number))
        refused = send(team, "POST", f"/approvals/{question.id}/withdraw", who=BEN)
        assert (refused.status, "may only answer it" in detail(refused)) == (403, True)
        taken = document(send(team, "POST", f"/approvals/{question.id}/withdraw", who=who))
        assert (taken["state"], taken["endedBecause"]) == ("withdrawn", f"withdrawn by {name}")
        assert send(team, "POST", f"/approvals/{question.id}/approve", who=ADA).status == 409


def test_an_approval_that_is_not_used_yet_can_be_withdrawn_and_a_spent_one_cannot(team: Api) -> None:
    question = asked(team, ("sre", 1))
    send(team, "POST", "/approvals/q1/approve", who=ADA)
    assert document(send(team, "POST", "/approvals/q1/withdraw", who=OLGA))["state"] == "withdrawn"
    spent = msgspec.structs.replace(question, id="q2", state=ApprovalState.SPENT, digest="e")
    team.store.approvals.add(spent, by="agent:bot", at=time.time())
    assert send(team, "POST", "/approvals/q2/withdraw", who=OLGA).status == 409


def waiting_task(api: Api) -> Task:
    now = time.time()
    task = Task(
        id="t1",
        kind=Kind.AGENT,
        name="bot",
        requested_by="agent:bot",
        cluster="dev",
        purpose="look",
        rules=(read_wanted("get pods -n ci", 1),),
        seconds=60.0,
        requested_at=now,
        lapses_at=now + 600,
    )
    api.store.tasks.add(task, by="agent:bot", at=now)
    asked(api, ("sre", 1), id="t1", task="t1", digest="", credential="")
    return task


def test_a_task_that_is_denied_or_withdrawn_ends_with_the_reason(team: Api) -> None:
    waiting_task(team)
    send(team, "POST", "/approvals/t1/deny", {"reason": "ask for less"}, who=ADA)
    task = team.store.tasks.get("t1")
    assert (task.state, task.ended_because) == (TaskState.DENIED, "ask for less")


def test_a_task_whose_question_is_withdrawn_lapses(team: Api) -> None:
    waiting_task(team)
    send(team, "POST", "/approvals/t1/withdraw", who=bot(team))
    task = team.store.tasks.get("t1")
    assert (task.state, task.ended_because) == (TaskState.LAPSED, "withdrawn by agent:bot")


def test_an_approved_task_holds_nothing_before_it_is_collected(team: Api) -> None:
    waiting_task(team)
    assert document(send(team, "POST", "/approvals/t1/approve", who=ADA))["state"] == "approved"
    task = team.store.tasks.get("t1")
    assert (task.state, task.credential_hash, task.grant()) == (TaskState.REQUESTED, b"", None)


def test_everything_that_an_approver_needs_is_in_the_document(team: Api) -> None:
    asked(team)
    found = document(send(team, "GET", "/approvals/q1", who=ADA))
    told = {
        "askedBy": "agent:bot",
        "chain": ["person:zoe", "agent:bot"],
        "owner": "person:olga",
        "cluster": "dev",
        "verb": "delete",
        "resource": "secrets",
        "namespace": "ci",
        "name": "deploy-key",
        "rules": ["ci/secrets-on-request"],
        "asks": [{"from": [{"group": "sre", "count": 2}], "within": "10m", "notByOwner": False}],
        "excluded": ["olga", "zoe"],
        "mayAnswer": True,
    }
    assert {name: found[name] for name in told} == told


def test_an_answer_is_in_the_record_before_it_counts(team: Api) -> None:
    asked(team)
    send(team, "POST", "/approvals/q1/deny", {"reason": "no"}, who=ADA)
    stages = [
        (entry["stage"], entry["verb"], entry["objectRef"]["resource"], entry["objectRef"]["name"])
        for entry in team.entries()
        if entry["verb"] == "deny"
    ]
    assert stages == [
        ("RequestReceived", "deny", "approvals", "q1"),
        ("ResponseComplete", "deny", "approvals", "q1"),
    ]
