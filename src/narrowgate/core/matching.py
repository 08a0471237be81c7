"""Whether one rule speaks of one question: verbs, resource, scope, name, each by itself, and why it does not.

A `Question` is what a request asks of one rule: the request itself, or something else that it uses. What matching means
is written in `policy`; here it is done, twice where a rule that guards reaches further than one that gives.
"""

from __future__ import annotations

from typing import Final

import msgspec

from narrowgate.core.conditions import Condition, compile_condition
from narrowgate.core.entering import Inside
from narrowgate.core.intent import Intent, Use
from narrowgate.core.policy import EVERYTHING, Effect, Rule
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.understand import PROXY, proxied_name, same_risk_verbs

OF_COLLECTIONS: Final = frozenset({"list", "watch", "deletecollection"})


class Question(msgspec.Struct, frozen=True, gc=False):
    """One thing that must be covered, and that no guard may withhold."""

    verbs: tuple[str, ...]
    """Any one of them covers it; a guard over any of them withholds it. One for requests, several for uses."""
    group: str = ""
    resource: str = ""
    """Empty for requests for no resource, which have a `path` instead."""
    subresource: str = ""
    namespace: str = ""
    namespaced: bool = False
    name: str = ""
    name_prefix: str = ""
    """Where `name` is empty: how the name will begin (generateName). Empty means that it may be any, or many."""
    path: str = ""
    same_risk: tuple[str, ...] = ()
    """Verbs that reach the same thing as `verbs` do (exec by GET and POST, say): a guard over any of them holds."""
    proxied: str = ""
    """The object behind `scheme:name:port` in front of `/proxy`: a guard over it holds for all of its spellings."""

    @property
    def combined(self) -> str:
        """`pods` or `pods/log`, as rules write it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def is_of_namespaces(self) -> bool:
        """Whether it is about Namespace objects, each of which counts as being in itself (RequestInfo, RBAC)."""
        return self.resource == "namespaces" and not self.group


def question_of(what: Intent) -> Question:
    """What the request itself asks."""
    info = what.info
    if not info.is_resource_request:
        return Question((info.verb,), path=info.path)
    name, prefix, namespace = info.name, "", info.namespace
    if info.verb == "create":
        if not name:
            name, prefix = _name_in_body(what.object)
        if not namespace and info.resource == "namespaces" and not info.api_group:
            namespace = name
    if not info.subresource and info.verb not in OF_COLLECTIONS:
        return Question((info.verb,), info.api_group, info.resource, "", namespace, what.namespaced, name, prefix)
    return Question(
        verbs=(info.verb,),
        group=info.api_group,
        resource=info.resource,
        subresource=info.subresource,
        namespace=namespace,
        namespaced=what.namespaced,
        name=name,
        name_prefix=prefix,
        same_risk=same_risk_verbs(info),
        proxied=proxied_name(info) if info.subresource == PROXY else "",
    )


def question_of_use(use: Use) -> Question:
    """What something that the request uses asks. Whatever is in a namespace is named with it, so none means none."""
    resource, _, subresource = use.resource.partition("/")
    # A Namespace has itself for its namespace, and lives in none all the same.
    namespaced = bool(use.namespace) and (use.resource, use.api_group) != ("namespaces", "")
    return Question(use.verbs, use.api_group, resource, subresource, use.namespace, namespaced, use.name)


def _name_in_body(body: object) -> tuple[str, str]:
    """Name and generateName of an object about to be created; both empty where they are not to be had."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict):
        return "", ""
    name, prefix = metadata.get("name"), metadata.get("generateName")
    if isinstance(name, str) and name:
        return name, ""
    return "", prefix if isinstance(prefix, str) else ""


