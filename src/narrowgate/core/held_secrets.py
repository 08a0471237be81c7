"""Secrets that a pod holds, and what becomes of whoever wants into it and may not read them.

Whoever is in a pod can read what is mounted there and transform it as it likes: masks over what comes back are no wall
against a shell. So the rule that lets somebody in says what happens (`policy.MountedSecrets`). `decide` asks here once
a rule covers an exec, an attach or an ephemeral container (`kubectl debug`; `kubectl cp` is an exec).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, assert_never

import msgspec

from narrowgate.core.identity import Chain, Identity
from narrowgate.core.intent import HeldSecrets, Intent
from narrowgate.core.judging import Answer, Evidence, Granted, Grants, Held, Refused, judge
from narrowgate.core.masking.built_in import SECRET_DATA
from narrowgate.core.masking.choosing import MaskChoice, Where
from narrowgate.core.masking.patterns import KNOWN_VALUE
from narrowgate.core.matching import CompiledRule, Question, question_of
from narrowgate.core.pod_uses import pod_spec
from narrowgate.core.policy import MountedSecrets, Rule
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.rulebook import Holding, Rulebook

INTO_PODS: Final = frozenset({"exec", "attach", "ephemeralcontainers"})
"""Subresources of pods by which somebody gets in."""

WRITES: Final = frozenset({"create", "update", "patch"})

_TOLD: Final = 3
"""Secrets that a refusal names."""


class Member(NamedTuple):
    """One member of the chain and what it holds."""

    identity: Identity
    holding: Holding
    grants: Grants | None


def goes_into_pod(info: RequestInfo) -> bool:
    """Whether a request lets its sender into a pod."""
    return info.subresource in INTO_PODS and info.resource == "pods" and not info.api_group and info.verb in WRITES


def secrets_of(pod: Any) -> tuple[str, ...]:
    """The Secrets that the containers of a pod can read, sorted. What pulls its images is not in it."""
    spec = pod.get("spec") if isinstance(pod, dict) else None
    if not isinstance(spec, dict):
        return ()
    inside = {key: value for key, value in spec.items() if key != "imagePullSecrets"}
    return tuple(sorted({use.name for use in pod_spec(inside, "spec", "") if use.resource == "secrets"}))


def is_minded(rulebook: Rulebook, chain: Chain, what: Intent) -> bool:
    """Whether it matters which Secrets the pod holds: whether any rule that may let this in does more than mask."""
    question = question_of(what)
    masks = rulebook.masks_of(chain, what.cluster, question, ())
    for member in chain:
        found = rulebook.holding(member, what.cluster).candidates(question)
        for rule in (*found.allow, *found.grantable):
            if _action(rule.rule, _masks_known(what, masks)) is not MountedSecrets.MASK:
                return True
    return False


def with_held(answer: Answer, member: Member, question: Question, what: Intent, masks: MaskChoice | None) -> Answer:
    """The answer about getting into a pod, once what the pod holds has its say; `masks` are of what comes back."""
    if what.held is None or not isinstance(answer, RuleRef | Granted):
        # Where people are asked about the request itself, they are asked.
        return answer
    rule = _rule(member.holding, question, answer.ref if isinstance(answer, Granted) else answer)
    action = _action(rule.rule, _masks_known(what, masks))
    if action is MountedSecrets.MASK:
        return answer
    unread = _unread(member, question, what, what.held)
    if not unread:
        return answer
    match action:
        case MountedSecrets.DENY:
            return Refused(rule, because=unread)
        case MountedSecrets.APPROVE:
            return Refused(rule, because=unread) if rule.rule.approval is None else Held((rule,), answer, unread)
        case _:
            assert_never(action)


def _action(rule: Rule, masks_known: bool) -> MountedSecrets:
    if rule.mounted_secrets is not None:
        return rule.mounted_secrets
    return MountedSecrets.MASK if masks_known else MountedSecrets.APPROVE


def _masks_known(what: Intent, masks: MaskChoice | None) -> bool:
    """Whether values of the cluster's Secrets are masked in what comes back."""
    if masks is None or what.held is None or not what.held.known_values:
        return False
    plan = masks.plan(Where(what.info.namespace, what.info.name))
    return plan is not None and KNOWN_VALUE in plan.text_rules


def _rule(holding: Holding, question: Question, ref: RuleRef) -> CompiledRule:
    found = holding.candidates(question)
    return next(rule for rule in (*found.allow, *found.grantable) if rule.ref == ref)


def _unread(member: Member, question: Question, what: Intent, held: HeldSecrets) -> str:
    """What the pod holds that the member may not read, for its refusal; empty where there is nothing."""
    if held.unknown:
        return f"it is not known which Secrets the pod holds: {held.unknown}"
    names = [name for name in held.names if not _may_read(member, question.namespace, name, what)]
    if not names:
        return ""
    told = ", ".join(names[:_TOLD]) + (", ..." if len(names) > _TOLD else "")
    return f"the pod holds Secret{'s' if len(names) > 1 else ''} {told}, not readable for {member.identity}"


def _may_read(member: Member, namespace: str, name: str, what: Intent) -> bool:
    """Whether the member could get that Secret now, with nothing of it masked."""
    asks = Question(("get",), "", "secrets", "", namespace, True, name)
    get = msgspec.structs.replace(what, object=None, old_object=None)
    answer = judge(member.holding, member.identity, asks, None, Evidence(get), member.grants)
    if not isinstance(answer, RuleRef | Granted):
        return False
    masks = member.holding.masks_on("", "secrets")
    held = masks.held(Where(namespace, name), ()) if masks is not None else ()
    return not any(mask.rule == SECRET_DATA or mask.fields for mask in held)
