"""Collecting a task: at that moment people must have said yes, and must still be those who may."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from tests.unit.control.api.calling import OFFERED, PEOPLE, ROOT, Api, detail, document
from tests.unit.control.api.questions import bearer_of, signed_in

from narrowgate.authenticators.task_credential import task_credential_problem
from narrowgate.core.approvals import ApprovalState
from narrowgate.core.policy_set import check_files
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.tasks import TaskState

OLGA = PEOPLE["owner"]
WISH = {"purpose": "rotate the key", "for": "5m", "allow": ["get secrets -n ci"]}


class Asked:
    """A task that hers has asked for, and the people of sre."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.agent = api.agent("hers").text
        self.people = {name: bearer_of(api, signed_in(api, name, "sre")) for name in ("ben", "cora")}
        self.made = document(api.call("POST", "/tasks", WISH, who=self.agent))
        self.id: str = self.made["id"]

    def say(self, who: str, answer: str = "approve", body: object = None) -> str:
        said = self.api.call("POST", f"/approvals/{self.id}/{answer}", body, who=self.people[who])
        assert said.status == 200, said.text
        return str(document(said)["state"])

    def collect(self, who: Any = None, **headers: str) -> Any:
        return self.api.call("POST", f"/tasks/{self.id}/collect", who=who or self.agent, headers=headers)

    @property
    def state(self) -> TaskState:
        return self.api.store.tasks.get(self.id).state


@pytest.fixture
def asked(api: Api) -> Asked:
    return Asked(api)


@pytest.fixture
def approved(asked: Asked) -> Asked:
    asked.say("ben")
    assert asked.say("cora") == "approved"
    return asked


def refused(answer: Any, status: int, sentence: str) -> None:
    assert (answer.status, sentence in detail(answer)) == (status, True), answer.text


def test_what_needs_people_waits_without_a_credential_and_covers_nothing(asked: Asked) -> None:
    assert (asked.made["state"], "credential" in asked.made) == ("requested", False)
    assert asked.api.store.tasks.active() == ()
    question = document(asked.api.call("GET", f"/approvals/{asked.id}", who=asked.agent))
    assert (question["state"], question["task"], question["wanted"]) == ("pending", asked.id, ["get secrets -n ci"])
    assert (question["askedBy"], question["owner"], question["excluded"]) == ("agent:hers", "person:olga", ["olga"])
    refused(asked.collect(), 409, "still waits for people")


def test_two_people_say_yes_and_the_agent_collects_the_credential_once(approved: Asked) -> None:
    answer = approved.collect()
    made = document(answer)
    assert (answer.status, made["state"], made["id"]) == (200, "active", approved.id)
    assert made["credential"].startswith(f"ngt1_{approved.id}_")
    assert task_credential_problem(made["credential"]) == ""
    shown = document(approved.api.call("GET", f"/tasks/{approved.id}", who=made["credential"]))
    assert shown["state"] == "active"
    # What they said yes to is kept with the task: a rule that asks for more by now grants nothing by it.
    kept = approved.api.store.tasks.get(approved.id)
    assert kept.approved == approved.api.store.approvals.get(approved.id).asks != ()
    refused(approved.collect(), 409, "is active")
    assert approved.api.store.approvals.get(approved.id).state is ApprovalState.SPENT


def test_one_of_two_is_not_enough_and_one_no_is(asked: Asked) -> None:
    assert asked.say("ben") == "pending"
    refused(asked.collect(), 409, "still waits")
    assert asked.say("cora", "deny", {"reason": "ask for less"}) == "denied"
    refused(asked.collect(), 409, "is denied")
    assert asked.api.store.tasks.get(asked.id).ended_because == "ask for less"


def test_the_agent_and_its_owner_alone_never_activate_it(asked: Asked) -> None:
    owner = bearer_of(asked.api, signed_in(asked.api, "olga", "sre"))
    for who in (asked.agent, owner):
        for answer, body in (("approve", {}), ("deny", {"reason": "x"})):
            assert asked.api.call("POST", f"/approvals/{asked.id}/{answer}", body, who=who).status == 403
        assert asked.collect(who).status in (404, 409)
    asked.say("ben")
    assert asked.api.call("POST", f"/approvals/{asked.id}/approve", who=owner).status == 403
    assert (asked.collect().status, asked.state) == (409, TaskState.REQUESTED)


def test_whoever_said_yes_and_left_before_it_is_collected_has_not_approved(approved: Asked) -> None:
    approved.api.store.sign_ins.end("signin-ben", "left", by="person:root", at=time.time())
    refused(approved.collect(), 409, "signed in no more, or not in the group")
    signed_in(approved.api, "ben", "developers", number=3)
    refused(approved.collect(), 409, "signed in no more, or not in the group")
    assert approved.state is TaskState.REQUESTED
    signed_in(approved.api, "ben", "sre", number=5)
    assert approved.collect().status == 200


