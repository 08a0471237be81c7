"""Which masks hold for the objects of one answer: those of every member of the chain, less what is revealed to it.

A mask holds for an object as long as it holds for anybody in the chain: what one member may see is not thereby seen by
another. Namespaces and names are judged object by object, because a list over all namespaces has some of each.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from narrowgate.core.masking.built_in import built_in_rules
from narrowgate.core.masking.plan import Plan
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.core.policy import BUILT_IN, EVERYTHING, Mask, Reveal
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.understand import is_proxied, is_streaming

READY_LIMIT: Final = 256
"""Choices whose plans are remembered: some resources times some sets of masks that hold for somebody."""

PLANS_LIMIT: Final = 1_024
"""Namespaces, and objects that a reveal names, whose plan is remembered of one choice."""


def is_masked(info: RequestInfo) -> bool:
    """Whether answers to such a request are read by the gate: those about objects, and logs. What goes through exec,
    attach, port-forward and proxy is the bytes of programs.
    """
    return info.is_resource_request and not is_streaming(info) and not is_proxied(info)


class Where(msgspec.Struct, frozen=True):
    """An object's place; None where it cannot be told, or where it may be any."""

    namespace: str | None
    name: str | None


ANYWHERE: Final = Where(None, None)


class BuiltInMask(msgspec.Struct, frozen=True):
    """A mask that the gate brings along, for everybody but people."""

    ref: RuleRef
    fields: tuple[str, ...] = ()
    is_everywhere: bool = True

    @property
    def meaning(self) -> object:
        """All that it says."""
        return self.ref

    def may_be_in(self, where: Where) -> bool:  # noqa: ARG002 (wherever that is)
        """It holds everywhere."""
        return True


class CompiledMask:
    """A mask ready to be asked whether it speaks of something."""

    __slots__ = ("_groups", "_namespaces", "_resources", "fields", "meaning", "ref")

    def __init__(self, policy: str, mask: Mask, revision: int) -> None:
        self.ref: Final = RuleRef(policy, mask.id, revision)
        self.fields: Final = mask.fields
        self.meaning: Final = (policy, msgspec.structs.replace(mask, line=0))
        """All that it says, whatever revision it is in."""
        self._groups: Final = frozenset(mask.api_groups)
        self._resources: Final = frozenset(mask.resources)
        self._namespaces: Final = _listed(mask.namespaces)

    def is_about(self, group: str, resource: str) -> bool:
        """Whether it masks objects of that resource (`pods`), or what its subresource (`pods/log`) answers."""
        return _is_about(self._groups, self._resources, group, resource)

    def may_be_in(self, where: Where) -> bool:
        """Whether an object there may be one of its own: in doubt it is."""
        return self._namespaces is None or where.namespace is None or where.namespace in self._namespaces

    @property
    def is_everywhere(self) -> bool:
        """Whether it holds in every namespace."""
        return self._namespaces is None


class CompiledReveal:
    """A reveal ready to be asked what it lifts."""

    __slots__ = ("_groups", "_masks", "_names", "_namespaces", "_resources", "asks", "meaning", "ref")

    def __init__(self, policy: str, reveal: Reveal, revision: int) -> None:
        self.ref: Final = RuleRef(policy, reveal.id, revision)
        self.meaning: Final = (policy, msgspec.structs.replace(reveal, line=0))
        """All that it says, whatever revision it is in."""
        self.asks: Final = reveal.approval is not None
        """Whether it counts only where people have said yes to the very request."""
        self._groups: Final = frozenset(reveal.api_groups)
        self._resources: Final = frozenset(reveal.resources)
        self._namespaces: Final = _listed(reveal.namespaces)
        self._names: Final = None if reveal.names is None else frozenset(reveal.names)
        self._masks: Final = None if reveal.masks is None else frozenset(reveal.masks)

    def is_about(self, group: str, resource: str) -> bool:
        """Whether it speaks of that resource, as rules do: `pods` is not `pods/log`, and a ServiceAccount no token."""
        _, slash, subresource = resource.partition("/")
        meant = {EVERYTHING, resource, f"*/{subresource}" if slash else resource}
        return not self._groups.isdisjoint((EVERYTHING, group)) and not self._resources.isdisjoint(meant)

    def lifts(self, mask: RuleRef, where: Where) -> bool:
        """Whether it takes that mask off an object there: in doubt it does not."""
        if self._masks is not None and str(mask) not in self._masks:
            return False
        if self._namespaces is not None and where.namespace not in self._namespaces:
            return False
        return self._names is None or where.name in self._names

    @property
    def names(self) -> frozenset[str]:
        """The names it speaks of; none where it speaks of all."""
        return self._names or frozenset()

    def lifts_always(self, mask: RuleRef) -> bool:
        """Whether it takes that mask off every object of its resources, and asks nobody."""
        return not self.asks and self.is_everywhere and self.lifts(mask, ANYWHERE)

    @property
    def is_everywhere(self) -> bool:
        """Whether it holds for every object of its resources."""
        return self._namespaces is None and self._names is None


