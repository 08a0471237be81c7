"""Given an agent that may have tokens of ServiceAccounts made, it gets none of an account that can do more than it can.

The tokens are asked for as kubectl does, as client-go does (protobuf), and by a Secret that the cluster fills; what an
account can do is what RBAC gives to it and what the gate's own policies do. Nothing of a refused attempt is left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.wire import Response
from tests.e2e.workloads import pod, yaml_of

READY_SECONDS = 120
JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TOKENS = "serviceaccounts/token"
JWT_BEGIN = b"eyJ"
CSR = Path(__file__).with_name("request.csr.b64")


@dataclass(frozen=True)
class Place:
    """Where tokens are asked for. `strong` may read Secrets by RBAC, `known` ConfigMaps by the gate, `weak` nothing."""

    gate: Gate
    direct: Kubectl
    namespace: str
    kubectl: Kubectl

    def path(self, rest: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{rest}"

    def by_kubectl(self, agent: Agent) -> Kubectl:
        """The program as that agent."""
        home = self.gate.folder / f"home-{agent.name}"
        home.mkdir(exist_ok=True)
        return Kubectl(self.kubectl.program, agent.kubeconfig, home, self.namespace)

    def asked(self, agent: Agent, account: str, *audiences: str) -> Response:
        """A TokenRequest as JSON."""
        document = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": list(audiences)},
        }  # fmt: skip
        return self.sent(agent, f"serviceaccounts/{account}/token", JSON, json.dumps(document).encode())

    def sent(self, agent: Agent, rest: str, content_type: str, body: bytes) -> Response:
        headers = {"Content-Type": content_type, "Accept": JSON}
        return agent.request("POST", self.path(rest), headers, body)


@pytest.fixture(scope="module")
def place(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    namespace = new_namespace("tokens")
    here = direct.within(namespace)
    for account in ("strong", "known", "weak"):
        here.must("create", "serviceaccount", account)
    here.must("create", "role", "strong", "--verb=get", "--resource=secrets")
    here.must("create", "rolebinding", "strong", "--role=strong", f"--serviceaccount={namespace}:strong")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("gate-tokens"), [entry])
    reads = allow("reads", "get list", "configmaps", namespace)
    gate.write_policy("known", [{"kind": "ServiceAccount", "name": f"{namespace}/known"}], [reads])
    gate.start()
    yield Place(gate, here, namespace, direct)
    gate.stop()


@pytest.fixture(scope="module")
def minter(place: Place) -> Agent:
    """May have a token of any account made, and a Secret for one."""
    return place.gate.agent("minter", minting(place))


def minting(place: Place, **more: Any) -> list[Mapping[str, Any]]:
    return [
        allow("tokens", "create", TOKENS, place.namespace, **more),
        allow("secrets", "create", "secrets", place.namespace),
    ]


def message(answer: Response) -> str:
    assert answer.status == 403, answer.body
    return str(json.loads(answer.body)["message"])


EXCESS = [
    ("strong", "may also get secrets in {0} (RoleBinding {0}/strong), and agent:minter may not"),
    ("known", "(rule reads of policy known)"),
]


@pytest.mark.parametrize(("account", "told"), EXCESS)
def test_kubectl_gets_no_token_of_an_account_that_can_do_more(
    place: Place, minter: Agent, account: str, told: str
) -> None:
    refused = place.by_kubectl(minter)("create", "token", account)
    assert refused.code != 0
    assert f"service account {place.namespace}/{account} may also" in refused.text
    assert told.format(place.namespace) in refused.text, refused.text
    assert JWT_BEGIN not in refused.out


def test_a_token_of_an_account_that_can_do_nothing_more_is_made_and_not_shown(place: Place, minter: Agent) -> None:
    done = place.by_kubectl(minter)("create", "token", "weak")
    assert done.code == 0, done.text
    assert JWT_BEGIN not in done.out


@pytest.mark.parametrize(("account", "told"), EXCESS)
def test_nor_does_a_program_that_speaks_protobuf(place: Place, minter: Agent, account: str, told: str) -> None:
    body = in_protobuf("gate")
    refused = place.sent(minter, f"serviceaccounts/{account}/token", PROTOBUF, body)
    assert told.format(place.namespace) in message(refused)
    assert place.sent(minter, "serviceaccounts/weak/token", PROTOBUF, body).status == 201


@pytest.mark.parametrize(("account", "told"), EXCESS)
def test_nor_is_a_secret_made_that_the_cluster_would_fill_with_one(
    place: Place, minter: Agent, account: str, told: str
) -> None:
    def secret(of: str) -> bytes:
        metadata = {"name": f"token-of-{of}", "annotations": {"kubernetes.io/service-account.name": of}}
        kind = "kubernetes.io/service-account-token"
        return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind}).encode()

    refused = place.sent(minter, "secrets", JSON, secret(account))
    assert told.format(place.namespace) in message(refused)
    assert place.direct("get", "secret", f"token-of-{account}").code != 0


def test_a_rule_may_say_that_it_is_meant(place: Place) -> None:
    agent = place.gate.agent("trusted", minting(place, pods={"strongerAccounts": "allow"}))
    for account in ("strong", "known", "weak"):
        answer = place.asked(agent, account, "gate")
        assert answer.status == 201, answer.body
        assert JWT_BEGIN not in answer.body


@pytest.mark.parametrize("in_form", [JSON, PROTOBUF])
def test_a_rule_says_for_whom_tokens_may_be(place: Place, in_form: str) -> None:
    agent = place.gate.agent("bounded", minting(place, pods={"tokenAudiences": ["gate"]}))

    def asked(*audiences: str) -> Response:
        if in_form == JSON:
            return place.asked(agent, "weak", *audiences)
        return place.sent(agent, "serviceaccounts/weak/token", PROTOBUF, in_protobuf(*audiences))

    assert asked("gate").status == 201
    assert "the token is for the API server, and allowed are gate" in message(asked())
    assert "the token is for vault, and allowed are gate" in message(asked("gate", "vault"))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"spec":{}}', b'{"spec":{"audiences":["gate"],"audiences":["vault"]}}'])
def test_a_body_that_says_nothing_or_two_things_is_for_nobody_by_such_a_rule(place: Place, body: bytes) -> None:
    agent = place.gate.agent("bounded", minting(place, pods={"tokenAudiences": ["gate"]}))
    answer = place.sent(agent, "serviceaccounts/weak/token", JSON, body)
    assert answer.status in (400, 403), answer.body
    assert JWT_BEGIN not in answer.body


def test_no_certificate_is_asked_for_that_may_be_anybodys(place: Place, run_id: str) -> None:
    rule = allow("asks", "create", "certificatesigningrequests", "*", groups=["certificates.k8s.io"])
    agent = place.gate.agent("asker", [rule])
    meant = place.gate.agent("sent", [{**rule, "pods": {"strongerAccounts": "allow"}}])
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

    def asked(by: Agent, name: str, signer: str) -> Response:
        spec = {"request": CSR.read_text().strip(), "signerName": signer, "usages": ["client auth"]}
        metadata = {"name": f"{name}-{run_id}"}
        kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
        body = json.dumps({**kind, "metadata": metadata, "spec": spec}).encode()
        return by.request("POST", path, {"Content-Type": JSON}, body)

    client = "kubernetes.io/kube-apiserver-client"
    assert "whoever has the certificate is whomever it names" in message(asked(agent, "refused", client))
    assert place.direct("get", "csr", f"refused-{run_id}").code != 0
    for by, name, signer in ((meant, "meant", client), (agent, "own", "example.com/own")):
        try:
            assert asked(by, name, signer).status == 201
        finally:
            place.direct("delete", "csr", f"{name}-{run_id}", "--wait=false")


def test_nobody_takes_the_token_of_a_pod_whose_account_may_do_more_here(place: Place, cluster: Cluster) -> None:
    for account in ("known", "weak"):
        made = yaml_of(pod(f"of-{account}", cluster.image, serviceAccountName=account))
        place.direct.must("apply", "-f", "-", stdin=made)
    for account in ("known", "weak"):
        place.direct.must("wait", "--for=condition=Ready", f"pod/of-{account}", f"--timeout={READY_SECONDS}s")
    agent = place.gate.agent(
        "entering",
        [
            allow("pods", "get", "pods", place.namespace),
            allow("into", "create", "pods/exec", place.namespace, mountedSecrets="mask"),
        ],
    )
    kubectl = place.by_kubectl(agent)
    refused = kubectl("exec", "of-known", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert refused.code != 0
    assert "(rule reads of policy known), and agent:entering may not" in refused.text, refused.text
    entered = kubectl("exec", "of-weak", "--", "echo", "inside")
    assert (entered.code, entered.out.strip()) == (0, b"inside"), entered.text


def test_nobody_takes_another_name_on_the_way(place: Place, minter: Agent) -> None:
    header = {"Impersonate-User": f"system:serviceaccount:{place.namespace}:strong"}
    answer = minter.request("GET", place.path("secrets"), header)
    assert "passes no impersonation on" in message(answer)


def test_whoever_may_impersonate_an_account_counts_as_it(place: Place, minter: Agent) -> None:
    here = place.direct
    here.must("create", "serviceaccount", "actor")
    here.must("create", "role", "actor", "--verb=impersonate", "--resource=serviceaccounts", "--resource-name=strong")
    here.must("create", "rolebinding", "actor", "--role=actor", f"--serviceaccount={place.namespace}:actor")
    told = f"service account {place.namespace}/actor may also"

    def is_told() -> bool:
        # What is known of roles is five seconds old at most.
        answer = place.asked(minter, "actor", "gate")
        return answer.status == 403 and told.encode() in answer.body

    place.gate.wait_until(is_told, "the new binding counts")


def in_protobuf(*audiences: str) -> bytes:
    """A TokenRequest as client-go sends it (k8s.io/apimachinery/pkg/runtime/serializer/protobuf)."""
    spec = b"".join(_field(1, audience.encode()) for audience in audiences)
    meta = _field(1, b"authentication.k8s.io/v1") + _field(2, b"TokenRequest")
    return b"k8s\x00" + _field(1, meta) + _field(2, _field(1, b"") + _field(2, spec))


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of at most 127 bytes."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value
