"""Why an answer is masked as it is: every mask that speaks of what was asked for, and every reveal, member by member.

Part of an explanation (`explain`). Which masks hold is `masking.choosing`'s to say; here it is asked about one request
and put into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from narrowgate.core.duration import duration_text
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.masking.built_in import BUILT_IN_RULES
from narrowgate.core.masking.choosing import (
    BuiltInMask,
    CompiledMask,
    CompiledReveal,
    MemberMasks,
    Where,
    is_masked,
)
from narrowgate.core.masking.patterns import TEXT_RULES
from narrowgate.core.matching import question_of
from narrowgate.core.policy import BUILT_IN, EVERYTHING, Mask, Policy, Reveal
from narrowgate.core.refusals import asked_people, who
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.rulebook import Rulebook

_READS_ONE: Final = "get"
"""The verb that people can be asked to reveal something for."""


class ConsideredMask(msgspec.Struct, frozen=True, kw_only=True):
    """One mask that speaks of the resource, for one member of the chain, and whether it holds in the answer."""

    member: str
    mask: str
    """`policy/mask`, as masked values name it."""
    place: str
    """`file:line`; empty for the gate's own."""
    masks: str
    """What it masks: the fields of a policy's mask, the words for one of the gate's own."""
    holds: bool
    """Whether it holds for any object of the answer."""
    why: str
    """Where it holds, if not everywhere; what lifts it; empty where there is nothing to say."""


class ConsideredReveal(msgspec.Struct, frozen=True, kw_only=True):
    """One reveal that speaks of the resource, for one member of the chain."""

    member: str
    reveal: str
    place: str
    lifts: tuple[str, ...]
    """The masks that it takes off the answer, for some of its objects at least; with those that people must say yes
    to first.
    """
    why: str
    """For which objects, and who must say yes; or why it lifts nothing here."""


class ExplainedMasks(msgspec.Struct, frozen=True):
    """All masks and reveals that speak of an answer."""

    masks: tuple[ConsideredMask, ...] = ()
    reveals: tuple[ConsideredReveal, ...] = ()
    unread: bool = False
    """Whether masks say nothing because the gate does not read such answers: exec, attach, port-forward, proxy."""

    def lines(self) -> list[str]:
        """As text for a terminal: the masks of text that hold alike on one line, for there are many."""
        if self.unread:
            return ["masks: none, because what programs send is not read: exec, attach, port-forward, proxy"]
        lines: list[str] = []
        members = [one.member for one in self.masks] + [one.member for one in self.reveals]
        for member in dict.fromkeys(members):
            lines.append(f"{member}: masked in the answer")
            masks = [mask for mask in self.masks if mask.member == member]
            texts = [mask for mask in masks if mask.mask in TEXT_RULES and mask.holds and not mask.why]
            lines += [_mask_line(mask) for mask in masks if mask not in texts]
            if texts:
                names = ", ".join(one.mask.removeprefix(f"{BUILT_IN}/") for one in texts)
                lines.append(f"  * mask      {BUILT_IN}/{{{names}}}: what looks like that in any text")
            lines += [_reveal_line(reveal) for reveal in self.reveals if reveal.member == member]
        return lines or ["masks: none speaks of this answer"]


def explain_masks(chain: Chain, what: Intent, policy: Rulebook) -> ExplainedMasks:
    """What masks the answer to a request for each member, and what is revealed to it. Never raises."""
    info = what.info
    if not info.is_resource_request:
        return ExplainedMasks()
    if not is_masked(info):
        return ExplainedMasks(unread=True)
    question = question_of(what)
    where = Where(info.namespace or None if what.namespaced else "", info.name or None)
    masks: list[ConsideredMask] = []
    reveals: list[ConsideredReveal] = []
    for name, member in {who(member): member for member in chain}.items():
        met = policy.holding(member, what.cluster).met_on(question.group, question.combined)
        said = _Member(name, met, where, info.verb == _READS_ONE and bool(info.name), policy.policies)
        masks += said.masks()
        reveals += said.reveals()
    return ExplainedMasks(tuple(masks), tuple(reveals))


