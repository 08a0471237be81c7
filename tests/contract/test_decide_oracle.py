"""The API server's own authorizer grades our reading of rules: the same rules as RBAC, the same questions, no
difference.

Rule sets are made at random (one seed, so that a difference can be found again), written as Roles and bindings for
users nobody else has, and asked about by SubjectAccessReview; `decide` is asked the same of the equivalent policy of
allow rules. Where the gate means to differ from RBAC, nothing is generated, and a comment says so.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.contract.api_server import ApiServer
from tests.deciding import is_whole

from narrowgate.core.decide import decide
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies

SEED = 20261121
RULE_SETS = 100
REQUESTS_PER_SET = 40
LEAST_OF_EACH_ANSWER = 300
SETTLE_SECONDS = 90.0
"""RBAC reaches the authorizer through informers, in a fraction of a second; a busy machine takes longer."""

RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

# The gate reads every stream into a pod as create and refuses rules that say otherwise: no other verb is asked of it.
STREAMS = ("pods/exec", "pods/attach")
NAMESPACED = (
    ("", "pods"),
    ("", "pods/log"),
    ("", "pods/status"),
    ("", "pods/exec"),
    ("", "pods/attach"),
    ("", "configmaps"),
    ("", "secrets"),
    ("apps", "deployments"),
    ("apps", "deployments/scale"),
    ("apps", "statefulsets/scale"),
    ("example.com", "widgets"),
)
CLUSTER_SCOPED = (
    ("", "nodes"),
    ("", "nodes/status"),
    ("", "namespaces"),
    ("", "namespaces/status"),
    ("", "persistentvolumes"),
    ("rbac.authorization.k8s.io", "clusterroles"),
)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "use", "impersonate")
UNNAMED = ("list", "watch", "create", "deletecollection")
NAMES = ("a", "b", "a-b")
# The gate opens discovery to whoever holds anything; the same paths are open to all who are authenticated in RBAC, by
# bindings to a group that the reviews here do not name. Neither is asked about.
PATHS = ("/metrics", "/metrics/slis", "/healthz", "/healthz/etcd", "/logs", "/custom/path", "/custom")
URLS = (*PATHS, "/healthz/*", "/metrics*", "/custom/*", "*")


class Subjects(msgspec.Struct, frozen=True):
    """One requester, as each side writes it."""

    identity: Identity
    subject: Subject
    rbac: dict[str, str]
    user: str
    groups: tuple[str, ...]


class Case(msgspec.Struct, frozen=True):
    """One rule set: whose it is, and its rules as ours say them."""

    who: Subjects
    rules: tuple[Rule, ...]


class World:
    """Makes cases and requests from one generator, in two namespaces."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.namespaces = (f"decide-{run}-a", f"decide-{run}-b")
        self._chance = random.Random(SEED)

    def cases(self) -> list[Case]:
        return [
            Case(self._subjects(number), tuple(self._rule(f"r{index}") for index in range(self._chance.randint(0, 4))))
            for number in range(RULE_SETS)
        ]

    def requests(self, rules: tuple[Rule, ...]) -> list[Intent]:
        """Requests of which about half are near to what the rules say: random ones hardly ever meet."""
        return [
            self._near(self._chance.choice(rules)) if rules and self._chance.random() < 0.6 else self._anything()
            for _ in range(REQUESTS_PER_SET)
        ]

    def _subjects(self, number: int) -> Subjects:
        name = f"decide-{self.run}-{number}"
        kind = self._chance.choice(["user", "group", "account"])
        proof = {"proven_by": "test", "credential": name}
        group = {"apiGroup": "rbac.authorization.k8s.io"}
        if kind == "user":
            who = Identity(kind=Kind.AGENT, name=name, **proof)
            return Subjects(who, Subject(SubjectKind.AGENT, name), {"kind": "User", "name": name, **group}, name, ())
        if kind == "group":
            who = Identity(kind=Kind.PERSON, name=f"{name}-p", groups=("others", name), **proof)
            rbac = {"kind": "Group", "name": name, **group}
            return Subjects(who, Subject(SubjectKind.GROUP, name), rbac, f"{name}-p", ("others", name))
        namespace = self.namespaces[0]
        who = Identity(kind=Kind.WORKLOAD, name=f"{namespace}/{name}", **proof)
        rbac = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
        subject = Subject(SubjectKind.SERVICE_ACCOUNT, f"{namespace}/{name}")
        return Subjects(who, subject, rbac, f"system:serviceaccount:{namespace}:{name}", ())

    def _some(self, values: tuple[Any, ...], most: int = 3) -> list[Any]:
        return self._chance.sample(values, self._chance.randint(1, min(most, len(values))))

    def _rule(self, identifier: str) -> Rule:
        if self._chance.random() < 0.15:
            urls = tuple(self._some(URLS))
            verbs = tuple(self._some(("get", "post", "put", "*")))
            return Rule(id=identifier, effect=Effect.ALLOW, verbs=verbs, non_resource_urls=urls)
        # Without namespaces a rule of ours is about cluster-scoped resources alone, and RBAC has no such rule: it is
        # compared where it names nothing else.
        cluster_scoped = self._chance.random() < 0.2
        pairs = self._some(CLUSTER_SCOPED if cluster_scoped else NAMESPACED + CLUSTER_SCOPED)
        groups = {group for group, _ in pairs}
        resources = {resource for _, resource in pairs}
        if not cluster_scoped:
            groups |= {"*"} if self._chance.random() < 0.15 else set()
            resources |= (
                set(self._some(("*", "*/scale", "*/status", "*/log"), 2)) if self._chance.random() < 0.3 else set()
            )
        scopes = (None,) if cluster_scoped else (("*",), self.namespaces[:1], self.namespaces[1:], self.namespaces)
        verbs = ["*"] if self._chance.random() < 0.15 else self._some(VERBS, 4)
        return Rule(
            id=identifier,
            effect=Effect.ALLOW,
            verbs=tuple(verbs),
            api_groups=tuple(sorted(groups)),
            resources=tuple(sorted(resources)),
            namespaces=self._chance.choice(scopes),
            names=tuple(self._some(NAMES)) if self._chance.random() < 0.3 else None,
        )

    def _near(self, rule: Rule) -> Intent:
        if rule.non_resource_urls:
            path = self._chance.choice(rule.non_resource_urls).replace("*", self._chance.choice(["", "x", "/x"]))
            return self._path(path if path.startswith("/") else "/anything", self._chance.choice([*rule.verbs, "get"]))
        verb = self._chance.choice([one for one in rule.verbs if one != "*"] or VERBS)
        known = [pair for pair in NAMESPACED + CLUSTER_SCOPED if pair[1] in rule.resources]
        pair = self._chance.choice(known or [*NAMESPACED, *CLUSTER_SCOPED])
        listed = [one for one in rule.namespaces or () if one != "*"] or [*self.namespaces, ""]
        name = self._chance.choice(rule.names or NAMES)
        return self._intent(pair, verb, self._chance.choice(listed), name)

    def _anything(self) -> Intent:
        if self._chance.random() < 0.15:
            return self._path(self._chance.choice(PATHS), self._chance.choice(["get", "post", "delete"]))
        pair = self._chance.choice(NAMESPACED + CLUSTER_SCOPED)
        namespace = self._chance.choice([*self.namespaces, "", "default"])
        return self._intent(pair, self._chance.choice(VERBS), namespace, self._chance.choice(NAMES))

    def _path(self, path: str, verb: str) -> Intent:
        return Intent(cluster="prod", info=RequestInfo(is_resource_request=False, path=path, verb=verb))

    def _intent(self, pair: tuple[str, str], verb: str, namespace: str, name: str) -> Intent:
        group, combined = pair
        resource, _, subresource = combined.partition("/")
        verb = "create" if combined in STREAMS else verb
        # The gate knows the name of a create from its body, and RBAC does not. Neither has one here, except where the
        # path names the object that a subresource belongs to.
        if verb in UNNAMED and not subresource:
            name = self._chance.choice([name, ""]) if verb in ("list", "watch") else ""
        namespaced = pair in NAMESPACED
        # A cluster-scoped resource on a namespaced path is refused before it is decided; the object namespaces/x alone
        # has a namespace, itself.
        if not namespaced:
            is_named = resource == "namespaces" and bool(name) and verb not in ("list", "watch")
            name = self._chance.choice(self.namespaces) if is_named and self._chance.random() < 0.7 else name
            namespace = name if is_named else ""
        info = RequestInfo(
            is_resource_request=True,
            path="/",
            verb=verb,
            api_group=group,
            api_version="v1",
            namespace=namespace,
            resource=resource,
            subresource=subresource,
            name=name,
        )
        return Intent(cluster="prod", info=info, namespaced=namespaced)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("admin")) as running:
        yield running


