"""Given tokens by which somebody acts for somebody else, both are judged: on a real cluster, with issuers of this test.

Who acts is told by the token itself (`act`), or proven where it is exchanged (`may_act`, `actor_token`). What has no
token of its own, a pod that exchanged its own, and a delegate of a chain that is too deep by now, belong here as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.api_caller import by_token
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.oauth_program import Program
from tests.e2e.placed_pods import gate_address, placed_gate, pod_template, workload
from tests.e2e.rules import allow
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.tasks import AgentTerminal, credential_of, grantable
from tests.e2e.test_changes import ended, running
from tests.e2e.wire import Response
from tests.oidc_issuer import Issuer, signed

JWT = "urn:ietf:params:oauth:token-type:jwt"


class Place:
    """A gate that believes three issuers: of people for whom agents may act, of people for whom nobody may, and of CI
    jobs. `alice` may read everything but Secrets; `ci-bot` ConfigMaps; both of it in `default`.
    """

    def __init__(self, gate: Gate, people: Issuer, strict: Issuer, jobs: Issuer) -> None:
        self.gate, self.people, self.strict, self.jobs = gate, people, strict, jobs

    def bearing(self, token: str) -> Agent:
        """The way in of whoever holds that token."""
        return replace(self.gate.agent("ci-bot"), name="bearer", token=token)

    def get(self, token: str, resource: str) -> Response:
        return self.bearing(token).request("GET", f"/clusters/dev/api/v1/namespaces/default/{resource}")

    def exchange(self, token: str, **more: str) -> tuple[int, dict[str, Any]]:
        """A call to the token endpoint for a credential that opens the cluster."""
        url = control_url(self.gate)
        return Program(url, authority_of(self.gate)).exchange(token, resource=f"{url}/clusters/dev", **more)

    def exchange_by(self, token: str, actor: str) -> tuple[int, dict[str, Any]]:
        return self.exchange(token, actor_token=actor, actor_token_type=JWT)


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Issuer() as people, Issuer() as strict, Issuer() as jobs:

        def entry(issuer: Issuer, prefix: str, **more: Any) -> dict[str, Any]:
            return {
                "issuer": {"url": issuer.url, "certificateAuthority": issuer.ca, "audiences": ["narrowgate"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": prefix}},
                **more,
            }

        issuers = [
            entry(people, "corp:", actors="Agent"),
            entry(strict, "partner:"),
            entry(jobs, "ci-", subject="Agent", actors="Agent"),
        ]
        clusters = [{"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}]
        settings = {"authentication": {"jwt": issuers}}
        gate = Gate(tmp_path_factory.mktemp("gate-actors"), clusters, settings=settings)
        gate.agent("ci-bot", [allow("maps", "get list watch", "configmaps", "default")])
        gate.agent("ci-other", [allow("maps", "get list watch", "configmaps", "default")])
        people_may = [allow("read", "get list watch", "configmaps pods services", "default")]
        subjects = [{"kind": "Person", "name": f"{prefix}:alice"} for prefix in ("corp", "partner")]
        gate.write_policy("alice", subjects, people_may)
        gate.start()
        yield Place(gate, people, strict, jobs)
        gate.stop()


def denied(answer: Response, *told: str, code: int = 403) -> None:
    assert answer.status == code, answer.body
    message = str(json.loads(answer.body)["message"])
    assert all(part in message for part in told), message


def test_whoever_acts_for_a_person_may_do_what_both_may(place: Place) -> None:
    alone, acting = place.people.token(), place.people.token(act={"sub": "ci-bot"})
    assert place.get(alone, "pods").status == place.get(alone, "configmaps").status == 200
    assert place.get(acting, "configmaps").status == 200
    denied(place.get(acting, "pods"), 'agent "ci-bot" may not list pods')
    # Nor what the agent alone may, where the person may not.
    stranger = place.people.token(sub="stranger", act={"sub": "ci-bot"})
    denied(place.get(stranger, "configmaps"), 'speaking for person "corp:stranger"')
    event = place.gate.wait_for_event("person:corp:stranger")
    assert event["user"]["username"] == "agent:ci-bot"
    chain = json.loads(event["annotations"]["narrowgate.dev/chain"])
    assert chain == ["person:corp:stranger", "agent:ci-bot"]


def test_several_act_one_for_another_and_each_is_judged(place: Place) -> None:
    token = place.people.token(act={"sub": "ci-other", "act": {"sub": "ci-bot", "iss": place.people.url}})
    assert place.get(token, "configmaps").status == 200
    denied(place.get(token, "pods"), 'agent "ci-other"', 'agent "ci-bot"')


def test_an_issuer_that_may_not_say_who_acts_says_it_in_vain(place: Place) -> None:
    assert place.get(place.strict.token(), "pods").status == 200
    denied(place.get(place.strict.token(act={"sub": "ci-bot"}), "configmaps"), "acts for its subject", code=401)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ({"sub": "ghost"}, 'no agent "ghost"'),
        ({"sub": "ci-bot", "iss": "https://elsewhere.example"}, "another issuer"),
        ({"sub": "ci-bot", "act": {"sub": "ci-bot"}}, "twice"),
        ({"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "d"}}}}, "more actors than"),
        ("ci-bot", "no object"),
        ([{"sub": "ci-bot"}], "no object"),
        ({"sub": ["ci-bot"]}, "names nobody"),
        ({"sub": ""}, "names nobody"),
        ({}, "names nobody"),
    ],
)
def test_what_does_not_say_who_acts_opens_nothing(place: Place, act: Any, told: str) -> None:
    denied(place.get(place.people.token(act=act), "configmaps"), told, code=401)


def test_a_claim_that_is_there_twice_opens_nothing(place: Place) -> None:
    (key,) = place.people.keys
    claims = json.dumps(place.people.claims())[:-1]
    for act in ('"act":{"sub":"ci-bot"},"act":{"sub":"ci-other"}', '"act":{"sub":"ci-other","sub":"ci-bot"}'):
        denied(place.get(signed(f"{claims},{act}}}".encode(), key), "configmaps"), "twice", code=401)


def test_a_forged_token_opens_nothing_whoever_it_says_acts(place: Place) -> None:
    # Signed by an issuer that is believed, in the name of another one.
    (key,) = place.jobs.keys
    token = signed(place.people.claims(act={"sub": "ci-bot"}), key)
    assert place.get(token, "configmaps").status == 401


def test_nobody_asks_the_gate_itself_in_anothers_name(place: Place) -> None:
    own, acting = place.jobs.token(sub="bot"), place.people.token(act={"sub": "ci-bot"})
    assert by_token(place.gate, own)("GET", "/whoami").status == 200
    for method, target in (("GET", "/whoami"), ("GET", "/tasks"), ("POST", "/tasks")):
        answer = by_token(place.gate, acting)(method, target, {} if method == "POST" else None)
        assert answer.status == 403, answer.document
        assert "acts for another" in answer.document["detail"]


def test_a_token_that_says_who_may_act_is_exchanged_by_whoever_that_is(place: Place) -> None:
    may_act = {"sub": "bot", "iss": place.jobs.url}
    subject, actor = place.people.token(may_act=may_act), place.jobs.token(sub="bot")
    status, got = place.exchange_by(subject, actor)
    assert status == 200, got
    assert (got["sub"], got["act"]) == ("person:corp:alice", {"sub": "agent:ci-bot"})
    assert place.get(got["access_token"], "configmaps").status == 200
    denied(place.get(got["access_token"], "pods"), 'agent "ci-bot" may not list pods')
    for token in ("", place.jobs.token(sub="other"), place.people.token(), place.strict.token(sub="bot")):
        status, refused = place.exchange_by(subject, token) if token else place.exchange(subject)
        assert (status, refused["error"]) == (400, "invalid_request"), refused
        assert "access_token" not in refused


def test_what_was_exchanged_goes_on_saying_who_acts(place: Place) -> None:
    status, got = place.exchange(place.people.token(act={"sub": "ci-bot"}))
    assert status == 200, got
    assert got["act"] == {"sub": "agent:ci-bot"}
    assert place.get(got["access_token"], "configmaps").status == 200
    denied(place.get(got["access_token"], "pods"), 'agent "ci-bot" may not list pods')


def test_a_pod_keeps_its_chain_when_it_exchanges_its_token(cluster: Cluster, direct: Kubectl, tmp_path: Path) -> None:
    with placed_gate(cluster, direct, tmp_path) as placed:
        worker = placed.worker("exchanger", tmp_path)
        worker.kubectl.must("apply", "-f", "-", stdin=workload("Pod", "exchanging", pod_template(placed)))
        pod = placed.pod("app=exchanging")
        bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod.name}", "--audience=narrowgate")
        token = placed.direct.must("create", "token", "worker", *bound).strip()
        url = control_url(placed.gate)
        calls = Program(url, authority_of(placed.gate))
        status, got = calls.exchange(token, resource=f"{url}/clusters/dev")
        assert status == 200, got
        ca = (placed.gate.data_dir / "keys" / "ca.pem").read_text()
        for bearer in (token, got["access_token"]):
            caller = Agent("pod", tmp_path, gate_address(), placed.gate.kubernetes_port, ca, bearer)
            path = f"/clusters/dev/api/v1/namespaces/{placed.namespace}"
            assert caller.request("GET", f"{path}/configmaps").status == 200
            denied(caller.request("GET", f"{path}/services"), 'speaking for agent "exchanger"')


def test_chains_that_are_too_deep_by_now_are_cut(cluster: Cluster, tmp_path: Path) -> None:
    clusters = [{"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}]
    gate = Gate(tmp_path / "gate", clusters)
    agent = AgentTerminal(gate, gate.agent("deep"), tmp_path / "terminal", cluster.kubectl)
    gate.allow("deep", [grantable("maps", "get list watch", "configmaps", "kube-system")])
    gate.start()
    try:
        files = [tmp_path / f"{place}.kubeconfig" for place in range(3)]
        what = ("--allow", "get,list,watch configmaps -n kube-system", "--reason", "look")
        gate.wait_until(lambda: agent("tasks", "request", "--dry-run", *what).code == 0, "it is offered")
        agent.document("tasks", "request", *what, "--kubeconfig", files[0])
        for name, above, below in (("first", files[0], files[1]), ("second", files[1], files[2])):
            by = ("--task-kubeconfig", above, "--kubeconfig", below)
            agent.document("tasks", "delegate", "--name", name, *what, *by, NARROWGATE_CREDENTIAL="")
        chain = [agent.kubectl(file).within("kube-system") for file in files]
        watch = ("get", "configmaps", "--watch", "-o", "name")
        with running(chain[2], *watch, until=b"configmap/") as stream:
            gate.stop()
            assert ended(stream)
        document = yaml.safe_load(gate.config.read_text())
        gate.config.write_text(yaml.safe_dump({**document, "tasks": {"maxDepth": 2}}))
        gate.start()
        assert [kubectl("get", "configmaps").code for kubectl in chain[:2]] == [0, 0]
        cut = chain[2](*watch)
        assert cut.code != 0
        # kubectl shows no reason of a 401; the API says it, and so does the other port.
        refused = replace(agent.agent, token=credential_of(files[2])).request("GET", "/version")
        told = b"has 3 members, and this gate lets in chains of 2 at most (tasks.maxDepth)"
        assert (refused.status, told in refused.body) == (401, True), refused.body
        answer = by_token(gate, credential_of(files[2]))("GET", "/whoami")
        assert (answer.status, "tasks.maxDepth" in answer.document["detail"]) == (401, True), answer.document
    finally:
        gate.stop()
