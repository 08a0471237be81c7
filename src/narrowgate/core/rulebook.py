"""All policies of one revision, compiled: who holds what, found without looking at what others hold.

A `Rulebook` never changes; a new revision is a new one. What makes it fast is made when it is first needed and kept
within limits: for each identity and cluster a `Holding`, the rules of its policies by resource; in each holding, for
each verb, resource and namespace, the `Candidates`, rules that match all of that and still differ by name and
condition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final

import msgspec

from narrowgate.core.conditions import ObjectNeeds
from narrowgate.core.entering import DEBUG
from narrowgate.core.identity import Chain, Identity, Kind
from narrowgate.core.intent import Intent
from narrowgate.core.masking.choosing import (
    CompiledMask,
    CompiledReveal,
    MaskChoice,
    MemberMasks,
    Where,
    masks_for_record,
    masks_of_member,
    met_by_member,
)
from narrowgate.core.matching import CompiledRule, Question, question_of
from narrowgate.core.policy import BUILT_IN, EVERYTHING, Effect, Policy, Rule, SubjectKind
from narrowgate.core.rule_ref import RuleRef

MAX_HOLDINGS: Final = 1024
"""Identities and clusters remembered at once; an installation's agents and people, many times over. When it is full
everything is forgotten and found again, at some ten microseconds for each identity."""

MAX_CANDIDATES: Final = 512
"""Questions remembered in one holding; kubectl and controllers ask a few dozen. An agent that asks for ever new
namespaces empties its own memory and nobody else's."""

MAX_SPREAD: Final = 4096
"""Groups times resources times namespaces of one rule that is found by each of them. Larger ones, which nobody writes
by hand, are looked at for every new question instead, so that a short file cannot fill the memory."""

DISCOVERY: Final = Rule(
    id="discovery",
    effect=Effect.ALLOW,
    verbs=("get",),
    non_resource_urls=("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/"),
)
"""As the ClusterRole system:discovery, without health: clients cannot do anything before they have read these."""

REVIEWS: Final = Rule(
    id="reviews",
    effect=Effect.ALLOW,
    verbs=("create",),
    api_groups=("authorization.k8s.io", "authentication.k8s.io"),
    resources=("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"),
)
"""As the ClusterRole system:basic-user: asking what one may do oneself."""


class RuleInForce(msgspec.Struct, frozen=True):
    """A rule that holds for an identity, with the reference that decisions name it by."""

    ref: RuleRef
    rule: Rule


class Candidates:
    """The rules that may decide one question, by effect, each in the order of policy name and rule id."""

    __slots__ = ("allow", "approve", "deny", "grantable", "plain")

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self.deny: Final = tuple(rule for rule in rules if rule.effect is Effect.DENY)
        self.approve: Final = tuple(rule for rule in rules if rule.effect is Effect.APPROVE)
        self.allow: Final = tuple(rule for rule in rules if rule.effect is Effect.ALLOW)
        self.grantable: Final = tuple(rule for rule in rules if rule.effect is Effect.GRANTABLE)
        plain = None if self.deny or self.approve else next((rule for rule in self.allow if rule.is_plain), None)
        self.plain: Final = None if plain is None else plain.ref
        """What covers the question whatever its name and object; None where names or conditions must be looked at."""


_NO_CANDIDATES: Final = Candidates(())


