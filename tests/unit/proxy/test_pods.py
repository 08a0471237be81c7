"""What is looked at before a request about pods is judged, and what then becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.proxy.loopback import PODS, POLICY, Message, Peer, Play, Script, api_server, gate, request, run

JSON = "Content-Type: application/json"
MERGE = "Content-Type: application/merge-patch+json"
AGENTS = POLICY.replace(", pods: {strongerAccounts: allow}", "")
GETS_SECRETS = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}
SECRETS_ROLE = {"metadata": {"name": "r", "namespace": "ci"}, "rules": [GETS_SECRETS]}
BINDING = {
    "metadata": {"name": "b", "namespace": "ci"},
    "roleRef": {"kind": "Role", "name": "r"},
    "subjects": [{"kind": "ServiceAccount", "name": "strong", "namespace": "ci"}],
}
USES = """    - {id: accounts, effect: allow, verbs: [use], apiGroups: [""], resources: [serviceaccounts],
       namespaces: [ci]}
"""


def pod(account: str, *, token: bool = True, **spec: Any) -> dict[str, Any]:
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    volumes = [{"name": "t", **source}] if token else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "resourceVersion": "1"},
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "c", "image": "i"}],
            "volumes": volumes,
            **spec,
        },
    }


def cluster_with(there: dict[str, Any] | None, status: int = 200) -> Play:
    """An API server with one Role, one binding, and this pod."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            message = await script.take(peer)
            code, body = 200, json.dumps({"kind": "List", "metadata": {}, "items": []}).encode()
            if "/rolebindings?" in message.target:
                body = json.dumps({"kind": "List", "metadata": {}, "items": [BINDING]}).encode()
            elif "/roles?" in message.target:
                body = json.dumps({"kind": "List", "metadata": {}, "items": [SECRETS_ROLE]}).encode()
            elif "rbac" not in message.target:
                code = status if message.method == "GET" and there is not None else 404 if there is None else 200
                code = 201 if message.method == "POST" else code
                body = json.dumps(there or {}).encode()
            await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body))

    return play


def sent(folder: Path, asked: bytes, play: Play, policy: str) -> tuple[Message, list[Message]]:
    async def main() -> tuple[Message, list[Message]]:
        async with api_server(folder, play) as server, gate(folder, server) as made:
            await made.change_policy(policy)
            client = await made.client()
            await client.send(asked)
            answer = await client.message()
            await client.close()
            return answer, [one for one in server.received if "rbac" not in one.target]

    return run(main())


def body_of(message: Message) -> Any:
    return json.loads(message.body)


def test_a_pod_of_a_stronger_account_does_not_reach_the_cluster(tmp_path: Path) -> None:
    asked = request("POST", PODS, json.dumps(pod("strong", token=False)).encode(), JSON)
    answer, received = sent(tmp_path, asked, cluster_with(None), AGENTS + USES)
    assert answer.status == 403
    assert "service account ci/strong may also get secrets in ci (RoleBinding ci/b)" in body_of(answer)["message"]
    assert received == []


def test_a_pod_of_a_weak_account_does(tmp_path: Path) -> None:
    asked = request("POST", PODS, json.dumps(pod("weak", token=False)).encode(), JSON)
    answer, received = sent(tmp_path, asked, cluster_with(None), AGENTS + USES)
    assert answer.status == 201
    assert [one.method for one in received] == ["POST"]


@pytest.mark.parametrize(
    ("there", "status", "code"),
    [
        (pod("strong"), 200, 403),
        (pod("strong", token=False), 200, 200),
        (pod("weak"), 200, 200),
        (pod("weak"), 500, 403),
    ],
)
def test_a_patch_of_a_pod_is_judged_by_what_the_pod_runs_as(
    there: dict[str, Any], status: int, code: int, tmp_path: Path
) -> None:
    patch = {"spec": {"containers": [{"name": "c", "image": "evil"}]}}
    asked = request("PATCH", f"{PODS}/p", json.dumps(patch).encode(), MERGE)
    # A pod keeps its account whether it has its token mounted or not: what is written counts, not what is there.
    code = 403 if there["spec"]["serviceAccountName"] == "strong" else code
    answer, received = sent(tmp_path, asked, cluster_with(there, status), AGENTS + USES)
    assert answer.status == code
    assert ("PATCH" in [one.method for one in received]) is (code == 200)


