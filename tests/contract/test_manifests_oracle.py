"""A real API server reads our manifests: it takes them, and its authorizer finds them no wider than the policies.

Roles are made in namespaces of this run and asked about by SubjectAccessReview; impersonation is tried for real, with a
token of the gate's own account and the headers that the gate sends.
"""

from __future__ import annotations

import http.client
import itertools
import json
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from narrowgate.cli.api_server import ApiServer
from narrowgate.config import ClusterConfig, cluster_access
from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.known_resources import CLUSTER_SCOPED
from narrowgate.core.manifests import (
    Manifests,
    impersonation_manifests,
    manifests_yaml,
    policy_account,
    service_account_manifests,
)
from narrowgate.core.policy import Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.upstream_names import impersonation_headers, upstream_groups, upstream_user

REPOSITORY = Path(__file__).parents[2]
CLUSTER_SECONDS = 1200.0
KUBECTL_SECONDS = 60.0
SETTLE_SECONDS = 90.0
"""RBAC reaches the authorizer through informers, in a fraction of a second; a busy machine takes longer."""

GATE_CLUSTER = "oracle"

VERBS = ("get", "list", "create", "patch", "deletecollection")
THINGS = (
    ("", "pods", ""),
    ("", "pods", "exec"),
    ("", "configmaps", ""),
    ("apps", "deployments", ""),
    ("apps", "deployments", "scale"),
    ("", "nodes", ""),
    ("", "namespaces", ""),
)


