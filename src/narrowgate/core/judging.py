"""What the rules of one identity say about one question: covered, refused, held for people, or nothing at all.

`decide` asks this for every member of a chain and everything a request uses, and puts the answers together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, assert_never

import msgspec

from narrowgate.core.conditions import Facts, Undecided, awkward
from narrowgate.core.entering import entries_of, turned_away
from narrowgate.core.grants import Grant, held_by
from narrowgate.core.identity import Chain, Identity, root_behind
from narrowgate.core.intent import Entry, Intent, Use
from narrowgate.core.matching import CompiledRule, Question
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.rulebook import Candidates, Holding

_OPERATIONS: Final = {
    "create": "CREATE",
    "update": "UPDATE",
    "patch": "UPDATE",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
"""Admission's name for a verb (k8s.io/api/admission/v1 `Operation`). Reads have none: admission does not see them."""

_CONNECTING: Final = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources whose requests are `CONNECT` to admission, whatever their verb."""


class Refused(msgspec.Struct, frozen=True):
    """A guard withholds it. `undecided` says why its condition came to no answer; empty where it was simply met."""

    rule: CompiledRule
    undecided: str = ""
    because: str = ""
    """What of the request the rule that lets it in withholds, where that is not a guard (`held_secrets`)."""
    hint: str = ""
    """What to do about `because`; empty where `refusals` knows."""


class Uncovered(msgspec.Struct, frozen=True):
    """No rule gives it. `undecided` is the rule that might have, and why its condition came to no answer."""

    undecided: tuple[CompiledRule, str] | None = None
    away: str = ""
    """What of a way into a pod no rule allows that would otherwise, in words (`entering.turned_away`)."""
    grantable: CompiledRule | None = None
    """A rule by which a task could be granted it; never one for emergencies, which nobody is led to."""


class Granted(msgspec.Struct, frozen=True):
    """A task's grant covers it, by this grantable rule."""

    ref: RuleRef
    grant: Grant


class Held(msgspec.Struct, frozen=True):
    """People must be asked, because of these rules: of all that match, each one."""

    rules: tuple[CompiledRule, ...]
    cover: RuleRef | Granted
    """What covers it once they have said yes: what would without those rules, else the one of them that offers it."""
    because: str = ""
    """See `Refused`."""


Answer = RuleRef | Granted | Refused | Held | Uncovered
"""A RuleRef is the rule that covers the question."""


class Grants(msgspec.Struct, frozen=True):
    """What one member holds by tasks, for one decision."""

    held: tuple[Grant, ...]
    built_in: tuple[CompiledRule, ...]
    """Discovery and reviews of oneself, which whoever holds anything may ask for."""
    now: float
    bound: tuple[Grant, ...] | None = None
    """Of a delegate: what was delegated to it, while `held` is what the root of its chain holds. It may do what is in
    both, and nothing where this is empty. None for whoever is no delegate."""


def grants_of_member(
    grants: Sequence[Grant], chain: Chain, place: int, cluster: str, now: float, built_in: tuple[CompiledRule, ...]
) -> Grants | None:
    """What the member at `place` holds by tasks; None where that is nothing, never for a delegate."""
    member = chain[place]
    if not grants and not member.delegated_by:
        return None
    if not member.delegated_by:
        held = held_by(grants, member, cluster, now)
        return Grants(held, built_in, now) if held else None
    bound = held_by(grants, member, cluster, now)
    root = root_behind(chain, place)
    return Grants(held_by(grants, root, cluster, now) if root else (), built_in, now, bound if root else ())