def test_a_label_is_nobodys_account(tmp_path: Path) -> None:
    asked = request("PATCH", f"{PODS}/p", b'{"metadata":{"labels":{"a":"b"}}}', MERGE)
    answer, received = sent(tmp_path, asked, cluster_with(pod("strong")), AGENTS + USES)
    assert answer.status == 200
    assert [one.method for one in received] == ["PATCH"]


@pytest.mark.parametrize(
    ("there", "status", "refused"),
    [
        (pod("strong"), 200, "service account ci/strong may also"),
        (pod("weak"), 500, "answers 500"),
        # Whoever deletes pods can have one of that name a moment later.
        (None, 404, "answers 404"),
        (pod("weak", token=False, hostPID=True), 200, "use hostaccess.narrowgate.dev (hostPID) in ci (pod p)"),
        (pod("strong", token=False), 200, ""),
        (pod("weak"), 200, ""),
    ],
)
def test_who_gets_into_a_pod_gets_at_its_token(
    there: dict[str, Any] | None, status: int, refused: str, tmp_path: Path
) -> None:
    asked = request("POST", f"{PODS}/p/exec?command=id&stdout=true", b"", JSON)
    answer, received = sent(tmp_path, asked, cluster_with(there, status), AGENTS)
    assert ("POST" in [one.method for one in received]) is (not refused)
    assert (refused in body_of(answer)["message"]) if refused else answer.status == 201


DEBUGS = AGENTS.replace("pods/exec,", "pods/exec, pods/ephemeralcontainers,")
DEBUG = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}}


@pytest.mark.parametrize(
    ("form", "patch"),
    [
        ("application/strategic-merge-patch+json", DEBUG),
        ("application/merge-patch+json", DEBUG),
        (
            "application/json-patch+json",
            [{"op": "add", "path": "/spec/ephemeralContainers", "value": DEBUG["spec"]["ephemeralContainers"]}],
        ),
    ],
)
def test_a_debug_container_is_for_the_pod_that_was_looked_at(form: str, patch: Any, tmp_path: Path) -> None:
    asked = request("PATCH", f"{PODS}/p/ephemeralcontainers", json.dumps(patch).encode(), f"Content-Type: {form}")
    answer, received = sent(tmp_path, asked, cluster_with(pod("weak")), DEBUGS)
    assert answer.status == 200
    (write,) = [one for one in received if one.method == "PATCH"]
    assert b'"1"' in write.body
    assert b"resourceVersion" in write.body


def test_a_debug_container_is_for_no_pod_that_is_not_there_yet(tmp_path: Path) -> None:
    asked = request("PATCH", f"{PODS}/p/ephemeralcontainers", json.dumps(DEBUG).encode(), MERGE)
    answer, received = sent(tmp_path, asked, cluster_with(None), DEBUGS)
    assert (answer.status, "no such pod" in body_of(answer)["message"]) == (404, True)
    assert [one.method for one in received if one.method != "GET"] == []


