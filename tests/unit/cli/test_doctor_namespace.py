"""What the doctor says of a namespace: findings, what may not be read, and what is well, each by its check."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.scripted_gate import Called, ScriptedGate, Told, told
from tests.unit.cli.terminal import Terminal
from tests.unit.cli.test_namespace_reader import access

from narrowgate.cli.doctor_namespace import ENFORCED, Place, access_of_operator, around_namespace, stronger_rules
from narrowgate.cli.doctor_report import Line, Outcome, is_well
from narrowgate.cli.failure import Failed
from narrowgate.core.agent_bundle import Bundle, Way, bundle_objects
from narrowgate.core.credential_roads import Gate
from narrowgate.core.pod_rules import Action, PodRules
from narrowgate.core.policy import Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.roads import Kind

NAMESPACED = re.compile(r"/apis?/(?:[a-z0-9.]+/)?v1/(?:namespaces/([a-z]+)/)?([a-z]+)(?:/([a-z0-9.-]+))?(?:\?.*)?")
WAY = Way(host="10.0.0.5", port=8443, to=("10.0.0.5/32",), to_port=8443)
BUNDLE = Bundle(cluster="dev", namespace="ci", account="agent", audience="gate", authority="PEM", way=WAY)
ROLE = {"metadata": {"name": "all"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
BOUND = {
    "metadata": {"name": "x", "namespace": "ci"},
    "roleRef": {"kind": "ClusterRole", "name": "all"},
    "subjects": [{"kind": "ServiceAccount", "name": "agent"}],
}


class Objects:
    """An API server that holds what a test puts there, and refuses what it is told to."""

    def __init__(self, scripted: ScriptedGate) -> None:
        self.scripted = scripted
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.refused: set[str] = set()
        for one in bundle_objects(BUNDLE):
            name = {"NetworkPolicy": "networkpolicies"}.get(one["kind"], f"{one['kind'].lower()}s")
            self.held.setdefault(name, []).append(one)
        self.held["services"] = [{"metadata": {"name": "kubernetes"}, "spec": {"clusterIPs": ["10.96.0.1"]}}]
        self.pod("agent")

    def pod(self, name: str, **spec: Any) -> None:
        made = dict(self.held["podtemplates"][0]["template"]["spec"]) | spec
        self.held.setdefault("pods", []).append({"metadata": {"name": name, "labels": {}}, "spec": made})

    def answer(self, call: Called) -> Told:
        match = NAMESPACED.fullmatch(call.path)
        assert match is not None, call.path
        namespace, resource, name = match.groups()
        if namespace and resource in self.refused:
            return told({"message": f"{resource} is forbidden"}, 403)
        if not namespace and resource == "namespaces":
            return told(self.held["namespaces"][0])
        found = self.held.get(resource, [])
        if name is None:
            return told({"metadata": {}, "items": found})
        named = [one for one in found if one["metadata"]["name"] == name]
        return told(named[0]) if named else told({"message": f"{resource} {name} not found"}, 404)


@pytest.fixture
def objects(scripted: ScriptedGate) -> Objects:
    held = Objects(scripted)
    for path in PATHS:
        scripted.answers(path, held.answer)
    return held


PATHS = [
    "/api/v1/namespaces/ci",
    "/api/v1/namespaces/ci/pods/agent",
    "/api/v1/namespaces/ci/pods/gone",
    *(f"/api/v1/namespaces/ci/{name}?limit=500" for name in ("pods", "serviceaccounts", "secrets", "configmaps",
                                                              "replicationcontrollers")),
    "/apis/networking.k8s.io/v1/namespaces/ci/networkpolicies?limit=500",
    *(f"/apis/apps/v1/namespaces/ci/{name}?limit=500" for name in ("deployments", "statefulsets", "daemonsets",
                                                                    "replicasets")),
    *(f"/apis/batch/v1/namespaces/ci/{name}?limit=500" for name in ("jobs", "cronjobs")),
    *(f"/apis/rbac.authorization.k8s.io/v1/{name}?limit=500"
      for name in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")),
    "/api/v1/persistentvolumes?limit=500",
    "/api/v1/nodes?limit=500",
    "/api/v1/namespaces/default/services/kubernetes",
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?limit=500"
    "&labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes",
]  # fmt: skip


@pytest.fixture
def look(objects: Objects) -> Callable[..., list[Line]]:
    def call(pod: str = "", policies: tuple[Policy, ...] | None = ()) -> list[Line]:
        place = Place(access=access(objects.scripted), cluster="dev", gate=Gate("gate"), policies=policies)
        return around_namespace(place, "ci", pod)

    return call


def register(shell: Terminal, objects: Objects) -> None:
    """The scripted API server is the gate's one cluster, which takes tokens of its pods."""
    entry = f"server: {objects.scripted.url}\n    certificateAuthority: ca.pem\n    tokenFile: token"
    shell.write("ca.pem", objects.scripted.authority_pem)
    shell.write("token", "abc")
    text = shell.config.read_text().replace("inCluster: true", entry)
    shell.config.write_text(f"{text}authentication: {{serviceAccounts: {{audience: gate}}}}\n")


