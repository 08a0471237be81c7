"""A small world of policies and requests, and what deciding means in it, said with sets.

The model does not match rules: it spells out which objects a request reaches and which objects a rule is about, as sets
of (namespace, name). What gives must contain the request's set; what guards must only touch it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tests.deciding import TWO_OF_SRE, agent, asks, person, policy, uses

from narrowgate.core.identity import Chain, Identity, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.masking.choosing import Where
from narrowgate.core.policy import Effect, Policy, Rule

NAMESPACES = ("ci", "prod", "elsewhere")
NAMES = ("a", "ab", "else")
"""The last of each stands for all that no rule names."""

EVERY_NAME = (*NAMES, *NAMESPACES)
EVERYWHERE = {*NAMESPACES, *NAMES, "(the cluster)"}
"""Namespaces are objects too, so that what names one is the name of the other."""

RESOURCES = (("", "pods"), ("", "pods/log"), ("apps", "deployments"), ("", "nodes"), ("", "namespaces"))
NAMESPACED = {"pods", "deployments", "secrets"}
VERBS = ("get", "list", "watch", "create", "delete", "deletecollection")
SAME_RISK = {"list": {"get"}, "watch": {"get", "list"}, "deletecollection": {"delete"}}
"""What a guard may say, besides the verb itself, to hold for a request with that verb."""
COLLECTING = tuple(SAME_RISK)
ANSWERS = {"": True, "request.name != 'x-none'": True, "1 == 2": False, "object.none.at.all": None, "oldObject.x": None}
"""Conditions, and what they come to: None is an error."""

identities = st.sampled_from(
    [agent("one"), agent("two", groups=("g",)), person("alice"), person("bob", "g", "h")],
)
chains = st.lists(identities, min_size=1, max_size=3).map(lambda members: chain_of(*members))


def some(values: Any, least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=2, unique=True).map(tuple)


@st.composite
def rules(draw: Any, effects: tuple[Effect, ...] = tuple(Effect)) -> Rule:
    effect = draw(st.sampled_from(effects))
    wide = effect is Effect.ALLOW and draw(st.booleans())
    if wide:
        # Narrow rules alone hardly ever meet a request, and then nothing is allowed and nothing is tested.
        return Rule(
            id=f"r{draw(st.integers(0, 10**9))}",
            effect=effect,
            verbs=("*",),
            api_groups=("*",),
            resources=("*",),
            namespaces=draw(st.sampled_from([("*",), ("*",), ("ci",), None])),
            names=draw(st.sampled_from([None, None, ("a",)])),
            when=draw(st.sampled_from(["", "", *ANSWERS])),
        )
    return Rule(
        id=f"r{draw(st.integers(0, 10**9))}",
        effect=effect,
        verbs=draw(some((*VERBS, "*"))),
        api_groups=draw(some(("", "apps", "*"))),
        resources=draw(some(("pods", "pods/log", "*/log", "deployments", "nodes", "namespaces", "secrets", "*"))),
        namespaces=draw(st.none() | some(("ci", "prod", "*"))),
        names=draw(st.none() | some(("a", "ab"))),
        when=draw(st.sampled_from(["", "", "", *ANSWERS])),
        max_duration=60.0 if effect is Effect.GRANTABLE else None,
        approval=TWO_OF_SRE if effect is Effect.APPROVE else None,
    )


SUBJECTS = ("Agent/one", "Agent/two", "Agent/*", "Person/alice", "Person/*", "Group/g", "Group/*")


@st.composite
def policy_sets(draw: Any, effects: tuple[Effect, ...] = tuple(Effect)) -> list[Policy]:
    count = draw(st.integers(0, 4))
    common = []
    if Effect.ALLOW in effects and draw(st.integers(0, 3)):
        everything = Rule(
            id="all", effect=Effect.ALLOW, verbs=("*",), api_groups=("*",), resources=("*",), namespaces=("*",)
        )
        common = [policy(everything, name="common", subjects=draw(st.sampled_from(["Agent/* Person/*", "Agent/*"])))]
    return common + [
        policy(
            *draw(st.lists(rules(effects), max_size=3, unique_by=lambda rule: rule.id)),
            name=f"p{number}",
            subjects=" ".join(draw(some(SUBJECTS))),
            clusters=" ".join(draw(some(("prod", "staging", "*")))),
        )
        for number in range(count)
    ]


@st.composite
def intents(draw: Any) -> Intent:
    group, resource = draw(st.sampled_from(RESOURCES))
    verb = draw(st.sampled_from(VERBS))
    namespaced = resource.partition("/")[0] in NAMESPACED
    namespace = draw(st.sampled_from(("ci", "prod", "elsewhere", ""))) if namespaced else ""
    known = NAMES if resource != "namespaces" else ("ci", "prod", "a", "elsewhere")
    name = draw(st.sampled_from((*known, ""))) if verb in ("create", *COLLECTING) else draw(st.sampled_from(known))
    body = None
    if verb == "create" and resource != "pods/log":
        metadata = {"name": name} if name else {"generateName": draw(st.sampled_from(("a", "z", "")))}
        body, name = draw(st.sampled_from([None, {"metadata": metadata}])), ""
    used = draw(st.lists(st.sampled_from(NAMES), max_size=1))
    return asks(
        verb,
        resource,
        name,
        namespace=namespace,
        group=group,
        object=body,
        uses=tuple(uses("secrets", secret, namespace="ci") for secret in used),
    )


Cells = set[tuple[str, str]]
CLUSTER = "(the cluster)"


def reached(what: Intent) -> Cells:
    """Every (namespace, name) that the request may read or change."""
    info = what.info
    metadata = what.object["metadata"] if what.object else {}
    name = info.name or (metadata.get("name", "") if info.verb == "create" else "")
    prefix = metadata.get("generateName", "") if info.verb == "create" else ""
    names = {name} if name else {one for one in EVERY_NAME if one.startswith(prefix) or one == NAMES[-1]}
    if info.resource == "namespaces":
        known = {info.namespace or (name if info.verb == "create" else "")} - {""}
        return {(namespace, one) for namespace in known or set(NAMESPACES) for one in names}
    if not what.namespaced:
        return {(CLUSTER, one) for one in names}
    return {(namespace, one) for namespace in ({info.namespace} - {""} or set(NAMESPACES)) for one in names}


@st.composite
def lists(draw: Any) -> Intent:
    """A list or watch that names no object."""
    group, resource = draw(st.sampled_from([pair for pair in RESOURCES if "/" not in pair[1]]))
    namespace = draw(st.sampled_from(("ci", "prod", "elsewhere", ""))) if resource in NAMESPACED else ""
    return asks(draw(st.sampled_from(("list", "watch"))), resource, namespace=namespace, group=group)


def objects_of(what: Intent) -> list[Where]:
    """Objects that such a list may hold."""
    if what.info.resource == "namespaces":
        return [Where("", name) for name in (*NAMESPACES, "a")]
    if not what.namespaced:
        return [Where("", name) for name in NAMES]
    namespaces = (what.info.namespace,) if what.info.namespace else NAMESPACES
    return [Where(namespace, name) for namespace in namespaces for name in NAMES]


def named(what: Intent, where: Where) -> Intent:
    """The same list, of that object alone (`fieldSelector=metadata.name=...`)."""
    info = what.info
    group, verb, name = info.api_group, info.verb, where.name or ""
    return asks(verb, info.resource, name, namespace=where.namespace or "", group=group)


def is_about(rule: Rule, cluster_scoped: bool) -> Cells:
    """Every (namespace, name) that the rule is about."""
    if rule.namespaces is None:
        namespaces = EVERYWHERE if rule.guards or cluster_scoped else {CLUSTER}
    else:
        namespaces = EVERYWHERE if "*" in rule.namespaces else set(rule.namespaces)
    return {(namespace, name) for namespace in namespaces for name in rule.names or EVERY_NAME}


def speaks_of(rule: Rule, verbs: tuple[str, ...], group: str, resource: str) -> bool:
    wanted = {resource, "*"} | ({"*/" + resource.split("/")[1]} if "/" in resource else set())
    return bool(
        {*verbs, "*"} & set(rule.verbs) and {group, "*"} & set(rule.api_groups) and wanted & set(rule.resources)
    )


def verdict(chain: Chain, what: Intent, policies: list[Policy]) -> str:
    """`Deny`, `NeedsApproval` or `Allow`."""
    answers = set()
    for member in chain:
        held = [rule for one in policies if _means(one, member) for rule in one.rules]
        base = f"{what.info.resource}/{what.info.subresource}".rstrip("/")
        answers.add(_one(held, (what.info.verb,), what.info.api_group, base, reached(what), not what.namespaced))
        for use in what.uses:
            answers.add(_one(held, use.verbs, "", "secrets", {(use.namespace, use.name)}, False))
    return next(answer for answer in ("Deny", "NeedsApproval", "Allow") if answer in answers)


def _one(
    held: list[Rule], verbs: tuple[str, ...], group: str, resource: str, reach: Cells, cluster_scoped: bool
) -> str:
    fit = [rule for rule in held if speaks_of(rule, verbs, group, resource)]
    risky = verbs if "/" in resource else tuple(set(verbs).union(*(SAME_RISK.get(verb, ()) for verb in verbs)))
    touch = [
        rule
        for rule in held
        if rule.guards and speaks_of(rule, risky, group, resource) and is_about(rule, cluster_scoped) & reach
    ]
    contain = [rule for rule in fit if is_about(rule, cluster_scoped) >= reach]
    if any(ANSWERS[rule.when] is not False for rule in touch if rule.effect is Effect.DENY):
        return "Deny"
    if any(ANSWERS[rule.when] is None for rule in touch):
        return "Deny"
    covered = any(rule.effect is Effect.ALLOW and ANSWERS[rule.when] for rule in contain)
    asking = any(ANSWERS[rule.when] for rule in touch)
    offered = asking and any(rule.effect is Effect.APPROVE and ANSWERS[rule.when] for rule in contain)
    if asking and (covered or offered):
        return "NeedsApproval"
    return "Allow" if covered else "Deny"


def _means(one: Policy, member: Identity) -> bool:
    names = {f"{member.kind.value}/{member.name}", f"{member.kind.value}/*"}
    names |= {f"Group/{group}" for group in (*member.groups, *("*" for _ in member.groups))}
    about = {f"{subject.kind.value}/{subject.name}" for subject in one.subjects}
    return bool(names & about) and bool({"prod", "*"} & set(one.clusters))
