"""A refused request is asked for by its id, on a real cluster: the smallest task that lets it pass, and one's own."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Cluster, Gate
from tests.e2e.signing_in import authority_of
from tests.e2e.tasks import AgentTerminal, grantable, hinted, terminal

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "registry.k8s.io/pause:3.10",
                "envFrom": [{"secretRef": {"name": "word"}}, {"configMapRef": {"name": "conf"}}],
            }
        ],
    },
}


@pytest.fixture(scope="module")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    made = Gate(tmp_path_factory.mktemp("denied"), [entry], settings={"workers": 2})
    made.write_policy("nobody", [{"kind": "Agent", "name": "nobody"}], [grantable("none", "get", "pods", "none")])
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def offered(gate: Gate, cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> AgentTerminal:
    found = terminal(gate, cluster, "refused", tmp_path_factory.mktemp("refused"))
    rules = [
        grantable("write", "create get list", "pods", namespace),
        grantable("use", "get", "secrets configmaps serviceaccounts", namespace, maxDuration="30m"),
    ]
    gate.allow("refused", rules)
    wish = ("tasks", "request", "--reason", "x", "--dry-run", "--allow", f"list pods -n {namespace}")
    gate.wait_until(lambda: found(*wish).code == 0, "the policy offers it")
    return found


def sent(agent: AgentTerminal, method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any, str]:
    """One request of the agent's own: its status, its document, and the id that the answer names."""
    request = urllib.request.Request(
        f"https://127.0.0.1:{agent.gate.kubernetes_port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {token or agent.agent.token}", "Content-Type": "application/json"},
        method=method,
    )
    context = ssl.create_default_context(cafile=str(authority_of(agent.gate)))
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status, json.load(answer), str(answer.headers["Audit-Id"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), str(error.headers["Audit-Id"])


def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def test_what_a_refused_request_lacked_is_granted_and_nothing_more(offered: AgentTerminal, namespace: str) -> None:
    pod = POD | {"metadata": {"name": "asked", "namespace": namespace}}
    code, refused, audit_id = sent(offered, "POST", pods(namespace), pod)
    assert code == 403
    causes = {one["reason"]: one["message"] for one in refused["details"]["causes"]}
    assert causes["NarrowgateRequest"] == audit_id
    task = offered.document("tasks", "request", "--reason", "start it", "--for", "5m", "--from-denied", audit_id)
    granted = {rule["text"] for rule in task["allow"]}
    assert granted == {
        f"create pods/asked -n {namespace}",
        f"get secrets/word -n {namespace}",
        f"get configmaps/conf -n {namespace}",
    }
    assert sent(offered, "POST", f"{pods(namespace)}?dryRun=All", pod, task["credential"])[0] == 201
    other = POD | {"metadata": {"name": "other", "namespace": namespace}}
    assert sent(offered, "POST", f"{pods(namespace)}?dryRun=All", other, task["credential"])[0] == 403


def test_the_refusal_itself_ends_with_the_command_for_all_of_it(offered: AgentTerminal, namespace: str) -> None:
    pod = POD | {"metadata": {"name": "told", "namespace": namespace}}
    path = offered.shell.folder / "pod.json"
    path.write_text(json.dumps(pod))
    standing = offered.kubectl(offered.agent.kubeconfig)
    refused = standing("create", "--raw", pods(namespace), "-f", path)
    assert refused.code == 1
    assert refused.text.count("--allow") == 3
    assert offered(*hinted(refused), "--dry-run").code == 0


def test_several_refusals_become_one_task(offered: AgentTerminal, namespace: str) -> None:
    ids = [sent(offered, "GET", f"/api/v1/namespaces/{namespace}/{what}")[2] for what in ("pods", "pods/web", "pods")]
    done = offered.document("tasks", "request", "--reason", "look", *(f"--from-denied={one}" for one in ids))
    assert [rule["text"] for rule in done["allow"]] == [f"list pods -n {namespace}", f"get pods/web -n {namespace}"]


def test_a_dry_run_says_what_would_be_granted_and_asks_for_nothing(offered: AgentTerminal, namespace: str) -> None:
    audit_id = sent(offered, "GET", pods(namespace))[2]
    said = offered("tasks", "request", "--reason", "look", "--from-denied", audit_id, "--dry-run")
    assert (said.code, f"list pods -n {namespace}" in said.text, "approval: none" in said.text) == (0, True, True)
    before = offered.document("tasks", "list")
    offered("tasks", "request", "--reason", "look", "--from-denied", audit_id, "--dry-run")
    assert offered.document("tasks", "list") == before


def test_another_agents_refusal_is_none(
    offered: AgentTerminal, gate: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    audit_id = sent(offered, "GET", pods(namespace))[2]
    offered.document("tasks", "request", "--reason", "look", "--from-denied", audit_id, "--dry-run")
    other = terminal(gate, cluster, "another", tmp_path)
    for asked in (audit_id, "0" * 32):
        done = other("tasks", "request", "--reason", "look", "--from-denied", asked)
        assert done.code == 1
        assert "of yours, or of an agent you answer for" in done.text


def test_what_no_policy_offers_is_said_when_it_is_asked_for(offered: AgentTerminal) -> None:
    audit_id = sent(offered, "GET", "/api/v1/nodes")[2]
    done = offered("tasks", "request", "--reason", "look", "--from-denied", audit_id)
    assert (done.code, "no policy offers it" in done.text) == (1, True)
