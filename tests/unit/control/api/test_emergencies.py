"""Emergencies: a person for themselves, at once, few, never unseen; and what the people say who look at it after."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from tests.unit.control.api.calling import BREAK_GLASS, OFFERED, PEOPLE, ROOT, Api, detail, document
from tests.unit.control.api.questions import bearer_of, signed_in

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.emergency import BARRED_SECONDS, DAY_SECONDS, MOST_A_DAY
from narrowgate.core.identity import Kind
from narrowgate.core.policy_set import check_files
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.tasks import TaskState

WISH = {"cluster": "dev", "purpose": "the web is down", "for": "10m", "allow": ["patch deployments.apps/web -n ci"]}


class Town:
    """oskar is on call; ben and cora look at what he did, and so could he, were it not his own."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.oskar = bearer_of(api, signed_in(api, "oskar", "on-call", "leads"))
        self.people = {name: bearer_of(api, signed_in(api, name, "leads")) for name in ("ben", "cora")}

    def take(self, wish: Any = None, **headers: str) -> Any:
        return self.api.call("POST", "/emergencies", wish or WISH, who=self.oskar, headers=headers)

    def taken(self) -> dict[str, Any]:
        answer = self.take()
        assert answer.status == 201, answer.text
        return document(answer)

    def say(self, who: str, task: str, answer: str = "approve", body: object = None) -> Any:
        bearer = self.people.get(who, self.oskar)
        return self.api.call("POST", f"/approvals/{task}-review/{answer}", body, who=bearer)

    def task(self, task: str) -> Any:
        return self.api.store.tasks.get(task)


@pytest.fixture
def town(api: Api) -> Town:
    return Town(api)


def refused(answer: Any, status: int, sentence: str) -> None:
    assert (answer.status, sentence in detail(answer)) == (status, True), answer.text


def test_it_begins_at_once_for_whoever_takes_it_and_people_are_asked_afterwards(town: Town) -> None:
    made = town.taken()
    assert (made["state"], made["kind"], made["name"], made["emergency"]) == ("active", "Person", "oskar", True)
    assert made["credential"].startswith(f"ngt1_{made['id']}_")
    kept = town.task(made["id"])
    assert (kept.kind, kept.emergency, kept.sign_in) == (Kind.PERSON, True, "signin-oskar")
    # What the rule limits is limited here as everywhere.
    assert (kept.seconds, kept.max_requests) == (600.0, 100)
    (question,) = document(town.api.call("GET", "/approvals", who=town.people["ben"]))["items"]
    assert (question["id"], question["review"], question["mayAnswer"]) == (f"{made['id']}-review", True, True)
    assert (question["task"], question["purpose"]) == (made["id"], "the web is down")
    assert question["wanted"] == ["patch deployments.apps/web -n ci"]
    listed = document(town.api.call("GET", "/tasks", who=town.oskar))["items"]
    assert [(one["id"], one["emergency"]) for one in listed] == [(made["id"], True)]


def test_taking_it_is_marked_in_the_record_and_nothing_else_is(town: Town) -> None:
    town.taken()
    town.api.call("GET", "/tasks", who=town.oskar)
    marked = [
        (event["verb"], event["objectRef"]["resource"], event["stage"])
        for event in town.api.entries()
        if event.get("annotations", {}).get("narrowgate.dev/emergency") == "true"
    ]
    assert marked == [("create", "emergencies", stage) for stage in ("RequestReceived", "ResponseComplete")]


def test_it_can_be_asked_about_without_being_taken(town: Town) -> None:
    offer = document(town.api.call("POST", "/emergencies/check", WISH, who=town.oskar))
    assert offer == {
        "cluster": "dev",
        "lasts": "10m",
        "rules": ["break-glass/web"],
        "reviewers": [{"group": "leads", "count": 1}],
    }
    assert (town.api.store.tasks.active(), town.api.store.approvals.open()) == ((), ())


