"""In whose name requests reach the cluster: as whoever sends them, as a policy's own account, or as the gate.

The accounts are made as an operator makes them: `narrowgate clusters manifests` to `kubectl apply`. Only the names of
what lives outside the account's namespace are changed, so that runs on one cluster do not meet.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl

AUDIT_SECONDS = 90.0
READS: list[dict[str, Any]] = [
    {"id": "maps", "effect": "allow", "verbs": ["get", "list", "create", "delete"], "apiGroups": [""],
     "resources": ["configmaps"], "namespaces": ["NAMESPACE"]},
]  # fmt: skip
SECRETS: dict[str, Any] = {
    "id": "secrets", "effect": "allow", "verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"],
    "namespaces": ["NAMESPACE"],
}  # fmt: skip


def rules_in(namespace: str, *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**rule, "namespaces": [namespace]} for rule in (*READS, *more)]


class Installed:
    """A gate whose account in the cluster was made from its own manifests."""

    def __init__(self, gate: Gate, direct: Kubectl, account: str, namespace: str) -> None:
        self.gate = gate
        self.direct = direct
        self.account = account
        self.namespace = namespace
        self.token_file = gate.folder / "token"
        self.token = ""
        self._outside: list[str] = []

    def install(self, *options: str) -> None:
        """Apply the manifests, and give the gate a token of its account."""
        printed = self.gate.command("clusters", "manifests", "dev", *options)
        assert printed.code == 0, printed.text
        objects = [document for document in yaml.safe_load_all(printed.out) if document]
        for each in objects:
            self._rename(each)
        self.direct.must("apply", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())
        self.renew()

    def _rename(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        if "namespace" not in metadata and document["kind"] != "Namespace":
            metadata["name"] = f"{self.account}-{metadata['name']}"
            self._outside.append(f"{document['kind']}/{metadata['name']}")
        if document.get("roleRef", {}).get("kind") == "ClusterRole":
            document["roleRef"]["name"] = f"{self.account}-{document['roleRef']['name']}"

    def renew(self) -> None:
        self.token = self.direct.must("create", "token", "narrowgate", "-n", self.account, "--duration=1h").strip()
        # Written beside and renamed, as the kubelet does with projected tokens.
        unfinished = self.token_file.with_suffix(".new")
        unfinished.write_text(self.token)
        unfinished.rename(self.token_file)

    def remove(self) -> None:
        for each in self._outside:
            self.direct("delete", each, "--ignore-not-found", "--wait=false")


@pytest.fixture
def installed(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], run_id: str, tmp_path: Path
) -> Iterator[Callable[..., Installed]]:
    """Makes a gate of a mode, with an agent `reader` that may read ConfigMaps in one namespace."""
    made: list[Installed] = []

    def make(mode: str, **more: Any) -> Installed:
        account, namespace = new_namespace(f"gate-{secrets.token_hex(2)}"), new_namespace("work")
        entry = {
            "name": "dev",
            "server": cluster.server,
            "certificateAuthority": str(cluster.ca),
            "tokenFile": str(tmp_path / "gate" / "token"),
            "upstream": {"mode": mode, "accountNamespace": account},
            **more,
        }
        gate = Gate(tmp_path / "gate", [entry])
        one = Installed(gate, direct, account, namespace)
        # There has to be a file before a command reads the configuration.
        one.token_file.write_text("none-yet")
        gate.agent("reader", rules_in(namespace))
        one.install()
        made.append(one)
        return one

    yield make
    for each in made:
        if each.gate.running():
            each.gate.stop()
        each.remove()


def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def audited(cluster: Cluster, marker: str, since: int) -> dict[str, Any]:
    """The API server's own last entry for a request; it may be written just after the answer."""
    deadline = time.monotonic() + AUDIT_SECONDS
    while time.monotonic() < deadline:
        found = [event for event in cluster.audited(marker, since) if event["stage"] == "ResponseComplete"]
        if found:
            return found[-1]
        time.sleep(0.1)
    raise AssertionError(f"no audit entry for {marker}")


def assert_hidden(installed: Installed, *tokens: str, answers: list[bytes]) -> None:
    """No credential for the cluster in anything that an agent or a reader of the record gets to see."""
    gate = installed.gate
    seen = b"\n".join([*answers, gate.journal_text().encode(), gate.log.read_bytes()])
    for token in tokens:
        assert token
        # The signature alone would be a leak, too, and so would the token in another coat.
        for form in (token, token.rpartition(".")[2], base64.b64encode(token.encode()).decode()):
            assert form.encode() not in seen