@pytest.fixture(scope="module")
def world(server: ApiServer) -> Iterator[World]:
    made = World(secrets.token_hex(4))
    for namespace in made.namespaces:
        assert server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}}).code == 201
    yield made
    for namespace in made.namespaces:
        server.ask("DELETE", f"/api/v1/namespaces/{namespace}")
    for resource in ("clusterrolebindings", "clusterroles"):
        gone = server.ask("DELETE", f"{RBAC}/{resource}?labelSelector=decide-oracle%3D{made.run}")
        assert gone.code == 200, gone


def test_decide_equals_the_api_servers_authorizer(server: ApiServer, world: World) -> None:
    cases = world.cases()
    for number, case in enumerate(cases):
        _write(server, world, f"decide-{world.run}-{number}", case)
    _wait_until_effective(server, world)
    differences = []
    answers: list[bool] = []
    for case in cases:
        policy = Policy(name="oracle", subjects=(case.who.subject,), clusters=("prod",), rules=case.rules)
        rulebook = compile_policies([policy] if case.rules else [], 1)
        for what in world.requests(case.rules):
            allowed = _ask(server, case.who, what.info)
            # RBAC knows no part of a list.
            ours = is_whole(decide(chain_of(case.who.identity), what, rulebook, (), (), 0.0))
            answers.append(allowed)
            if ours is not allowed:
                differences.append((allowed, what.info, case.rules))
    assert differences == []
    assert len(answers) >= 2_000
    assert min(sum(answers), len(answers) - sum(answers)) >= LEAST_OF_EACH_ANSWER