class Holding:
    """What one identity holds on one cluster."""

    __slots__ = (
        "_by_namespace",
        "_candidates",
        "_everywhere",
        "_is_person",
        "_masks",
        "_masks_on",
        "_of_urls",
        "_recorded_on",
        "_reveals",
        "_wide",
        "holds",
        "offered",
        "rules",
    )

    def __init__(
        self,
        written: Iterable[CompiledRule],
        built_in: Sequence[CompiledRule],
        masks: Iterable[CompiledMask] = (),
        reveals: Iterable[CompiledReveal] = (),
        *,
        is_person: bool = True,
    ) -> None:
        rules = sorted(written, key=lambda rule: (rule.ref.policy, rule.ref.rule))
        self.holds: Final = any(rule.effect is Effect.ALLOW for rule in rules)
        """Whether anything is allowed at all, which is what opens discovery and reviews of oneself."""
        self.rules: Final = (*rules, *(built_in if self.holds else ()))
        self.offered: Final = any(rule.effect in (Effect.GRANTABLE, Effect.APPROVE) for rule in self.rules)
        self._masks: Final = tuple(masks)
        self._reveals: Final = tuple(reveals)
        self._is_person: Final = is_person
        self._masks_on: dict[tuple[str, str], MemberMasks | None] = {}
        self._recorded_on: dict[tuple[str, str], MemberMasks] = {}
        self._candidates: dict[object, Candidates] = {}
        self._of_urls: list[int] = []
        self._wide: list[int] = []
        self._everywhere: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._by_namespace: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, rule in enumerate(self.rules):
            self._file(index, rule)

    def _file(self, index: int, rule: CompiledRule) -> None:
        """Put a rule where questions that it may speak of will look."""
        namespaces = rule.namespaces if rule.namespaces is not None and EVERYTHING not in rule.namespaces else ()
        if rule.urls:
            self._of_urls.append(index)
        elif len(rule.groups) * len(rule.resources) * max(1, len(namespaces)) > MAX_SPREAD:
            self._wide.append(index)
        else:
            for key in product(rule.groups, rule.resources):
                if rule.namespaces is None or EVERYTHING in rule.namespaces:
                    self._everywhere[key].append(index)
                for namespace in namespaces:
                    self._by_namespace[key][namespace].append(index)

    def candidates(self, question: Question) -> Candidates:
        """The rules that speak of the question, names and conditions aside."""
        key = (
            question.verbs,
            question.group,
            question.resource,
            question.subresource,
            question.namespace,
            question.namespaced,
            question.path,
        )
        found = self._candidates.get(key)
        if found is None:
            found = self._find(question)
            if len(self._candidates) >= MAX_CANDIDATES:
                self._candidates.clear()
            self._candidates[key] = found
        return found

    def masks_on(self, group: str, resource: str) -> MemberMasks | None:
        """What masks answers about that resource (`pods`, `pods/log`); None where nothing does."""
        key = (group, resource)
        if key not in self._masks_on:
            if len(self._masks_on) >= MAX_CANDIDATES:
                self._masks_on.clear()
            self._masks_on[key] = masks_of_member(self._masks, self._reveals, key, is_person=self._is_person)
        return self._masks_on[key]

    def masks_in_record(self, group: str, resource: str) -> MemberMasks:
        """What masks bodies about that resource where they are kept."""
        key = (group, resource)
        if key not in self._recorded_on:
            if len(self._recorded_on) >= MAX_CANDIDATES:
                self._recorded_on.clear()
            self._recorded_on[key] = masks_for_record(self._masks, key)
        return self._recorded_on[key]

    def met_on(self, group: str, resource: str) -> MemberMasks:
        """Every mask and reveal about that resource, also masks that are always lifted: for whoever asks why."""
        return met_by_member(self._masks, self._reveals, (group, resource), is_person=self._is_person)

    def lifts_something(self, reveal: RuleRef, question: Question) -> bool:
        """Whether a reveal would take a mask off the object asked for: people are asked about nothing less."""
        met = self.masks_on(question.group, question.combined)
        return met is not None and bool(met.lifted(reveal, Where(question.namespace, question.name)))

    def on_resource(self, question: Question) -> list[CompiledRule]:
        """The rules about the question's resource or path, whatever their verbs and scope."""
        return self._about(question, "")

    def _about(self, question: Question, namespace: str) -> list[CompiledRule]:
        """The rules about the question's resource or path; those about other namespaces left out, where one is
        given.
        """
        if not question.resource:
            return [self.rules[index] for index in self._of_urls if self.rules[index].has_url(question.path)]
        resources = [question.combined, EVERYTHING]
        if question.subresource:
            resources.append(f"*/{question.subresource}")
        found = {index for index in self._wide if self.rules[index].has_subject(question)}
        for key in product((question.group, EVERYTHING), resources):
            found.update(self._everywhere.get(key, ()))
            there = self._by_namespace.get(key)
            if there is not None:
                found.update(*([there.get(namespace, ())] if namespace else there.values()))
        return [self.rules[index] for index in sorted(found)]

    def _find(self, question: Question) -> Candidates:
        near = self._about(question, question.namespace)
        rules = [rule for rule in near if rule.has_verb(question) and rule.has_scope(question)]
        return Candidates(rules) if rules else _NO_CANDIDATES


