"""Workloads with nothing but what Kubernetes gives them: projected ServiceAccount tokens open the gate, in their name.

The gate's account is made from its own manifests and may impersonate, and ask about tokens, and nothing else. The pod
has an address of its own and reaches the gate on the bridge between them, as any pod reaches a service of its cluster.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from dev.cluster.node import Slot
from tests.e2e.gate import REPOSITORY, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.test_upstream_modes import Installed, audited
from tests.e2e.workloads import pod, yaml_of
from tests.told_cluster import ToldCluster

POD_SECONDS = 60.0
# A deleted pod's token is worth nothing a minute later; a busy machine is not in a hurry.
GONE_SECONDS = 90.0
RULES = [
    {"id": "maps", "effect": "allow", "verbs": ["get", "list", "watch", "create"], "apiGroups": [""],
     "resources": ["configmaps"]},
]  # fmt: skip


class Place:
    """A gate that takes ServiceAccount tokens, and a namespace whose account `deployer` may read ConfigMaps."""

    def __init__(self, installed: Installed, cluster: Cluster) -> None:
        self.installed = installed
        self.gate = installed.gate
        self.direct = installed.direct
        self.cluster = cluster
        self.namespace = installed.namespace
        self.maps = f"/api/v1/namespaces/{self.namespace}/configmaps"

    def token(self, account: str = "deployer", *options: str, audience: str = "narrowgate") -> str:
        wanted = ["--audience", audience] if audience else []
        return self.direct.must(
            "create", "token", account, "-n", self.namespace, "--duration=10m", *wanted, *options
        ).strip()

    def caller(self, token: str) -> Agent:
        """Whoever holds this token, at the data port."""
        address = gate_address(self.cluster)
        ca = (self.gate.data_dir / "keys" / "ca.pem").read_text()
        return Agent("workload", Path("/nonexistent"), address, self.gate.kubernetes_port, ca, token)

    def get(self, token: str, target: str = "") -> tuple[int, str]:
        answer = self.caller(token).request("GET", target or self.maps)
        return answer.status, answer.message if answer.status != 200 else ""

    def wait_until_refused(self, token: str) -> str:
        self.gate.wait_until(lambda: self.get(token)[0] == 401, "the token opens nothing", GONE_SECONDS)
        return self.get(token)[1]


def gate_address(cluster: Cluster) -> str:
    """Address of this machine on the bridge of the cluster's pods."""
    described = json.loads((REPOSITORY / ".cluster" / "cluster.json").read_text())
    if not described["nodeAddress"]:
        # Failing is the point: without a pod that comes through the gate nothing is proven here.
        pytest.fail("cluster.json has no nodeAddress: unset KUBECONFIG, so that a cluster with a node is made here")
    slot = Slot(int(described["nodeAddress"].rpartition(".")[2]))
    return slot.bridge_address.partition("/")[0]


def made(cluster: Cluster, direct: Kubectl, names: Sequence[str], folder: Path, *options: str) -> Installed:
    account, namespace = names
    entry = {
        "name": "dev",
        "server": cluster.server,
        "certificateAuthority": str(cluster.ca),
        "tokenFile": str(folder / "token"),
        "upstream": {"mode": "impersonate", "accountNamespace": account},
    }
    address = gate_address(cluster)
    authentication = {"serviceAccounts": {"audience": "narrowgate"}}
    gate = Gate(folder, [entry], {"authentication": authentication, "tls": {"names": [address]}})
    document = yaml.safe_load(gate.config.read_text())
    document["listen"]["kubernetes"] = f"{address}:{gate.kubernetes_port}"
    gate.config.write_text(yaml.safe_dump(document, sort_keys=False))
    one = Installed(gate, direct, account, namespace)
    one.token_file.write_text("none-yet")
    rules = [{**rule, "namespaces": [namespace]} for rule in RULES]
    gate.write_policy("deployers", [{"kind": "ServiceAccount", "name": f"{namespace}/deployer"}], rules)
    direct.must("create", "serviceaccount", "deployer", "-n", namespace)
    one.install(*options)
    return one


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    names = [f"ng-{run_id}-sa-{secrets.token_hex(2)}", f"ng-{run_id}-pods-{secrets.token_hex(2)}"]
    for name in names:
        direct.must("create", "namespace", name)
    one = made(cluster, direct, names, tmp_path_factory.mktemp("workloads") / "gate")
    one.gate.start()
    yield Place(one, cluster)
    one.gate.stop()
    one.remove()
    direct("delete", "namespace", *names, "--wait=false")