class Evidence:
    """What conditions may look at, for one request; worked out when the first condition asks, and once."""

    __slots__ = ("_awkward", "_entries", "_facts", "what")

    def __init__(self, what: Intent) -> None:
        self.what = what
        self._awkward: tuple[str, str] | None = None
        self._entries: tuple[Entry, ...] | None = None
        self._facts: dict[tuple[int, int], Facts] = {}

    def met(self, rule: CompiledRule, member: Identity, question: Question, use: Use | None) -> bool | Undecided:
        """Whether the rule's condition holds when `member` asks `question`, and what it says of ways into pods."""
        if rule.inside is not None and not self.fits(rule, use):
            return False
        if rule.condition is None:
            return True
        # Questions and members live as long as the decision that this belongs to, so that their ids are theirs.
        key = (id(member), id(question))
        facts = self._facts.get(key)
        if facts is None:
            facts = self._facts[key] = self._facts_for(member, question, use)
        return rule.condition.holds(facts)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The ways into a pod that the request opens."""
        if self._entries is None:
            self._entries = entries_of(self.what)
        return self._entries

    def fits(self, rule: CompiledRule, use: Use | None, *, exactly: bool = False) -> bool:
        """Whether the request is what the rule says of ways into pods: where it guards, as far as anybody can tell, or
        `exactly`. Of what a request only uses nothing is known.
        """
        if rule.inside is None:
            return True
        entries = self.entries if use is None else ()
        if rule.guards and not exactly:
            return rule.inside.reaches(entries, self.what.pod)
        return rule.inside.covers(entries, self.what.pod)

    def turned_away(self, rules: Iterable[CompiledRule], use: Use | None) -> str:
        """Why those of the rules that say something of ways into pods do not give this one; empty where none does."""
        near = [rule.inside for rule in rules if rule.inside is not None and not self.fits(rule, use, exactly=True)]
        return turned_away(near, self.entries, self.what.pod)

    def _facts_for(self, member: Identity, question: Question, use: Use | None) -> Facts:
        request = _request_variables(self.what, member, question)
        if use is not None:
            only_used = "the request uses it without writing it, so what is in it is not known"
            return Facts(request, lacking_object=only_used, lacking_old_object=only_used)
        operation = request["request.operation"]
        if self._awkward is None:
            self._awkward = awkward(self.what.object), awkward(self.what.old_object)
        lacking_object, lacking_old_object = self._awkward
        why = self.what.object_missing
        if self.what.object is None and operation in ("CREATE", "UPDATE"):
            lacking_object = why or "the object that would be stored is not known"
        if self.what.old_object is None and operation in ("UPDATE", "DELETE"):
            lacking_old_object = why or "the object as it is now is not known, or there is none"
        return Facts(request, self.what.object, self.what.old_object, lacking_object, lacking_old_object)


def judge(
    holding: Holding,
    member: Identity,
    question: Question,
    use: Use | None,
    evidence: Evidence,
    grants: Grants | None = None,
) -> Answer:
    """Answer one question for one member, from what it holds; `use` is what the question came from, if not the
    request. `grants` are the member's own; None where it has none.

    A delegate is answered as the root of its chain would be, within what was delegated to it.
    """
    if not member.delegated_by:
        return _judge(holding, member, question, use, evidence, grants)
    if grants is None or grants.bound is None:
        return Uncovered()
    return _bounded(_judge(holding, member, question, use, evidence, grants), question, grants.bound, grants.built_in)


def _bounded(
    answer: Answer, question: Question, bound: tuple[Grant, ...], built_in: tuple[CompiledRule, ...]
) -> Answer:
    """What is left of an answer for the holder of these grants."""
    match answer:
        case Refused() | Uncovered():
            return answer
        case Held(cover=cover):
            within = _bounded(cover, question, bound, built_in)
            return msgspec.structs.replace(answer, cover=within) if isinstance(within, RuleRef | Granted) else within
        case Granted(ref=ref) | (RuleRef() as ref):
            if any(ref == rule.ref for rule in built_in):
                return ref if bound else Uncovered()
            grant = next((one for one in bound if one.covers(question)), None)
            return Granted(ref, grant) if grant is not None else Uncovered()
        case unknown:
            assert_never(unknown)


def _judge(
    holding: Holding, member: Identity, question: Question, use: Use | None, evidence: Evidence, grants: Grants | None
) -> Answer:
    found = holding.candidates(question)
    if found.plain is not None:
        return found.plain
    asked = (member, question, use)
    guards = _guards(found, asked, evidence)
    if isinstance(guards, Refused):
        return guards
    if guards:
        # Nobody is asked to show what is not hidden: people see their Secrets as they are.
        shows = not evidence.what.masked_will_do
        guards = tuple(
            rule for rule in guards if not rule.rule.reveals or (shows and holding.lifts_something(rule.ref, question))
        )
    cover: RuleRef | Granted | Uncovered = _cover(found, asked, evidence)
    if isinstance(cover, Uncovered) and grants is not None:
        cover = _granted(found, asked, evidence, grants) or cover
    if not guards:
        return cover
    if not isinstance(cover, Uncovered):
        return Held(guards, cover)
    # Only a rule that itself holds the whole question offers it: one that guards a part of it gives nothing, and one
    # whose condition is not met says nothing.
    offering = next((rule for rule in guards if _offers(rule, asked, evidence)), None)
    return Held(guards, offering.ref) if offering is not None else cover


def covers_of(
    holding: Holding, member: Identity, question: Question, evidence: Evidence, grants: Grants | None
) -> Iterator[tuple[CompiledRule, RuleRef | Granted]]:
    """Every rule that gives the request itself to a member, with what covers it: guards aside, not only the first."""
    for rule, cover in _all_covers(holding.candidates(question), member, question, evidence, grants):
        if grants is None or grants.bound is None:
            yield rule, cover
            continue
        within = _bounded(cover, question, grants.bound, grants.built_in)
        if isinstance(within, RuleRef | Granted):
            yield rule, within


def _all_covers(
    found: Candidates, member: Identity, question: Question, evidence: Evidence, grants: Grants | None
) -> Iterator[tuple[CompiledRule, RuleRef | Granted]]:
    def gives(rule: CompiledRule) -> bool:
        return rule.covers_name(question) and evidence.met(rule, member, question, None) is True

    yield from ((rule, rule.ref) for rule in found.allow if gives(rule))
    if grants is None:
        return
    for grant in grants.held:
        if grant.covers(question):
            for rule in found.grantable:
                if grant.is_grantable_by(rule, grants.now) and gives(rule):
                    yield rule, Granted(rule.ref, grant)


_Asked = tuple[Identity, Question, Use | None]


def _offers(rule: CompiledRule, asked: _Asked, evidence: Evidence) -> bool:
    _, question, use = asked
    return rule.covers(question) and not rule.rule.reveals and evidence.fits(rule, use, exactly=True)


def _guards(found: Candidates, asked: _Asked, evidence: Evidence) -> Refused | tuple[CompiledRule, ...]:
    """The first deny rule that is met or cannot be decided; else the first approve rule that cannot, else all met."""
    for rule in found.deny:
        if rule.guards_name(asked[1]):
            met = evidence.met(rule, *asked)
            if met is not False:
                return Refused(rule, met.why if isinstance(met, Undecided) else "")
    held = []
    for rule in found.approve:
        if rule.guards_name(asked[1]):
            met = evidence.met(rule, *asked)
            if isinstance(met, Undecided):
                return Refused(rule, met.why)
            if met:
                held.append(rule)
    return tuple(held)


def _cover(found: Candidates, asked: _Asked, evidence: Evidence) -> RuleRef | Uncovered:
    undecided = None
    for rule in found.allow:
        if rule.covers_name(asked[1]):
            met = evidence.met(rule, *asked)
            if met is True:
                return rule.ref
            if isinstance(met, Undecided) and undecided is None:
                undecided = rule, met.why
    question, use = asked[1], asked[2]
    offered = (rule for rule in found.grantable if rule.covers_name(question) and rule.rule.review is None)
    offer = next((rule for rule in offered if evidence.fits(rule, use)), None)
    near = [rule for rule in (*found.allow, *found.grantable, *found.approve) if rule.covers_name(question)]
    return Uncovered(undecided, evidence.turned_away(near, use) if offer is None else "", offer)


def _granted(found: Candidates, asked: _Asked, evidence: Evidence, grants: Grants) -> RuleRef | Granted | None:
    """The grant that covers it and that some grantable rule would still grant; or what every holder may ask for."""
    question = asked[1]
    for grant in grants.held:
        if not grant.covers(question):
            continue
        for rule in found.grantable:
            if (
                rule.covers_name(question)
                and grant.is_grantable_by(rule, grants.now)
                and evidence.met(rule, *asked) is True
            ):
                return Granted(rule.ref, grant)
    if grants.held:
        return next((rule.ref for rule in grants.built_in if rule.covers(question)), None)
    return None


def _request_variables(what: Intent, member: Identity, question: Question) -> dict[str, Any]:
    verb = question.verbs[0] if question.verbs else ""
    operation = "CONNECT" if question.subresource in _CONNECTING else _OPERATIONS.get(verb, "")
    body = what.object if isinstance(what.object, dict) else {}
    group, _, version = str(body.get("apiVersion", "")).rpartition("/")
    return {
        "request.verb": verb,
        "request.operation": operation,
        "request.kind.group": group,
        "request.kind.version": version,
        "request.kind.kind": str(body.get("kind", "")),
        "request.resource.group": question.group,
        "request.resource.version": what.info.api_version,
        "request.resource.resource": question.resource,
        "request.subResource": question.subresource,
        "request.name": question.name,
        "request.namespace": question.namespace,
        "request.userInfo.username": member.known_as,
        "request.userInfo.groups": list(member.groups),
        "request.userInfo.extra": {"narrowgate.dev/kind": [member.kind.value]},
    }