class Rulebook:
    """Everything that is written, as `decide` wants it. Make one with `compile_policies`."""

    def __init__(self, policies: Sequence[Policy], revision: int) -> None:
        self.revision: Final = revision
        self.policies: Final = tuple(sorted(policies, key=lambda policy: policy.name))
        self._rules: Final = [
            tuple(CompiledRule(policy.name, rule, revision) for rule in (*policy.rules, *_asked_by_reveals(policy)))
            for policy in self.policies
        ]
        self._masks: Final = [
            tuple(CompiledMask(policy.name, mask, revision) for mask in policy.masks) for policy in self.policies
        ]
        self._reveals: Final = [
            tuple(CompiledReveal(policy.name, reveal, revision) for reveal in policy.reveals)
            for policy in self.policies
        ]
        self._by_subject: Final = _by_subject(self.policies)
        self._holdings: dict[tuple[str, str, tuple[str, ...], str], Holding] = {}
        self._groups_on: dict[str, frozenset[str]] = {}
        self.built_in: Final = tuple(CompiledRule(BUILT_IN, rule, revision) for rule in (DISCOVERY, REVIEWS))
        """What whoever holds anything may ask for."""

    def holding(self, identity: Identity, cluster: str) -> Holding:
        """What the identity holds on the cluster, by its kind, name and groups; a delegate what its root does, which
        `judging.judge` keeps within what was delegated.
        """
        name = identity.known_as if identity.delegated_by else identity.name
        # The value of an enum member is a property in CPython 3.11, four times slower than the attribute behind it.
        key = (identity.kind._value_, name, identity.groups, cluster)
        found = self._holdings.get(key)
        if found is None:
            named = self._policies_of(identity, cluster)
            found = Holding(
                (rule for index in named for rule in self._rules[index]),
                self.built_in,
                (mask for index in named for mask in self._masks[index]),
                (reveal for index in named for reveal in self._reveals[index]),
                is_person=identity.kind is Kind.PERSON,
            )
            if len(self._holdings) >= MAX_HOLDINGS:
                self._holdings.clear()
            self._holdings[key] = found
        return found

    def holds_anything(self, chain: Chain, cluster: str) -> bool:
        """Whether every member of the chain is allowed something on the cluster. What is only offered does not
        count.
        """
        return all(self.holding(member, cluster).holds for member in chain)

    def speaks_to(self, identity: Identity, cluster: str) -> bool:
        """Whether some policy names the identity, or a group of its, on the cluster."""
        return bool(self._policies_of(identity, cluster))

    def masks_of(
        self, chain: Chain, cluster: str, question: Question, approved: Sequence[RuleRef]
    ) -> MaskChoice | None:
        """What must be masked in the answer; None where nothing is. `approved` are rules that people said yes to."""
        if not question.resource:
            return None
        met = [self.holding(member, cluster).masks_on(question.group, question.combined) for member in chain]
        members = tuple(masks for masks in met if masks is not None)
        if not members:
            return None
        asked = {reveal.ref for member in members for reveal in member.reveals if reveal.asks}
        return MaskChoice(
            question.group, question.combined, members, tuple(sorted(asked.intersection(approved), key=str))
        )

    def masks_in_record(self, chain: Chain, cluster: str, question: Question) -> MaskChoice:
        """What is masked in the bodies of a request about a resource where they are kept."""
        met = [self.holding(member, cluster).masks_in_record(question.group, question.combined) for member in chain]
        return MaskChoice(question.group, question.combined, tuple(met))

    def object_needs(self, chain: Chain, what: Intent) -> ObjectNeeds:
        """Which objects must be fetched before `decide` is asked: those that some rule's condition would look at."""
        question = question_of(what)
        needs_object = needs_old_object = False
        for member in chain:
            found = self.holding(member, what.cluster).candidates(question)
            for rule in (*found.deny, *found.approve, *found.allow, *found.grantable):
                if rule.inside is not None and rule.inside.wants_containers() and question.subresource == DEBUG:
                    needs_object = needs_old_object = True
                if rule.rule.pods is not None and rule.rule.pods.reads_templates:
                    needs_object = True
                if rule.condition is not None:
                    needs_object |= rule.condition.needs.object
                    needs_old_object |= rule.condition.needs.old_object
        return ObjectNeeds(needs_object, needs_old_object)

    def rules_for(self, identity: Identity, cluster: str, namespace: str) -> list[RuleInForce]:
        """The rules that can matter to requests in a namespace and to cluster-scoped ones; "" means all namespaces.

        Built-in rules come last, where the identity holds something. What deny rules take away is not taken away here.
        """
        rules = self.holding(identity, cluster).rules
        if identity.delegated_by:
            # What it may do is in its task, which is no rule of the policies.
            rules = tuple(rule for rule in rules if rule.effect is not Effect.ALLOW or rule.ref.policy == BUILT_IN)
        return [RuleInForce(rule.ref, rule.rule) for rule in rules if _in_namespace(rule, namespace)]

    def clusters_of(self, identity: Identity, known: Sequence[str]) -> list[str]:
        """Those of the known clusters on which the identity holds something or could be granted it, in their order."""
        return [cluster for cluster in known if (holding := self.holding(identity, cluster)).holds or holding.offered]

    def told_groups(self, identity: Identity, cluster: str) -> tuple[str, ...]:
        """Those of a person's groups that some policy names for the cluster; all groups of everybody else.

        An identity provider tells of every mailing list somebody is on. The cluster has to be told of those alone that
        mean something there, and the gate's account may impersonate no others.
        """
        if identity.kind is not Kind.PERSON or not identity.groups:
            return identity.groups
        named = self._groups_on.get(cluster)
        if named is None:
            named = self._groups_on[cluster] = frozenset(
                subject.name
                for policy in self.policies
                if cluster in policy.clusters or EVERYTHING in policy.clusters
                for subject in policy.subjects
                if subject.kind is SubjectKind.GROUP
            )
        return tuple(group for group in identity.groups if group in named)

    def _policies_of(self, identity: Identity, cluster: str) -> list[int]:
        kind = identity.kind.value
        group_kind = SubjectKind.GROUP.value
        subjects = [(kind, identity.known_as), (kind, EVERYTHING), *((group_kind, group) for group in identity.groups)]
        if identity.groups:
            subjects.append((group_kind, EVERYTHING))
        found = {index for subject in subjects for index in self._by_subject.get(subject, ())}
        return sorted(
            index
            for index in found
            if cluster in self.policies[index].clusters or EVERYTHING in self.policies[index].clusters
        )