def test_no_agent_takes_one_nor_anybody_for_an_agent(town: Town) -> None:
    agent = town.api.agent("hers").text
    refused(town.api.call("POST", "/emergencies", WISH, who=agent), 403, "only a person does, for themselves")
    wanted = {"purpose": "the web is down", "allow": WISH["allow"]}
    # The very words that its emergency rule would give to a person named in it, asked for as a plain task.
    words = {**wanted, "allow": ["get deployments.apps -n ci"]}
    refused(town.api.call("POST", "/tasks", words, who=agent), 403, "no policy offers it")
    refused(town.api.call("POST", "/tasks", {**words, "agent": "hers"}, who=PEOPLE["owner"]), 403, "no policy offers")
    assert town.take({**WISH, "agent": "hers"}).status == 422
    assert town.api.store.tasks.active() == ()


def test_whoever_comes_without_a_running_sign_in_or_is_not_named_takes_none(town: Town) -> None:
    refused(town.api.call("POST", "/emergencies", WISH, who=ROOT), 403, "from a sign-in that runs")
    refused(town.api.call("POST", "/emergencies", WISH, who=town.people["ben"]), 403, "no emergency rule offers it")
    town.api.store.sign_ins.end("signin-oskar", "signed out", by="person:oskar", at=time.time())
    assert town.take().status in (401, 403)


def test_the_groups_are_those_of_the_newest_sign_in_and_not_of_the_credential_at_hand(town: Town) -> None:
    signed_in(town.api, "oskar", "leads", number=1)
    refused(town.take(), 403, "no emergency rule offers it")


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"purpose": "db down"}, 422, "at least 10 characters"),
        ({"cluster": "moon"}, 422, 'there is no "moon"'),
        ({"cluster": "prod"}, 403, "no emergency rule offers it"),
        ({"for": "31m"}, 403, "granted for 30m at most"),
        ({"for": "soon"}, 422, "for:"),
        ({"allow": ["get secrets -n ci"]}, 403, "no emergency rule offers it"),
        ({"allow": ["get pods"]}, 422, "allow:"),
        ({"link": "http://x"}, 422, "link:"),
    ],
)
def test_what_is_not_offered_or_not_said_does_not_begin(town: Town, change: Any, status: int, says: str) -> None:
    refused(town.take({**WISH, **change}), status, says)
    assert (town.api.store.tasks.active(), town.api.store.approvals.open()) == ((), ())


def test_a_person_takes_no_more_than_three_within_a_day(town: Town) -> None:
    for _ in range(MOST_A_DAY):
        town.taken()
    refused(town.take(), 403, "3 is the most")
    # Ended ones count as well; those of the day before do not.
    for task in town.api.store.tasks.active():
        ended = msgspec.structs.replace(task, state=TaskState.COMPLETED, ended_at=time.time())
        town.api.store.tasks.change(ended, was=task, by="person:oskar", at=time.time())
    refused(town.take(), 403, "3 is the most")
    first = town.api.store.tasks.listed({"oskar"})[0]
    aged = msgspec.structs.replace(first, requested_at=time.time() - DAY_SECONDS - 1)
    town.api.store.tasks.change(aged, was=first, by="local:test", at=time.time())
    town.taken()


def test_a_key_sent_twice_takes_one_and_shows_its_credential_once(town: Town) -> None:
    first, again = (document(town.take(**{"Idempotency-Key": "k1"})) for _ in range(2))
    assert ("credential" in first, "credential" in again) == (True, False)
    assert first["id"] == again["id"]
    assert len(town.api.store.tasks.active()) == 1


def test_a_yes_says_that_it_was_in_order_and_the_access_goes_on_to_its_own_end(town: Town) -> None:
    made = town.taken()
    said = town.say("ben", made["id"], body={"comment": "it was down"})
    assert (said.status, document(said)["state"]) == (200, "approved")
    assert town.task(made["id"]).state is TaskState.ACTIVE
    # Nothing can be made of that yes.
    refused(town.api.call("POST", f"/tasks/{made['id']}-review/collect", who=town.oskar), 404, "no task")
    refused(town.api.call("POST", f"/tasks/{made['id']}/collect", who=town.oskar), 404, "no task")
    refused(town.say("cora", made["id"], "deny", {"reason": "late"}), 409, "is approved")


