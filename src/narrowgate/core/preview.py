"""Whether a request could be allowed at all, before the objects that conditions look at have been fetched.

The result of a patch is got by a dry run in the caller's name. That is itself a request to the cluster, with admission
webhooks and all, so it is only made for what no condition-free rule settles already.
"""

from __future__ import annotations

from collections.abc import Sequence

from narrowgate.core.decision import RuleRef
from narrowgate.core.entering import entries_of
from narrowgate.core.grants import Grant, held_by
from narrowgate.core.identity import Chain, Identity, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.judging import Evidence, Granted, Held, grants_of_member, judge
from narrowgate.core.matching import Question, question_of
from narrowgate.core.rulebook import Candidates, Rulebook


def could_be_allowed(
    chain: Chain, what: Intent, rulebook: Rulebook, grants: Sequence[Grant] = (), now: float = 0.0
) -> RuleRef | None:
    """The rule that speaks of this for the sender, allowing it or granting it to a task, if one does for every member
    and no plain deny rule does.

    None means that `decide` refuses whatever the objects hold. A rule promises nothing: `decide` is still asked.
    """
    covering: RuleRef | None = None
    question = question_of(what)
    for member in chain:
        found = rulebook.holding(member, what.cluster).candidates(question)
        if _is_plainly_denied(found, question):
            return None
        if member.delegated_by:
            if not _is_bound_for(grants, member, what, question, now):
                return None
            continue
        covering = next((rule.ref for rule in found.allow if rule.has_name(question)), None)
        if covering is None:
            held = [one for one in held_by(grants, member, what.cluster, now) if one.covers(question)]
            giving = (rule for rule in found.grantable if any(one.is_grantable_by(rule, now) for one in held))
            covering = next((rule.ref for rule in giving if rule.has_name(question)), None)
        if covering is None:
            return None
    return covering


def wants_pod(rulebook: Rulebook, chain: Chain, what: Intent) -> bool:
    """Whether some rule that may speak of this asks for the pod that it goes into: its labels, its container."""
    question, entries = question_of(what), entries_of(what)
    for member in chain:
        found = rulebook.holding(member, what.cluster).candidates(question)
        for rule in (*found.deny, *found.approve, *found.allow, *found.grantable):
            if rule.inside is not None and rule.inside.wants_pod(entries):
                return True
    return False


def could_be_entered(
    chain: Chain, what: Intent, rulebook: Rulebook, grants: Sequence[Grant], now: float
) -> RuleRef | None:
    """As `could_be_allowed`, for a way into a pod that nobody has looked at; what a rule offers that asks people counts
    too.
    """
    question = question_of(what)
    covering: RuleRef | None = None
    for member in chain:
        found = rulebook.holding(member, what.cluster).candidates(question)
        if _is_plainly_denied(found, question):
            return None
        if member.delegated_by:
            if not _is_bound_for(grants, member, what, question, now):
                return None
            continue
        covering = could_be_allowed(chain_of(member), what, rulebook, grants, now)
        covering = covering or next((rule.ref for rule in found.approve if rule.covers(question)), None)
        if covering is None:
            return None
    return covering


def _is_bound_for(grants: Sequence[Grant], member: Identity, what: Intent, question: Question, now: float) -> bool:
    """Whether what was delegated to a delegate has the question in it."""
    return any(one.covers(question) for one in held_by(grants, member, what.cluster, now))


def _is_plainly_denied(found: Candidates, question: Question) -> bool:
    return any(rule.condition is None and rule.inside is None and rule.has_name(question) for rule in found.deny)


def cover_if_approved(
    chain: Chain, what: Intent, rulebook: Rulebook, grants: Sequence[Grant], now: float
) -> RuleRef | None:
    """The rule by which the sender of a request that is held would be let through; None where it would not be.

    It promises nothing, and is for questions to the cluster in the sender's name.
    """
    sender = chain[-1]
    own = grants_of_member(grants, chain, len(chain) - 1, what.cluster, now, rulebook.built_in)
    holding = rulebook.holding(sender, what.cluster)
    match judge(holding, sender, question_of(what), None, Evidence(what), own):
        case Held(cover=Granted(ref=ref)) | Held(cover=RuleRef() as ref) | Granted(ref=ref) | (RuleRef() as ref):
            return ref
        case _:
            return None