def compile_policies(policies: Sequence[Policy], revision: int) -> Rulebook:
    """Compile policies that `policy_file` has read. Raises ValueError where two have the same name (`check_set` says it
    better) and ConditionInvalid for a condition that no file would have been read with.
    """
    names = [policy.name for policy in policies]
    if len(set(names)) < len(names):
        raise ValueError("two policies have the same name")
    return Rulebook(policies, revision)


def _asked_by_reveals(policy: Policy) -> Iterable[Rule]:
    """What its reveals ask people before they take a mask off: each holds the `get` of one object."""
    for reveal in policy.reveals:
        if reveal.approval is not None:
            yield Rule(
                id=reveal.id,
                effect=Effect.APPROVE,
                verbs=("get",),
                api_groups=reveal.api_groups,
                resources=reveal.resources,
                namespaces=reveal.namespaces,
                names=reveal.names,
                approval=reveal.approval,
                reveals=True,
                line=reveal.line,
            )


def _by_subject(policies: Sequence[Policy]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, policy in enumerate(policies):
        for subject in set(policy.subjects):
            # An identity that is named "*" cannot exist, a policy file cannot name nobody.
            found[subject.kind.value, subject.name].append(index)
    return dict(found)


def _in_namespace(rule: CompiledRule, namespace: str) -> bool:
    if rule.namespaces is None or EVERYTHING in rule.namespaces:
        return True
    # A guard over one namespace also reaches requests over all of them.
    return namespace in rule.namespaces or (rule.guards and not namespace)