class MemberMasks(msgspec.Struct, frozen=True, cache_hash=True):
    """What masks one member of a chain meets on one resource, and what is revealed to it."""

    masks: tuple[BuiltInMask | CompiledMask, ...]
    reveals: tuple[CompiledReveal, ...]

    def held(self, where: Where, approved: Collection[RuleRef]) -> Iterable[HeldMask]:
        """The masks that hold for this member there."""
        usable = [reveal for reveal in self.reveals if not reveal.asks or reveal.ref in approved]
        for mask in self.masks:
            if mask.may_be_in(where) and not any(reveal.lifts(mask.ref, where) for reveal in usable):
                yield HeldMask(str(mask.ref), mask.fields)

    def lifted(self, reveal: RuleRef, where: Where) -> tuple[RuleRef, ...]:
        """The masks that this reveal takes off an object there, once people have said yes where it asks them, and
        that nothing takes off already.
        """
        lifting = [one for one in self.reveals if one.ref == reveal]
        given = [one for one in self.reveals if not one.asks and one.ref != reveal]
        return tuple(
            mask.ref
            for mask in self.masks
            if mask.may_be_in(where)
            and any(one.lifts(mask.ref, where) for one in lifting)
            and not any(one.lifts(mask.ref, where) for one in given)
        )

    @property
    def varies(self) -> bool:
        """Whether it differs from object to object."""
        everywhere = all(mask.is_everywhere for mask in self.masks)
        return not (everywhere and all(reveal.is_everywhere for reveal in self.reveals))


class MaskChoice(msgspec.Struct, frozen=True, cache_hash=True):
    """The masks of one answer: an obligation of an `Allow`."""

    group: str
    resource: str
    """With its subresource, if it has one: `pods/log`."""
    members: tuple[MemberMasks, ...]
    approved: tuple[RuleRef, ...] = ()
    """The reveals that people have said yes to, for this one request."""

    def meaning(self) -> object:
        """All that it says, whatever revision of the policies it is from."""
        said = [[each.meaning for each in (*member.masks, *member.reveals)] for member in self.members]
        return said, [(ref.policy, ref.rule) for ref in self.approved]

    @property
    def varies(self) -> bool:
        """Whether namespace and name of each object must be looked at."""
        return _ready(self).varies

    @property
    def names(self) -> frozenset[str]:
        """The names of objects that are told apart: for all others of a namespace the same holds."""
        return _ready(self).names

    def held(self, where: Where) -> tuple[HeldMask, ...]:
        """The masks that hold for an object there, sorted; each once, however many members it holds for."""
        found = {mask for member in self.members for mask in member.held(where, self.approved)}
        return tuple(sorted(found, key=lambda mask: mask.rule))

    def plan(self, where: Where) -> Plan | None:
        """What is masked of an object there; None where nothing is."""
        return _ready(self).plan(where)


class _Ready:
    """The plans of one choice. It is asked for every answer, and says the same as long as the policies are the same."""

    __slots__ = ("_anywhere", "_choice", "_plans", "names", "varies")

    def __init__(self, choice: MaskChoice) -> None:
        self.varies: Final = any(member.varies for member in choice.members)
        revealed = (reveal.names for member in choice.members for reveal in member.reveals)
        self.names: Final = frozenset[str]().union(*revealed)
        self._choice: Final = choice
        self._anywhere: Final = self._made(ANYWHERE)
        self._plans: Final[dict[Where, Plan | None]] = {}

    def plan(self, where: Where) -> Plan | None:
        if where is ANYWHERE:
            return self._anywhere
        if where not in self._plans:
            if len(self._plans) >= PLANS_LIMIT:
                self._plans.clear()
            self._plans[where] = self._made(where)
        return self._plans[where]

    def _made(self, where: Where) -> Plan | None:
        return plan_for(self._choice.group, self._choice.resource, self._choice.held(where))


@functools.lru_cache(maxsize=READY_LIMIT)
def _ready(choice: MaskChoice) -> _Ready:
    return _Ready(choice)


def same_masks(one: MaskChoice | None, other: MaskChoice | None) -> bool:
    """Whether two answers are masked the same way."""
    if one is None or other is None:
        return one is other
    return one.meaning() == other.meaning()


def masks_of_member(
    masks: Sequence[CompiledMask], reveals: Sequence[CompiledReveal], question: tuple[str, str], *, is_person: bool
) -> MemberMasks | None:
    """What one member meets on a resource in its group; None where it meets nothing."""
    met = met_by_member(masks, reveals, question, is_person=is_person)
    left = tuple(mask for mask in met.masks if not any(reveal.lifts_always(mask.ref) for reveal in met.reveals))
    return MemberMasks(left, met.reveals) if left else None


def met_by_member(
    masks: Sequence[CompiledMask], reveals: Sequence[CompiledReveal], question: tuple[str, str], *, is_person: bool
) -> MemberMasks:
    """Everything that speaks of a resource to one member, also what is always lifted: for whoever asks why."""
    group, resource = question
    of_gate = () if is_person else built_in_rules(group, resource)
    near: list[BuiltInMask | CompiledMask] = [
        BuiltInMask(RuleRef(BUILT_IN, rule.partition("/")[2])) for rule in of_gate
    ]
    near += [mask for mask in masks if mask.is_about(group, resource)]
    return MemberMasks(tuple(near), tuple(reveal for reveal in reveals if reveal.is_about(group, resource)))


def masks_for_record(masks: Sequence[CompiledMask], question: tuple[str, str]) -> MemberMasks:
    """What is masked of a member's requests where they are kept: all that masks the resource for it, and what the gate
    masks by itself, for people, too. A reveal is for whoever asks, and the record has other readers.
    """
    met = met_by_member(masks, (), question, is_person=False)
    return MemberMasks(met.masks, ())


def _is_about(groups: Collection[str], resources: Collection[str], group: str, resource: str) -> bool:
    if EVERYTHING not in groups and group not in groups:
        return False
    base, slash, subresource = resource.partition("/")
    # What a subresource answers is the object again more often than not: the object's masks hold for it too.
    meant = {EVERYTHING, resource, base, f"*/{subresource}" if slash else resource}
    return not meant.isdisjoint(resources)


def _listed(namespaces: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if namespaces is None or EVERYTHING in namespaces else frozenset(namespaces)
