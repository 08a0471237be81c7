"""What `policy explain` finds out about pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.api_server import ApiServer
from narrowgate.cli.asked_pods import Known, with_asked_pods
from narrowgate.cli.question import intent_of
from narrowgate.core.account_rights import ClusterRights
from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.rulebook import compile_policies

POD = "metadata: {name: web}\nspec: {containers: [{name: c, image: a}], serviceAccountName: default}\n"
GROUP = "rbac.authorization.k8s.io"
READS = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}


def rights(*more: dict[str, Any]) -> str:
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "ci"}
    items = [
        {"kind": "Role", "metadata": {"name": "reads", "namespace": "ci"}, "rules": [READS]},
        {
            "kind": "RoleBinding",
            "metadata": {"name": "x", "namespace": "ci"},
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "reads"},
            "subjects": [subject],
        },
        *more,
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture
def maker(shell: Terminal) -> Terminal:
    """Where an agent may create pods."""
    shell.write("policies/a.yaml", shell.policy("a", "verbs: [get, list, watch]", "verbs: [create, patch]"))
    shell.write("pod.yaml", POD)
    shell.write("rights.json", rights())
    return shell


def asked(shell: Terminal, *more: str | Path) -> Any:
    return shell("policy", "explain", "--as", "agent:ci", "create", "pods", "-n", "ci", *more)


def test_without_rights_the_pods_are_told_and_what_is_missing(maker: Terminal) -> None:
    done = asked(maker, "-f", maker.folder / "pod.yaml")
    assert done.code == 0
    assert "pods by spec: runs as default; baseline; its account's token; images a" in done.out
    assert "not looked at: what the accounts of the pods may do: add --look" in done.out


def test_with_rights_the_answer_is_the_gates_own(maker: Terminal) -> None:
    done = asked(maker, "-f", maker.folder / "pod.yaml", "--rights", maker.folder / "rights.json")
    assert done.code == 1
    refusal = "service account ci/default may also get secrets in ci (RoleBinding ci/x), and agent:ci may not"
    assert refusal in done.out.splitlines()[0]
    assert f"refuses: {refusal}" in done.out
    assert "not looked at" not in done.out


def test_json_has_it_all(maker: Terminal) -> None:
    done = asked(maker, "-f", maker.folder / "pod.yaml", "--rights", maker.folder / "rights.json", "-o", "json")
    pods = done.json["pods"]
    assert pods["pods"][0]["accounts"] == ["default"]
    assert pods["accounts"][0]["rights"] == ["get secrets in ci (RoleBinding ci/x)"]


def test_without_the_object_its_pods_are_what_is_missing(maker: Terminal) -> None:
    assert "not looked at: the pods, and what their accounts may do: add -f FILE" in asked(maker).out


def test_into_a_pod_its_account_is_what_is_missing(maker: Terminal) -> None:
    maker.write("policies/a.yaml", maker.policy("a", "resources: [pods]", "resources: [pods/exec]").replace(
        "verbs: [get, list, watch]", "verbs: [create]"))  # fmt: skip
    done = maker("policy", "explain", "--as", "agent:ci", "create", "pods/web", "--subresource", "exec", "-n", "ci")
    assert "not looked at: the pod, and what its account may do: add --look" in done.out


def minting(shell: Terminal, *question: str | Path) -> Any:
    """What is said of an agent that may have tokens of accounts made, and ask for certificates."""
    text = shell.policy("a", "verbs: [get, list, watch]", "verbs: [create]")
    text = text.replace("resources: [pods]", "resources: [serviceaccounts/token, secrets, certificatesigningrequests]")
    text = text.replace('apiGroups: [""]', 'apiGroups: ["", certificates.k8s.io]')
    shell.write("policies/a.yaml", text.replace("namespaces: [ci]", 'namespaces: ["*"]'))
    return shell("policy", "explain", "--as", "agent:ci", "create", *question)


def test_of_a_token_its_account_is_what_is_missing(maker: Terminal) -> None:
    question = ("serviceaccounts/default", "--subresource", "token", "-n", "ci")
    assert "not looked at: what the accounts of the pods may do" in minting(maker, *question).out
    done = minting(maker, *question, "--rights", maker.folder / "rights.json")
    assert done.code == 1
    assert "refuses: service account ci/default may also get secrets in ci (RoleBinding ci/x)" in done.out


@pytest.mark.parametrize("signer", ["kubernetes.io/kube-apiserver-client", "example.com/own", ""])
def test_a_certificate_is_explained_as_it_is_refused(maker: Terminal, signer: str) -> None:
    maker.write("csr.yaml", f"metadata: {{name: c}}\nspec: {{signerName: {signer}}}\n")
    given = ("-f", maker.folder / "csr.yaml") if signer else ()
    done = minting(maker, "certificatesigningrequests.certificates.k8s.io", *given)
    assert done.code == (1 if "client" in signer else 0), done.out + done.err
    assert ("refuses: the accounts that come with it are not known: whoever has" in done.out) is ("client" in signer)
    assert ("not looked at: what the certificate is for: add -f FILE" in done.out) is (not signer)


def test_what_a_pod_has_of_its_node_is_found_where_the_cluster_is_asked(scripted: ScriptedGate) -> None:
    pod = {"metadata": {"name": "web"}, "spec": {"hostPID": True, "containers": [{"name": "c"}]}}
    scripted.answers("/api/v1/namespaces/ci/pods/web", told(pod))
    authority = scripted.authority_pem.encode()
    access = ClusterAccess(
        name="dev", host="127.0.0.1", port=scripted.port, certificate_authority=authority, token="abc"
    )
    who = chain_of(Identity(kind=Kind.AGENT, name="ci", proven_by="", credential=""))
    what = intent_of("create", "pods/web", "exec", "ci", "dev")
    with ApiServer(access) as server:
        seen, missing = with_asked_pods(what, who, compile_policies((), 1), Known(ClusterRights((), ()), server))
    assert seen.pods is not None
    assert (missing, [str(held) for held in seen.pods.of_node]) == (
        "", ["use hostaccess.narrowgate.dev (hostPID) in ci (pod web)"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "no list"),
        ("{items: []}", "no list"),
        ("{", "rights.json"),
        (rights({"kind": "Pod", "metadata": {"name": "p"}}), "it has Pod"),
        (rights({"kind": "Role", "metadata": {"name": 7}}), "not roles and bindings"),
    ],
)
def test_a_file_that_holds_no_rights_is_refused(maker: Terminal, text: str, says: str) -> None:
    maker.write("rights.json", text)
    done = asked(maker, "-f", maker.folder / "pod.yaml", "--rights", maker.folder / "rights.json")
    assert done.code == 1
    assert says in done.err
    assert "kubectl get clusterroles,roles" in done.err


def test_one_of_the_two_is_enough(maker: Terminal) -> None:
    done = asked(maker, "--look", "--rights", maker.folder / "rights.json")
    assert "--look and --rights say the same" in done.err


def test_only_a_registered_cluster_can_be_looked_at(maker: Terminal) -> None:
    done = maker("policy", "explain", "--as", "agent:ci", "create", "pods", "-n", "ci", "--cluster", "far", "--look")
    assert done.code == 1
    assert 'cluster "far" is in no configuration' in done.err
