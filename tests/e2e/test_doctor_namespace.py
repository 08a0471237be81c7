"""`narrowgate doctor --namespace` on a real cluster: every road that was planted is named, and none is made up.

Most of the planted pods are never scheduled: what they would have is in the objects, and nothing of it is meant to run.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dev.cluster.certificates import Certificates
from tests.e2e.agent_place import Place, agent_place
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import container, yaml_of

POD_SECONDS = 120.0
NOWHERE = {"node-role.kubernetes.io/control-plane": ""}
"""A choice of nodes that this cluster has none of; a road itself."""


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with agent_place(cluster, direct, run_id, tmp_path_factory.mktemp("around")) as one:
        yield one


def examined(place: Place, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = place.gate.command("doctor", *arguments, "-o", "json")
    assert done.out, done.err
    report = json.loads(done.out)
    assert report["well"] == (done.code == 0), done.text
    return done.code, report["checks"]


def findings(checks: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """What was found by check and place, without the namespace."""
    return {
        (line["check"], line["where"].partition(": ")[2]): line["found"]
        for line in checks
        if line["outcome"] == "finding"
    }


def pod(name: str, image: str, **spec: Any) -> dict[str, Any]:
    fields = {"nodeSelector": NOWHERE, "containers": [container("main", image)], "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**fields, **spec}}


@pytest.fixture(scope="module")
def planted(place: Place, run_id: str, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A namespace with one of each road."""
    name = f"ng-{run_id}-roads-{secrets.token_hex(2)}"
    place.namespaces.append(name)
    place.direct.must("create", "namespace", name)
    here = place.direct.within(name)
    here.must("wait", "--for=create", "serviceaccount/default", f"--timeout={POD_SECONDS:.0f}s")
    here.must("create", "serviceaccount", "builder")
    here.must("annotate", "serviceaccount", "builder", "eks.amazonaws.com/role-arn=arn:aws:iam::1:role/x")
    here.must("create", "rolebinding", "builder", "--clusterrole=view", f"--serviceaccount={name}:builder")
    token = here.must("create", "token", "builder").strip()
    kubeconfig = {
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": cluster.server}}],
        "users": [{"name": "u", "user": {"token": "abc"}}],
    }
    # Of an authority of the test's own: it opens nothing, and says of itself what the real ones say.
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    made = certificates.client("masters", certificates.authority("own"), user="root", group="system:masters")
    files = {"tls.crt": made.certificate, "tls.key": made.key}
    pair = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
    legacy = {"name": "legacy", "annotations": {"kubernetes.io/service-account.name": "builder"}}
    policy = {
        "podSelector": {"matchLabels": {"app": "half"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]}],
    }
    half = pod("half", cluster.image)
    half["metadata"]["labels"] = {"app": "half"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container("main", cluster.image)]}}
    privileged = container("main", cluster.image, securityContext={"privileged": True})
    host = {"name": "v", "hostPath": {"path": "/var/run"}}
    api_token = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": legacy, "type": "kubernetes.io/service-account-token"},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old"},
         "data": {"config": yaml.safe_dump(kubeconfig)}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pair"}, "type": "kubernetes.io/tls", "data": pair},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "half"}, "spec": policy},
        half,
        pod("shares", cluster.image, hostNetwork=True, hostPID=True),
        pod("privileged", cluster.image, containers=[privileged]),
        pod("socket", cluster.image, volumes=[host]),
        pod("mounts", cluster.image, automountServiceAccountToken=True, serviceAccountName="builder"),
        pod("projects", cluster.image, volumes=[api_token]),
        pod("pulls", cluster.image, imagePullSecrets=[{"name": "registry"}]),
        pod("knows", cluster.image,
            containers=[container("main", cluster.image, env=[{"name": "TOKEN", "value": token}])]),
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
         "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}},
    ]  # fmt: skip
    here.must("apply", "-f", "-", stdin=yaml_of(*objects))
    rule = {
        "id": "in", "effect": "allow", "verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"],
        "namespaces": [name], "pods": {"strongerAccounts": "allow"},
    }  # fmt: skip
    place.gate.write_policy("roads", [{"kind": "Agent", "name": "worker"}], [rule])
    return name


def test_every_planted_road_is_a_finding_by_its_own_name(place: Place, planted: str) -> None:
    code, checks = examined(place, "--namespace", planted)
    assert code == 1
    found = findings(checks)
    expected = {
        ("tokens for the API server", "pod mounts"): "a token of account builder for the API server",
        ("tokens for the API server", "pod projects"): "a token of account default for the API server",
        ("tokens for the API server", "deployments web"): "its pods get a token of account default",
        ("tokens for the API server", "service account default"): "gives every pod that does not refuse it",
        ("tokens for the API server", "service account builder"): "gives every pod that does not refuse it",
        ("rights past the gate", "service account builder"): f"(RoleBinding {planted}/builder)",
        ("credentials in objects", "secret legacy"): "a token of account builder for the API server",
        ("credentials in objects", "configmap old, config"): "a kubeconfig with a token for https://",
        ("credentials in objects", "pod knows, container main, TOKEN"): f"a token of {planted}/builder",
        (
            "credentials in objects",
            "secret pair, tls.crt",
        ): "a client certificate of root of system:masters",
        ("network past the gate", "pod half"): "network policy half leaves it",
        ("cloud identities", "service account builder"): "an AWS role (arn:aws:iam::1:role/x)",
        ("pod security of the namespace", f"namespace {planted}"): "takes pods that share the node's network",
        ("rules for stronger pods", "rule roads/in"): "pods of builder",
        ("access to nodes", "pod privileged"): "",
        ("access to nodes", "pod shares"): "",
        ("access to nodes", "pod socket"): "",
    }
    assert {key: text for key, text in expected.items() if text not in found.get(key, "(missing)")} == {}
    told = "\n".join(line["found"] for line in checks if line["check"] == "access to nodes")
    for one in ("hostNetwork; hostPID", "privileged", "mounts /var/run of the node: the container runtime's socket"):
        assert one in told
    # Nothing of a credential is shown, and whoever reads the list is told what to do about each.
    assert "eyJ" not in json.dumps(checks)
    assert all(line["toDo"] for line in checks if line["outcome"] == "finding")


