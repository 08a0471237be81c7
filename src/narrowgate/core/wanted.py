"""What a task asks for, in words and as rules, and which grantable rules of the policies offer it.

    get,list,watch deployments.apps -n ci          the verbs, the resource in its group, the namespace
    patch deployments.apps/web -n ci               one object by its name
    create pods/exec/web -n ci                     a subresource of one object
    get nodes                                      what lives in no namespace

Nothing is guessed that could make it more: no verbs, no namespace, no name are left to be filled in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import product

import msgspec

from narrowgate.core.duration import duration_text
from narrowgate.core.known_resources import CLUSTER_SCOPED, GROUPS_OF, PLURAL_OF
from narrowgate.core.matching import CompiledRule, Question
from narrowgate.core.policy import EVERYTHING, Approval, Effect, OnEnd, Rule
from narrowgate.core.rulebook import Holding
from narrowgate.core.task_limits import least
from narrowgate.core.task_links import begins_with_one_of

SUBRESOURCES = frozenset(
    {"log", "exec", "attach", "portforward", "proxy", "scale", "status", "eviction", "ephemeralcontainers", "token"}
)
"""What stands behind a slash without being a name; anything else there is an object's name."""

MOST_WANTED = 32
"""Rules of one task; more is not one piece of work."""

MOST_PARTS = 4_096
"""Verbs times namespaces of one task's rules: each is looked up by itself."""

_WORDS = re.compile(r"(?P<verbs>[a-z*,]+) (?P<thing>[^ ]+)(?: -n (?P<namespaces>[^ ]+))?")
_THING = re.compile(r"(?P<resource>[a-z][a-z0-9-]*|\*)(\.(?P<group>[a-z0-9.-]+))?(?P<rest>(/[^/]+){0,2})")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.:]{0,251}[a-z0-9])?", re.ASCII)


class WantedRefused(ValueError):
    """Words that are no rule; the text says which and how they are written."""


class NotOffered(Exception):
    """No policy would grant it; the text says which part, and why."""


class Offer(msgspec.Struct, frozen=True):
    """What the policies would grant, and whom they would have asked."""

    rules: tuple[str, ...]
    """The grantable rules it rests on, `policy/rule`, sorted."""
    approvals: tuple[Approval, ...]
    """Everybody who must say yes; empty where nobody is asked."""
    max_requests: int | None = None
    """The fewest that any of the rules covers in all; None: any number."""
    max_streams: int | None = None
    """The fewest streams at one time; None: any number."""
    reviews: tuple[Approval, ...] = ()
    """Of an emergency: everybody who is to look at it afterwards."""
    on_end: OnEnd = OnEnd.LEAVE
    """What becomes of the workloads that it leaves behind; they are deleted where any of the rules says so."""


def read_wanted(text: str, number: int) -> Rule:
    """One rule that is asked for, the `number`-th of its task. Raises WantedRefused."""
    words = " ".join(text.split())
    match = _WORDS.fullmatch(words)
    thing = _THING.fullmatch(match["thing"]) if match else None
    if match is None or thing is None:
        raise WantedRefused(f'"{text}" is not written like "get,list pods -n ci" or "patch deployments.apps/web -n ci"')
    verbs = tuple(dict.fromkeys(match["verbs"].split(",")))
    if "" in verbs:
        raise WantedRefused(f'"{text}" has an empty verb; write them like get,list')
    resource, group = thing["resource"], _group(thing["resource"], thing["group"], text)
    subresource, name = _behind(thing["rest"] or "", text)
    namespaces = tuple(dict.fromkeys(match["namespaces"].split(","))) if match["namespaces"] else None
    _check_scope(resource, group, namespaces, text)
    return Rule(
        id=f"allow-{number}",
        effect=Effect.ALLOW,
        verbs=verbs,
        api_groups=(group,),
        resources=(f"{resource}/{subresource}" if subresource else resource,),
        namespaces=namespaces,
        names=(name,) if name else None,
    )