def test_what_a_rule_mends_is_sent_mended_and_told(tmp_path: Path) -> None:
    mends = AGENTS.replace("mountedSecrets: mask", "mountedSecrets: mask, pods: {automountToken: mend}")
    asked = request("POST", PODS, json.dumps(pod("weak", token=False)).encode(), JSON)
    answer, received = sent(tmp_path, asked, cluster_with(None), mends + USES)
    assert answer.status == 201
    assert body_of(received[0])["spec"]["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken: false was set" in answer.fields["warning"]


APPLY = "Content-Type: application/apply-patch+yaml"


@pytest.mark.parametrize(
    ("rules", "spec", "told"),
    [
        ("automountToken: deny", {}, "does not say automountServiceAccountToken: false"),
        ("serviceAccounts: [runner]", {}, "runs as service account weak, and allowed are runner"),
        ("nodeChoice: deny", {"nodeSelector": {"a": "b"}}, "chooses a node"),
        ("tokenAudiences: [gate]", {}, "projects a token for the API server"),
        ("nodeChoice: deny", {}, ""),
    ],
)
def test_an_apply_that_makes_a_pod_is_held_to_what_pods_may_be(
    rules: str, spec: dict[str, Any], told: str, tmp_path: Path
) -> None:
    bounded = AGENTS.replace("mountedSecrets: mask", f"mountedSecrets: mask, pods: {{{rules}}}")
    body = json.dumps(pod("weak", token="Audiences" in rules, **spec)).encode()
    asked = request("PATCH", f"{PODS}/p?fieldManager=x&force=true", body, APPLY)
    # As admission leaves it: with tolerations of its own.
    play = cluster_with_apply(pod("weak", tolerations=[{"key": "k"}], **spec))
    answer, received = sent(tmp_path, asked, play, bounded + USES)
    made = [one for one in received if one.method == "PATCH" and "dryRun" not in one.target]
    assert (len(made), answer.status) == ((0, 403) if told else (1, 201)), answer.body
    assert told in body_of(answer).get("message", "")


def cluster_with_apply(made: dict[str, Any]) -> Play:
    """An API server without the pod, that makes it of what is applied."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            message = await script.take(peer)
            code, document = (201, made) if message.method == "PATCH" else (404, {})
            if "rbac" in message.target:
                code, document = 200, {"kind": "List", "metadata": {}, "items": []}
            body = json.dumps(document).encode()
            await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body))

    return play


def test_an_apply_that_makes_a_pod_is_mended(tmp_path: Path) -> None:
    mends = AGENTS.replace("mountedSecrets: mask", "mountedSecrets: mask, pods: {automountToken: mend}")
    body = json.dumps(pod("weak", token=False)).encode()
    asked = request("PATCH", f"{PODS}/p?fieldManager=x&force=true", body, APPLY)
    _, received = sent(tmp_path, asked, cluster_with_apply(pod("weak")), mends + USES)
    (made,) = [one for one in received if one.method == "PATCH" and "dryRun" not in one.target]
    assert body_of(made)["spec"]["automountServiceAccountToken"] is False


def test_of_a_pod_that_is_there_nothing_is_mended(tmp_path: Path) -> None:
    mends = AGENTS.replace("mountedSecrets: mask", "mountedSecrets: mask, pods: {automountToken: mend}")
    asked = request("PATCH", f"{PODS}/p", b'{"metadata":{"labels":{"a":"b"}}}', MERGE)
    answer, received = sent(tmp_path, asked, cluster_with(pod("weak")), mends + USES)
    assert answer.status == 200
    assert b"automount" not in received[-1].body


def test_an_update_that_changes_nothing_of_what_runs_passes(tmp_path: Path) -> None:
    there = pod("strong", token=False)
    same = {**there, "metadata": {"name": "p", "labels": {"a": "b"}}}
    other = {**there, "spec": {**there["spec"], "hostname": "x"}}
    for document, code in ((same, 200), (other, 403)):
        asked = request("PUT", f"{PODS}/p", json.dumps(document).encode(), JSON)
        own = tmp_path / str(code)
        own.mkdir()
        answer, _ = sent(own, asked, cluster_with(there), AGENTS + USES)
        assert answer.status == code


ACCOUNTS = "/api/v1/namespaces/ci/serviceaccounts"
MINTS = """    - {id: mints, effect: allow, verbs: [create], apiGroups: [""], namespaces: [ci],
       resources: [serviceaccounts/token, secrets]}
"""
WORKER = """---
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: workers}
spec:
  subjects: [{kind: ServiceAccount, name: ci/worker}]
  clusters: [dev]
  rules:
    - {id: maps, effect: allow, verbs: [get], apiGroups: [""], resources: [configmaps], namespaces: [ci]}