def test_open_networks_are_told_with_what_lies_there(place: Place, planted: str) -> None:
    _, checks = examined(place, "--namespace", planted)
    (by_policy, by_none) = (line for line in checks if line["check"] == "network past the gate")
    if "no network policy" in by_policy["found"]:
        by_policy, by_none = by_none, by_policy
    assert "the API server (10." in by_policy["found"]
    assert "169.254.169.254" not in by_policy["found"]
    assert "169.254.169.254:80" in by_none["found"]
    assert "the kubelets (" in by_none["found"]
    doubt = next(line for line in checks if line["check"] == "network policies enforced")
    assert (doubt["outcome"], doubt["counts"]) == ("not tried", False)


def test_one_pod_is_examined_by_itself(place: Place, planted: str) -> None:
    code, checks = examined(place, "--pod", f"{planted}/privileged")
    assert code == 1
    assert {check for check, _ in findings(checks)} == {"access to nodes", "network past the gate"}
    assert not any("legacy" in line["where"] for line in checks)


def test_a_namespace_of_the_bundle_with_a_pod_of_its_template_comes_out_clean(place: Place) -> None:
    name = place.namespace("clean")
    here = place.direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(place.pod(name)))
    here.must("wait", "--for=condition=Ready", "pod/agent", f"--timeout={POD_SECONDS:.0f}s")

    code, checks = examined(place, "--namespace", name, "--pod", f"{name}/agent")

    assert (code, findings(checks)) == (0, {})
    assert {line["check"] for line in checks if line["outcome"] == "ok"} == {
        "tokens for the API server", "rights past the gate", "credentials in objects", "network past the gate",
        "access to nodes", "cloud identities", "pod security of the namespace", "rules for stronger pods",
    }  # fmt: skip


def test_what_an_operator_may_not_read_is_no_all_clear(place: Place, planted: str, tmp_path: Path) -> None:
    here = place.direct.within(planted)
    kubeconfig = yaml.safe_load(place.direct.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": here.must("create", "token", "builder").strip()}
    path = tmp_path / "operator.yaml"
    path.write_text(yaml.safe_dump(kubeconfig))
    code, checks = examined(place, "--namespace", planted, "--operator-kubeconfig", str(path))
    assert code == 1
    unread = {line["check"]: line["found"] for line in checks if line["found"].startswith("not read: ")}
    # `view` gives neither Secrets nor roles, nor anything that is in no namespace.
    assert sorted(unread) == [
        "access to nodes", "credentials in objects", "network past the gate", "rights past the gate",
        "rules for stronger pods",
    ]  # fmt: skip
    assert "secrets" in unread["credentials in objects"]


def test_what_a_pod_reaches_is_tried_from_within_when_asked(
    place: Place, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One shares the node's network, where the kubelet and the API server listen; the other has a network that leads
    # to the gate, and nowhere else.
    here = place.direct.within(planted)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("reaches", place.cluster.image, hostNetwork=True, nodeSelector={})))
    clean = place.namespace("tried")
    place.direct.within(clean).must("apply", "-f", "-", stdin=yaml_of(place.pod(clean)))
    for namespace, name in ((planted, "reaches"), (clean, "agent")):
        place.direct.must(
            "wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, f"--timeout={POD_SECONDS:.0f}s"
        )
    monkeypatch.setenv("PATH", f"{place.cluster.bin}:{os.environ['PATH']}")
    asked = ("--try", "--operator-kubeconfig", str(place.cluster.kubeconfig))

    answers: dict[str, tuple[int, dict[str, Any]]] = {}

    def comes_to(outcome: str, name: str) -> bool:
        code, checks = examined(place, "--pod", name, *asked)
        (line,) = (line for line in checks if line["check"] == "network from within")
        answers[name] = code, line
        return line["outcome"] == outcome

    # A busy machine may take longer to connect than the doctor waits: what is judged is the answer that was waited for.
    reaching, confined = f"{planted}/reaches", f"{clean}/agent"
    place.gate.wait_until(lambda: comes_to("finding", reaching), "it reaches its node")
    code, line = answers[reaching]
    assert code == 1
    assert "the kubelets (" in line["found"]
    place.gate.wait_until(lambda: comes_to("ok", confined), "it reaches the gate, and no more")
    _, line = answers[confined]
    assert line["found"].endswith("and the gate")
