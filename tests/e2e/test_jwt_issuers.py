"""Given a gate that believes an issuer of tokens, people and CI jobs reach the real cluster with nothing but a token.

The issuer is a real HTTPS server of this test's own, the kubectl and the cluster are real ones.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.oidc_issuer import Issuer, ec_key, signed

WATCH_SECONDS = 8
"""How long a token lives with which a watch begins: kubectl needs some two seconds until it watches."""
ENDS_SECONDS = 90.0
ROTATION_SECONDS = 90.0
"""The gate asks for keys again ten seconds after it did last, and a busy machine takes its time."""

READ = [{"id": "read", "effect": "allow", "verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["*"],
         "namespaces": ["*"]}]  # fmt: skip


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def ci() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def gate(cluster: Cluster, issuer: Issuer, ci: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate-jwt")
    (folder / "issuer.pem").write_text(issuer.ca)
    people = {
        "issuer": {"url": issuer.url, "certificateAuthority": "issuer.pem", "audiences": ["narrowgate"]},
        "claimMappings": {
            "username": {"expression": "'corp:' + claims.sub"},
            "groups": {"claim": "groups", "prefix": "corp:"},
            "uid": {"claim": "oid"},
        },
        "claimValidationRules": [
            {"expression": "claims.?blocked.orValue(false) == false", "message": "blocked at corp"}
        ],
    }
    jobs = {
        "issuer": {"url": ci.url, "certificateAuthority": ci.ca, "audiences": ["narrowgate"]},
        "claimValidationRules": [{"claim": "repository", "requiredValue": "corp/shop"}],
        "claimMappings": {"username": {"claim": "environment", "prefix": "ci-"}},
        "subject": "Agent",
    }
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(folder, [entry], settings={"authentication": {"jwt": [people, jobs]}})
    gate.agent("ci-deploy", READ)
    gate.write_policy("readers", [{"kind": "Group", "name": "corp:readers"}], READ)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def bearing(gate: Gate) -> Callable[[str], Agent]:
    """The way in of whoever holds a token: address and CA of the gate are those of any kubeconfig of its."""
    like = gate.agent("ci-deploy")
    return lambda token: replace(like, name="bearer", token=token)


def person(issuer: Issuer, name: str = "alice", **claims: object) -> str:
    return issuer.token(**{"sub": name, "oid": f"id of {name}", "groups": ["readers"], **claims})


def kubectl_with(cluster: Cluster, gate: Gate, folder: Path, bearing: Agent, path: str = "/clusters/dev") -> Kubectl:
    """Kubectl with a static token and the gate's CA: no plugin, nothing of the gate's but its address."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gate",
        "clusters": [
            {"name": "gate", "cluster": {"server": f"https://127.0.0.1:{gate.kubernetes_port}{path}",
                                         "certificate-authority": str(folder / "ca.pem")}}
        ],
        "users": [{"name": "bearer", "user": {"token": bearing.token}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "bearer"}}],
    }  # fmt: skip
    (folder / "ca.pem").write_text(bearing.ca)
    (folder / "kubeconfig").write_text(yaml.safe_dump(document))
    return Kubectl(cluster.kubectl, folder / "kubeconfig", folder)


@pytest.mark.parametrize("path", ["/clusters/dev", ""], ids=["by name", "the only cluster"])
def test_a_person_reaches_the_cluster_with_a_token_alone_and_the_trail_says_who_it_was(
    cluster: Cluster, gate: Gate, issuer: Issuer, bearing: Callable[[str], Agent], tmp_path: Path, path: str
) -> None:
    token = person(issuer, f"alice{len(path)}")
    kubectl = kubectl_with(cluster, gate, tmp_path, bearing(token), path)
    assert kubectl.must("get", "namespace", "default", "-o", "name").strip() == "namespace/default"
    event = gate.wait_for_event(f'"username":"person:corp:alice{len(path)}"')
    assert event["user"]["groups"] == ["corp:readers"]
    assert event["user"]["extra"]["narrowgate.dev/proven-by"] == ["jwt"]
    assert event["user"]["extra"]["narrowgate.dev/issuer"] == [issuer.url]
    assert event["user"]["extra"]["narrowgate.dev/uid"] == [f"id of alice{len(path)}"]
    assert token not in gate.journal_text()
    assert token.rpartition(".")[2] not in gate.journal_text()