def outcomes(lines: list[Line]) -> dict[str, Outcome]:
    assert len({line.check for line in lines}) == len(lines), lines
    return {line.check: line.outcome for line in lines}


def letting(*kinds: SubjectKind, **rule: Any) -> Policy:
    fields = {
        "id": "r",
        "effect": Effect.ALLOW,
        "verbs": ("create",),
        "api_groups": ("",),
        "resources": ("pods/exec",),
        "namespaces": ("ci",),
        "pods": PodRules(stronger_accounts=Action.ALLOW),
    }
    subjects = tuple(Subject(kind, "x") for kind in kinds)
    return Policy(name="p", subjects=subjects, clusters=("dev",), rules=(Rule(**fields | rule),))


def test_a_namespace_of_the_bundle_is_well_and_what_nobody_sees_is_said(look: Callable[..., list[Line]]) -> None:
    lines = look()
    expected = dict.fromkeys((kind.value for kind in Kind), Outcome.OK)
    assert outcomes(lines) == {**expected, ENFORCED: Outcome.NOT_TRIED}
    assert is_well(lines)
    assert "1 pods and 0 templates" in lines[0].found


def test_each_kind_of_road_is_a_finding_of_its_check(look: Callable[..., list[Line]], objects: Objects) -> None:
    objects.pod("wide", hostPID=True, volumes=[], imagePullSecrets=[{"name": "r"}])
    objects.held["rolebindings"] = [BOUND]
    objects.held["clusterroles"] = [ROLE]
    objects.held["networkpolicies"] = []
    secret = {"metadata": {"name": "old", "annotations": {}}, "type": "kubernetes.io/service-account-token"}
    objects.held["secrets"] = [secret]
    lines = look(policies=(letting(SubjectKind.AGENT),))
    found = {(line.check, line.where) for line in lines if line.outcome is Outcome.FINDING}
    assert found == {
        (Kind.NODES.value, "ci: pod wide"),
        (Kind.RIGHTS.value, "ci: service account agent"),
        (Kind.CREDENTIALS.value, "ci: secret old"),
        (Kind.NETWORK.value, "ci: pod agent, pod wide, a new pod without labels"),
        (Kind.STRONGER_PODS.value, "ci: rule p/r"),
    }
    (doubt,) = (line for line in lines if line.check == Kind.CREDENTIALS.value and line.outcome is Outcome.NOT_TRIED)
    assert not doubt.counts
    assert all(line.to_do for line in lines if line.outcome is Outcome.FINDING)


@pytest.mark.parametrize(
    ("resource", "check"),
    [
        ("pods", Kind.TOKENS),
        ("deployments", Kind.TOKENS),
        ("serviceaccounts", Kind.RIGHTS),
        ("secrets", Kind.CREDENTIALS),
        ("networkpolicies", Kind.NETWORK),
        ("endpointslices", Kind.NETWORK),
    ],
)
def test_what_may_not_be_read_is_no_all_clear(
    look: Callable[..., list[Line]], objects: Objects, resource: str, check: Kind
) -> None:
    objects.refused.add(resource)
    lines = look()
    assert not is_well(lines)
    assert outcomes(lines)[check.value] is Outcome.NOT_TRIED
    assert any(f"{resource} is forbidden" in line.found for line in lines)


