"""A task's credential, exchanged for one of a delegated task: a part of it, in one call, and never more."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.unit.control.browsing import Answer
from tests.unit.control.oauth.server import CLUSTER, Server, error, members

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Kind
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import read_wanted

ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"
USUAL = {
    "subject_token_type": ACCESS_TYPE,
    "scope": "get:pods@ci",
    "narrowgate_name": "helper",
    "narrowgate_purpose": "count pods",
    "narrowgate_for": "5m",
}
DETAILS = {"type": "narrowgate_task", "actions": ["get"], "datatypes": ["pods"], "namespaces": ["ci"]}


@pytest.fixture
def credential(server: Server) -> str:
    """Of an agent's task, which has `get,list pods -n ci` and one deployment."""
    made = new_task_credential()
    agent = AgentRecord(
        name="bot",
        owner="person:alice",
        purpose="tests",
        cluster="dev",
        credential_id="",
        credential_hash=b"",
        created_at=server.now - 60,
        expires_at=server.now + 9_000,
    )
    server.store.add_agent(agent, by="local:test", at=server.now)
    task = Task(
        id=made.task,
        kind=Kind.AGENT,
        name="bot",
        requested_by="agent:bot",
        cluster="dev",
        purpose="tests",
        rules=(read_wanted("get,list pods -n ci", 1), read_wanted("patch deployments.apps/web -n ci", 2)),
        credential_id=made.task,
        credential_hash=made.hash,
        seconds=600.0,
        requested_at=server.now,
        lapses_at=server.now + 1,
    )
    server.store.tasks.add(task.after(TaskEvent.ACTIVATED, server.now), by="agent:bot", at=server.now)
    return made.text


def exchanged(server: Server, token: str, **fields: str) -> Answer:
    form = {name: value for name, value in {**USUAL, "subject_token": token, **fields}.items() if value}
    return server.token("exchange", form)


def test_one_call_gives_a_delegate_its_credential(server: Server, credential: str) -> None:
    got = members(exchanged(server, credential))
    assert (got["issued_token_type"], got["token_type"], got["scope"]) == (ACCESS_TYPE, "Bearer", "get:pods@ci")
    assert 0 < got["expires_in"] <= 300
    assert (got["sub"], got["act"]) == ("agent:bot", {"sub": "agent:bot/helper"})
    task = server.store.tasks.get(got["narrowgate_task"])
    assert (task.name, task.purpose, task.cluster) == ("bot/helper", "count pods", "dev")
    assert got["access_token"].startswith(f"ngt1_{task.id}_")


def test_what_was_exchanged_is_exchanged_again_for_less_and_never_for_more(server: Server, credential: str) -> None:
    first = members(exchanged(server, credential, scope="get,list:pods@ci"))
    again = members(exchanged(server, first["access_token"], scope="get:pods/web@ci", narrowgate_name="second"))
    assert again["act"] == {"sub": "agent:bot/helper/second", "act": {"sub": "agent:bot/helper"}}
    for more in ("get,list,watch:pods@ci", "patch:deployments.apps/web@ci", "get:pods@*", "list:pods@ci"):
        answer = exchanged(server, again["access_token"], scope=more, narrowgate_name="third")
        assert (answer.status, error(answer)) == (400, "invalid_scope"), more
    assert len(server.store.tasks.listed()) == 3


def test_it_lasts_no_longer_than_the_task(server: Server, credential: str) -> None:
    assert members(exchanged(server, credential, narrowgate_for="2h"))["expires_in"] <= 600


