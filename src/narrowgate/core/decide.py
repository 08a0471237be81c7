"""The decision: may this chain do this, by these rules, now. Pure and total; the only place where an `Allow` is made.

In this order:

1. A credential that has ended, or that is for another cluster, opens nothing; neither does a request that uses what it
   does not show.
2. A deny rule that matches for any member of the chain, or for anything that the request uses, refuses it. Nothing
   lifts that, and a condition that cannot be decided counts as met.
3. Every member must be covered, for the request and for each thing it uses, by an allow rule, or by a grant of its own
   that a grantable rule would still grant now. Discovery and the reviews of oneself are covered by built-in rules for
   whoever holds anything on the cluster. A delegate is covered by what covers the root of its chain, within the grant
   that was delegated to it.
4. An approve rule that matches holds the request for people, whether it is covered or only offered by that rule, unless
   people have said yes to this very request: one approval that was asked for every rule that holds it, for each as
   demanding as it is now.
5. A list or watch that is not allowed whole, by what is above, is allowed in part where some object of it could be
   asked for alone: with the obligation to show no others (`visible`).
6. What is left is allowed, until the first credential of the chain, the first grant it rests on, or the approval, ends;
   with the masks of every member of the chain, less what is revealed to that member.

Approvals are given for the very request alone (`digest.request_digest`), and by whoever has looked whether the answers
still count; which rules they lift is decided here.

The answer does not depend on the order of policies or rules. Where several rules say the same, the first by policy
name and rule id is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, assert_never

import msgspec

from narrowgate.core import refusals
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval, RuleRef
from narrowgate.core.entering import OPENED
from narrowgate.core.grants import Grant
from narrowgate.core.held_secrets import Member as Entering
from narrowgate.core.held_secrets import with_held
from narrowgate.core.identity import Chain, giver_of
from narrowgate.core.intent import Intent, Use
from narrowgate.core.judging import (
    Answer,
    Evidence,
    Granted,
    Grants,
    Held,
    Refused,
    Uncovered,
    grants_of_member,
    judge,
)
from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.matching import CompiledRule, Question, question_of, question_of_use
from narrowgate.core.pod_judging import mended, with_pods
from narrowgate.core.refusals import Asked
from narrowgate.core.rulebook import Rulebook
from narrowgate.core.stronger import Holder
from narrowgate.core.typed_lines import LineGuard
from narrowgate.core.visible import VISIBLE_VERBS, Member, Visible


def decide(
    chain: Chain,
    what: Intent,
    policy: Rulebook,
    grants: Sequence[Grant],
    approvals: Sequence[ApprovalQuestion],
    now: float,
) -> Decision:
    """Decide whether `chain` may do `what` by `policy` at `now` (Unix seconds). Never raises, whatever the intent.

    `approvals` are about this very request; one that is not approved, or has lapsed, counts for nothing.
    """
    unusable = _unusable(chain, what.cluster, now)
    if unusable is not None:
        return unusable
    if what.unseen:
        return refusals.unseen(chain, what.unseen)
    evidence = Evidence(what)
    questions = _questions(what)
    covers: list[tuple[int, Use | None, RuleRef]] = []
    held: list[CompiledRule] = []
    resting_on: dict[str, Grant] = {}
    for place, member in enumerate(chain):
        holding = policy.holding(member, what.cluster)
        own = grants_of_member(grants, chain, place, what.cluster, now, policy.built_in)
        for question, use in questions:
            answer = judge(holding, member, question, use, evidence, own)
            if use is None:
                answer = _with_pods(answer, Holder(member, holding, own), (chain, policy), question, evidence)
            if isinstance(answer, Held) and approvals:
                held += answer.rules
                answer = answer.cover
            if isinstance(answer, Granted):
                resting_on[answer.grant.task] = answer.grant
                answer = answer.ref
            if not isinstance(answer, RuleRef):
                return _not_whole(_Judged(chain, policy, grants, now), questions, evidence)
            covers.append((place, use, answer))
    lifting = _lifting(held, approvals, now)
    if held and lifting is None:
        return _not_whole(_Judged(chain, policy, grants, now), questions, evidence)
    masks = policy.masks_of(chain, what.cluster, questions[0][0], [rule.ref for rule in held])
    allowed = _allow(chain, covers, resting_on, lifting, masks)
    covering = _covering(_Judged(chain, policy, grants, now), what, allowed.covers)
    lines, mends = _lines(what, covering, held), mended((*covering, *held), what)
    return msgspec.structs.replace(allowed, lines=lines, mends=mends) if lines or mends else allowed


def _covering(judged: _Judged, what: Intent, covers: Sequence[RuleRef]) -> list[CompiledRule]:
    """The rules that cover the request itself for each member, where it matters what they say of pods."""
    question = question_of(what)
    rules: list[CompiledRule] = []
    if question.subresource in OPENED or what.pods is not None:
        for member, ref in zip(judged.chain, covers, strict=True):
            found = judged.policy.holding(member, what.cluster).candidates(question)
            rules += [rule for rule in (*found.allow, *found.grantable) if rule.ref == ref]
    return rules


def _lines(what: Intent, covering: Sequence[CompiledRule], held: Sequence[CompiledRule]) -> tuple[LineGuard, ...]:
    """What may not, or not yet, be typed into a session, by what covers each member of the chain and by what people
    said yes to.
    """
    if what.info.subresource not in OPENED:
        return ()
    return tuple(dict.fromkeys(guard for rule in (*held, *covering) for guard in _line_guards(rule)))


def _line_guards(rule: CompiledRule) -> Iterator[LineGuard]:
    name = f"{rule.ref.policy}/{rule.rule.id}"
    if rule.rule.lines:
        yield LineGuard(name, rule.rule.lines)
    if rule.rule.asked_lines:
        # Without anybody to ask, such a line ends the session.
        yield LineGuard(name, rule.rule.asked_lines, rule.rule.lines_approval)


def _questions(what: Intent) -> tuple[tuple[Question, Use | None], ...]:
    """What the request asks itself, and what it uses asks."""
    asked = ((question_of(what), None),)
    return (*asked, *((question_of_use(use), use) for use in what.uses)) if what.uses else asked


def _allow(
    chain: Chain,
    covers: Sequence[tuple[int, Use | None, RuleRef]],
    resting_on: Mapping[str, Grant],
    lifting: ApprovalQuestion | None,
    masks: MaskChoice | None,
) -> Allow:
    """Until the first credential of the chain ends, or the first of what else it rests on."""
    ends = [member.expires_at for member in chain if member.expires_at is not None]
    ends += [grant.ends_at for grant in resting_on.values()]
    if lifting is not None:
        ends.append(lifting.lapses_at)
    of_members = tuple(ref for _, use, ref in covers if use is None)
    return Allow(
        rule=of_members[-1],
        covers=of_members,
        covers_of_uses=tuple((place, ref) for place, use, ref in covers if use is not None),
        tasks=tuple(sorted(resting_on)),
        limits=tuple(grant.limits for _, grant in sorted(resting_on.items()) if grant.limits is not None),
        approval=lifting.id if lifting is not None else "",
        deadline=min(ends, default=None),
        masks=masks,
    )


class _Judged(NamedTuple):
    """Everything about a decision but the request."""

    chain: Chain
    policy: Rulebook
    grants: Sequence[Grant]
    now: float


def _shown(policy: Rulebook, chain: Chain, what: Intent) -> MaskChoice | None:
    """What is masked in what comes back out of a pod."""
    return policy.masks_of(chain, what.cluster, question_of(what), ())


def _own(judged: _Judged, place: int, cluster: str) -> Grants | None:
    return grants_of_member(judged.grants, judged.chain, place, cluster, judged.now, judged.policy.built_in)


def _unusable(chain: Chain, cluster: str, now: float) -> Deny | None:
    """Why the chain's credentials open nothing here, whatever is asked."""
    if not chain:
        return refusals.nobody()
    for place, member in enumerate(chain):
        if member.expires_at is not None and not now < member.expires_at:
            return refusals.expired(chain, member)
        if member.cluster and member.cluster != cluster:
            return refusals.other_cluster(member, cluster)
        if member.delegated_by and giver_of(chain, place) is None:
            return refusals.delegated_by_nobody(member)
    return None


