"""Standing access: what `allow` rules open at any time, for whom, since when, and whether anybody uses it.

Rules that make people answer first (approve) or that give for a task (grantable) are no standing access: between tasks
they open nothing. What deny rules take away is not taken away here, so that the list is never shorter than the truth.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from narrowgate.core.agent import AgentRecord
from narrowgate.core.commands import shown
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.policy import EVERYTHING, Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.policy_file import PolicyErrors, parse_policies

MOST_REVISIONS = 200
"""Revisions that are looked through for the age of a rule: most of a year at one change each working day."""

MOST_TEXT = 1 << 20
"""Characters of files that are read for it, beside those in force: some seconds, once for each new revision."""

LONGEST_TEXT = 400
"""Characters of a rule in words; a longer one is cut, and read in its file."""


class RuleUse(msgspec.Struct, frozen=True, kw_only=True):
    """When a rule last covered a request of one identity."""

    holder: str
    """`agent:ci-bot`, `person:alice`, `serviceaccount:ci/runner`."""
    cluster: str
    policy: str
    rule: str
    at: float
    """Unix seconds."""


class RuleUses(msgspec.Struct, frozen=True):
    """The uses that are known, and since when none is missing."""

    uses: tuple[RuleUse, ...]
    complete_since: float | None
    """Unix seconds; None where nobody has begun to count."""


class Access(msgspec.Struct, frozen=True, cache_hash=True):
    """One allow rule as one policy gives it to one subject on one cluster."""

    policy: str
    subject: Subject
    cluster: str
    """As the policy writes it: a name, or `*`."""
    rule: Rule
    """Without its line: where it stands in its file makes it no other rule."""


class Age(msgspec.Struct, frozen=True):
    """Since when an access stands as it is."""

    revision: int
    at: float
    """Unix seconds at which that revision was made."""
    is_older: bool = False
    """Whether it may be older still: what came before was not looked at, or cannot be read by this version."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list."""

    holder: str
    """Who holds it: the subject (`group:ci`, `agent:*`), or the one identity that was asked about."""
    agents: int
    """How many registered agents that is, now."""
    access: Access
    age: Age | None
    """None where that is not known."""
    last_use: RuleUse | None
    """The last one of the rule as it stands now; None where there was none."""
    unused_since: float | None
    """Where there was none: since when that is known. None where nobody counts."""


class Revision(msgspec.Struct, frozen=True):
    """A set of policy files that was in force, for `ages`."""

    number: int
    made_at: float
    files: tuple[tuple[str, str], ...]


def accesses(policies: Iterable[Policy]) -> Iterator[Access]:
    """Everything that stands by these policies, in their order; what is written twice comes once."""
    for policy in policies:
        for rule in policy.rules:
            if rule.effect is not Effect.ALLOW:
                continue
            plain = msgspec.structs.replace(rule, line=0)
            for subject in dict.fromkeys(policy.subjects):
                for cluster in dict.fromkeys(policy.clusters):
                    yield Access(policy.name, subject, cluster, plain)


def ages(current: Revision, policies: Sequence[Policy], older: Iterable[Revision]) -> dict[Access, Age]:
    """Since when each access of the `current` revision, whose `policies` these are, stands without a gap.

    `older` are the revisions before it, newest first, read only as far as needed. An access is the same when its
    policy's name, the subject, the cluster and everything about the rule are.
    """
    memory: dict[bytes, frozenset[Access]] = {}
    for name in {name for name, _ in current.files}:
        memory[_key(name, dict(current.files)[name])] = frozenset(accesses(one for one in policies if one.file == name))
    found = {one: Age(current.number, current.made_at) for one in accesses(policies)}
    open_ones = set(found)
    text_left = MOST_TEXT
    for looked, revision in enumerate(older):
        if not open_ones:
            break
        there: set[Access] = set()
        for name, text in revision.files:
            key = _key(name, text)
            if key not in memory:
                text_left -= len(text)
                if text_left < 0:
                    return _older(found, open_ones)
                memory[key] = _read(name, text)
            there |= memory[key]
        open_ones &= there
        found |= {one: Age(revision.number, revision.made_at) for one in open_ones}
        if looked + 1 >= MOST_REVISIONS:
            return _older(found, open_ones)
    return found


def standing_of_subjects(
    policies: Sequence[Policy], aged: Callable[[Access], Age | None], known: RuleUses, agents: Sequence[AgentRecord]
) -> list[Standing]:
    """Everything that stands, a line for each subject, worst first."""
    lines = []
    for access in accesses(policies):
        meant = [agent for agent in agents if _means(access, _holder_of(agent))]
        age = aged(access)
        used = [use for use in known.uses if _is_use(use, access, age) and _may_be(access.subject, use, meant)]
        lines.append(_line(subject_text(access.subject), len(meant), access, age, used, known))
    return sorted(lines, key=_worst_first)


def standing_of(
    holders: Sequence[Identity], policies: Sequence[Policy], aged: Callable[[Access], Age | None], known: RuleUses
) -> list[Standing]:
    """What stands for these identities, a line for each of them and each rule, worst first."""
    lines = []
    for access in accesses(policies):
        age = aged(access)
        for holder in holders:
            if _means(access, holder):
                used = [use for use in known.uses if use.holder == str(holder) and _is_use(use, access, age)]
                number = int(holder.kind is Kind.AGENT)
                lines.append(_line(str(holder), number, access, age, used, known))
    return sorted(lines, key=_worst_first)