class Place(msgspec.Struct, frozen=True):
    """Where this run works: the API server, and namespaces that nobody else has."""

    access: ClusterAccess
    kubectl: tuple[str, ...]
    run: str

    @property
    def accounts(self) -> str:
        return f"ngm-{self.run}"

    @property
    def namespaces(self) -> tuple[str, str]:
        return f"ngm-{self.run}-a", f"ngm-{self.run}-b"

    def apply(self, manifests: Manifests, *options: str) -> None:
        done = subprocess.run(
            [*self.kubectl, "apply", "-f", "-", *options],
            input=manifests_yaml(manifests),
            text=True,
            capture_output=True,
            timeout=KUBECTL_SECONDS,
        )
        assert done.returncode == 0, done.stderr

    def delete(self, manifests: Manifests) -> None:
        kept = tuple(one for one in manifests.objects if one["kind"] != "Namespace")
        subprocess.run(
            [*self.kubectl, "delete", "--ignore-not-found", "-f", "-"],
            input=manifests_yaml(Manifests(kept, ())),
            text=True,
            capture_output=True,
            timeout=KUBECTL_SECONDS,
            check=True,
        )


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        command = [sys.executable, str(REPOSITORY / "dev" / "cluster" / "cluster.py"), "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    described = json.loads(description.read_text())
    access = cluster_access(ClusterConfig(name=GATE_CLUSTER, kubeconfig=Path(described["kubeconfig"])))
    kubectl = (str(Path(described["bin"]) / "kubectl"), "--kubeconfig", described["kubeconfig"])
    made = Place(access, kubectl, secrets.token_hex(3))
    names = [made.accounts, *made.namespaces]
    for name in names:
        must([*kubectl, "create", "namespace", name])
    yield made
    must([*kubectl, "delete", "namespace", "--wait=false", *names])


def must(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True, timeout=KUBECTL_SECONDS)
    assert done.returncode == 0, done.stderr


def policies_of(place: Place) -> list[Policy]:
    """Shapes of rules that RBAC can say and some that it cannot, a policy with an agent of its own for each."""
    one, other = place.namespaces
    shapes: list[dict[str, Any]] = [
        {"namespaces": (one,)},
        {"namespaces": (one, other), "verbs": ("*",)},
        {"namespaces": ("*",), "resources": ("pods", "pods/exec")},
        {"namespaces": ("*",), "resources": ("*",), "api_groups": ("apps",)},
        {"namespaces": (one,), "resources": ("*/scale",), "api_groups": ("*",), "verbs": ("patch",)},
        {"namespaces": (one,), "names": ("web",), "verbs": ("get", "create", "patch", "list")},
        {"namespaces": None, "resources": ("nodes", "namespaces", "*")},
        {"namespaces": None, "resources": ("nodes",), "names": ("web",)},
        {"namespaces": (one,), "resources": ("namespaces",)},
        {"namespaces": (one,), "effect": Effect.GRANTABLE},
        {"namespaces": (one,), "names": ()},
        {"namespaces": ("*",), "api_groups": ("narrowgate.dev",), "resources": ("*",)},
        {"namespaces": (other,), "verbs": ("create",), "resources": ("pods/exec",), "names": ("web",)},
        {"namespaces": ("*",), "verbs": ("*",), "api_groups": ("*",), "resources": ("*",)},
    ]
    base: dict[str, Any] = {
        "effect": Effect.ALLOW,
        "verbs": ("get", "list"),
        "api_groups": ("",),
        "resources": ("pods", "configmaps"),
    }
    return [
        Policy(
            name=f"ngm-{place.run}-{number}",
            subjects=(Subject(SubjectKind.AGENT, f"ngm-{place.run}-{number}"),),
            clusters=(GATE_CLUSTER,),
            rules=(Rule(id="r", **{**base, **shape}),),
        )
        for number, shape in enumerate(shapes)
    ]


def agent_of(policy: Policy) -> Identity:
    return Identity(kind=Kind.AGENT, name=policy.subjects[0].name, proven_by="test", credential="test")


def questions(place: Place) -> list[Intent]:
    """Every verb on every thing, with and without a name, in one namespace, in the other, in all and in none."""
    asked = []
    for verb, (group, resource, subresource), name in itertools.product(VERBS, THINGS, ("", "web")):
        namespaced = (group, resource) not in CLUSTER_SCOPED
        nameless = verb in ("list", "deletecollection") or (verb == "create" and not subresource)
        if nameless is bool(name):
            continue
        for namespace in ("", *place.namespaces) if namespaced else ("",):
            if namespaced and not namespace and not nameless:
                continue
            info = RequestInfo(
                is_resource_request=True,
                path="",
                verb=verb,
                api_group=group,
                # As RequestInfo reads it: a namespace is in itself.
                namespace=name if resource == "namespaces" else namespace,
                resource=resource,
                subresource=subresource,
                name=name,
            )
            asked.append(Intent(cluster=GATE_CLUSTER, info=info, namespaced=namespaced))
    return asked


def allowed_by_cluster(server: ApiServer, user: str, groups: Sequence[str], what: Intent) -> bool:
    attributes = {
        "verb": what.info.verb,
        "group": what.info.api_group,
        "resource": what.info.resource,
        "subresource": what.info.subresource,
        "namespace": what.info.namespace,
        "name": what.info.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": [*groups, "system:authenticated"], "resourceAttributes": attributes},
    }
    answer = server.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert answer.status == 201, answer.message
    return bool(answer.document["status"]["allowed"])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {SETTLE_SECONDS} s"
        time.sleep(0.1)


def at_its_widest(policy: Policy) -> Policy:
    """What a policy lets through once a task was granted all it offers, and people have said yes to all they may."""
    offering = (Effect.GRANTABLE, Effect.APPROVE)
    rules = tuple(
        msgspec.structs.replace(rule, effect=Effect.ALLOW, max_duration=None, approval=None)
        if rule.effect in offering
        else rule
        for rule in policy.rules
    )
    return msgspec.structs.replace(policy, rules=rules)


def compared(place: Place, policies: Sequence[Policy], user_of: Callable[[Policy], tuple[str, Sequence[str]]]) -> None:
    """Ask both about everything. The cluster may say no where RBAC is coarser, and never yes where the gate says no."""
    rulebook = compile_policies([at_its_widest(policy) for policy in policies], revision=1)
    wider, narrower, both = [], [], 0
    with ApiServer(place.access) as server:
        # The last policy allows everything: when it is in force, so are those applied before it.
        sentinel, what = user_of(policies[-1]), questions(place)[0]
        wait_until(lambda: allowed_by_cluster(server, *sentinel, what), "the roles are in force")
        for policy, question in itertools.product(policies, questions(place)):
            decision = decide(chain_of(agent_of(policy)), question, rulebook, (), (), time.time())
            # A list of which a part is shown is asked of the cluster for that part, by its namespace or name.
            gate = isinstance(decision, Allow) and decision.visible is None
            cluster = allowed_by_cluster(server, *user_of(policy), question)
            both += gate and cluster
            if cluster and not gate:
                wider.append((policy.rules[0], question.info))
            if gate and not cluster:
                narrower.append((policy.rules[0], question.info))
    assert wider == []
    assert both > 100, "hardly anything was allowed: the comparison says nothing"
    # A wildcard over cluster-scoped resources alone is the one thing of these that RBAC cannot say.
    assert [one for one in narrower if one[0].resources != ("nodes", "namespaces", "*")] == []


def test_roles_for_impersonated_agents_are_no_wider_than_the_policies(place: Place) -> None:
    policies = policies_of(place)
    made = impersonation_manifests(GATE_CLUSTER, policies, (), place.accounts)
    place.apply(made, "--dry-run=server")
    place.apply(made)
    try:
        compared(place, policies, lambda policy: (upstream_user(agent_of(policy)), upstream_groups(agent_of(policy))))
    finally:
        place.delete(made)


def test_accounts_of_policies_are_no_wider_than_the_policies(place: Place) -> None:
    policies = policies_of(place)
    made = service_account_manifests(GATE_CLUSTER, policies, place.accounts)
    place.apply(made, "--dry-run=server")
    place.apply(made)
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{place.accounts}")
    try:
        compared(
            place,
            policies,
            lambda policy: (f"system:serviceaccount:{place.accounts}:{policy_account(policy.name)}", groups),
        )
    finally:
        place.delete(made)


class Account:
    """The gate's own account in the cluster, with a token as the gate would have one."""

    def __init__(self, place: Place) -> None:
        access = place.access
        with ApiServer(access) as server:
            path = f"/api/v1/namespaces/{place.accounts}/serviceaccounts/narrowgate/token"
            answer = server.create(path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
        assert answer.status == 201, answer.message
        self._token = answer.document["status"]["token"]
        self._access = access

    def status(self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> int:
        context = ssl.create_default_context(cadata=self._access.certificate_authority.decode())
        connection = http.client.HTTPSConnection(self._access.host, self._access.port, context=context)
        connection.putrequest(method, path)
        connection.putheader("Authorization", f"Bearer {self._token}")
        for name, value in headers:
            connection.putheader(name.decode(), value)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.mark.parametrize("constrained", [False, True], ids=["legacy", "constrained"])
def test_the_account_can_speak_for_those_it_knows_and_do_nothing_else(place: Place, constrained: bool) -> None:
    here, _ = place.namespaces
    known = Policy(
        name=f"ngm-{place.run}-known",
        subjects=(Subject(SubjectKind.AGENT, "ngm-known"), Subject(SubjectKind.GROUP, "ngm-team")),
        clusters=(GATE_CLUSTER,),
        rules=(
            Rule(
                id="r",
                effect=Effect.ALLOW,
                verbs=("get", "list"),
                api_groups=("",),
                resources=("pods",),
                namespaces=(here,),
            ),
        ),
    )
    made = impersonation_manifests(GATE_CLUSTER, [known], (), place.accounts, constrained=constrained)
    place.apply(made, "--dry-run=server")
    place.apply(made)
    pods, secrets_path = f"/api/v1/namespaces/{here}/pods", f"/api/v1/namespaces/{here}/secrets"

    def speaking_for(name: str, *groups: str) -> list[tuple[bytes, bytes]]:
        who = Identity(kind=Kind.AGENT, name=name, groups=groups, proven_by="test", credential="test")
        return impersonation_headers(chain_of(who), "request-1")

    try:
        account = Account(place)
        wait_until(lambda: account.status("GET", pods, speaking_for("ngm-known")) == 200, "the fence is in force")
        refused = {
            "its own name": account.status("GET", pods),
            "what no policy allows": account.status("GET", secrets_path, speaking_for("ngm-known")),
            "another verb": account.status("DELETE", pods, speaking_for("ngm-known")),
            "somebody unknown": account.status("GET", pods, speaking_for("ngm-stranger")),
            "an unknown group": account.status("GET", pods, speaking_for("ngm-known", "ngm-other")),
            "the masters": account.status(
                "GET", pods, [*speaking_for("ngm-known"), (b"impersonate-group", b"system:masters")]
            ),
            "an account of the cluster": account.status(
                "GET", pods, [(b"impersonate-user", b"system:serviceaccount:kube-system:default")]
            ),
            "an extra value of others": account.status(
                "GET", pods, [*speaking_for("ngm-known"), (b"impersonate-extra-scopes", b"all")]
            ),
        }
        assert {what: status for what, status in refused.items() if status != 403} == {}
        assert account.status("GET", pods, speaking_for("ngm-known", "ngm-team")) == 200
        assert account.status("GET", "/api", speaking_for("ngm-known")) == 200
    finally:
        place.delete(made)
