"""Why a decision is what it is: every rule that was considered, and what it said to each part of the request.

For people who ask (`narrowgate policy explain`), not for the data path: it looks at everything where `decide` looks at
what can matter. The decision itself is `decide`'s own.
"""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from narrowgate.core.conditions import Undecided
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.explain_masks import ExplainedMasks, explain_masks
from narrowgate.core.explain_pods import ExplainedPods, explain_pods
from narrowgate.core.identity import Chain, Identity
from narrowgate.core.intent import Intent, Use
from narrowgate.core.judging import Evidence
from narrowgate.core.matching import CompiledRule, Question, question_of, question_of_use
from narrowgate.core.policy import EVERYTHING, Effect, Policy
from narrowgate.core.refusals import action, who
from narrowgate.core.rulebook import Rulebook
from narrowgate.core.visible import Visible


class ConsideredRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the member's policies, and whether it matched the question."""

    policy: str
    rule: str
    effect: str
    place: str
    """`file:line`; empty for built-in rules."""
    matches: bool
    why: str
    """What did not match; for a rule that matches what it does."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One question put to one member's rules: the request itself, or something it uses (`because` says where)."""

    member: str
    asks: str
    because: str = ""
    rules: tuple[ConsideredRule, ...] = ()


class PassedOver(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that has nothing to say to a member of the chain, and why."""

    member: str
    policy: str
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with everything that led to it; `str` gives it as text for a terminal."""

    answer: str
    """`allow`, `deny` or `needsApproval`."""
    rule: str
    """The rule that made it; empty where simply none covers the request."""
    revision: int
    message: str
    hint: str
    parts: tuple[Part, ...]
    passed_over: tuple[PassedOver, ...]
    masked: ExplainedMasks
    """What is masked in the answer; nothing where there will be none."""
    pods: ExplainedPods = ExplainedPods()
    """What has a say of the pods that it makes or gets into; nothing where there are none."""

    def __str__(self) -> str:
        lines = [f"{self.answer}: {self.message}"]
        if self.hint:
            lines.append(f"  {self.hint}")
        for part in self.parts:
            because = f" ({part.because})" if part.because else ""
            lines.append(f"{part.member}: {part.asks}{because}")
            lines.extend(_rule_line(rule) for rule in part.rules)
            if not part.rules:
                lines.append("    no rule to consider")
        lines.extend(self.pods.lines())
        if self.answer != "deny":
            lines.extend(self.masked.lines())
        lines.extend(
            f"{passed.member}: policy {passed.policy} passed over: {passed.why}" for passed in self.passed_over
        )
        return "\n".join(lines)


def explain(chain: Chain, what: Intent, policy: Rulebook, now: float, not_looked: str = "") -> Explanation:
    """Decide, and say what every rule of every member had to say. Never raises, as `decide`. `not_looked` says what of
    the pods of the request could not be had.
    """
    decision = decide(chain, what, policy, (), (), now)
    evidence = Evidence(what)
    questions: list[tuple[Question, Use | None]] = [(question_of(what), None)]
    questions += [(question_of_use(use), use) for use in what.uses]
    parts = tuple(_part(policy, member, question, use, evidence) for member in chain for question, use in questions)
    passed_over = tuple(
        PassedOver(member=who(member), policy=one.name, why=why)
        for member in chain
        for one in policy.policies
        if (why := _not_about(one, member, what.cluster))
    )
    masked = ExplainedMasks() if isinstance(decision, Deny) else explain_masks(chain, what, policy)
    pods = explain_pods(chain, what, policy, not_looked)
    return Explanation(
        **_answer(decision), revision=policy.revision, parts=parts, passed_over=passed_over, masked=masked, pods=pods
    )


def _answer(decision: Decision) -> dict[str, Any]:
    match decision:
        case Allow(rule=rule, visible=Visible() as visible):
            by = ", ".join(str(one) for one in visible.rules)
            message = f"a part of it: the objects that could be asked for one by one, by {by}"
            return {"answer": "allow", "rule": str(rule), "message": message, "hint": ""}
        case Allow(rule=rule):
            return {"answer": "allow", "rule": str(rule), "message": f"rule {rule} covers it", "hint": ""}
        case Deny(rule=rule, message=message, hint=hint):
            return {"answer": "deny", "rule": str(rule) if rule else "", "message": message, "hint": hint}
        case NeedsApproval(rule=rule, message=message, hint=hint):
            return {"answer": "needsApproval", "rule": str(rule), "message": message, "hint": hint}
        case unknown:
            assert_never(unknown)


def _part(policy: Rulebook, member: Identity, question: Question, use: Use | None, evidence: Evidence) -> Part:
    files = {one.name: one.file for one in policy.policies}
    rules = []
    for rule in policy.holding(member, evidence.what.cluster).rules:
        matches, why = _said(rule, member, question, use, evidence)
        file = files.get(rule.ref.policy, "")
        rules.append(
            ConsideredRule(
                policy=rule.ref.policy,
                rule=rule.ref.rule,
                effect=rule.effect.value,
                place=f"{file}:{rule.rule.line}" if file else "",
                matches=matches,
                why=why,
            )
        )
    return Part(member=who(member), asks=action(question), because=use.because if use else "", rules=tuple(rules))


def _said(
    rule: CompiledRule, member: Identity, question: Question, use: Use | None, evidence: Evidence
) -> tuple[bool, str]:
    why = rule.mismatch(question)
    if why:
        return False, why
    if not evidence.fits(rule, use):
        return False, f"it does not speak of this way into a pod{_away(rule, use, evidence)}"
    met = evidence.met(rule, member, question, use)
    if isinstance(met, Undecided):
        undecided = f"its condition cannot be decided: {met.why}"
        return (True, f"refuses, because {undecided}") if rule.guards else (False, undecided)
    if not met:
        return False, "its condition is not met"
    if rule.rule.review is not None:
        return True, "could be taken by a person in an emergency; permits nothing by itself"
    return True, "asks people before it shows what is masked" if rule.rule.reveals else _does(rule.effect)


def _away(rule: CompiledRule, use: Use | None, evidence: Evidence) -> str:
    away = "" if rule.guards else evidence.turned_away([rule], use)
    return f", not allowing {away}" if away else ""


def _does(effect: Effect) -> str:
    match effect:
        case Effect.DENY:
            return "refuses"
        case Effect.ALLOW:
            return "covers"
        case Effect.GRANTABLE:
            return "could be granted to a task; permits nothing by itself"
        case Effect.APPROVE:
            return "holds for approval"
        case unknown:
            assert_never(unknown)


def _not_about(policy: Policy, member: Identity, cluster: str) -> str:
    names = {member.name, EVERYTHING}
    groups = {*member.groups, *((EVERYTHING,) if member.groups else ())}
    about = any(
        subject.name in (groups if subject.kind.value == "Group" else names)
        and subject.kind.value in ("Group", member.kind.value)
        for subject in policy.subjects
    )
    if not about:
        return "its subjects are others"
    if not {cluster, EVERYTHING} & set(policy.clusters):
        return f"its clusters are {', '.join(policy.clusters)}"
    return ""


def _rule_line(rule: ConsideredRule) -> str:
    mark = "*" if rule.matches else " "
    place = f" ({rule.place})" if rule.place else ""
    return f"  {mark} {rule.effect:<9} {rule.policy}/{rule.rule}{place}: {rule.why}"