def wanted_text(rule: Rule) -> str:
    """A rule that `read_wanted` made, in words that it reads back to the same."""
    resource, slash, subresource = rule.resources[0].partition("/")
    group = rule.api_groups[0]
    named = f".{group}" if group not in ("", EVERYTHING) else ""
    name = f"/{rule.names[0]}" if rule.names else ""
    where = f" -n {','.join(rule.namespaces)}" if rule.namespaces else ""
    return f"{','.join(rule.verbs)} {resource}{named}{slash}{subresource}{name}{where}"


def longest_offered(holding: Holding, wanted: Sequence[Rule], link: str = "", *, emergency: bool = False) -> float:
    """Seconds for which all of `wanted` is offered at the longest to a task with this link; 0 where a part is not."""
    parts = [question for rule in wanted for question in parts_of(rule)][: MOST_PARTS + 1]
    covering = (_covering(holding.on_resource(part), part, emergency=emergency) for part in parts)
    return min((_longest(_linked(rules, link) or rules) for rules in covering), default=0.0)


def offer_of(
    holding: Holding, wanted: Sequence[Rule], seconds: float, link: str = "", *, emergency: bool = False
) -> Offer:
    """The offer for all of `wanted` for so long, by the rules of one identity on one cluster. Raises NotOffered.

    `link` is what the task carries; rules that ask for one offer nothing to a task without it. Emergency rules offer
    something to an `emergency`, and no other rule does.
    """
    if not wanted or len(wanted) > MOST_WANTED:
        raise NotOffered(f"a task asks for 1 to {MOST_WANTED} rules")
    rules: dict[str, CompiledRule] = {}
    questions = [(rule, question) for rule in wanted for question in parts_of(rule)]
    if len(questions) > MOST_PARTS:
        raise NotOffered("a task that asks for so many verbs and namespaces is not one piece of work")
    for rule, question in questions:
        found = _offered(holding, rule, question, (seconds, link, emergency))
        rules[str(found.ref)] = found
    reviews = {rule.rule.review: None for _, rule in sorted(rules.items()) if rule.rule.review is not None}
    approvals = {rule.rule.approval: None for _, rule in sorted(rules.items()) if rule.rule.approval is not None}
    return Offer(
        tuple(sorted(rules)),
        tuple(approvals),
        least(*(rule.rule.max_requests for rule in rules.values())),
        least(*(rule.rule.max_streams for rule in rules.values())),
        tuple(reviews),
        strictest_end(*(rule.rule.on_end for rule in rules.values())),
    )


def strictest_end(*ends: OnEnd) -> OnEnd:
    """What holds where several say what becomes of workloads: they are deleted where any of them says so."""
    return OnEnd.DELETE_WORKLOADS if OnEnd.DELETE_WORKLOADS in ends else OnEnd.LEAVE


def _offered(holding: Holding, wanted: Rule, question: Question, terms: tuple[float, str, bool]) -> CompiledRule:
    """The grantable rule for one part: of several the one that asks nobody, the widest, else the first by name."""
    seconds, link, emergency = terms
    near = holding.on_resource(question)
    for rule in near:
        if rule.effect is Effect.DENY and rule.condition is None and rule.inside is None and rule.covers(question):
            raise NotOffered(f"{part_in_words(wanted, question)}: rule {rule.ref} denies it, and nothing lifts that")
    covering = _covering(near, question, emergency=emergency)
    if not covering:
        nobody = "no emergency rule" if emergency else "no policy"
        raise NotOffered(f"{part_in_words(wanted, question)}: {nobody} offers it to you on this cluster")
    lasting = [rule for rule in covering if seconds <= (rule.rule.max_duration or 0)]
    if not lasting:
        longest = duration_text(_longest(covering))
        raise NotOffered(f"{part_in_words(wanted, question)}: it is granted for {longest} at most; ask for less time")
    linked = _linked(lasting, link)
    if not linked:
        raise NotOffered(f"{part_in_words(wanted, question)}: {_asks_for_link(min(lasting, key=_by_preference))}")
    return min(linked, key=_by_preference)


def _by_preference(compiled: CompiledRule) -> tuple[bool, bool, float, float, str]:
    rule = compiled.rule
    deletes = rule.on_end is OnEnd.DELETE_WORKLOADS
    return rule.approval is not None, deletes, _wide(rule.max_requests), _wide(rule.max_streams), str(compiled.ref)


