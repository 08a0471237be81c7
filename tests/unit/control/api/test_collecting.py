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
from narrowgate.control.api.collect_pace import INTERVAL_SECONDS
from narrowgate.core.approvals import ApprovalState
from narrowgate.core.moment import moment_text
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
        assert asked.collect(who).status in (404, 409, 429)
    asked.say("ben")
    assert asked.api.call("POST", f"/approvals/{asked.id}/approve", who=owner).status == 403
    assert asked.collect().status in (409, 429)
    assert asked.state is TaskState.REQUESTED


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


ONE = OFFERED.replace("{group: sre, count: 2}", "{group: sre, count: 1}")


class Alone(Asked):
    """A team's agent whose secrets one of the team says yes to, and greta of the team, who has a terminal."""

    def __init__(self, api: Api, text: str = ONE) -> None:
        self.api = api
        api.put_in_force(compile_policies(check_files([("offered.yaml", text)]).policies, 2))
        self.agent = api.agent("hers", owner="group:sre").text
        self.people = {name: bearer_of(api, signed_in(api, name, "sre")) for name in ("greta", "ben")}

    def ask(self, who: str = "") -> Any:
        return self.api.call("POST", "/tasks", {"agent": "hers", **WISH}, who=who or self.agent)

    def rotated(self, who: str, **body: str) -> str:
        """The agent's new credential, which that person is shown."""
        answer = self.api.call("POST", "/agents/hers/rotate", body, who=self.people[who])
        return str(document(answer)["credential"])

    def approve(self, who: str) -> Any:
        return self.api.call("POST", f"/approvals/{self.id}/approve", who=self.people[who])


@pytest.fixture
def alone(api: Api) -> Alone:
    return Alone(api)


def test_whoever_rotated_its_credential_does_not_say_yes_to_what_it_asks(alone: Alone) -> None:
    credential = alone.rotated("greta")
    alone.id = document(alone.ask(credential))["id"]
    refused(alone.approve("greta"), 403, "credential they were shown")
    assert document(alone.approve("ben"))["state"] == "approved"
    assert alone.collect(credential).status == 200


def test_whoever_rotates_it_after_saying_yes_has_not_said_yes(alone: Alone) -> None:
    alone.id = document(alone.ask())["id"]
    assert document(alone.approve("greta"))["state"] == "approved"
    refused(alone.collect(alone.rotated("greta")), 409, "shown a credential of the agent since")
    assert alone.state is TaskState.REQUESTED


def test_while_the_old_one_is_good_both_who_were_shown_one_are_kept_out(alone: Alone) -> None:
    first = alone.rotated("greta")
    alone.rotated("ben", keepOldFor="10m")
    alone.id = document(alone.ask(first))["id"]
    for who in ("greta", "ben"):
        refused(alone.approve(who), 403, "credential they were shown")


def test_whoever_asked_for_it_and_collects_it_does_not_say_yes(alone: Alone) -> None:
    alone.id = document(alone.ask(alone.people["greta"]))["id"]
    refused(alone.approve("greta"), 403, "by or for themselves")
    assert document(alone.approve("ben"))["state"] == "approved"
    assert alone.collect(alone.people["greta"]).status == 200
    # The task's credential is hers, whatever becomes of the agent's.
    alone.rotated("ben")
    assert alone.api.store.tasks.get(alone.id).handed_to == ("person:greta",)


def test_whoever_had_its_credential_could_take_the_tasks_too(alone: Alone) -> None:
    credential = alone.rotated("greta")
    alone.id = document(alone.ask(credential))["id"]
    alone.approve("ben")
    assert alone.collect(credential).status == 200
    assert alone.api.store.tasks.get(alone.id).handed_to == ("agent:hers", "person:greta")


def test_a_task_that_needs_nobody_is_kept_with_who_could_take_its_credential(alone: Alone) -> None:
    credential = alone.rotated("greta")
    wish = {"purpose": "look", "allow": ["get pods -n ci"]}
    made = document(alone.api.call("POST", "/tasks", wish, who=credential))
    assert made["state"] == "active"
    assert alone.api.store.tasks.get(made["id"]).handed_to == ("agent:hers", "person:greta")


def test_a_yes_in_the_place_of_somebody_is_looked_at_again_when_it_is_collected(alone: Alone) -> None:
    dan = bearer_of(alone.api, signed_in(alone.api, "dan", "developers"))
    body = {"to": "dan", "until": moment_text(time.time() + 600)}
    made = document(alone.api.call("POST", "/delegations", body, who=alone.people["greta"]))
    alone.id = document(alone.ask())["id"]
    alone.people["dan"] = dan
    assert document(alone.approve("dan"))["state"] == "approved"
    alone.api.call("POST", f"/delegations/{made['id']}/end", who=alone.people["greta"])
    refused(alone.collect(), 409, "not in the group")
    assert alone.state is TaskState.REQUESTED


def test_what_nobody_could_answer_is_not_asked(api: Api) -> None:
    kept_out = Alone(api, ONE.replace("within: 10m}", "within: 10m, notByOwner: true}"))
    refused(kept_out.ask(), 403, "nobody can answer: sre is asked, which answers for the agent")
    dry = api.call("POST", "/tasks/check", {"agent": "hers", **WISH}, who=kept_out.agent)
    refused(dry, 403, "nobody can answer: sre is asked, which answers for the agent")
    assert api.store.tasks.listed() == ()
    assert api.store.approvals.listed() == ()


def test_members_of_the_owning_group_do_not_answer_where_the_rule_says_so(api: Api) -> None:
    text = ONE.replace("{group: sre, count: 1}", "{group: security, count: 1}")
    kept_out = Alone(api, text.replace("within: 10m}", "within: 10m, notByOwner: true}"))
    both, other = (signed_in(api, "both", "sre", "security"), signed_in(api, "sue", "security"))
    kept_out.people |= {one.person: bearer_of(api, one) for one in (both, other)}
    kept_out.id = document(kept_out.ask())["id"]
    refused(kept_out.approve("both"), 403, "kept out by the rule (notByOwner)")
    assert document(kept_out.approve("sue"))["state"] == "approved"
    # The group that sue is in answers for the agent by the time it is collected.
    agent = api.store.agent("hers")
    api.store.change_agent(msgspec.structs.replace(agent, owner="group:security"), by="person:root", at=time.time())
    refused(kept_out.collect(), 409, "not in the group")


def test_who_asks_is_told_how_often_to_ask_and_until_when(asked: Asked) -> None:
    assert asked.made["interval"] == INTERVAL_SECONDS
    assert 500 < asked.made["expires_in"] <= 600
    answer = asked.collect()
    assert document(answer)["type"].endswith(":authorization-pending")
    assert (answer.status, answer.header("retry-after")) == (409, str(INTERVAL_SECONDS))


def test_who_asks_again_at_once_is_told_to_slow_down_until_people_have_answered(asked: Asked) -> None:
    asked.collect()
    answer = asked.collect()
    assert document(answer)["type"].endswith(":slow-down")
    assert (answer.status, answer.header("retry-after")) == (429, str(INTERVAL_SECONDS))
    asked.say("ben")
    asked.say("cora")
    # What has been answered is not waited for.
    assert asked.collect().status == 200