def test_a_no_ends_it_at_once_and_there_is_no_other_one_for_a_while(town: Town) -> None:
    made = town.taken()
    said = town.say("cora", made["id"], "deny", {"reason": "nothing was down"})
    assert (said.status, document(said)["state"]) == (200, "denied")
    ended = town.task(made["id"])
    assert (ended.state, ended.ended_because) == (TaskState.REVOKED, "found not in order: nothing was down")
    refused(town.take(), 403, "found not in order")
    question = town.api.store.approvals.get(f"{made['id']}-review")
    older = msgspec.structs.replace(question, ended_at=time.time() - BARRED_SECONDS - 1)
    town.api.store.approvals.change(older, was=question, by="local:test", at=time.time())
    town.taken()


def test_whoever_took_it_neither_answers_nor_takes_back_its_review(town: Town) -> None:
    made = town.taken()
    refused(town.say("oskar", made["id"]), 403, "nobody answers what was asked by or for themselves")
    refused(town.say("oskar", made["id"], "deny", {"reason": "x"}), 403, "by or for themselves")
    for who in (town.oskar, ROOT):
        refused(town.api.call("POST", f"/approvals/{made['id']}-review/withdraw", who=who), 409, "nobody takes it back")
    assert town.api.store.approvals.get(f"{made['id']}-review").state is ApprovalState.PENDING


def test_its_credential_looks_at_the_task_and_completes_it_and_does_nothing_else(town: Town) -> None:
    made = town.taken()
    own = made["credential"]
    assert document(town.api.call("GET", f"/tasks/{made['id']}", who=own))["emergency"] is True
    for method, path, body in (
        ("POST", "/emergencies", WISH),
        ("POST", f"/approvals/{made['id']}-review/approve", {}),
        ("POST", "/tasks", {"agent": "hers", "purpose": "more", "allow": WISH["allow"]}),
    ):
        assert town.api.call(method, path, body, who=own).status == 403
    assert town.api.call("GET", f"/approvals/{made['id']}-review", who=own).status == 404
    assert document(town.api.call("POST", f"/tasks/{made['id']}/complete", who=own))["state"] == "completed"
    # Over, it is reviewed all the same.
    assert town.say("ben", made["id"]).status == 200


def test_its_credential_ends_with_the_sign_in_that_it_was_taken_with(town: Town) -> None:
    made = town.taken()
    town.api.store.sign_ins.end("signin-oskar", "ended by person:root", by="person:root", at=time.time())
    signed_in(town.api, "oskar", "on-call", number=1)
    refused(town.api.call("GET", f"/tasks/{made['id']}", who=made["credential"]), 401, "took this emergency with")


def test_a_plain_rule_gives_no_emergency_and_an_emergency_rule_no_task(town: Town) -> None:
    plain = BREAK_GLASS.replace(",\n       emergency: {review: {from: [{group: leads, count: 1}], within: 24h}}}", "}")
    assert plain != BREAK_GLASS
    files = [("offered.yaml", OFFERED), ("emergency.yaml", plain)]
    town.api.put_in_force(compile_policies(check_files(files).policies, 2))
    refused(town.take(), 403, "no emergency rule offers it")


def test_however_many_are_taken_at_once_no_more_than_three_begin_and_each_has_its_review(town: Town) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda _: town.take().status, range(8)))
    assert statuses == [201] * MOST_A_DAY + [403] * (8 - MOST_A_DAY)
    active = town.api.store.tasks.active()
    assert {f"{task.id}-review" for task in active} == {one.id for one in town.api.store.approvals.open()}
    assert len(active) == MOST_A_DAY