def test_policies_hold_for_whoever_comes_with_a_token(issuer: Issuer, bearing: Callable[[str], Agent]) -> None:
    assert bearing(person(issuer)).request("GET", "/clusters/dev/api/v1/namespaces").status == 200
    assert bearing(person(issuer, groups=[])).request("GET", "/clusters/dev/api/v1/namespaces").status == 403
    assert bearing(person(issuer)).request("DELETE", "/clusters/dev/api/v1/namespaces/never").status == 403


def test_a_ci_job_is_the_agent_that_is_registered_and_only_where_its_rule_holds(
    ci: Issuer, gate: Gate, bearing: Callable[[str], Agent]
) -> None:
    job = {"repository": "corp/shop", "environment": "deploy"}
    # Its record names the cluster, so that no path has to.
    assert bearing(ci.token(**job)).request("GET", "/api/v1/namespaces").status == 200
    assert gate.wait_for_event(ci.url)["user"]["username"] == "agent:ci-deploy"
    other = bearing(ci.token(**{**job, "repository": "evil/fork"})).request("GET", "/api/v1/namespaces")
    assert (other.status, b"corp/shop" in other.body) == (401, True)
    unknown = bearing(ci.token(**{**job, "environment": "unknown"})).request("GET", "/api/v1/namespaces")
    assert (unknown.status, b"narrowgate agents add ci-unknown" in unknown.body) == (401, True)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"aud": "kubernetes"}, b"audience"),
        ({"exp": 1_700_000_000}, b"expired"),
        ({"nbf": 3_900_000_000}, b"not valid yet"),
        ({"exp": None}, b"no end"),
        ({"groups": ["system:masters"], "sub": "system:admin"}, None),
        ({"groups": None, "_claim_names": {"groups": "src1"}}, b"too many"),
        ({"blocked": True}, b"blocked at corp"),
        ({"sub": None}, b"sub"),
    ],
    ids=str,
)
def test_a_token_that_is_not_good_is_refused_with_the_reason_and_recorded(
    issuer: Issuer, bearing: Callable[[str], Agent], spoil: dict[str, Any], says: bytes | None
) -> None:
    answer = bearing(person(issuer, **spoil)).request("GET", "/clusters/dev/api/v1/namespaces")
    if says is None:
        # Prefixed, it is a name like any other: it is nobody in the cluster, and no policy knows it.
        assert answer.status == 403
        return
    assert answer.status == 401
    assert says in answer.body


def test_signatures_of_others_open_nothing(issuer: Issuer, ci: Issuer, bearing: Callable[[str], Agent]) -> None:
    claims = issuer.claims(sub="alice", groups=["readers"])
    for token in (
        signed(claims, ec_key("first")),
        signed(claims, ci.keys[0]),
        signed(claims, ec_key("first"), header={"jwk": ec_key("first").as_dict(private=False)}),
        signed(claims, issuer.keys[0], header={"alg": "none"}),
        signed(claims, issuer.keys[0], header={"crit": ["x"], "x": 1}),
    ):
        assert bearing(token).request("GET", "/clusters/dev/api/v1/namespaces").status == 401


def test_a_watch_ends_with_the_token_it_began_with(
    cluster: Cluster, gate: Gate, issuer: Issuer, bearing: Callable[[str], Agent], tmp_path: Path
) -> None:
    ends = time.time() + WATCH_SECONDS
    held = bearing(person(issuer, "watcher", exp=ends))
    kubectl = kubectl_with(cluster, gate, tmp_path, held)
    watching = kubectl.start("get", "namespaces", "--watch", "--output-watch-events")
    try:
        said, _ = watching.communicate(timeout=WATCH_SECONDS + ENDS_SECONDS)
    except subprocess.TimeoutExpired:
        watching.kill()
        raise
    assert b"default" in said
    assert time.time() >= ends
    assert b"expired" in held.request("GET", "/clusters/dev/api/v1/namespaces").body