def test_impersonated_requests_arrive_as_whoever_sent_them(
    installed: Callable[[str], Installed], cluster: Cluster, marker: str
) -> None:
    made = installed("impersonate")
    reader = made.gate.start().agent("reader", rules_in(made.namespace))
    since = cluster.audit_position()

    answer = reader.request("GET", f"{maps(made.namespace)}?labelSelector={marker}")

    assert answer.status == 200, answer.body
    entry = audited(cluster, marker, since)
    assert entry["user"]["username"] == f"system:serviceaccount:{made.account}:narrowgate"
    assert entry["impersonatedUser"]["username"] == "narrowgate:agent:reader"
    assert "narrowgate:agents" in entry["impersonatedUser"]["groups"]
    assert entry["impersonatedUser"]["extra"]["narrowgate.dev/chain"] == ["agent:reader"]
    ours = made.gate.wait_for_event(marker)
    assert entry["auditID"] == ours["auditID"]
    assert entry["impersonatedUser"]["extra"]["narrowgate.dev/request"] == [ours["auditID"]]

    # What the gate allows and the cluster's own RBAC does not: the cluster has the last word.
    made.gate.allow("reader", rules_in(made.namespace, SECRETS))
    path = f"/api/v1/namespaces/{made.namespace}/secrets"
    made.gate.wait_until(lambda: "User" in reader.request("GET", path).message, "the gate allows it")
    refusal = reader.request("GET", path)
    assert (refusal.status, 'User "narrowgate:agent:reader" cannot list' in refusal.message) == (403, True)
    assert_hidden(made, made.token, answers=[answer.body, refusal.body])


def test_the_headers_of_a_caller_change_nothing_about_who_it_is(
    installed: Callable[[str], Installed], cluster: Cluster, marker: str
) -> None:
    made = installed("impersonate")
    reader = made.gate.start().agent("reader", rules_in(made.namespace))
    since = cluster.audit_position()
    pretending = {"X-Remote-User": "root", "X-Remote-Group": "system:masters", "Connection": "Impersonate-User"}

    answer = reader.request("GET", f"{maps(made.namespace)}?labelSelector={marker}", pretending)

    assert answer.status == 200
    assert audited(cluster, marker, since)["impersonatedUser"]["username"] == "narrowgate:agent:reader"


def test_a_gate_whose_account_can_do_more_refuses_to_start(installed: Callable[[str], Installed]) -> None:
    made = installed("impersonate")
    subject = f"--serviceaccount={made.account}:narrowgate"
    made.direct.must("create", "clusterrolebinding", f"{made.account}-wide", "--clusterrole=view", subject)
    try:
        made.gate.start(ready=False)
        assert made.gate.wait_for_end() == 1
    finally:
        made.direct.must("delete", "clusterrolebinding", f"{made.account}-wide")
    said = [line for line in made.gate.log.read_text().splitlines() if line.startswith("narrowgate:")]
    assert len(said) == 1
    assert "may do more than impersonate" in said[0]
    assert made.token not in made.gate.log.read_text()


@pytest.mark.parametrize("mode", ["impersonate", "serviceAccount"])
def test_an_account_that_may_read_secrets_besides_masks_their_values(
    installed: Callable[..., Installed], direct: Kubectl, mode: str
) -> None:
    made = installed(mode, maskKnownValues=True)
    reader = made.gate.start().agent("reader", rules_in(made.namespace))
    value, name = secrets.token_urlsafe(18), f"known-{mode.lower()}"
    here = direct.within(made.namespace)
    here.must("create", "secret", "generic", name, f"--from-literal=word={value}")
    here.must("create", "configmap", name, f"--from-literal=note=see {value}")

    def look() -> bytes:
        return reader.request("GET", f"{maps(made.namespace)}/{name}").body

    made.gate.wait_until(lambda: b"see [masked:narrowgate/known-value:" in look(), "the value to be known")
    assert value.encode() not in look()


def test_each_policy_has_an_account_of_its_own(
    installed: Callable[[str], Installed], cluster: Cluster, marker: str
) -> None:
    made = installed("serviceAccount")
    reader = made.gate.start().agent("reader", rules_in(made.namespace))
    since = cluster.audit_position()

    answers = [reader.request("GET", f"{maps(made.namespace)}?labelSelector={marker}-{n}") for n in range(3)]

    assert [answer.status for answer in answers] == [200] * 3
    entry = audited(cluster, f"{marker}-2", since)
    assert entry["user"]["username"] == f"system:serviceaccount:{made.account}:narrowgate-reader"
    assert "impersonatedUser" not in entry
    minted = cluster.audited("serviceaccounts/narrowgate-reader/token", since)
    assert len([event for event in minted if event["stage"] == "ResponseComplete"]) <= 1
    # The gate's own account can mint and nothing else.
    can = made.direct("auth", "can-i", "--list", f"--as=system:serviceaccount:{made.account}:narrowgate")
    assert "configmaps" not in can.text
    assert_hidden(made, made.token, answers=[answer.body for answer in answers])