def kubeconfig(place: Place) -> str:
    """What the pod is given: where the gate is, how to know it, and where its own token lies. No secret."""
    ca = base64.b64encode((place.gate.data_dir / "keys" / "ca.pem").read_bytes()).decode()
    server = f"https://{gate_address(place.cluster)}:{place.gate.kubernetes_port}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gate", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "me", "user": {"tokenFile": "/var/run/secrets/gate/token"}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "me", "namespace": place.namespace}}],
        "current-context": "gate",
    }
    return yaml.safe_dump(document)


@pytest.fixture(scope="module")
def client(place: Place) -> str:
    """A pod with a projected token for the gate, and no other credential."""
    token = {"serviceAccountToken": {"audience": "narrowgate", "expirationSeconds": 600, "path": "token"}}
    document = pod(
        "client",
        place.cluster.image,
        hostNetwork=False,
        serviceAccountName="deployer",
        automountServiceAccountToken=False,
        volumes=[
            {"name": "token", "projected": {"sources": [token]}},
            {"name": "gate", "configMap": {"name": "gate"}},
            {"name": "tools", "hostPath": {"path": str(place.cluster.bin), "type": "Directory"}},
        ],
    )
    document["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "token", "mountPath": "/var/run/secrets/gate", "readOnly": True},
        {"name": "gate", "mountPath": "/etc/gate", "readOnly": True},
        {"name": "tools", "mountPath": "/tools", "readOnly": True},
    ]
    here = place.direct.within(place.namespace)
    here.must("create", "configmap", "gate", f"--from-literal=kubeconfig={kubeconfig(place)}")
    here.must("apply", "-f", "-", stdin=yaml_of(document))
    here.must("wait", "--for=condition=Ready", "pod/client", f"--timeout={POD_SECONDS:.0f}s")
    return "client"


def in_pod(place: Place, name: str, *arguments: str) -> Any:
    """Run kubectl in the pod, through the gate."""
    here = place.direct.within(place.namespace)
    return here(
        "exec", name, "--", "/tools/kubectl", "--kubeconfig=/etc/gate/kubeconfig", "--cache-dir=/tmp/cache", *arguments
    )


def test_a_pod_reaches_its_cluster_with_its_projected_token_only(
    place: Place, client: str, cluster: Cluster, marker: str
) -> None:
    since = cluster.audit_position()

    done = in_pod(place, client, "get", "configmaps", "-o", "name", "-l", f"!{marker}")

    assert done.code == 0, done.text
    assert "configmap/gate" in done.text
    # The text alone is in the command of the exec as well.
    asked = f"labelSelector=%21{marker}"
    entry = audited(cluster, asked, since)
    mine = json.loads(place.direct.must("get", "pod", client, "-n", place.namespace, "-o", "json"))
    assert entry["user"]["username"] == f"system:serviceaccount:{place.installed.account}:narrowgate"
    impersonated = entry["impersonatedUser"]
    assert impersonated["username"] == f"narrowgate:serviceaccount:{place.namespace}/deployer"
    assert set(impersonated["groups"]) == {"narrowgate:serviceaccounts", "system:authenticated"}
    ours = place.gate.wait_for_event(asked)
    assert impersonated["extra"] == {
        "narrowgate.dev/chain": [f"serviceaccount:{place.namespace}/deployer"],
        "narrowgate.dev/request": [ours["auditID"]],
        "narrowgate.dev/pod": ["client"],
        "narrowgate.dev/pod-uid": [mine["metadata"]["uid"]],
        "narrowgate.dev/node": [cluster.node],
    }
    assert entry["auditID"] == ours["auditID"]
    assert ours["user"]["username"] == f"serviceaccount:{place.namespace}/deployer"