class CompiledRule:
    """A rule ready to be asked: sets instead of lists, its condition compiled. Never changed once it is made."""

    __slots__ = (
        "condition",
        "effect",
        "groups",
        "guards",
        "inside",
        "names",
        "namespaces",
        "ref",
        "resources",
        "rule",
        "urls",
        "verbs",
    )

    def __init__(self, policy: str, rule: Rule, revision: int) -> None:
        self.rule: Final = rule
        self.ref: Final = RuleRef(policy, rule.id, revision)
        self.effect: Final[Effect] = rule.effect
        self.guards: Final = rule.guards
        self.verbs: Final = frozenset(rule.verbs)
        self.groups: Final = frozenset(rule.api_groups)
        self.resources: Final = frozenset(rule.resources)
        self.urls: Final = rule.non_resource_urls
        self.namespaces: Final = None if rule.namespaces is None else frozenset(rule.namespaces)
        self.names: Final = None if rule.names is None else frozenset(rule.names)
        self.condition: Final[Condition | None] = compile_condition(rule.when) if rule.when else None
        self.inside: Final = Inside(rule) if rule.looks_inside else None
        """What it says of ways into pods; None where it says nothing."""

    @property
    def is_plain(self) -> bool:
        """Whether nothing but verb, resource and scope decides, so that the answer is the same for every name."""
        return self.names is None and self.condition is None and self.inside is None

    @property
    def is_whole(self) -> bool:
        """Whether what it gives hangs on nothing but verb, resource, scope and name: not on objects, commands, pods."""
        return self.condition is None and self.inside is None and self.rule.pods is None

    def speaks_of(self, question: Question) -> bool:
        """Whether verb, resource and scope match: everything but names and condition."""
        return self.has_verb(question) and self.has_subject(question) and self.has_scope(question)

    def has_verb(self, question: Question) -> bool:
        """Any verb of the question, or all; a guard also reaches verbs of the same risk."""
        if EVERYTHING in self.verbs or not self.verbs.isdisjoint(question.verbs):
            return True
        # What asks people before it reveals something is about `get` alone: lists are masked, and need not wait.
        return self.guards and not self.rule.reveals and not self.verbs.isdisjoint(question.same_risk)

    def covers(self, question: Question) -> bool:
        """Whether all of the question, and not only a part that a guard reaches, is within what the rule matches."""
        verb = EVERYTHING in self.verbs or not self.verbs.isdisjoint(question.verbs)
        return verb and self.has_subject(question) and self.covers_scope(question) and self.covers_name(question)

    def has_subject(self, question: Question) -> bool:
        """The resource in its group, or the path."""
        if not question.resource:
            return self.has_url(question.path)
        return self.has_group(question) and self.has_resource(question)

    def has_group(self, question: Question) -> bool:
        """`APIGroupMatches` of evaluation_helpers.go."""
        return EVERYTHING in self.groups or question.group in self.groups

    def has_resource(self, question: Question) -> bool:
        """`ResourceMatches` of evaluation_helpers.go: all, exactly this, or this subresource of all."""
        if EVERYTHING in self.resources or question.combined in self.resources:
            return True
        return bool(question.subresource) and f"*/{question.subresource}" in self.resources

    def has_url(self, path: str) -> bool:
        """`NonResourceURLMatches` of evaluation_helpers.go: all, exactly this, or what it begins with."""
        return any(
            url in (EVERYTHING, path) or (url.endswith("*") and path.startswith(url.rstrip("*"))) for url in self.urls
        )

    def has_scope(self, question: Question) -> bool:
        """The namespaces; a guard also reaches requests over all of them."""
        return self.guards_scope(question) if self.guards else self.covers_scope(question)

    def covers_scope(self, question: Question) -> bool:
        """Whether everything the question reaches lies within `namespaces`."""
        if not question.resource:
            return True
        if self.namespaces is None:
            return self.guards or not question.namespaced
        if EVERYTHING in self.namespaces:
            return True
        in_namespace = question.namespaced or question.is_of_namespaces
        return in_namespace and bool(question.namespace) and question.namespace in self.namespaces

    def guards_scope(self, question: Question) -> bool:
        """Whether anything the question reaches lies within `namespaces`."""
        if not question.resource or self.namespaces is None or EVERYTHING in self.namespaces:
            return True
        if question.namespace:
            return question.namespace in self.namespaces
        return question.namespaced or question.is_of_namespaces

    def has_name(self, question: Question) -> bool:
        """The names; a guard also reaches requests for objects without naming them."""
        return self.guards_name(question) if self.guards else self.covers_name(question)

    def covers_name(self, question: Question) -> bool:
        """Whether the question is about one of `names` and nothing else."""
        return self.names is None or (bool(question.name) and question.name in self.names)

    def guards_name(self, question: Question) -> bool:
        """Whether the question may be about one of `names`."""
        if self.names is None:
            return True
        if question.name:
            return question.name in self.names or question.proxied in self.names
        return any(name.startswith(question.name_prefix) for name in self.names)

    def mismatch(self, question: Question) -> str:
        """The first thing about the question that the rule does not have; empty where all matches but the condition,
        and what a request does in a pod.
        """
        if bool(question.resource) != bool(self.resources):
            return "it is about paths" if self.urls else "it is about resources"
        if not self.has_subject(question):
            return "its resources are others" if question.resource else "its paths are others"
        if not self.has_verb(question):
            return f"its verbs are {', '.join(self.rule.verbs)}"
        if not self.has_scope(question):
            return _other_scope(self, question)
        if not self.has_name(question):
            names = ", ".join(self.rule.names or ())
            return f"its names are {names}" + ("" if question.name else ", and the request names none")
        return ""


def _other_scope(rule: CompiledRule, question: Question) -> str:
    if rule.rule.namespaces is None:
        return "without namespaces it is about cluster-scoped resources alone"
    listed = ", ".join(rule.rule.namespaces)
    if question.namespaced and not question.namespace:
        return f"its namespaces are {listed}, and the request is over all"
    return f"its namespaces are {listed}"