def test_an_admins_certificate_is_never_presented_beside_a_policys_token(
    cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str], tmp_path: Path, marker: str
) -> None:
    namespace, account = new_namespace("work"), new_namespace("gate-cert")
    entry = {
        "name": "dev",
        "kubeconfig": str(cluster.kubeconfig),
        "upstream": {"mode": "serviceAccount", "accountNamespace": account},
    }
    gate = Gate(tmp_path / "gate", [entry])
    made = Installed(gate, direct, account, namespace)
    reader = gate.agent("reader", rules_in(namespace))
    made.install()
    gate.start()
    try:
        gate.agent("reader", rules_in(namespace))
        since = cluster.audit_position()
        assert reader.request("GET", f"{maps(namespace)}?labelSelector={marker}").status == 200
        # With the certificate it would be the admin, who may do anything.
        gate.allow("reader", rules_in(namespace, SECRETS))
        path = f"/api/v1/namespaces/{namespace}/secrets"
        gate.wait_until(lambda: "cannot list" in reader.request("GET", path).message, "the cluster refuses")
        assert audited(cluster, marker, since)["user"]["username"].endswith(":narrowgate-reader")
        key = yaml.safe_load(cluster.kubeconfig.read_text())["users"][0]["user"]["client-key-data"]
        assert_hidden(made, key, base64.b64decode(key).decode(), answers=[])
    finally:
        gate.stop()
        made.remove()


def test_a_token_file_that_is_rewritten_is_used_from_then_on(
    installed: Callable[[str], Installed], cluster: Cluster, marker: str
) -> None:
    made = installed("credential")
    # In mode credential the gate's account is whatever was registered: here one that may read ConfigMaps.
    subject = f"--serviceaccount={made.account}:narrowgate"
    where = ["-n", made.namespace]
    made.direct.must("create", "rolebinding", f"{made.account}-edit", "--clusterrole=edit", subject, *where)
    first = made.token
    reader = made.gate.start().agent("reader", rules_in(made.namespace))
    before = reader.request("GET", maps(made.namespace))
    assert before.status == 200
    made.renew()
    assert made.token != first

    def renewed(token: str) -> bool:
        since = cluster.audit_position()
        word = f"{marker}-{time.monotonic_ns()}"
        assert reader.request("GET", f"{maps(made.namespace)}?labelSelector={word}").status == 200
        extra = audited(cluster, word, since)["user"]["extra"]
        return identifier(token) in extra["authentication.kubernetes.io/credential-id"]

    made.gate.wait_until(lambda: renewed(made.token), "the new token is used", 60.0)

    made.token_file.write_text("")
    made.gate.wait_until(lambda: reader.request("GET", maps(made.namespace)).status == 503, "nothing is sent", 60.0)
    refusal = reader.request("GET", maps(made.namespace))
    assert "token file of cluster 'dev'" in refusal.message
    made.renew()
    made.gate.wait_until(lambda: reader.request("GET", maps(made.namespace)).status == 200, "it is back", 60.0)
    assert_hidden(made, first, made.token, answers=[before.body, refusal.body])


def identifier(token: str) -> str:
    """The id of a ServiceAccount's token (claim `jti`), as the API server's audit log names it."""
    payload = token.split(".")[1]
    claims = yaml.safe_load(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"JTI={claims['jti']}"


def test_a_credential_that_the_cluster_no_longer_knows_is_no_secret_either(
    installed: Callable[[str], Installed],
) -> None:
    made = installed("credential")
    made.token_file.write_text("eyJhbGciOiJSUzI1NiJ9.eyJub2JvZHkiOjF9.c2lnbmF0dXJl")
    gate = made.gate.start(ready=False)
    # It serves, and refuses, after it has waited for the cluster for a while.
    gate.wait_until(lambda: "serving dev" in gate.log.read_text(), "the gate listens")
    assert "discovery failed" in gate.log.read_text()
    reader: Agent = gate._agents["reader"]

    gate.wait_until(lambda: reader.request("GET", maps(made.namespace)).status == 503, "it is told to the caller")

    answer = reader.request("GET", maps(made.namespace))
    assert "401" in answer.message
    assert_hidden(made, made.token_file.read_text(), answers=[answer.body])