def test_a_paused_agents_watch_ends_though_its_token_is_good(
    cluster: Cluster, gate: Gate, ci: Issuer, bearing: Callable[[str], Agent], tmp_path: Path
) -> None:
    gate.agent("ci-held", READ)
    held = bearing(ci.token(repository="corp/shop", environment="held"))
    watching = kubectl_with(cluster, gate, tmp_path, held, "").start("get", "namespaces", "--watch")
    try:
        gate.wait_for_event('"username":"agent:ci-held"', stage="ResponseStarted")
        assert watching.poll() is None
        paused = gate.command("agents", "pause", "ci-held")
        assert paused.code == 0, paused.text
        watching.communicate(timeout=ENDS_SECONDS)
    finally:
        watching.kill()
        watching.wait()
    assert b"paused" in held.request("GET", "/api/v1/namespaces").body


def test_a_new_key_is_taken_and_a_removed_one_forgotten_without_a_restart(
    gate: Gate, issuer: Issuer, bearing: Callable[[str], Agent]
) -> None:
    before = person(issuer, "before")
    assert bearing(before).request("GET", "/clusters/dev/api/v1/namespaces").status == 200
    issuer.keys = [ec_key("rotated")]
    after = person(issuer, "after")

    def status(token: str) -> int:
        return bearing(token).request("GET", "/clusters/dev/api/v1/namespaces").status

    gate.wait_until(lambda: status(after) == 200, "the new key is known", ROTATION_SECONDS)
    # Each of the gate's processes looks for itself.
    gate.wait_until(lambda: status(before) == 401, "the old key is forgotten", ROTATION_SECONDS)


def test_while_the_issuer_is_away_the_known_go_on_and_afterwards_everybody(
    gate: Gate, issuer: Issuer, bearing: Callable[[str], Agent]
) -> None:
    known = person(issuer, "known")

    def ask(token: str) -> tuple[int, bytes]:
        answer = bearing(token).request("GET", "/clusters/dev/api/v1/namespaces")
        return answer.status, answer.body

    assert ask(known)[0] == 200
    issuer.down()
    try:
        # A key that the gate has never seen: only the issuer could say whether it is one.
        issuer.keys.insert(0, ec_key("made while away"))
        newcomer = person(issuer, "newcomer")
        gate.wait_until(lambda: ask(newcomer)[0] == 503, "the issuer was asked", ROTATION_SECONDS)
        status, said = ask(newcomer)
        assert status == 503
        assert issuer.url.encode() in said
        assert b"nobody new comes in" in said
        assert ask(known)[0] == 200
    finally:
        issuer.up()
    gate.wait_until(lambda: ask(newcomer)[0] == 200, "the issuer answers again", ROTATION_SECONDS)


def test_a_gate_that_starts_while_the_issuer_is_away_lets_people_in_when_it_is_there(
    cluster: Cluster, tmp_path: Path
) -> None:
    issuer = Issuer()
    people = {
        "issuer": {"url": issuer.url, "certificateAuthority": issuer.ca, "audiences": ["narrowgate"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": "corp:"}},
    }
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path, [entry], settings={"authentication": {"jwt": [people]}})
    like = gate.agent("any", READ)
    gate.write_policy("readers", [{"kind": "Group", "name": "corp:readers"}], READ)
    gate.start()
    try:
        early = replace(like, token=person(issuer))
        first = early.request("GET", "/api/v1/namespaces")
        assert (first.status, b"nobody new comes in" in first.body) == (503, True)
        # Whom the gate knows by itself does not depend on any issuer.
        assert like.request("GET", "/api/v1/namespaces").status == 200
        with issuer:
            gate.wait_until(
                lambda: early.request("GET", "/api/v1/namespaces").status == 200,
                "the issuer is there",
                ROTATION_SECONDS,
            )
    finally:
        gate.stop()
