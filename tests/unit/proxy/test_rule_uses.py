"""What is counted of the rules that let requests through."""

from __future__ import annotations

from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.identity import Chain, Identity, Kind, chain_of
from narrowgate.core.standing import RuleUse
from narrowgate.proxy.rule_uses import MOST_COUNTED, CountedRuleUses

READ = RuleRef("ci", "read", 3)


def who(*names: str, kind: Kind = Kind.AGENT) -> Chain:
    return chain_of(*(Identity(kind=kind, name=name, proven_by="test", credential="c") for name in names))


def allowed(*covers: RuleRef, uses: tuple[tuple[int, RuleRef], ...] = ()) -> Allow:
    return Allow(rule=covers[-1], covers=covers, covers_of_uses=uses)


def test_the_last_use_of_each_rule_is_kept_for_every_member_of_the_chain() -> None:
    counted = CountedRuleUses()
    counted.count(who("root", "sub"), "prod", allowed(READ, RuleRef("sub", "read")), 10.0)
    counted.count(who("root", "sub"), "prod", allowed(READ, RuleRef("sub", "read")), 12.0)
    counted.count(who("ci/runner", kind=Kind.WORKLOAD), "dev", allowed(READ), 11.0)
    assert counted.take() == (
        (
            RuleUse(holder="agent:root", cluster="prod", policy="ci", rule="read", at=12.0),
            RuleUse(holder="agent:sub", cluster="prod", policy="sub", rule="read", at=12.0),
            RuleUse(holder="serviceaccount:ci/runner", cluster="dev", policy="ci", rule="read", at=11.0),
        ),
        None,
    )
    assert counted.take() == ((), None)


def test_what_covers_the_things_that_a_request_uses_is_counted_too() -> None:
    counted = CountedRuleUses()
    counted.count(who("root", "sub"), "prod", allowed(READ, READ, uses=((1, RuleRef("ci", "accounts")),)), 10.0)
    uses, _ = counted.take()
    assert {(use.holder, use.rule) for use in uses} == {
        ("agent:root", "read"),
        ("agent:sub", "read"),
        ("agent:sub", "accounts"),
    }


def test_the_same_rule_under_two_revisions_is_one_and_built_in_rules_are_none() -> None:
    counted = CountedRuleUses()
    counted.count(who("a"), "prod", allowed(READ), 12.0)
    counted.count(who("a"), "prod", allowed(RuleRef("ci", "read", 4)), 11.0)
    counted.count(who("a"), "prod", allowed(RuleRef("narrowgate", "discovery", 4)), 13.0)
    uses, _ = counted.take()
    assert [(use.rule, use.at) for use in uses] == [("read", 12.0)]


def test_what_is_too_much_is_left_out_and_said_to_be() -> None:
    counted = CountedRuleUses()
    for number in range(MOST_COUNTED + 1):
        counted.count(who("a"), "prod", allowed(RuleRef("ci", f"r{number}")), float(number))
    # One that is there already still moves on.
    counted.count(who("a"), "prod", allowed(RuleRef("ci", "r0")), 99_999.0)
    uses, lost_at = counted.take()
    assert (len(uses), uses[0].at, lost_at) == (MOST_COUNTED, 99_999.0, float(MOST_COUNTED))


def test_what_could_not_be_kept_comes_again_and_never_hides_what_came_since() -> None:
    counted = CountedRuleUses()
    counted.count(who("a"), "prod", allowed(READ), 10.0)
    counted.count(who("b"), "prod", allowed(READ), 10.0)
    taken = counted.take()
    counted.count(who("a"), "prod", allowed(READ), 20.0)
    counted.put_back(*taken)
    uses, _ = counted.take()
    assert sorted((use.holder, use.at) for use in uses) == [("agent:a", 20.0), ("agent:b", 10.0)]
    counted.put_back((), 30.0)
    assert counted.take() == ((), 30.0)