def test_one_pod_is_looked_at_by_itself(look: Callable[..., list[Line]], objects: Objects) -> None:
    objects.pod("wide", hostPID=True)
    objects.held["secrets"] = [{"metadata": {"name": "old"}, "type": "kubernetes.io/service-account-token"}]
    lines = look(pod="agent")
    assert is_well(lines), lines
    # It mounts the Secret now.
    objects.held["pods"][0]["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "old"}}]
    assert outcomes(look(pod="agent"))[Kind.CREDENTIALS.value] is Outcome.FINDING
    with pytest.raises(Failed, match="pods gone not found"):
        look(pod="gone")


def test_what_an_account_hands_out_is_no_finding_of_a_pod_that_did_not_take_it(
    look: Callable[..., list[Line]], objects: Objects
) -> None:
    for account in objects.held["serviceaccounts"]:
        del account["automountServiceAccountToken"]
    assert not is_well(look())
    assert is_well(look(pod="agent"))


def test_pods_of_every_namespace_are_a_doubt(look: Callable[..., list[Line]], objects: Objects) -> None:
    wide = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"namespaceSelector": {}}]}]}
    objects.held["networkpolicies"].append({"metadata": {"name": "wide"}, "spec": wide})
    lines = [line for line in look() if line.check == Kind.NETWORK.value]
    assert [line.outcome for line in lines] == [Outcome.NOT_TRIED, Outcome.OK]
    assert "network policy wide leaves them" in lines[0].found
    assert not lines[0].counts


def test_without_a_gate_its_rules_are_not_looked_at_and_that_is_told(look: Callable[..., list[Line]]) -> None:
    lines = look(policies=None)
    assert outcomes(lines)[Kind.STRONGER_PODS.value] is Outcome.NOT_TRIED
    assert is_well(lines)


@pytest.mark.parametrize(
    ("policy", "counts"),
    [
        (letting(SubjectKind.AGENT), True),
        (letting(SubjectKind.PERSON, SubjectKind.GROUP), True),
        (letting(SubjectKind.PERSON), False),
        (letting(SubjectKind.AGENT, namespaces=("*",)), True),
        (letting(SubjectKind.AGENT, namespaces=("other",)), False),
        (letting(SubjectKind.AGENT, effect=Effect.DENY), False),
        (letting(SubjectKind.AGENT, pods=PodRules(stronger_accounts=Action.APPROVE)), False),
        (letting(SubjectKind.AGENT, pods=None), False),
    ],
)
def test_rules_that_let_agents_into_stronger_pods(policy: Policy, counts: bool) -> None:
    assert stronger_rules((policy,), "dev", "ci") == (("p/r",) if counts else ())
    assert stronger_rules((policy,), "other", "ci") == ()


def test_an_operators_kubeconfig_is_used_by_its_current_context(scripted: ScriptedGate, tmp_path: Path) -> None:
    document = {
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"{scripted.url}/k8s"}}],
        "users": [{"name": "u", "user": {"token": "abc"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "operator.yaml"
    path.write_text(yaml.safe_dump(document))
    access = access_of_operator(path)
    assert (access.host, access.port, access.path_prefix, access.token) == ("127.0.0.1", scripted.port, "/k8s", "abc")
    path.write_text(yaml.safe_dump({**document, "current-context": "other"}))
    with pytest.raises(Failed, match="current-context"):
        access_of_operator(path)
    with pytest.raises(Failed, match="no such file"):
        access_of_operator(tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--namespace", "ci", "--cluster", "other"), 1, 'no cluster "other"'),
        (("--pod", "agent"), 2, "NAMESPACE/NAME"),
        (("--agent", "a", "--cluster", "prod"), 2, "go with --namespace or --pod"),
    ],
)
def test_the_command_line_is_held_to_what_makes_sense(
    shell: Terminal, home: Path, objects: Objects, arguments: tuple[str, ...], code: int, said: str
) -> None:
    register(shell, objects)
    done = shell("doctor", *arguments)
    assert (done.code, said in done.err) == (code, True), done.err


def test_the_command_looks_with_the_registered_account_and_ends_as_the_report_says(
    shell: Terminal, home: Path, objects: Objects
) -> None:
    register(shell, objects)
    done = shell("doctor", "--namespace", "ci", "-o", "json")
    assert (done.code, done.json["well"]) == (0, True), done.out
    objects.pod("wide", hostPID=True)
    done = shell("doctor", "--namespace", "ci", "--pod", "ci/agent")
    assert (done.code, "ci: pod wide" in done.out, "to do: run it in another namespace" in done.err) == (1, True, True)
