"""Calls about tasks: active at once where nobody is asked, never more than is offered, nobody else's."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.unit.control.api.calling import PEOPLE, Api, detail, document, person

from narrowgate.core.moment import moment_of, moment_text
from narrowgate.core.tasks import TaskState

OWNER = PEOPLE["owner"]
WISH = {"purpose": "look at web", "for": "20m", "allow": ["get,list pods -n ci"]}


def requested(api: Api, who: Any = OWNER, **other: Any) -> Any:
    answer = api.call("POST", "/tasks", {"agent": "hers", **WISH, **other}, who=who)
    assert answer.status == 201, answer.text
    return document(answer)


def test_what_needs_nobody_is_active_at_once_and_its_credential_is_shown_once(api: Api) -> None:
    bearer = api.agent("hers").text
    answer = api.call("POST", "/tasks", WISH, who=bearer)
    made = document(answer)
    assert (answer.status, answer.header("location")) == (201, f"/api/v1/tasks/{made['id']}")
    assert (made["state"], made["name"], made["requestedBy"], made["lasts"]) == ("active", "hers", "agent:hers", "20m")
    assert made["allow"] == [{"id": "allow-1", "text": "get,list pods -n ci"}]
    assert made["credential"].startswith(f"ngt1_{made['id']}_")
    assert moment_of(made["endsAt"]) - moment_of(made["beganAt"]) == 1200
    (kept,) = api.store.tasks.active()
    assert (kept.id, kept.cluster) == (made["id"], "dev")
    shown = document(api.call("GET", f"/tasks/{made['id']}", who=bearer))
    assert shown == {name: value for name, value in made.items() if name != "credential"}
    change = api.store.changes()[0]
    assert (change.action, change.subject, change.by) == ("task.requested", made["id"], "agent:hers")


def test_a_replay_shows_no_credential_and_makes_no_second_task(api: Api) -> None:
    bearer = api.agent("hers").text
    once = {"Idempotency-Key": '"one"'}
    first = document(api.call("POST", "/tasks", WISH, who=bearer, headers=once))
    again = document(api.call("POST", "/tasks", WISH, who=bearer, headers=once))
    assert again == {name: value for name, value in first.items() if name != "credential"}
    assert len(api.store.tasks.active()) == 1


def test_nothing_of_a_credential_is_in_the_record_or_in_any_later_answer(api: Api) -> None:
    api.agent("hers")
    made = requested(api)
    secret = made["credential"].split("_", 2)[2]
    api.call("GET", "/whoami", who=made["credential"])
    for target in ("/tasks", f"/tasks/{made['id']}", "/changes"):
        assert secret not in api.call("GET", target).text
    assert secret not in str(api.entries())


LOOK: dict[str, Any] = {
    "type": "narrowgate_task",
    "locations": ["dev"],
    "actions": ["get", "list"],
    "datatypes": ["pods"],
    "namespaces": ["ci"],
}


def test_what_is_asked_for_by_authorization_details_is_the_same_task(api: Api) -> None:
    api.agent("hers")
    wish = {name: value for name, value in WISH.items() if name != "allow"} | {"agent": "hers"}
    details = [LOOK, LOOK | {"actions": ["watch"], "identifier": "web"}]
    task = document(api.call("POST", "/tasks", wish | {"authorization_details": details}, who=OWNER))
    assert [rule["text"] for rule in task["allow"]] == ["get,list pods -n ci", "watch pods/web -n ci"]
    assert task["state"] == "active"


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"allow": ["get secrets -n prod"]}, 403, "no policy offers it"),
        ({"allow": ["delete pods -n ci"]}, 403, "no policy offers it"),
        ({"allow": ["get pods -n *"]}, 403, "no policy offers it"),
        ({"allow": ["* * -n *"]}, 403, "no policy offers it"),
        ({"allow": ["get pods -n ci,prod"]}, 403, "get pods -n prod"),
        ({"allow": ["patch deployments.apps -n ci"]}, 403, "no policy offers it"),
        ({"allow": ["get pods -n ci"], "for": "2h"}, 403, "granted for 1h at most"),
        ({"allow": []}, 422, "by allow or by authorization_details: send one"),
        ({"authorization_details": [LOOK]}, 422, "by allow or by authorization_details: send one"),
        ({"allow": [], "authorization_details": [LOOK | {"locations": ["dev", "prod"]}]}, 422, 'not on "prod"'),
        ({"allow": [], "authorization_details": [LOOK | {"namespaces": ["prod"]}]}, 403, "no policy offers it"),
        ({"allow": [], "authorization_details": [LOOK | {"namespaces": []}]}, 422, "authorization_details: "),
        ({"allow": [], "authorization_details": [LOOK | {"type": "other"}]}, 422, "authorization_details[0].type"),
        ({"allow": [], "authorization_details": [LOOK | {"privileges": ["x"]}]}, 422, "unknown field"),
        ({"allow": [], "authorization_details": [LOOK] * 33}, 422, "length <= 32"),
        ({"allow": [], "authorization_details": [LOOK | {"datatypes": ["pods"] * 32}] * 2}, 422, "32 datatypes"),
        ({"allow": ["get pods -n ci"] * 33}, 422, "length <= 32"),
        ({"allow": ["get pods"]}, 422, "names no namespace"),
        ({"allow": ["pods"]}, 422, "is not written like"),
        ({"allow": ["get po -n ci"]}, 422, 'write "pods"'),
        ({"for": "0s"}, 422, "write it like 10m"),
        ({"for": "soon"}, 422, "for: "),
        ({"for": "-5m"}, 422, "for: "),
        ({"purpose": ""}, 422, "purpose: write one line"),
        ({"purpose": "a\nb"}, 422, "purpose: write one line"),
        ({"purpose": "x" * 501}, 422, "purpose: write one line"),
        ({"link": "http://tracker.example/1"}, 422, "https address"),
        ({"link": "javascript:alert(1)"}, 422, "https address"),
        ({"link": "https://user@tracker.example"}, 422, "https address"),
        ({"cluster": "prod"}, 422, 'works on "dev"'),
        ({"credentialHash": "x"}, 422, "unknown field"),
        ({"requestedBy": "person:olga"}, 422, "unknown field"),
        ({"rules": []}, 422, "unknown field"),
        ({"agent": ""}, 422, "name the one that is to do it"),
        ({"agent": "nobody"}, 404, "there is no agent"),
    ],
)
def test_what_is_not_offered_or_cannot_be_read_is_refused_and_changes_nothing(
    api: Api, change: dict[str, Any], status: int, sentence: str
) -> None:
    api.agent("hers")
    answer = api.call("POST", "/tasks", {"agent": "hers", **WISH, **change}, who=OWNER)
    assert (answer.status, sentence in detail(answer)) == (status, True), answer.text
    dry = api.call("POST", "/tasks/check", {"agent": "hers", **WISH, **change}, who=OWNER)
    assert dry.status == status
    assert api.store.tasks.listed() == ()


def test_what_would_be_granted_is_said_without_granting_it(api: Api) -> None:
    bearer = api.agent("hers").text
    wish = {"purpose": "x", "allow": ["get pods -n ci", "patch deployments.apps/web -n ci"]}
    said = document(api.call("POST", "/tasks/check", wish, who=bearer))
    assert (said["rules"], said["approvers"]) == (["offered/pods", "offered/rollout"], [])
    # Nothing was said about the time: as long as all of it is offered.
    assert said["lasts"] == "10m"
    wish["allow"] = ["get secrets -n ci"]
    said = document(api.call("POST", "/tasks/check", wish, who=bearer))
    assert said["approvers"] == [{"group": "sre", "count": 2}]
    assert api.store.tasks.listed() == ()


def test_a_task_never_outlives_its_agent(api: Api) -> None:
    ends = time.time() + 100
    api.agent("hers", ends_at=ends)
    requested(api)
    (task,) = api.store.tasks.active()
    assert task.ends_at is not None
    assert task.ends_at <= ends


def test_an_agent_that_is_paused_gets_no_task(api: Api) -> None:
    api.agent("hers", paused=True)
    answer = api.call("POST", "/tasks", {"agent": "hers", **WISH}, who=OWNER)
    assert (answer.status, "is paused" in detail(answer)) == (409, True)


def test_an_agent_asks_for_itself_and_for_no_other(api: Api) -> None:
    bearer = api.agent("hers").text
    api.agent("theirs")
    answer = api.call("POST", "/tasks", {"agent": "theirs", **WISH}, who=bearer)
    assert (answer.status, "there is no agent" in detail(answer)) == (404, True)


def test_the_groups_of_the_agents_record_count_and_not_those_of_whoever_asks(api: Api) -> None:
    api.agent("plain")
    asker = person("olga", "workers")
    assert api.call("POST", "/tasks", {"agent": "plain", **WISH}, who=asker).status == 403
    api.agent("worker", groups=("workers",))
    requested(api, asker, agent="worker")


def test_an_agent_has_a_hundred_active_tasks_at_most(api: Api) -> None:
    api.agent("hers")
    for number in range(99):
        api.task("hers", id=f"t{number}")
    api.task("hers", id="over", began_at=time.time() - 700, ends_at=time.time() - 100)
    requested(api)
    answer = api.call("POST", "/tasks", {"agent": "hers", **WISH}, who=OWNER)
    assert (answer.status, "100 active tasks" in detail(answer)) == (409, True)


def test_each_sees_their_own_tasks_newest_first_in_pages(api: Api) -> None:
    bearer = api.agent("hers").text
    api.agent("theirs", owner="group:sre")
    now = time.time()
    for number in range(5):
        api.task("hers", id=f"h{number}", requested_at=now + number)
        api.task("theirs", id=f"t{number}", requested_at=now + number)

    def seen(who: Any, limit: int = 100) -> list[str]:
        ids, target = [], f"/tasks?limit={limit}"
        while True:
            page = document(api.call("GET", target, who=who))
            ids += [task["id"] for task in page["items"]]
            if not page["metadata"]["continue"]:
                return ids
            target = f"/tasks?limit={limit}&continue={page['metadata']['continue']}"

    assert seen(bearer) == seen(OWNER) == ["h4", "h3", "h2", "h1", "h0"]
    assert seen(bearer, limit=2) == seen(bearer)
    assert seen(PEOPLE["group-owner"]) == ["t4", "t3", "t2", "t1", "t0"]
    assert seen(PEOPLE["member"]) == seen(PEOPLE["approver"]) == []
    assert len(seen(PEOPLE["auditor"])) == len(seen(PEOPLE["admin"], limit=3)) == 10


def test_an_agent_made_anew_under_an_old_name_has_none_of_its_tasks(api: Api) -> None:
    old = time.time() - 60
    api.agent("hers", created_at=old - 60)
    api.task("hers", id="before", requested_at=old, began_at=old)
    api.store.remove_agent("hers", by="local:test", at=time.time())
    assert api.call("GET", "/tasks/before", who=OWNER).status == 404
    bearer = api.agent("hers").text
    for who in (bearer, OWNER):
        assert document(api.call("GET", "/tasks", who=who))["items"] == []
        assert api.call("POST", "/tasks/before/complete", who=who).status == 404
    assert api.call("GET", "/tasks/before").status == 200


def test_whoever_asked_for_it_may_end_it_although_they_answer_for_the_agent_no_more(api: Api) -> None:
    api.agent("hers", owner="group:sre")
    made = requested(api, PEOPLE["group-owner"])
    left = person("greta")
    assert document(api.call("POST", f"/tasks/{made['id']}/revoke", who=left))["state"] == "revoked"


def test_a_completed_task_stays_completed(api: Api) -> None:
    bearer = api.agent("hers").text
    made = requested(api, bearer)
    done = document(api.call("POST", f"/tasks/{made['id']}/complete", who=bearer))
    assert (done["state"], done["endedBecause"]) == ("completed", "completed")
    assert api.store.tasks.active() == ()
    for verb, body in (("complete", None), ("revoke", {}), ("narrow", {"keep": ["allow-1"]})):
        answer = api.call("POST", f"/tasks/{made['id']}/{verb}", body, who=OWNER)
        assert (verb, answer.status, "is completed" in detail(answer)) == (verb, 409, True)


def test_a_revoked_task_says_why(api: Api) -> None:
    api.agent("hers")
    made = requested(api)
    done = document(api.call("POST", f"/tasks/{made['id']}/revoke", {"because": "wrong cluster"}, who=OWNER))
    assert (done["state"], done["endedBecause"]) == ("revoked", "wrong cluster")
    assert api.store.changes()[0].by == "person:olga"
    broken = api.call("POST", f"/tasks/{made['id']}/revoke", {"because": "two\nlines"}, who=OWNER)
    assert broken.status == 422


def test_time_alone_ends_a_task_in_what_is_shown(api: Api) -> None:
    api.agent("hers", created_at=time.time() - 1000)
    began = time.time() - 700
    api.task("hers", id="late", requested_at=began, began_at=began, ends_at=began + 600)
    shown = document(api.call("GET", "/tasks/late", who=OWNER))
    assert shown["state"] == "expired"
    answer = api.call("POST", "/tasks/late/complete", who=OWNER)
    assert (answer.status, "is expired" in detail(answer)) == (409, True)


def test_a_task_is_narrowed_and_never_widened(api: Api) -> None:
    api.agent("hers")
    api.task("hers", id="wide")
    (task,) = api.store.tasks.active()
    assert task.ends_at is not None
    sooner = moment_text(task.ends_at - 300)

    def narrowed(body: dict[str, Any]) -> Any:
        return api.call("POST", "/tasks/wide/narrow", body, who=OWNER)

    less = document(narrowed({"keep": ["allow-1"], "until": sooner}))
    assert [rule["id"] for rule in less["allow"]] == ["allow-1"]
    assert less["endsAt"] == sooner
    for body, status, sentence in (
        ({"keep": ["allow-1", "allow-2"]}, 422, 'no rule "allow-2"'),
        ({"keep": []}, 422, "nothing would be left"),
        ({"until": moment_text(task.ends_at)}, 409, "never widened"),
        ({"until": "9999-12-31T23:59:59Z"}, 409, "never widened"),
        ({"until": "2020-01-01T00:00:00Z"}, 422, "this has passed"),
        ({"until": "soon"}, 422, "until: "),
    ):
        answer = narrowed(body)
        assert (body, answer.status, sentence in detail(answer)) == (body, status, True)
    (left,) = api.store.tasks.active()
    assert len(left.rules) == 1


# --- the task's own credential ---


def test_a_tasks_credential_looks_at_its_task_and_completes_it(api: Api) -> None:
    api.agent("hers")
    made = requested(api)
    credential = made["credential"]
    who = document(api.call("GET", "/whoami", who=credential))
    assert (who["identity"], who["credential"], who["clusters"]) == ("agent:hers", made["id"], ["dev"])
    assert document(api.call("GET", f"/tasks/{made['id']}", who=credential))["state"] == "active"
    assert document(api.call("POST", f"/tasks/{made['id']}/complete", who=credential))["state"] == "completed"
    assert api.call("GET", f"/tasks/{made['id']}", who=credential).status == 401


def test_a_tasks_credential_does_nothing_else(api: Api) -> None:
    api.agent("hers")
    credential = requested(api)["credential"]
    other = requested(api)["id"]
    for method, target, body in (
        ("GET", "/tasks", None),
        ("POST", "/tasks", WISH),
        ("POST", "/tasks/check", WISH),
        ("GET", "/agents", None),
        ("GET", "/clusters", None),
        ("GET", "/sign-ins", None),
        ("POST", f"/tasks/{other}/revoke", {}),
        ("POST", f"/tasks/{other}/narrow", {}),
    ):
        answer = api.call(method, target, body, who=credential)
        assert (target, answer.status, "a task's credential cannot" in detail(answer)) == (target, 403, True)
    for verb in ("", "/complete"):
        answer = api.call("POST" if verb else "GET", f"/tasks/{other}{verb}", who=credential)
        assert answer.status == 404
    assert {task.state for task in api.store.tasks.active()} == {TaskState.ACTIVE}


@pytest.mark.parametrize("end", ["pause", "expiry", "removal", "namesake", "misspelt", "invented"])
def test_a_tasks_credential_is_worth_nothing_once_task_or_agent_is_over(api: Api, end: str) -> None:
    began = time.time() - 60
    api.agent("hers", created_at=began - 1)
    over = {"ends_at": began + 30} if end == "expiry" else {}
    made = api.task("hers", requested_at=began, began_at=began, **over)
    text = made.text
    if end == "pause":
        assert api.call("POST", "/agents/hers/pause", {}).status == 200
    elif end in ("removal", "namesake"):
        api.store.remove_agent("hers", by="local:test", at=time.time())
    if end == "namesake":
        api.agent("hers")
    if end == "misspelt":
        text = text[:-1] + ("A" if text[-1] != "A" else "B")
    if end == "invented":
        text = api.task("hers", id="other", credential_id="other").text
    assert api.call("GET", "/whoami", who=text).status == 401