def test_rules_may_be_written_as_authorization_details(server: Server, credential: str) -> None:
    got = members(exchanged(server, credential, scope="", authorization_details=json.dumps([DETAILS])))
    assert got["scope"] == "get:pods@ci"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "pods"}, "invalid_scope"),
        ({"scope": "get:pods"}, "invalid_request"),
        ({"scope": "get:pods@ci@qa"}, "invalid_scope"),
        ({"scope": "get:secrets@ci"}, "invalid_scope"),
        ({"authorization_details": json.dumps([DETAILS])}, "invalid_scope"),
        ({"scope": "", "authorization_details": "x"}, "invalid_authorization_details"),
        ({"scope": "", "authorization_details": "[]"}, "invalid_request"),
        (
            {"scope": "", "authorization_details": json.dumps([DETAILS | {"type": "other"}])},
            "invalid_authorization_details",
        ),
        (
            {"scope": "", "authorization_details": json.dumps([DETAILS | {"locations": ["prod"]}])},
            "invalid_authorization_details",
        ),
        ({"narrowgate_name": ""}, "invalid_request"),
        ({"narrowgate_name": "a/b"}, "invalid_request"),
        ({"narrowgate_purpose": ""}, "invalid_request"),
        ({"narrowgate_for": "soon"}, "invalid_request"),
        ({"narrowgate_for": "0s"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token_type": ACCESS_TYPE}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"audience": "prod"}, "invalid_target"),
        ({"resource": CLUSTER.replace("dev", "prod")}, "invalid_target"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"client_id": "other"}, "invalid_client"),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_code_and_makes_nothing(
    server: Server, credential: str, change: dict[str, str], said: str
) -> None:
    assert error(exchanged(server, credential, **change)) == said
    assert len(server.store.tasks.listed()) == 1


def test_the_cluster_of_the_task_may_be_named(server: Server, credential: str) -> None:
    assert members(exchanged(server, credential, audience="dev", resource=CLUSTER))["token_type"] == "Bearer"


def test_nothing_is_given_for_a_task_that_is_over(server: Server, credential: str) -> None:
    first = members(exchanged(server, credential))
    (root,) = [task for task in server.store.tasks.active() if not task.parent]
    over = root.after(TaskEvent.REVOKED, server.now)
    server.store.tasks.change(over, was=root, by="person:alice", at=server.now)
    for token in (credential, first["access_token"]):
        assert error(exchanged(server, token, narrowgate_name="late")) == "invalid_request"
    assert len(server.store.tasks.listed()) == 2


@pytest.mark.parametrize("change", ["another id", "cut", "another secret"])
def test_a_credential_that_is_none_gets_nothing(server: Server, credential: str, change: str) -> None:
    prefix, task, secret = credential.split("_", 2)
    forged = {
        "another id": "_".join((prefix, new_task_credential().task, secret)),
        "cut": credential[:-1],
        "another secret": "_".join((prefix, task, new_task_credential().text.split("_", 2)[2])),
    }[change]
    assert error(exchanged(server, forged)) == "invalid_request"


def test_it_is_recorded_before_it_is_given_and_holds_no_secret(server: Server, credential: str) -> None:
    got = members(exchanged(server, credential))
    (received, durable), (finished, _) = server.journal.entries
    assert (received["stage"], durable, received["user"]["username"]) == ("RequestReceived", True, "agent:bot")
    assert (received["verb"], received["objectRef"]["resource"]) == ("delegate", "tasks")
    assert finished["annotations"]["narrowgate.dev/because"] == "token exchange"
    written = str(server.journal.entries)
    assert not any(secret.split("_", 2)[2] in written for secret in (credential, got["access_token"]))


def test_a_full_disk_means_no_delegate(server: Server, credential: str) -> None:
    server.journal.full = True
    answer = exchanged(server, credential)
    assert (answer.status, "ngt1_" in answer.text) == (503, False)
    assert len(server.store.tasks.listed()) == 1


def test_a_paused_agent_delegates_nothing(server: Server, credential: str) -> None:
    was: Any = server.store.agent("bot")
    server.store.change_agent(msgspec.structs.replace(was, paused=True), was=was, by="x", at=server.now)
    assert error(exchanged(server, credential)) == "invalid_request"
