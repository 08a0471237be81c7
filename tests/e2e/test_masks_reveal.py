"""Masks given back by policies: behind people's answers, for one request; and policies that move while a watch runs."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Agent, Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow, deny
from tests.e2e.team import Team, asks, team_at
from tests.e2e.test_changes import ended, running
from tests.e2e.wire import Connection, Response

KEY = "deploy-key"
OTHER = "other-key"
# The promise is a second from when the policy is in force; files are looked at every second, and the machine is busy.
END_SECONDS = 60.0


def reveal(namespace: str, approval: object, **more: Any) -> dict[str, Any]:
    """A rule that gives the deploy key's values back."""
    return {
        "id": "see-the-key",
        "effect": "reveal",
        "apiGroups": [""],
        "resources": ["secrets"],
        "namespaces": [namespace],
        "names": [KEY],
        "approval": approval,
        **more,
    }


@pytest.fixture(scope="module")
def team(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with team_at(tmp_path_factory.mktemp("reveals"), [entry], {"workers": 1}) as team:
        yield team


@pytest.fixture(scope="module")
def plain(direct: Kubectl, namespace: str) -> str:
    """What is in the key, in base64, as the API server has it."""
    word = f"planted-{secrets.token_hex(16)}"
    for name in (KEY, OTHER):
        direct.within(namespace).must("create", "secret", "generic", name, f"--from-literal=word={word}")
    return base64.b64encode(word.encode()).decode()


@pytest.fixture(scope="module")
def target(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


@pytest.fixture(scope="module")
def curious(team: Team, namespace: str, plain: str, target: str) -> Agent:
    """An agent to which two people may show the key."""
    rules = [allow("read", "get list watch patch", "secrets", namespace), reveal(namespace, asks(count=2))]
    return team.agent("curious", rules, f"{target}/{OTHER}")


def value(answer: Response) -> str:
    return str(answer.json()["data"]["word"])


def is_masked(shown: str) -> bool:
    return base64.b64decode(shown).startswith(b"[masked:narrowgate/secret-data:")


def sent(threads: ThreadPoolExecutor, agent: Agent, target: str) -> Future[Response]:
    return threads.submit(agent.request, "GET", target)


def test_two_people_show_one_secret_for_one_request(team: Team, curious: Agent, target: str, plain: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        held = sent(threads, curious, f"{target}/{KEY}")
        approval = team.one_waiting("curious")
        assert "reveal see-the-key of policy curious" in team.question(approval)["summary"][0]
        team.approve(approval, "alice")
        assert not held.done()
        team.approve(approval, "bob")
        answer = held.result()
        assert answer.status == 200
        assert value(answer) == plain
        assert "warning" not in dict(answer.headers)
        entry = team.gate.wait_for_event(answer.header("audit-id"))
        assert entry["annotations"]["narrowgate.dev/approval"] == approval
        assert "narrowgate.dev/masked" not in entry["annotations"]

        again = sent(threads, curious, f"{target}/{KEY}")
        other = team.one_waiting("curious")
        assert other != approval
        assert team.answer("bob", other, "deny").status == 200
        refused = again.result()
    assert refused.status == 403
    assert plain.encode() not in refused.body


def test_what_was_not_asked_for_stays_masked_and_waits_for_nobody(
    team: Team, curious: Agent, target: str, plain: str
) -> None:
    assert is_masked(value(curious.request("GET", f"{target}/{OTHER}")))
    roads = {
        "list": curious.request("GET", target),
        "list by name": curious.request("GET", f"{target}?fieldSelector=metadata.name%3D{KEY}"),
        "watch by name": curious.request(
            "GET", f"{target}?watch=1&timeoutSeconds=1&resourceVersion=0&fieldSelector=metadata.name%3D{KEY}"
        ),
        "answer to a write": curious.request(
            "PATCH", f"{target}/{KEY}", {"Content-Type": "application/merge-patch+json"}, b"{}"
        ),
    }
    for road, answer in roads.items():
        assert answer.status == 200, (road, answer.body)
        assert KEY.encode() in answer.body, road
        assert plain.encode() not in answer.body, road
    assert team.waiting("curious") == []


def test_an_answer_for_one_form_of_the_request_opens_no_other(
    team: Team, curious: Agent, target: str, plain: str
) -> None:
    with ThreadPoolExecutor(1) as threads:
        first = sent(threads, curious, f"{target}/{KEY}?pretty=true")
        approval = team.one_waiting("curious")
        team.approve(approval, "alice", "bob")
        assert plain.encode() in first.result().body
        # Another query is another request, however alike.
        other = sent(threads, curious, f"{target}/{KEY}?pretty=false")
        team.answer("bob", team.one_waiting("curious"), "deny")
        assert other.result().status == 403


def test_what_people_can_show_is_written_back_masked_without_asking_them(
    team: Team, direct: Kubectl, namespace: str, target: str, plain: str
) -> None:
    name = "written-back"
    direct.within(namespace).must("create", "secret", "generic", name, f"--from-literal=word={plain}")
    stored = base64.b64encode(plain.encode()).decode()
    rules = [
        allow("read", "get list update", "secrets", namespace),
        reveal(namespace, asks(count=1), names=[name]),
    ]
    agent = team.agent("editor", rules, f"{target}/{OTHER}")
    (listed,) = agent.request("GET", f"{target}?fieldSelector=metadata.name%3D{name}").json()["items"]
    assert listed["data"]["word"] != stored
    edited = {"apiVersion": "v1", "kind": "Secret", **listed}
    edited["metadata"]["labels"] = {"seen": "yes"}
    body = json.dumps(edited).encode()
    answer = agent.request("PUT", f"{target}/{name}", {"Content-Type": "application/json"}, body)
    assert answer.status == 200, answer.body
    assert stored.encode() not in answer.body
    kept = json.loads(direct.within(namespace).must("get", "secret", name, "-o", "json"))
    assert (kept["data"]["word"], kept["metadata"]["labels"]) == (stored, {"seen": "yes"})
    assert team.waiting("editor") == []


def test_a_deny_rule_wins_over_a_reveal(team: Team, namespace: str, target: str, plain: str) -> None:
    rules = [
        allow("read", "get list watch", "secrets", namespace),
        reveal(namespace, "none"),
        deny("never", "get list watch", "secrets", names=[KEY], namespaces=[namespace]),
    ]
    agent = team.agent("denied", rules, f"{target}/{OTHER}")
    for road in (f"/{KEY}", f"?fieldSelector=metadata.name%3D{KEY}"):
        answer = agent.request("GET", f"{target}{road}")
        assert answer.status == 403, road
        assert plain.encode() not in answer.body
    listed = agent.request("GET", target)
    assert (listed.status, KEY.encode() in listed.body, plain.encode() in listed.body) == (200, False, False)
    assert team.waiting("denied") == []


def test_a_reveal_opens_nothing_that_no_rule_allows(team: Team, namespace: str, target: str) -> None:
    rules = [allow("read", "get", "configmaps", namespace), reveal(namespace, asks(count=1))]
    agent = team.agent("without", rules, f"/api/v1/namespaces/{namespace}/configmaps/cm-1")
    assert agent.request("GET", f"{target}/{KEY}").status == 403
    assert team.waiting("without") == []


def mask_too(team: Team, agent: str, rules: list[dict[str, Any]], resource: str, field: str) -> None:
    """Writes the agent's policy anew, with a mask called `colour`."""
    policy = {
        "apiVersion": "narrowgate.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": agent},
        "spec": {
            "subjects": [{"kind": "Agent", "name": agent}],
            "clusters": ["dev"],
            "rules": rules,
            "masks": [{"id": "colour", "apiGroups": [""], "resources": [resource], "fields": [field]}],
        },
    }
    team.gate.write_policy_text(f"{agent}.yaml", yaml.safe_dump(policy, sort_keys=False))


def events_until_the_end(connection: Connection) -> list[dict[str, Any]]:
    """The rest of a watch, line by line."""
    body = b""
    while size := int(connection.line(), 16):
        body += connection.take(size)
        connection.line()
    return [json.loads(line) for line in body.splitlines()]


def test_a_watch_ends_with_a_reason_when_a_policy_begins_to_mask(team: Team, direct: Kubectl, namespace: str) -> None:
    direct.within(namespace).must("create", "configmap", "watched", "--from-literal=colour=plainly-red")
    rules = [allow("read", "get list watch", "configmaps", namespace)]
    configmaps = f"/api/v1/namespaces/{namespace}/configmaps"
    agent = team.agent("watcher", rules, f"{configmaps}/watched")
    with agent.connect() as connection:
        watch = f"{configmaps}?watch=1&fieldSelector=metadata.name%3Dwatched&resourceVersion=0"
        connection.send(agent.bytes_of("GET", watch))
        status, _ = connection.head()
        assert status == 200
        first = connection.take(int(connection.line(), 16))
        assert b"plainly-red" in first
        connection.line()

        mask_too(team, "watcher", rules, "configmaps", "data.colour")
        began = time.monotonic()
        rest = events_until_the_end(connection)
        assert time.monotonic() - began < END_SECONDS

    assert [event["type"] for event in rest] == ["ERROR"]
    assert "what is masked in this answer has changed" in rest[0]["object"]["message"]
    assert b"plainly-red" not in agent.request("GET", f"{configmaps}/watched").body
    shown = agent.request("GET", watch + "&timeoutSeconds=1").body
    assert b"[masked:watcher/colour:" in shown
    assert b"plainly-red" not in shown


def test_a_followed_log_ends_when_a_policy_begins_to_mask(
    team: Team, kubectl_of: Callable[[Agent], Kubectl], namespace: str
) -> None:
    rules = [allow("read", "get", "pods pods/log", namespace)]
    agent = team.agent("listener", rules, f"/api/v1/namespaces/{namespace}/pods/clock")
    with running(kubectl_of(agent).within(namespace), "logs", "-f", "clock", until=b"tick") as process:
        mask_too(team, "listener", rules, "pods", "spec.nodeName")
        assert ended(process), "the log goes on as it was masked before"