def _lifting(
    held: Sequence[CompiledRule], approvals: Sequence[ApprovalQuestion], now: float
) -> ApprovalQuestion | None:
    """The one approval, the first by id, that was asked for all of these rules as they are now and may be used."""
    if not held:
        # What nothing holds uses nothing up.
        return None
    for question in sorted(approvals, key=lambda one: one.id):
        usable = question.state is ApprovalState.APPROVED and now < question.lapses_at
        if usable and all(question.covers(rule.ref, rule.rule.approval) for rule in held):
            return question
    return None


def _not_whole(judged: _Judged, questions: Sequence[tuple[Question, Use | None]], evidence: Evidence) -> Decision:
    """What is not covered as it was asked: the part of a list or watch that is, else the reason why not."""
    question = questions[0][0]
    if question.name or not question.resource or len(questions) > 1 or VISIBLE_VERBS.isdisjoint(question.verbs):
        return _withheld(judged, questions, evidence)
    chain, cluster = judged.chain, evidence.what.cluster
    members = [
        Member(
            member,
            judged.policy.holding(member, cluster),
            _own(judged, place, cluster),
        )
        for place, member in enumerate(chain)
    ]
    visible = Visible(members, question, evidence.what)
    if not visible.places:
        return _withheld(judged, questions, evidence)
    resting_on = {
        cover.grant.task: cover.grant
        for place in visible.places
        for cover in place.covers
        if isinstance(cover, Granted)
    }
    first = visible.places[0].covers
    covers = [(at, None, cover.ref if isinstance(cover, Granted) else cover) for at, cover in enumerate(first)]
    allowed = _allow(chain, covers, resting_on, None, judged.policy.masks_of(chain, cluster, question, ()))
    return msgspec.structs.replace(allowed, visible=visible)