def without_former(known: RuleUses, agents: Iterable[AgentRecord]) -> RuleUses:
    """Without what agents did that were removed and made anew: of the old one the new one has nothing but its name."""
    made_at = {f"agent:{agent.name}": agent.created_at for agent in agents}
    uses = tuple(use for use in known.uses if use.at >= made_at.get(use.holder, -math.inf))
    return RuleUses(uses, known.complete_since)


def subject_text(subject: Subject) -> str:
    """A subject in the words that identities are written in: `agent:ci-bot`, `group:ci`, `agent:*`."""
    return f"{subject.kind.value.lower()}:{subject.name}"


def rule_text(rule: Rule) -> str:
    """What a rule opens, in the words that tasks are asked for in, as far as those reach."""
    if rule.non_resource_urls:
        text = f"{','.join(rule.verbs)} {','.join(rule.non_resource_urls)}"
    else:
        groups = [group or "core" for group in rule.api_groups]
        one = rule.api_groups[0] if len(rule.api_groups) == 1 else None
        resources = [_in_group(resource, one) if one else resource for resource in rule.resources]
        text = f"{','.join(rule.verbs)} {','.join(resources)}"
        text += f"/{','.join(rule.names)}" if rule.names else ""
        text += "" if one is not None else f" of {','.join(groups)}"
        text += f" -n {','.join(rule.namespaces)}" if rule.namespaces else ""
    said = [f"commands {', '.join(map(shown, rule.commands))}"] if rule.commands is not None else []
    said += [f"containers {', '.join(rule.containers)}"] if rule.containers is not None else []
    said += [f"pods {', '.join(map('='.join, rule.pod_labels))}"] if rule.pod_labels is not None else []
    text += f" ({'; '.join(said)})" if said else ""
    text += f" when {rule.when}" if rule.when else ""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def _in_group(resource: str, group: str) -> str:
    """`deployments.apps/scale`."""
    if group == EVERYTHING:
        return f"{resource} of *" if resource != EVERYTHING else resource
    plural, slash, subresource = resource.partition("/")
    return f"{plural}.{group}{slash}{subresource}"


def _line(
    holder: str, agents: int, access: Access, age: Age | None, used: Collection[RuleUse], known: RuleUses
) -> Standing:
    last = max(used, key=lambda use: use.at, default=None)
    unused = None
    if last is None and known.complete_since is not None:
        unused = max(known.complete_since, age.at if age is not None and not age.is_older else 0.0)
    return Standing(holder=holder, agents=agents, access=access, age=age, last_use=last, unused_since=unused)


def _worst_first(line: Standing) -> tuple[float, float, str, str, str, str]:
    """Never used before used, used long ago before lately, old before new."""
    used_at = line.last_use.at if line.last_use is not None else -math.inf
    stands_since = line.age.at if line.age is not None else -math.inf
    access = line.access
    return used_at, stands_since, access.policy, access.rule.id, line.holder, access.cluster


def _is_use(use: RuleUse, access: Access, age: Age | None) -> bool:
    """Whether it was this rule: one of its name that said something else before counts for nothing."""
    return (
        use.policy == access.policy
        and use.rule == access.rule.id
        and access.cluster in (use.cluster, EVERYTHING)
        and (age is None or use.at >= age.at)
    )


def _may_be(subject: Subject, use: RuleUse, meant: Collection[AgentRecord]) -> bool:
    """Whether the use may have been the subject's: agents are known; who else is in a group is not known here."""
    kind, _, name = use.holder.partition(":")
    if kind == "agent":
        return any(agent.name == name for agent in meant) or subject == Subject(SubjectKind.AGENT, name)
    if subject.kind is SubjectKind.GROUP:
        return True
    return subject.kind.value.lower() == kind and subject.name in (name, EVERYTHING)


def _means(access: Access, who: Identity) -> bool:
    """Whether a rule gives something to an identity, as `rulebook` has it."""
    if who.cluster and access.cluster not in (who.cluster, EVERYTHING):
        return False
    subject = access.subject
    if subject.kind is SubjectKind.GROUP:
        return subject.name in who.groups or (subject.name == EVERYTHING and bool(who.groups))
    return subject.kind.value == who.kind.value and subject.name in (who.name, EVERYTHING)


def _holder_of(agent: AgentRecord) -> Identity:
    return Identity(
        kind=Kind.AGENT, name=agent.name, groups=agent.groups, proven_by="", credential="", cluster=agent.cluster
    )


def _key(name: str, text: str) -> bytes:
    """Two files are the same when both are: a policy remembers its file."""
    return hashlib.sha256(f"{len(name)} {name}{text}".encode()).digest()


def _read(name: str, text: str) -> frozenset[Access]:
    try:
        return frozenset(accesses(parse_policies(text, name)))
    except PolicyErrors:
        # Another version could read it. Nothing in it counts as the same.
        return frozenset()


def _older(found: dict[Access, Age], open_ones: Collection[Access]) -> dict[Access, Age]:
    return {one: msgspec.structs.replace(age, is_older=one in open_ones) for one, age in found.items()}