def test_everything_a_client_does_works_from_the_pod(place: Place, client: str) -> None:
    created = in_pod(place, client, "create", "configmap", "made-by-pod", "--from-literal=a=b")
    assert created.code == 0, created.text
    raw = in_pod(place, client, "get", "--raw", f"{place.maps}/made-by-pod")
    assert json.loads(raw.out)["data"] == {"a": "b"}
    who = in_pod(place, client, "auth", "whoami", "-o", "json")
    assert json.loads(who.out)["status"]["userInfo"]["username"].endswith(f"{place.namespace}/deployer")
    refused = in_pod(place, client, "get", "secrets")
    assert refused.code == 1
    assert "secrets" in refused.text


def test_the_pod_holds_no_credential_that_opens_the_cluster_itself(place: Place, client: str, cluster: Cluster) -> None:
    here = place.direct.within(place.namespace)
    token = here.must("exec", client, "--", "cat", "/var/run/secrets/gate/token").strip()
    direct = subprocess.run(
        [cluster.kubectl, "--kubeconfig=/dev/null", f"--server={cluster.server}",
         f"--certificate-authority={cluster.ca}", f"--token={token}", "get", "configmaps", "-n", place.namespace],
        capture_output=True,
        text=True,
        timeout=POD_SECONDS,
    )  # fmt: skip
    assert "provide credentials" in direct.stderr or "Unauthorized" in direct.stderr, direct.stderr
    # And through the gate the very same token is good, with the cluster named in the path or not.
    assert place.get(token) == (200, "")
    assert place.get(token, f"/clusters/dev{place.maps}") == (200, "")
    assert place.get(token, f"/clusters/other{place.maps}")[0] == 403


# --- attacks


def test_a_token_for_the_api_server_opens_nothing_at_the_gate(place: Place) -> None:
    for audience in ("", "other"):
        status, message = place.get(place.token(audience=audience))
        assert status == 401
        assert "audience narrowgate" in message


def test_a_token_that_was_changed_opens_nothing(place: Place) -> None:
    head, body, signature = place.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["kubernetes.io"]["serviceaccount"]["name"] = "default"
    claims["sub"] = f"system:serviceaccount:{place.namespace}:default"
    other = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    for token in (f"{head}.{other}.{signature}", f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}."):
        assert place.get(token)[0] == 401


def test_a_token_from_a_secret_opens_nothing(place: Place) -> None:
    name = f"legacy-{secrets.token_hex(3)}"
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": "deployer"}},
        "type": "kubernetes.io/service-account-token",
    }
    here = place.direct.within(place.namespace)
    here.must("apply", "-f", "-", stdin=yaml_of(document))
    found: list[str] = []

    def filled() -> bool:
        found[:] = [here.must("get", "secret", name, "-o", "jsonpath={.data.token}")]
        return bool(found[0])

    place.gate.wait_until(filled, "Kubernetes writes the token into the Secret")
    status, message = place.get(base64.b64decode(found[0]).decode())
    assert status == 401
    assert "comes from a Secret" in message


def test_a_token_of_another_cluster_opens_nothing_though_its_issuer_has_the_same_name(place: Place) -> None:
    real = json.loads(base64.urlsafe_b64decode(place.token().split(".")[1] + "=="))
    other = ToldCluster(real["iss"])
    forged = other.sign(real)
    status, message = place.get(forged)
    assert status == 401
    assert "not signed by a key of its cluster" in message


def test_an_account_that_no_policy_names_may_do_nothing(place: Place) -> None:
    assert place.get(place.token("default"))[0] == 403