"""
FOR_GATE = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["gate"]}}


def token_secret(account: str) -> dict[str, Any]:
    metadata = {"name": "s", "annotations": {"kubernetes.io/service-account.name": account}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/service-account-token"}


@pytest.mark.parametrize(
    ("account", "refused"),
    [
        ("strong", "service account ci/strong may also get secrets in ci (RoleBinding ci/b)"),
        ("worker", "service account ci/worker may also get configmaps in ci (rule maps of policy workers)"),
        ("weak", ""),
    ],
)
@pytest.mark.parametrize("by_secret", [False, True], ids=["by TokenRequest", "by a Secret"])
def test_a_token_of_an_account_that_can_do_more_is_not_made(
    account: str, refused: str, by_secret: bool, tmp_path: Path
) -> None:
    target, body = f"{ACCOUNTS}/{account}/token", FOR_GATE
    if by_secret:
        target, body = "/api/v1/namespaces/ci/secrets", token_secret(account)
    asked = request("POST", target, json.dumps(body).encode(), JSON)
    answer, received = sent(tmp_path, asked, cluster_with(None), AGENTS + MINTS + WORKER)
    assert ("POST" in [one.method for one in received]) is (not refused)
    assert (refused in body_of(answer)["message"]) if refused else answer.status == 201


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        (FOR_GATE, True),
        ({**FOR_GATE, "spec": {"audiences": ["gate", "https://kubernetes.default.svc"]}}, False),
        ({**FOR_GATE, "spec": {}}, False),
        (None, False),
    ],
)
def test_a_token_is_for_whom_the_rule_names(body: dict[str, Any] | None, passes: bool, tmp_path: Path) -> None:
    bounded = MINTS.replace(", secrets]", "], pods: {tokenAudiences: [gate]}")
    content = json.dumps(body).encode() if body else b""
    answer, received = sent(
        tmp_path, request("POST", f"{ACCOUNTS}/weak/token", content, JSON), cluster_with(None), AGENTS + bounded
    )
    assert ("POST" in [one.method for one in received]) is passes
    if not passes:
        assert "and allowed are gate" in body_of(answer)["message"]


def test_a_token_in_a_secret_is_for_nobody_that_the_rule_names(tmp_path: Path) -> None:
    bounded = MINTS.replace("secrets]", "secrets], pods: {tokenAudiences: [gate]}")
    asked = request("POST", "/api/v1/namespaces/ci/secrets", json.dumps(token_secret("weak")).encode(), JSON)
    answer, received = sent(tmp_path, asked, cluster_with(None), AGENTS + bounded)
    assert "POST" not in [one.method for one in received]
    assert "the token is for the API server, and allowed are gate" in body_of(answer)["message"]


@pytest.mark.parametrize(
    ("signer", "rules", "status"),
    [
        ("kubernetes.io/kube-apiserver-client", "", 403),
        ("kubernetes.io/kube-apiserver-client", ", pods: {strongerAccounts: allow}", 201),
        ("example.com/own", "", 201),
    ],
)
def test_a_certificate_of_anybody_is_not_asked_for(signer: str, rules: str, status: int, tmp_path: Path) -> None:
    asking = """    - {id: asks, effect: allow, verbs: [create], apiGroups: [certificates.k8s.io],
       resources: [certificatesigningrequests]RULES}
"""
    document = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c"},
        "spec": {"signerName": signer, "usages": ["client auth"], "request": ""},
    }  # fmt: skip
    target = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    asked = request("POST", target, json.dumps(document).encode(), JSON)
    answer, received = sent(tmp_path, asked, cluster_with(None), AGENTS + asking.replace("RULES", rules))
    assert answer.status == status
    assert ("POST" in [one.method for one in received]) is (status == 201)
    if status == 403:
        assert "whoever has the certificate is whomever it names" in body_of(answer)["message"]


def test_who_gets_into_a_pod_gets_at_what_policies_give_to_its_account(tmp_path: Path) -> None:
    asked = request("POST", f"{PODS}/p/exec?command=id&stdout=true", b"", JSON)
    answer, received = sent(tmp_path, asked, cluster_with(pod("worker")), AGENTS + WORKER)
    assert [one.method for one in received] == ["GET"]
    assert "may also get configmaps in ci (rule maps of policy workers)" in body_of(answer)["message"]