def test_nobody_collects_what_another_asked_for(approved: Asked) -> None:
    other = approved.api.agent("theirs").text
    for who in (other, *approved.people.values(), OLGA, ROOT, PEOPLE["auditor"], PEOPLE["member"]):
        refused(approved.collect(who), 404, "that you may collect")
    assert approved.state is TaskState.REQUESTED


def test_a_person_who_asked_for_an_agent_collects_while_they_answer_for_it(api: Api) -> None:
    asked = Asked(api)
    asked.id = document(api.call("POST", "/tasks", {"agent": "hers", **WISH}, who=OLGA))["id"]
    asked.say("ben")
    asked.say("cora")
    agent = api.store.agent("hers")
    api.store.change_agent(msgspec.structs.replace(agent, owner="person:mia"), by="person:root", at=time.time())
    refused(asked.collect(OLGA), 404, "that you may collect")
    api.store.change_agent(agent, by="person:root", at=time.time())
    assert document(asked.collect(OLGA))["state"] == "active"


def test_a_namesake_of_a_removed_agent_collects_nothing(approved: Asked) -> None:
    approved.api.store.remove_agent("hers", by="person:root", at=time.time())
    refused(approved.collect(ROOT), 404, "that you may collect")
    namesake = approved.api.agent("hers", created_at=time.time() + 1).text
    refused(approved.collect(namesake), 404, "that you may collect")


def test_a_replay_shows_no_credential(approved: Asked) -> None:
    key = {"Idempotency-Key": "5f0c8e4e-2a6c-4a6f-9d51-9b8a0a4a2a11"}
    first = document(approved.collect(**key))
    again = document(approved.collect(**key))
    assert again == {name: value for name, value in first.items() if name != "credential"}


def test_of_two_who_collect_at_one_time_one_gets_it(approved: Asked) -> None:
    async def both() -> list[int]:
        path = f"/tasks/{approved.id}/collect"
        calls = [approved.api.called("POST", path, who=approved.agent) for _ in range(4)]
        return sorted(answer.status for answer in await asyncio.gather(*calls))

    assert asyncio.run(both()) == [200, 409, 409, 409]
    assert len(approved.api.store.tasks.active()) == 1


def test_a_paused_or_moved_agent_collects_nothing(approved: Asked) -> None:
    store, now = approved.api.store, time.time()
    agent = store.agent("hers")
    store.change_agent(msgspec.structs.replace(agent, cluster="prod"), by="person:root", at=now)
    refused(approved.collect(), 409, 'does not work on "dev" any more')
    store.change_agent(msgspec.structs.replace(agent, ends_at=now - 1), by="person:root", at=now)
    assert approved.collect().status == 401
    assert approved.state is TaskState.REQUESTED


def test_what_the_policies_offer_no_more_or_to_others_is_not_collected(approved: Asked) -> None:
    def in_force(text: str) -> None:
        approved.api.put_in_force(compile_policies(check_files([("offered.yaml", text)]).policies, 2))

    in_force(OFFERED.replace("{group: sre, count: 2}", "{group: sre, count: 3}"))
    refused(approved.collect(), 409, "ask other people for this by now")
    in_force(OFFERED.replace("resources: [secrets]", "resources: [configmaps]"))
    refused(approved.collect(), 403, "no policy offers it")
    in_force(OFFERED.replace("approval: {from: [{group: sre, count: 2}], within: 10m}", "approval: none"))
    assert approved.collect().status == 200


def test_what_was_withdrawn_is_not_collected(approved: Asked) -> None:
    assert approved.api.call("POST", f"/approvals/{approved.id}/withdraw", who=OLGA).status == 200
    refused(approved.collect(), 409, "is lapsed")
    assert approved.api.store.tasks.get(approved.id).ended_because == "withdrawn by person:olga"


def test_a_task_of_its_own_credential_gets_nothing_more(approved: Asked) -> None:
    credential = document(approved.collect())["credential"]
    for method, target in (
        ("POST", f"/tasks/{approved.id}/collect"),
        ("POST", f"/approvals/{approved.id}/approve"),
        ("POST", f"/approvals/{approved.id}/withdraw"),
        ("GET", "/approvals"),
    ):
        assert approved.api.call(method, target, who=credential).status == 403
    # What another credential asked is not for this one to see.
    refused(approved.api.call("GET", f"/approvals/{approved.id}", who=credential), 404, "there is no approval")