def test_a_deleted_pod_ends_its_requests_and_its_watch_within_a_minute(place: Place) -> None:
    here = place.direct.within(place.namespace)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("brief", place.cluster.image, serviceAccountName="deployer")))
    here.must("wait", "--for=condition=Ready", "pod/brief", f"--timeout={POD_SECONDS:.0f}s")
    token = place.token("deployer", "--bound-object-kind=Pod", "--bound-object-name=brief")
    assert place.get(token) == (200, "")
    caller = place.caller(token)
    with caller.connect(seconds=GONE_SECONDS) as watch:
        watch.send(caller.bytes_of("GET", f"{place.maps}?watch=1&resourceVersion=0"))
        here.must("delete", "pod", "brief", "--grace-period=1", "--wait=true")
        deleted = time.monotonic()

        message = place.wait_until_refused(token)

        assert "invalidated" in message
        answer = watch.response("GET")
        assert b'"ERROR"' in answer.body
        assert b"invalidated" in answer.body
    assert time.monotonic() - deleted < GONE_SECONDS


def test_a_deleted_account_ends_its_tokens(place: Place) -> None:
    here = place.direct.within(place.namespace)
    here.must("create", "serviceaccount", "brief")
    token = place.token("brief")
    assert place.get(token)[0] == 403
    here.must("delete", "serviceaccount", "brief")
    assert "not accepted by its cluster" in place.wait_until_refused(token)


# --- what the gate's account needs in the cluster


def test_the_account_may_ask_about_tokens_and_impersonate_and_nothing_else(place: Place) -> None:
    checked = place.gate.command("clusters", "check", "dev", "-o", "json")
    lines = {line["check"]: line for line in json.loads(checked.out)["dev"]}
    assert (lines["rights"]["outcome"], lines["fence"]["outcome"], lines["tokens"]["outcome"]) == ("ok", "ok", "ok")
    assert "kubernetes.default" in lines["tokens"]["found"]


def test_without_that_right_the_caller_is_told_and_the_check_says_what_to_run(place: Place) -> None:
    binding = f"clusterrolebinding/{place.installed.account}-narrowgate:token-reviewer"
    kept = place.direct.must("get", binding, "-o", "yaml")
    place.direct.must("delete", binding)
    try:
        place.gate.wait_until(lambda: place.get(place.token())[0] == 503, "the cluster refuses the review")
        _, message = place.get(place.token())
        assert "narrowgate clusters manifests dev | kubectl apply -f -" in message
        lines = json.loads(place.gate.command("clusters", "check", "dev", "-o", "json").out)["dev"]
        lacking = next(line for line in lines if line["check"] == "needs")
        assert lacking["outcome"] == "warning"
        assert lacking["details"] == ["create tokenreviews.authentication.k8s.io"]
        assert "clusters manifests dev" in lacking["toDo"]
    finally:
        place.direct.must("apply", "-f", "-", stdin=kept.encode())
    place.gate.wait_until(lambda: place.get(place.token()) == (200, ""), "it works again without a restart")


def test_constrained_impersonation_carries_the_pod_along(
    cluster: Cluster, direct: Kubectl, run_id: str, tmp_path: Path, marker: str
) -> None:
    names = [f"ng-{run_id}-sa-{secrets.token_hex(2)}", f"ng-{run_id}-pods-{secrets.token_hex(2)}"]
    for name in names:
        direct.must("create", "namespace", name)
    one = made(cluster, direct, names, tmp_path / "gate", "--constrained")
    try:
        one.gate.start()
        place = Place(one, cluster)
        here = direct.within(place.namespace)
        here.must("apply", "-f", "-", stdin=yaml_of(pod("bound", cluster.image, serviceAccountName="deployer")))
        here.must("wait", "--for=condition=Ready", "pod/bound", f"--timeout={POD_SECONDS:.0f}s")
        token = place.token("deployer", "--bound-object-kind=Pod", "--bound-object-name=bound")
        since = cluster.audit_position()

        assert place.get(token, f"{place.maps}?labelSelector={marker}") == (200, "")

        extra = audited(cluster, marker, since)["impersonatedUser"]["extra"]
        assert extra["narrowgate.dev/pod"] == ["bound"]
        assert extra["narrowgate.dev/node"] == [cluster.node]
    finally:
        one.gate.stop()
        one.remove()
        direct("delete", "namespace", *names, "--wait=false")