def _wide(limit: int | None) -> float:
    """Less for what is wider."""
    return -math.inf if limit is None else -limit


def _asks_for_link(rule: CompiledRule) -> str:
    beginnings = " or ".join(rule.rule.links or ())
    return f"rule {rule.ref} asks for a link that begins with {beginnings}; name the ticket with --link"


def _covering(near: Iterable[CompiledRule], question: Question, *, emergency: bool) -> list[CompiledRule]:
    grantable = (rule for rule in near if rule.effect is Effect.GRANTABLE and rule.covers(question))
    return [rule for rule in grantable if (rule.rule.review is not None) is emergency]


def _linked(rules: Iterable[CompiledRule], link: str) -> list[CompiledRule]:
    """Those that ask for no link, or for one as the task has it."""
    return [rule for rule in rules if rule.rule.links is None or begins_with_one_of(link, rule.rule.links)]


def _longest(rules: Iterable[CompiledRule]) -> float:
    return max((rule.rule.max_duration or 0.0 for rule in rules), default=0.0)


def parts_of(rule: Rule) -> Iterable[Question]:
    """Every single thing that a wanted rule is about, each to be offered by itself."""
    resource, _, subresource = rule.resources[0].partition("/")
    group = rule.api_groups[0]
    # A request over all namespaces is one that names none.
    places = [("" if one == EVERYTHING else one, True) for one in rule.namespaces] if rule.namespaces else [("", False)]
    for verb, (namespace, namespaced), name in product(rule.verbs, places, rule.names or ("",)):
        yield Question((verb,), group, resource, subresource, namespace, namespaced, name)


def part_in_words(wanted: Rule, question: Question) -> str:
    """One of its parts as it would be asked for: `get pods -n ci`."""
    name = f"/{question.name}" if question.name else ""
    group = f".{question.group}" if question.group else ""
    resource, slash, subresource = wanted.resources[0].partition("/")
    where = f" -n {question.namespace or EVERYTHING}" if question.namespaced else ""
    return f"{question.verbs[0]} {resource}{group}{slash}{subresource}{name}{where}"


def _behind(rest: str, text: str) -> tuple[str, str]:
    """Subresource and name behind the resource; each may be absent. Raises WantedRefused."""
    parts = [part for part in rest.split("/") if part]
    subresource = parts.pop(0) if parts and parts[0] in SUBRESOURCES else ""
    name = parts.pop(0) if parts else ""
    if parts or (name and not _NAME.fullmatch(name)):
        raise WantedRefused(f'"{text}" has more behind the resource than a subresource and a name')
    return subresource, name


def _group(resource: str, written: str | None, text: str) -> str:
    if written is not None:
        return written
    if resource == EVERYTHING:
        return EVERYTHING
    plural = PLURAL_OF.get(resource)
    if plural and resource not in GROUPS_OF:
        raise WantedRefused(f'"{text}": "{resource}" is not how rules write it; write "{plural}"')
    groups = GROUPS_OF.get(resource)
    if groups is None:
        raise WantedRefused(f'"{text}": "{resource}" is in no group known here; write it: {resource}.example.com')
    if len(groups) > 1 and "" not in groups:
        raise WantedRefused(f'"{text}": "{resource}" is in several groups; write one: {resource}.{sorted(groups)[0]}')
    return "" if "" in groups else next(iter(groups))


def _check_scope(resource: str, group: str, namespaces: tuple[str, ...] | None, text: str) -> None:
    known = group == "" or resource in GROUPS_OF
    scoped = (group, resource) in CLUSTER_SCOPED
    if namespaces is None and known and not scoped:
        raise WantedRefused(f'"{text}" names no namespace; add -n NAMESPACE')
    if namespaces is not None and scoped and resource != "namespaces":
        raise WantedRefused(f'"{text}": {resource} live in no namespace; leave -n out')
    for namespace in namespaces or ():
        if namespace != EVERYTHING and not _NAME.fullmatch(namespace):
            raise WantedRefused(f'"{text}": "{namespace}" is no namespace')