def _write(server: ApiServer, world: World, name: str, case: Case) -> None:
    """The rules as RBAC: in the ClusterRole what holds everywhere, in each namespace's Role what holds there."""
    everywhere = [_rbac(rule) for rule in case.rules if rule.namespaces in (None, ("*",))]
    _bind(server, world, ("", "ClusterRole", name), everywhere, case.who.rbac)
    for namespace in world.namespaces:
        there = [_rbac(rule) for rule in case.rules if namespace in (rule.namespaces or ())]
        _bind(server, world, (namespace, "Role", name), there, case.who.rbac)


def _rbac(rule: Rule) -> dict[str, Any]:
    if rule.non_resource_urls:
        return {"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}
    names = {} if rule.names is None else {"resourceNames": rule.names}
    return {"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources, **names}


def _bind(
    server: ApiServer, world: World, role: tuple[str, str, str], rules: list[dict[str, Any]], subject: dict[str, str]
) -> None:
    if not rules:
        return
    namespace, kind, name = role
    prefix = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
    metadata = {"name": name, "labels": {"decide-oracle": world.run}}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    made = server.ask("POST", f"{prefix}/{kind.lower()}s", {"metadata": metadata, "rules": rules})
    assert made.code == 201, made
    bound = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
    made = server.ask("POST", f"{prefix}/{kind.lower()}bindings", bound)
    assert made.code == 201, made


def _wait_until_effective(server: ApiServer, world: World) -> None:
    """Make a last role and binding of each kind; when they count, everything made before them does."""
    name = f"decide-{world.run}-sentinel"
    who = Identity(kind=Kind.AGENT, name=name, proven_by="test", credential=name)
    subject = {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    sentinel = Subjects(who, Subject(SubjectKind.AGENT, name), subject, name, ())
    questions = []
    for namespace, kind, resource in (("", "ClusterRole", "nodes"), (world.namespaces[1], "Role", "pods")):
        rules = [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]
        _bind(server, world, (namespace, kind, name), rules, subject)
        questions.append(
            RequestInfo(is_resource_request=True, path="/", verb="get", resource=resource, namespace=namespace)
        )
    deadline = time.monotonic() + SETTLE_SECONDS
    while not all(_ask(server, sentinel, question) for question in questions):
        assert time.monotonic() < deadline, "the API server does not take up the roles"
        time.sleep(0.05)


def _ask(server: ApiServer, who: Subjects, info: RequestInfo) -> bool:
    spec: dict[str, Any] = {"user": who.user, "groups": who.groups}
    if info.is_resource_request:
        spec["resourceAttributes"] = {
            "verb": info.verb,
            "group": info.api_group,
            "version": info.api_version,
            "resource": info.resource,
            "subresource": info.subresource,
            "namespace": info.namespace,
            "name": info.name,
        }
    else:
        spec["nonResourceAttributes"] = {"path": info.path, "verb": info.verb}
    answer = server.ask("POST", REVIEWS, {"spec": spec})
    assert answer.code == 201, answer
    return bool(answer.json["status"].get("allowed"))
