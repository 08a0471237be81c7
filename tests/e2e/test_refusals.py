"""What the gate refuses on a real cluster: in words that kubectl prints, without the cluster hearing of it.

Every refusal is checked in three places: what kubectl shows, what the API server's own audit log does not have, and
what the gate's journal has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Gate
from tests.e2e.kubectl import SPDY, WEBSOCKETS, Kubectl
from tests.e2e.rules import allow, deny

KubectlOf = Callable[[Agent], Kubectl]


@pytest.fixture(scope="module")
def other(new_namespace: Callable[[str], str]) -> str:
    """A namespace that no rule of these tests names."""
    return new_namespace("other")


@pytest.fixture(scope="module")
def reader(gate: Gate, namespace: str) -> Agent:
    return gate.agent("reads-pods", [allow("read-pods", "get list watch", "pods pods/log", namespace)])


@pytest.fixture(scope="module")
def as_reader(reader: Agent, kubectl_of: KubectlOf, namespace: str) -> Kubectl:
    return kubectl_of(reader).within(namespace)


# --- nothing means no ---


def test_an_agent_that_holds_nothing_gets_nothing_not_even_the_list_of_resources(
    gate: Gate, kubectl_of: KubectlOf, cluster: Cluster
) -> None:
    agent = gate.agent("nobody")
    kubectl = kubectl_of(agent)
    begun = cluster.audit_position()

    for call in ("get pods", "api-resources", "version", "delete pod x", "get --raw /version", "auth can-i get pods"):
        ran = kubectl(*call.split())
        assert ran.code == 1, call
        # Even where kubectl asks for nothing but discovery, it says what is missing and who could change that.
        assert b"holds nothing on this cluster" in ran.err, (call, ran.err)
    assert cluster.audited(agent.name, begun) == []


def test_who_holds_one_thing_may_discover_and_ask_about_itself(as_reader: Kubectl) -> None:
    assert b"deployments" in as_reader.must("api-resources").encode()
    assert as_reader.must("get", "--raw", "/version")
    assert as_reader("auth", "can-i", "get", "pods").out == b"yes\n"


def test_what_is_allowed_passes(as_reader: Kubectl) -> None:
    assert b"clock" in as_reader("get", "pods").out


def test_a_refusal_is_one_line_that_says_who_what_where_and_that_no_rule_allows_it(
    as_reader: Kubectl, namespace: str
) -> None:
    ran = as_reader("delete", "pod", "clock")

    lines = ran.err.decode().strip().splitlines()
    assert ran.code == 1
    assert len(lines) == 1
    for words in (
        "Error from server (Forbidden)",
        "reads-pods",
        "delete pods",
        '"clock"',
        namespace,
        '"dev"',
        "no rule",
    ):
        assert words in lines[0]


def test_a_refused_request_never_reaches_the_cluster_and_is_in_the_journal(
    gate: Gate, reader: Agent, cluster: Cluster, namespace: str, marker: str
) -> None:
    begun = cluster.audit_position()

    refused = reader.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/clock", {"User-Agent": marker})
    allowed = reader.request("GET", f"/api/v1/namespaces/{namespace}/pods/clock", {"User-Agent": marker})

    assert (refused.status, allowed.status) == (403, 200)
    # The allowed one is there, so the log is being written; the refused one is not.
    gate.wait_until(lambda: bool(cluster.audited(marker, begun)), "the allowed request in the API server's audit log")
    assert {event["verb"] for event in cluster.audited(marker, begun)} == {"get"}
    denied = [
        event for event in gate.events(marker) if event["verb"] == "delete" and event["stage"] == "ResponseComplete"
    ]
    assert len(denied) == 1
    assert denied[0]["responseStatus"]["code"] == 403
    assert denied[0]["user"]["username"].endswith("reads-pods")
    assert denied[0]["annotations"]["narrowgate.dev/decision"] == "deny"


@pytest.mark.parametrize(
    "call",
    [
        "get secrets",
        "get configmaps",
        "get pods -n {other}",
        "get nodes",
        "get namespaces",
        "exec clock -- true",
        "attach clock",
        "port-forward clock :80",
        "cp clock:/etc/passwd /dev/null",
        "delete pods --all",
        "label pod clock a=b",
        "run new --image=x",
        "create configmap new",
        "scale deployment web --replicas=0",
        "get --raw /metrics",
        "get --raw /api/v1/nodes",
        "create token default",
        "auth can-i delete pods",
        "debug clock --image=x",
        "drain somewhere",
    ],
)
@pytest.mark.parametrize("transport", [WEBSOCKETS, SPDY], ids=["websocket", "spdy"])
def test_a_reader_of_pods_does_nothing_else(
    call: str, transport: Mapping[str, str], as_reader: Kubectl, other: str, cluster: Cluster, namespace: str
) -> None:
    begun = cluster.audit_position()

    ran = as_reader.using(transport)(*call.replace("{other}", other).split())

    assert ran.code == 1
    if "can-i" not in call:
        assert b"may not" in ran.err
    changed = [
        event
        for event in cluster.audited(f"/{namespace}/", begun)
        if event["verb"] not in ("get", "list", "watch") and event.get("userAgent", "").startswith("kubectl")
    ]
    assert changed == []


def test_an_unknown_resource_is_refused_by_name(admin: Agent, namespace: str) -> None:
    answer = admin.request("GET", f"/api/v1/namespaces/{namespace}/gizmos/one")

    assert answer.status == 403
    assert "gizmos" in answer.message


def test_deny_wins_over_every_allow_and_names_its_rule(gate: Gate, kubectl_of: KubectlOf, namespace: str) -> None:
    agent = gate.agent("almost-all", ALLOW_ALL_RULES)
    rule = deny("no-red-buttons", "delete deletecollection", "configmaps", namespaces=[namespace])
    gate.write_policy("guard", [{"kind": "Agent", "name": agent.name}], [rule])
    kubectl = kubectl_of(agent).within(namespace)
    target = f"/api/v1/namespaces/{namespace}/configmaps/not-there"
    gate.wait_until(lambda: agent.request("DELETE", target).status == 403, "the deny rule in force")

    ran = kubectl("delete", "configmap", "cm-1")

    assert ran.code == 1
    assert b"no-red-buttons" in ran.err
    assert b"guard" in ran.err
    assert kubectl("delete", "configmaps", "--all").code == 1
    assert kubectl("get", "configmap", "cm-1").code == 0
    assert kubectl("delete", "secret", "not-there", "--ignore-not-found").code == 0


def test_a_deny_rule_for_a_namespace_holds_for_lists_that_would_reach_it(
    gate: Gate, namespace: str, other: str
) -> None:
    agent = gate.agent("across", ALLOW_ALL_RULES)
    rule = deny("hands-off", "get list watch deletecollection", "secrets", namespaces=[namespace])
    gate.write_policy("hands-off", [{"kind": "Agent", "name": agent.name}], [rule])
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    gate.wait_until(lambda: agent.request("GET", secrets).status == 403, "the deny rule in force")

    everywhere = agent.request("GET", "/api/v1/secrets")

    assert everywhere.status == 200
    assert not [one for one in everywhere.json()["items"] if one["metadata"]["namespace"] == namespace]
    watched = agent.request("GET", "/api/v1/secrets?watch=1&timeoutSeconds=1&resourceVersion=0")
    assert watched.status == 200
    assert namespace.encode() not in watched.body
    refused = agent.request("DELETE", f"{secrets}?dryRun=All")
    assert refused.status == 403
    assert "hands-off" in refused.message
    assert agent.request("GET", f"/api/v1/namespaces/{other}/secrets").status == 200


def test_what_people_would_have_to_allow_is_refused_and_says_how_it_would_be_asked(
    gate: Gate, kubectl_of: KubectlOf, namespace: str
) -> None:
    grantable = {
        **allow("on-request", "delete", "pods", namespace),
        "effect": "grantable",
        "maxDuration": "1h",
        "approval": "none",
    }
    approve = {
        **allow("ask-people", "get", "secrets", namespace),
        "effect": "approve",
        "approval": {"from": [{"group": "sre", "count": 1}], "within": "5m"},
    }
    agent = gate.agent("asks", [allow("read", "get list", "pods", namespace), grantable, approve])
    kubectl = kubectl_of(agent).within(namespace)

    for_a_task = kubectl("delete", "pod", "clock")
    for_people = kubectl("get", "secret", "anything")

    assert (for_a_task.code, for_people.code) == (1, 1)
    assert b"narrowgate tasks request" in for_a_task.err
    assert b"ask-people" in for_people.err


def test_names_and_namespaces_bound_what_is_allowed(
    gate: Gate, kubectl_of: KubectlOf, namespace: str, other: str
) -> None:
    rules = [
        allow("one", "get", "configmaps", namespace, names=["cm-1"]),
        # Without namespaces: what lives in none.
        {key: value for key, value in allow("nodes", "list", "nodes pods", "").items() if key != "namespaces"},
    ]
    kubectl = kubectl_of(gate.agent("bounded", rules)).within(namespace)

    assert kubectl("get", "configmap", "cm-1").code == 0
    assert kubectl("get", "nodes").code == 0
    for call in ("get configmap cm-2", "get configmaps", "get configmap cm-1 -n " + other, "get pods", "get pods -A"):
        ran = kubectl(*call.split())
        assert ran.code == 1, call
        assert b"may not" in ran.err, call


# --- credentials ---


def test_kubectl_says_what_is_wrong_with_a_credential(
    gate: Gate, kubectl_of: KubectlOf, reader: Agent, namespace: str, tmp_path: Any
) -> None:
    broken = tmp_path / "broken.kubeconfig"
    broken.write_text(reader.kubeconfig.read_text().replace(reader.token, reader.token[:-2] + "zz"))

    ran = kubectl_of(Agent(**{**vars(reader), "kubeconfig": broken})).within(namespace)("get", "pods")

    assert ran.code == 1
    assert b"Unauthorized" in ran.err or b"logged in" in ran.err or b"credential" in ran.err


def test_an_expired_credential_opens_nothing_and_says_so(gate: Gate, namespace: str) -> None:
    kubeconfig = gate.folder / "brief.kubeconfig"
    done = gate.command(
        "agents", "add", "brief", "--owner", "person:test", "--purpose", "test", "--cluster", "dev", "--for", "5s",
        "--kubeconfig", str(kubeconfig),
    )  # fmt: skip
    assert done.code == 0, done.text
    agent = gate.agent_from("brief", kubeconfig)
    gate.allow("brief", [allow("read", "get list", "pods", namespace)])

    pods = f"/api/v1/namespaces/{namespace}/pods"
    gate.wait_until(lambda: "expired" in agent.request("GET", pods).message_or_nothing, "the credential to expire")

    answer = agent.request("GET", pods)
    assert answer.status == 401
    assert "expired" in answer.message


def test_a_rotated_credential_replaces_the_old_one(gate: Gate, namespace: str) -> None:
    old = gate.agent("rotated", [allow("read", "get list", "pods", namespace)])
    kubeconfig = gate.folder / "rotated-anew.kubeconfig"

    done = gate.command("agents", "rotate", "rotated", "--kubeconfig", str(kubeconfig))

    assert done.code == 0, done.text
    new = gate.agent_from("rotated", kubeconfig)
    gate.wait_until(lambda: new.request("GET", "/version").status == 200, "the new credential is known")
    gate.wait_until(lambda: old.request("GET", "/version").status == 401, "the old credential is worth nothing")


@pytest.mark.parametrize("arguments", [("--as=system:admin",), ("--as=reads-pods", "--as-group=system:masters")])
def test_speaking_for_somebody_else_is_refused_in_so_many_words(arguments: tuple[str, ...], through: Kubectl) -> None:
    ran = through("get", "pods", *arguments)

    assert ran.code == 1
    assert b"impersonat" in ran.err.lower()
