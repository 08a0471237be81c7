"""Laws of standing access: nothing is allowed at any time that is not listed, and every use of it finds its line."""

from __future__ import annotations

from hypothesis import given, settings
from tests.deciding import NOW
from tests.property.decide_model import chains, intents, policy_sets

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Policy
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.standing import RuleUses, standing_of, standing_of_subjects
from narrowgate.proxy.rule_uses import CountedRuleUses

bounded = settings(max_examples=400, deadline=None)


@bounded
@given(chains, intents(), policy_sets())
def test_whatever_is_allowed_without_a_task_is_listed_for_each_of_the_chain_and_for_their_subjects(
    chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    allowed = decide(chain, what, compile_policies(policies, 1), (), (), NOW)
    if not isinstance(allowed, Allow):
        return
    counted = CountedRuleUses()
    counted.count(chain, what.cluster, allowed, NOW)
    uses, lost_at = counted.take()
    assert lost_at is None
    known = RuleUses(uses, NOW - 1)
    by_subject = standing_of_subjects(policies, lambda _: None, known, ())
    for member, ref in zip(chain, allowed.covers, strict=True):
        if ref.policy == "narrowgate":
            # Discovery and reviews of oneself, which come with holding anything.
            assert standing_of([member], policies, lambda _: None, known) != []
            continue
        mine = standing_of([member], policies, lambda _: None, known)
        (use,) = {
            line.last_use
            for line in mine
            if (line.access.policy, line.access.rule.id) == (ref.policy, ref.rule)
            # One line for each cluster that the policy names; a use counts where it took place.
            and line.access.cluster in (what.cluster, "*")
        }
        assert use is not None
        assert (use.holder, use.cluster, use.at) == (str(member), what.cluster, NOW)
        assert any(line.access.policy == ref.policy and line.access.rule.id == ref.rule for line in by_subject)


@bounded
@given(chains, policy_sets())
def test_what_is_listed_for_an_identity_is_what_its_holding_has(chain: Chain, policies: list[Policy]) -> None:
    rulebook = compile_policies(policies, 1)
    for member in chain:
        listed = standing_of([member], policies, lambda _: None, RuleUses((), None))
        assert bool(listed) == any(
            rulebook.holding(member, cluster).holds for one in policies for cluster in (*one.clusters, "any other")
        )
