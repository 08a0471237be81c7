"""Short ways to write identities, rules and requests in tests about decisions."""

from __future__ import annotations

from typing import Any

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision
from narrowgate.core.identity import Chain, Identity, Kind, chain_of
from narrowgate.core.intent import Intent, Use
from narrowgate.core.policy import Approval, Approvers, Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies

NOW = 1_000_000.0

TWO_OF_SRE = Approval((Approvers("sre", 2),), 600.0)


def agent(name: str = "ci", *, groups: tuple[str, ...] = (), **more: Any) -> Identity:
    return Identity(kind=Kind.AGENT, name=name, groups=groups, proven_by="test", credential=f"c-{name}", **more)


def person(name: str, *groups: str) -> Identity:
    return Identity(kind=Kind.PERSON, name=name, groups=groups, proven_by="test", credential=f"c-{name}")


def workload(name: str) -> Identity:
    return Identity(kind=Kind.WORKLOAD, name=name, proven_by="test", credential=f"c-{name}")


def rule(effect: str, verbs: str, resources: str = "", **more: Any) -> Rule:
    """`rule("allow", "get list", "pods pods/log", namespaces="ci")`; groups default to the core group."""
    found = Effect(effect)
    words = {key: tuple(more.pop(key).split()) for key in ("namespaces", "names") if more.get(key) is not None}
    groups = tuple("" if group == "core" else group for group in more.pop("groups", "core").split())
    return Rule(
        id=more.pop("id", f"{effect}-it"),
        effect=found,
        verbs=tuple(verbs.split()),
        api_groups=groups if resources else (),
        resources=tuple(resources.split()),
        non_resource_urls=tuple(more.pop("urls", "").split()),
        max_duration=60.0 if found is Effect.GRANTABLE else None,
        approval=TWO_OF_SRE if found is Effect.APPROVE else None,
        **words,
        **more,
    )


def policy(*rules: Rule, name: str = "test", subjects: str = "Agent/ci", clusters: str = "prod") -> Policy:
    """`subjects` are `Kind/name`, apart by spaces."""
    pairs = [subject.split("/", 1) for subject in subjects.split()]
    return Policy(
        name=name,
        subjects=tuple(Subject(SubjectKind(kind), subject) for kind, subject in pairs),
        clusters=tuple(clusters.split()),
        rules=rules,
        file=f"{name}.yaml",
        line=1,
    )


CLUSTER_SCOPED = {"nodes", "namespaces", "persistentvolumes", "clusterroles", "widgets"}


def asks(verb: str, resource: str, name: str = "", *, namespace: str = "", group: str = "", **more: Any) -> Intent:
    """`asks("get", "pods/log", "web", namespace="ci")`; scope by what Kubernetes has, cluster "prod"."""
    base, _, subresource = resource.partition("/")
    namespaced = more.pop("namespaced", base not in CLUSTER_SCOPED)
    info = RequestInfo(
        is_resource_request=True,
        path="/",
        verb=verb,
        api_group=group,
        api_version="v1",
        # The API server gives the object namespaces/ci the namespace ci.
        namespace=name if base == "namespaces" else namespace,
        resource=base,
        subresource=subresource,
        name=name,
    )
    return Intent(cluster=more.pop("cluster", "prod"), info=info, namespaced=namespaced, **more)


def gets(path: str, verb: str = "get") -> Intent:
    return Intent(cluster="prod", info=RequestInfo(is_resource_request=False, path=path, verb=verb))


def uses(resource: str, name: str, *, namespace: str = "ci", group: str = "", verbs: str = "use get") -> Use:
    return Use(
        verbs=tuple(verbs.split()),
        api_group=group,
        resource=resource,
        namespace=namespace,
        name=name,
        because="spec.template.spec.volumes[0]",
    )


def answer(what: Intent, *policies: Policy, by: Identity | Chain | None = None, now: float = NOW) -> Decision:
    who = chain_of(agent()) if by is None else (chain_of(by) if isinstance(by, Identity) else by)
    return decide(who, what, compile_policies(policies, 7), (), (), now)


def is_whole(decision: Decision) -> bool:
    """Whether all that was asked for is allowed, and not only a part of a list."""
    return isinstance(decision, Allow) and decision.visible is None


def is_part(decision: Decision) -> bool:
    """Whether a part of a list is allowed, and no more."""
    return isinstance(decision, Allow) and decision.visible is not None
