"""Limits and links of tasks in the API: what is asked for, what the rules give, what is used, never made wider."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.unit.control.api.calling import OFFERED, PEOPLE, ROOT, Api, detail, document
from tests.unit.control.api.questions import bearer_of, signed_in

from narrowgate.core.policy_set import check_files
from narrowgate.core.rulebook import compile_policies

OWNER = PEOPLE["owner"]
WISH = {"agent": "hers", "purpose": "look at web", "allow": ["get,list pods -n ci"]}
LIMITED = OFFERED.replace("maxDuration: 1h, approval: none", "maxDuration: 1h, approval: none, maxRequests: 50")
LINKED = OFFERED.replace(
    "maxDuration: 1h, approval: none", 'maxDuration: 1h, approval: none, links: ["https://tickets.corp/"]'
)


def in_force(api: Api, text: str) -> Api:
    api.put_in_force(compile_policies(check_files([("offered.yaml", text)]).policies, 2))
    return api


@pytest.fixture
def limited(api: Api) -> Api:
    api.agent("hers")
    return in_force(api, LIMITED)


def requested(api: Api, **other: Any) -> Any:
    answer = api.call("POST", "/tasks", WISH | other, who=OWNER)
    assert answer.status == 201, answer.text
    return document(answer)


@pytest.mark.parametrize(("wish", "given"), [(None, 50), (10, 10), (50, 50), (51, 50), (1_000_000, 50)])
def test_a_task_gets_what_it_asks_for_or_what_the_rule_gives_where_that_is_less(
    limited: Api, wish: int | None, given: int
) -> None:
    more = {} if wish is None else {"maxRequests": wish}
    made = requested(limited, **more, maxStreams=3)
    assert (made["maxRequests"], made["requestsUsed"], made["maxStreams"], made["streams"]) == (given, 0, 3, 0)
    (kept,) = limited.store.tasks.active()
    assert (kept.max_requests, kept.max_streams) == (given, 3)
    said = document(limited.call("POST", "/tasks/check", WISH | more, who=OWNER))
    assert (said["maxRequests"], said["maxStreams"]) == (given, None)


def test_a_task_without_limits_says_so(api: Api) -> None:
    api.agent("hers")
    made = requested(api)
    assert [made[name] for name in ("maxRequests", "requestsUsed", "maxStreams", "streams")] == [None] * 4


@pytest.mark.parametrize("name", ["maxRequests", "maxStreams"])
@pytest.mark.parametrize("wrong", [0, -1, 1_000_001, 1.5, "5", True])
def test_what_is_no_limit_is_refused(limited: Api, name: str, wrong: object) -> None:
    answer = limited.call("POST", "/tasks", WISH | {name: wrong}, who=OWNER)
    assert (answer.status, name in detail(answer)) == (422, True), answer.text
    assert limited.store.tasks.active() == ()


def test_what_was_used_is_shown(limited: Api) -> None:
    made = requested(limited, maxStreams=3)
    limited.store.task_limits.hand_out(made["id"], 50)
    limited.store.task_limits.add_stream(made["id"], 3, 1, by="gate-0", now=time.time())
    shown = document(limited.call("GET", f"/tasks/{made['id']}", who=OWNER))
    (listed,) = document(limited.call("GET", "/tasks", who=OWNER))["items"]
    for found in (shown, listed):
        assert (found["requestsUsed"], found["streams"]) == (6, 2)


def test_limits_are_lowered_and_never_raised(limited: Api) -> None:
    made = requested(limited)

    def narrowed(body: dict[str, Any]) -> Any:
        return limited.call("POST", f"/tasks/{made['id']}/narrow", body, who=OWNER)

    less = document(narrowed({"maxRequests": 20, "maxStreams": 2}))
    assert (less["maxRequests"], less["maxStreams"]) == (20, 2)
    for body, status, sentence in (
        ({"maxRequests": 21}, 409, "never widened"),
        ({"maxStreams": 3}, 409, "never widened"),
        ({"maxRequests": 0}, 422, "maxRequests"),
    ):
        answer = narrowed(body)
        assert (body, answer.status, sentence in detail(answer)) == (body, status, True)
    (left,) = limited.store.tasks.active()
    assert (left.max_requests, left.max_streams) == (20, 2)


def test_a_rule_that_asks_for_a_link_says_which_and_takes_it(api: Api) -> None:
    api.agent("hers")
    in_force(api, LINKED)
    for link in ("", "https://tickets.corp.evil.example/1", "https://evil.example/?https://tickets.corp/"):
        for target in ("/tasks", "/tasks/check"):
            answer = api.call("POST", target, WISH | {"link": link}, who=OWNER)
            assert answer.status == 403
            assert "rule offered/pods asks for a link that begins with https://tickets.corp/" in detail(answer)
    assert api.store.tasks.active() == ()
    assert requested(api, link="https://tickets.corp/OPS-1")["link"] == "https://tickets.corp/OPS-1"


def test_without_a_link_a_task_lasts_as_long_as_what_it_can_rest_on(api: Api) -> None:
    api.agent("hers")
    free = "- {id: free, effect: grantable, verbs: [get, list], apiGroups: [''], resources: [pods], namespaces: [ci],"
    in_force(api, LINKED.replace("  rules:\n", f"  rules:\n    {free}\n       maxDuration: 5m, approval: none}}\n"))
    assert requested(api)["lasts"] == "5m"
    assert requested(api, link="https://tickets.corp/OPS-1")["lasts"] == "20m"


SECRETS = {"agent": "hers", "purpose": "rotate", "for": "5m", "allow": ["get secrets -n ci"]}


def test_a_task_that_people_were_asked_about_has_no_more_than_the_rules_give_when_it_begins(api: Api) -> None:
    agent = api.agent("hers").text
    made = document(api.call("POST", "/tasks", SECRETS | {"maxRequests": 100}, who=agent))
    assert (made["state"], made["maxRequests"]) == ("requested", 100)
    for name in ("ben", "cora"):
        who = bearer_of(api, signed_in(api, name, "sre"))
        assert api.call("POST", f"/approvals/{made['id']}/approve", who=who).status == 200
    in_force(api, OFFERED.replace("maxDuration: 5m,", "maxDuration: 5m, maxRequests: 10, maxStreams: 2,"))
    begun = document(api.call("POST", f"/tasks/{made['id']}/collect", who=agent))
    assert (begun["state"], begun["maxRequests"], begun["maxStreams"]) == ("active", 10, 2)


def test_a_task_is_not_collected_once_the_rule_asks_for_a_link_that_it_lacks(api: Api) -> None:
    agent = api.agent("hers").text
    made = document(api.call("POST", "/tasks", SECRETS, who=agent))
    for name in ("ben", "cora"):
        who = bearer_of(api, signed_in(api, name, "sre"))
        assert api.call("POST", f"/approvals/{made['id']}/approve", who=who).status == 200
    in_force(api, OFFERED.replace("maxDuration: 5m,", 'maxDuration: 5m, links: ["https://tickets.corp/"],'))
    answer = api.call("POST", f"/tasks/{made['id']}/collect", who=agent)
    assert (answer.status, "asks for a link" in detail(answer)) == (403, True)


def test_nobody_widens_a_task_with_its_own_credential(limited: Api) -> None:
    made = requested(limited)
    answer = limited.call("POST", f"/tasks/{made['id']}/narrow", {"maxRequests": 5}, who=made["credential"])
    assert answer.status in (401, 403)
    assert limited.call("POST", f"/tasks/{made['id']}/narrow", {"maxRequests": 5}, who=ROOT).status == 200


DELETING = OFFERED.replace("maxDuration: 1h, approval: none", "maxDuration: 1h, approval: none, onEnd: deleteWorkloads")


def test_a_task_says_from_the_beginning_that_what_it_leaves_behind_is_deleted(api: Api) -> None:
    api.agent("hers")
    in_force(api, DELETING)
    assert document(api.call("POST", "/tasks/check", WISH, who=OWNER))["onEnd"] == "deleteWorkloads"
    assert requested(api)["onEnd"] == "deleteWorkloads"
    in_force(api, OFFERED)
    assert requested(api)["onEnd"] == "leave"


def test_where_nobody_remembers_what_was_created_nothing_is_granted_that_would_have_it_deleted(api: Api) -> None:
    api.agent("theirs", cluster="prod")
    in_force(api, DELETING.replace("clusters: [dev]", 'clusters: ["*"]'))
    refused = api.call("POST", "/tasks", WISH | {"agent": "theirs"}, who=ROOT)
    assert refused.status == 403
    assert 'nobody remembers what is created on cluster "prod"' in detail(refused)