def _withheld(
    judged: _Judged, questions: Sequence[tuple[Question, Use | None]], evidence: Evidence
) -> Deny | NeedsApproval:
    """The weightiest reason why not: a deny, then something uncovered, then a question to people; each the first."""
    lacking: list[tuple[Asked, Uncovered]] = []
    waiting: list[tuple[Asked, Held]] = []
    for asked, answer in _answers(judged, questions, evidence):
        match answer:
            case RuleRef() | Granted():
                pass
            case Refused():
                return refusals.denied(asked, answer)
            case Uncovered():
                lacking.append((asked, answer))
            case Held():
                waiting.append((asked, answer))
            case unknown:
                assert_never(unknown)
    if lacking:
        asked, nothing = lacking[0]
        first = refusals.uncovered(asked, nothing, judged.policy.holding(asked.member, asked.cluster))
        return refusals.with_all_missing(first, lacking)
    asked, held = waiting[0]
    return refusals.with_all_asks(refusals.held(asked, held), [rule for _, one in waiting for rule in one.rules])


def _answers(
    judged: _Judged, questions: Sequence[tuple[Question, Use | None]], evidence: Evidence
) -> Iterator[tuple[Asked, Answer]]:
    """Everything that was asked, of every member of the chain."""
    cluster, chain = evidence.what.cluster, judged.chain
    for place, member in enumerate(chain):
        holding = judged.policy.holding(member, cluster)
        own = _own(judged, place, cluster)
        for question, use in questions:
            asked = Asked(
                chain=chain, cluster=cluster, request=questions[0][0], member=member, judged=question, use=use
            )
            answer = judge(holding, member, question, use, evidence, own)
            if use is None:
                whole = (chain, judged.policy)
                answer = _with_pods(answer, Holder(member, holding, own), whole, question, evidence)
            yield asked, answer


def _with_pods(
    answer: Answer, holder: Holder, whole: tuple[Chain, Rulebook], question: Question, evidence: Evidence
) -> Answer:
    """The answer about the request itself, once the pods that it makes, or gets into, have their say."""
    (chain, policy), what = whole, evidence.what
    if what.pods is not None:
        answer = with_pods(answer, holder, chain, question, evidence)
    if what.held is not None:
        entering = Entering(holder.identity, holder.holding, holder.grants)
        answer = with_held(answer, entering, question, what, _shown(policy, chain, what))
    return answer
