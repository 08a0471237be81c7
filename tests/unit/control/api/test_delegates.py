"""Delegating by the API: a part of one's own task, no longer than it, and nothing that is anybody else's."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.unit.control.api.calling import PEOPLE, Api, detail, document

from narrowgate.core.moment import moment_of, moment_text
from narrowgate.core.tasks import TaskEvent

OWNER = PEOPLE["owner"]
TASK = {"purpose": "look at web", "for": "20m", "allow": ["get,list pods -n ci", "patch deployments.apps/web -n ci"]}
TASK_SHORT = TASK | {"for": "10m"}
WISH = {"name": "helper", "purpose": "count pods", "for": "5m", "allow": ["list pods -n ci"]}


@pytest.fixture
def task(api: Api) -> dict[str, Any]:
    bearer = api.agent("hers").text
    answer = api.call("POST", "/tasks", TASK_SHORT, who=bearer)
    assert answer.status == 201, answer.text
    return {**document(answer), "bearer": bearer}


def delegated(api: Api, parent: dict[str, Any], who: Any = None, **other: Any) -> Any:
    answer = api.call("POST", f"/tasks/{parent['id']}/delegate", WISH | other, who=who or parent["credential"])
    assert answer.status == 201, answer.text
    return document(answer)


def test_a_delegate_gets_a_task_and_credential_of_its_own(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    assert (child["name"], child["parent"], child["state"]) == ("hers/helper", task["id"], "active")
    assert (child["requestedBy"], child["cluster"], child["purpose"]) == ("agent:hers", "dev", "count pods")
    assert [rule["text"] for rule in child["allow"]] == ["list pods -n ci"]
    assert child["credential"].startswith(f"ngt1_{child['id']}_")
    assert moment_of(child["endsAt"]) <= moment_of(task["endsAt"])
    assert api.store.tasks.get(child["id"]).handed_to == ("agent:hers",)


def test_the_agent_itself_delegates_of_its_tasks_by_its_standing_credential(api: Api, task: dict[str, Any]) -> None:
    assert delegated(api, task, who=task["bearer"])["parent"] == task["id"]


def test_a_delegate_delegates_in_turn_less_and_no_longer(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task, allow=["get,list pods -n ci"])
    second = delegated(api, child, name="second", allow=["get pods/web -n ci"])
    assert (second["name"], second["parent"]) == ("hers/helper/second", child["id"])
    wider = WISH | {"name": "third", "allow": ["get,list pods -n ci"]}
    answer = api.call("POST", f"/tasks/{second['id']}/delegate", wider, who=second["credential"])
    assert (answer.status, "get pods -n ci" in detail(answer)) == (403, True)


def test_a_task_that_does_not_say_lasts_as_long_as_what_is_left(api: Api, task: dict[str, Any]) -> None:
    wish = {name: value for name, value in WISH.items() if name != "for"}
    answer = api.call("POST", f"/tasks/{task['id']}/delegate", wish, who=task["credential"])
    assert document(answer)["endsAt"] == task["endsAt"]
    assert delegated(api, task, name="longer", **{"for": "11m"})["endsAt"] == task["endsAt"]


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"allow": ["get,list,watch pods -n ci"]}, 403, "watch pods -n ci"),
        ({"allow": ["list pods -n *"]}, 403, "list pods -n *"),
        ({"allow": ["list pods -n ci,qa"]}, 403, "list pods -n qa"),
        ({"allow": ["* pods -n ci"]}, 403, "* pods -n ci"),
        ({"allow": ["patch deployments.apps -n ci"]}, 403, "patch deployments.apps -n ci"),
        ({"allow": ["get pods/log -n ci"]}, 403, "get pods/log -n ci"),
        ({"allow": ["get secrets -n ci"]}, 403, "get secrets -n ci"),
        ({"allow": []}, 422, "by allow or by authorization_details"),
        ({"allow": ["pods"]}, 422, "is not written like"),
        ({"allow": ["list pods -n ci"] * 33}, 422, "length <= 32"),
        ({"for": "0s"}, 422, "write it like 10m"),
        ({"for": "soon"}, 422, "for: "),
        ({"name": "a/b"}, 422, "name: "),
        ({"name": ""}, 422, "name: "),
        ({"name": "Helper"}, 422, "name: "),
        ({"name": "../hers"}, 422, "name: "),
        ({"name": "a" * 64}, 422, "name"),
        ({"purpose": ""}, 422, "purpose: write one line"),
        ({"purpose": "a\nb"}, 422, "purpose: write one line"),
        ({"parent": "other"}, 422, "unknown field"),
        ({"agent": "theirs"}, 422, "unknown field"),
        ({"link": "https://x.example"}, 422, "unknown field"),
    ],
)
def test_what_is_no_part_of_the_task_is_refused_and_changes_nothing(
    api: Api, task: dict[str, Any], change: dict[str, Any], status: int, sentence: str
) -> None:
    answer = api.call("POST", f"/tasks/{task['id']}/delegate", WISH | change, who=task["credential"])
    assert (answer.status, sentence in detail(answer)) == (status, True), answer.text
    assert len(api.store.tasks.listed()) == 1


def test_limits_are_no_wider_than_the_tasks_and_are_its_own_where_nothing_is_said(api: Api) -> None:
    bearer = api.agent("hers").text
    task = document(api.call("POST", "/tasks", TASK_SHORT | {"maxRequests": 10, "maxStreams": 2}, who=bearer))
    assert delegated(api, task)["maxRequests"] == 10
    assert delegated(api, task, name="less", maxRequests=3)["maxRequests"] == 3
    more = WISH | {"name": "more", "maxRequests": 11}
    answer = api.call("POST", f"/tasks/{task['id']}/delegate", more, who=task["credential"])
    assert (answer.status, "maxRequests: " in detail(answer)) == (403, True)


def test_nobody_else_delegates_of_a_task_whatever_they_are(api: Api, task: dict[str, Any]) -> None:
    other = api.agent("theirs").text
    others = document(api.call("POST", "/tasks", TASK_SHORT, who=other))
    child = delegated(api, task)
    for who in (other, others["credential"], child["credential"], OWNER, PEOPLE["admin"], PEOPLE["auditor"]):
        answer = api.call("POST", f"/tasks/{task['id']}/delegate", WISH | {"name": "sly"}, who=who)
        assert (answer.status, "that you work on" in detail(answer)) == (404, True), who
    # Nor does an agent reach below its delegates: each of them delegates of its own.
    for who in (task["credential"], task["bearer"]):
        answer = api.call("POST", f"/tasks/{child['id']}/delegate", WISH | {"name": "sly"}, who=who)
        assert answer.status == 404
    assert {one.name for one in api.store.tasks.listed()} == {"hers", "theirs", "hers/helper"}


def test_nothing_is_delegated_of_a_task_that_is_over(api: Api, task: dict[str, Any]) -> None:
    api.call("POST", f"/tasks/{task['id']}/complete", who=task["credential"])
    assert api.call("POST", f"/tasks/{task['id']}/delegate", WISH, who=task["credential"]).status == 401
    answer = api.call("POST", f"/tasks/{task['id']}/delegate", WISH, who=task["bearer"])
    assert (answer.status, "only an active one can be delegated" in detail(answer)) == (409, True)


def test_nothing_is_delegated_below_a_task_that_is_over(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    root = api.store.tasks.get(task["id"])
    # The end of the root alone, as if the gate had died before it wrote down what hangs on it.
    api.store.tasks.change(root.after(TaskEvent.REVOKED, time.time()), was=root, by="x", at=time.time())
    answer = api.call("POST", f"/tasks/{child['id']}/delegate", WISH, who=child["credential"])
    assert answer.status == 401


def test_a_chain_is_no_longer_than_the_gate_judges(api: Api, task: dict[str, Any]) -> None:
    last = task
    for name in ("a", "b", "c"):
        last = delegated(api, last, name=name)
    assert last["name"] == "hers/a/b/c"
    answer = api.call("POST", f"/tasks/{last['id']}/delegate", WISH, who=last["credential"])
    assert (answer.status, "tasks.maxDepth" in detail(answer)) == (403, True)


def test_two_delegates_of_one_task_have_two_names(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    answer = api.call("POST", f"/tasks/{task['id']}/delegate", WISH, who=task["credential"])
    assert (answer.status, "choose another name" in detail(answer)) == (409, True)
    api.call("POST", f"/tasks/{child['id']}/complete", who=child["credential"])
    assert delegated(api, task)["id"] != child["id"]


def test_the_end_of_a_task_is_written_down_for_all_that_hangs_on_it(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    second = delegated(api, child, name="second")
    beside = delegated(api, task, name="beside")
    api.call("POST", f"/tasks/{child['id']}/revoke", {"because": "enough"}, who=OWNER)
    shown = {one: document(api.call("GET", f"/tasks/{one}", who=OWNER)) for one in (second["id"], beside["id"])}
    assert (shown[second["id"]]["state"], shown[second["id"]]["endedWith"]) == ("revoked", child["id"])
    assert shown[second["id"]]["endedBecause"].endswith("was revoked by person:olga: enough")
    assert shown[beside["id"]]["state"] == "active"
    api.call("POST", f"/tasks/{task['id']}/complete", who=task["credential"])
    over = document(api.call("GET", f"/tasks/{beside['id']}", who=OWNER))
    assert (over["state"], "was completed by agent:hers" in over["endedBecause"]) == ("revoked", True)


def test_what_is_taken_from_a_task_is_never_given_back_to_what_hangs_on_it(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task, allow=["list pods -n ci", "patch deployments.apps/web -n ci"])
    until = moment_text(time.time() + 60)
    api.call("POST", f"/tasks/{task['id']}/narrow", {"keep": ["allow-1"], "until": until}, who=OWNER)
    less = document(api.call("GET", f"/tasks/{child['id']}", who=child["credential"]))
    assert ([rule["text"] for rule in less["allow"]], less["endsAt"]) == (["list pods -n ci"], until)
    refused = api.call("POST", f"/tasks/{task['id']}/narrow", {"keep": ["allow-1", "allow-2"]}, who=OWNER)
    assert refused.status == 422
    wider = WISH | {"name": "again", "allow": ["patch deployments.apps/web -n ci"], "for": "30s"}
    for who, where in ((task["credential"], task), (child["credential"], child)):
        assert api.call("POST", f"/tasks/{where['id']}/delegate", wider, who=who).status == 403


def test_who_delegated_looks_at_it_and_ends_it_and_nobody_beside(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    second = delegated(api, child, name="second")
    beside = delegated(api, task, name="beside")
    for one in (child, second):
        assert api.call("GET", f"/tasks/{one['id']}", who=task["credential"]).status == 200
        assert api.call("GET", f"/tasks/{one['id']}", who=beside["credential"]).status == 404
        assert api.call("POST", f"/tasks/{one['id']}/complete", who=beside["credential"]).status == 404
    assert api.call("GET", f"/tasks/{task['id']}", who=child["credential"]).status == 404
    assert api.call("POST", f"/tasks/{task['id']}/complete", who=second["credential"]).status == 404
    done = document(api.call("POST", f"/tasks/{second['id']}/complete", who=task["credential"]))
    assert done["state"] == "completed"


def test_delegates_are_listed_with_the_tasks_of_their_agent(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    for who in (task["bearer"], OWNER, PEOPLE["admin"]):
        listed = document(api.call("GET", "/tasks", who=who))["items"]
        assert {(one["id"], one["parent"]) for one in listed} == {(task["id"], ""), (child["id"], task["id"])}
    other = api.agent("theirs").text
    assert document(api.call("GET", "/tasks", who=other))["items"] == []


def test_a_delegates_tasks_count_as_its_agents(api: Api, task: dict[str, Any]) -> None:
    for number in range(99):
        delegated(api, task, name=f"h{number}")
    answer = api.call("POST", f"/tasks/{task['id']}/delegate", WISH, who=task["credential"])
    assert (answer.status, 'agent "hers" has 100 active tasks' in detail(answer)) == (409, True)
    assert api.call("POST", "/tasks", TASK_SHORT, who=task["bearer"]).status == 409


def test_a_delegate_cannot_do_more_with_the_gate_than_a_task(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    for method, path in (("POST", "/tasks"), ("GET", "/tasks"), ("GET", "/agents"), ("POST", "/denied/x")):
        assert api.call(method, path, TASK if method == "POST" else None, who=child["credential"]).status in (
            403,
            404,
            405,
        )
    who = document(api.call("GET", "/whoami", who=child["credential"]))
    assert (who["name"], who["roles"]) == ("hers/helper", ["member"])


def test_the_record_names_the_chain_of_whoever_delegated(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    delegated(api, child, name="second")
    entries = [one for one in api.entries() if one["verb"] == "delegate" and one["stage"] == "ResponseComplete"]
    assert [one["annotations"]["narrowgate.dev/chain"] for one in entries] == [
        '["agent:hers"]',
        '["agent:hers","agent:hers/helper"]',
    ]
    assert entries[-1]["objectRef"]["name"] == child["id"]
    assert child["credential"].split("_", 2)[2] not in str(api.entries())


def test_the_tree_shows_what_came_of_a_task_to_whoever_may_see_it(api: Api, task: dict[str, Any]) -> None:
    child = delegated(api, task)
    second = delegated(api, child, name="second")
    beside = delegated(api, task, name="beside")
    for who in (OWNER, task["bearer"]):
        tree = document(api.call("GET", f"/tasks/{second['id']}/tree", who=who))
        assert (tree["id"], [one["id"] for one in tree["children"]]) == (task["id"], [child["id"], beside["id"]])
        assert tree["children"][0]["children"][0]["name"] == "hers/helper/second"
    # A task's own credential sees what hangs on it, and nothing above or beside it.
    own = document(api.call("GET", f"/tasks/{child['id']}/tree", who=child["credential"]))
    assert (own["id"], [one["id"] for one in own["children"]]) == (child["id"], [second["id"]])
    assert api.call("GET", f"/tasks/{task['id']}/tree", who=child["credential"]).status == 404
    assert api.call("GET", f"/tasks/{beside['id']}/tree", who=child["credential"]).status == 404