class _Member:
    """What one member meets, in words."""

    def __init__(self, name: str, met: MemberMasks, where: Where, reads_one: bool, policies: Sequence[Policy]) -> None:
        self._name = name
        self._met = met
        self._where = where
        self._reads_one = reads_one
        self._files = {policy.name: policy.file for policy in policies}
        self._masks = {(policy.name, mask.id): mask for policy in policies for mask in policy.masks}
        self._reveals = {(policy.name, reveal.id): reveal for policy in policies for reveal in policy.reveals}

    def masks(self) -> list[ConsideredMask]:
        found = []
        for mask in self._met.masks:
            lifting = [one for one in self._met.reveals if not one.asks and one.lifts(mask.ref, self._where)]
            if not mask.may_be_in(self._where):
                holds, why = False, _within(self._written_mask(mask))
            elif lifting:
                holds, why = False, f"lifted by {lifting[0].ref}"
            else:
                holds, why = True, self._where_it_holds(mask)
            found.append(
                ConsideredMask(
                    member=self._name,
                    mask=str(mask.ref),
                    place=self._place(mask.ref, self._written_mask(mask)),
                    masks=", ".join(mask.fields) or BUILT_IN_RULES.get(str(mask.ref), ""),
                    holds=holds,
                    why=why,
                )
            )
        return found

    def reveals(self) -> list[ConsideredReveal]:
        return [self._reveal(reveal) for reveal in self._met.reveals]

    def _reveal(self, reveal: CompiledReveal) -> ConsideredReveal:
        written = self._reveals[reveal.ref.policy, reveal.ref.rule]
        lifts = tuple(
            str(mask.ref)
            for mask in self._met.masks
            if mask.may_be_in(self._where) and _may_lift(written, str(mask.ref), self._where)
        )
        if reveal.asks and not self._reads_one:
            lifts, why = (), "people can show one object, for one get of it: everything else stays masked"
        elif not lifts:
            why = _elsewhere(written, self._where) or "none of the masks it names speaks of this"
        else:
            why = _asks(written) + _of_which(written, self._where)
        return ConsideredReveal(
            member=self._name,
            reveal=str(reveal.ref),
            place=self._place(reveal.ref, written),
            lifts=lifts,
            why=why,
        )

    def _where_it_holds(self, mask: BuiltInMask | CompiledMask) -> str:
        written = self._written_mask(mask)
        if written is None or self._where.namespace is not None or _lists(written.namespaces, EVERYTHING):
            return ""
        return f"in namespaces {', '.join(written.namespaces or ())}"

    def _written_mask(self, mask: BuiltInMask | CompiledMask) -> Mask | None:
        return self._masks.get((mask.ref.policy, mask.ref.rule))

    def _place(self, ref: RuleRef, written: Mask | Reveal | None) -> str:
        file = self._files.get(ref.policy, "")
        return f"{file}:{written.line}" if file and written is not None else ""


def _may_lift(reveal: Reveal, mask: str, where: Where) -> bool:
    """Whether it takes that mask off some object of the answer."""
    if reveal.masks is not None and mask not in reveal.masks:
        return False
    return not _elsewhere(reveal, where)


def _elsewhere(reveal: Reveal, where: Where) -> str:
    """Why it can be about no object of the answer; empty where it can."""
    if where.namespace is not None and not _lists(reveal.namespaces, where.namespace):
        return _within(reveal)
    if where.name is not None and reveal.names is not None and where.name not in reveal.names:
        return f"its names are {', '.join(reveal.names)}"
    return ""


def _of_which(reveal: Reveal, where: Where) -> str:
    """Which objects of the answer it is about, where that is not all of them."""
    parts = []
    if where.name is None and reveal.names is not None:
        parts.append(f"named {', '.join(reveal.names)}")
    if where.namespace is None and not _lists(reveal.namespaces, EVERYTHING):
        parts.append(f"in namespaces {', '.join(reveal.namespaces or ())}")
    return f", off objects {' '.join(parts)}" if parts else ""


def _asks(reveal: Reveal) -> str:
    if reveal.approval is None:
        return "asks nobody"
    return (
        f"when {asked_people(reveal.approval)} say yes to this very get within {duration_text(reveal.approval.within)}"
    )


def _within(written: Mask | Reveal | None) -> str:
    if written is None or _lists(written.namespaces, EVERYTHING):
        return ""
    return f"its namespaces are {', '.join(written.namespaces or ())}"


def _lists(namespaces: tuple[str, ...] | None, namespace: str) -> bool:
    return namespaces is None or EVERYTHING in namespaces or namespace in namespaces


def _mask_line(mask: ConsideredMask) -> str:
    place = f" ({mask.place})" if mask.place else ""
    why = f" ({mask.why})" if mask.why else ""
    return f"  {'*' if mask.holds else ' '} mask      {mask.mask}{place}: {mask.masks}{why}"


def _reveal_line(reveal: ConsideredReveal) -> str:
    place = f" ({reveal.place})" if reveal.place else ""
    lifts = f"lifts {', '.join(reveal.lifts)}: " if reveal.lifts else ""
    return f"  {'*' if reveal.lifts else ' '} reveal    {reveal.reveal}{place}: {lifts}{reveal.why}"
