"""What an approval lifts, and what it does not."""

from __future__ import annotations

import msgspec
import pytest
from tests.deciding import NOW, TWO_OF_SRE, agent, asks, person, policy, rule, uses

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import Chain, chain_of
from narrowgate.core.intent import HeldSecrets, Intent
from narrowgate.core.policy import Approval, Approvers, MountedSecrets, Policy
from narrowgate.core.rulebook import compile_policies

WHAT = asks("get", "secrets", "deploy-key", namespace="ci")
OFFER = rule("approve", "get", "secrets", namespaces="ci", id="offer")
GUARD = rule("approve", "get", "secrets", names="deploy-key", id="guard")


def approved(*rules: str, **other: object) -> ApprovalQuestion:
    made = ApprovalQuestion(
        id="q1",
        asks=tuple(TWO_OF_SRE for _ in rules),
        rules=tuple(RuleRef("test", name, 3) for name in rules),
        digest="d",
        asked_at=NOW - 10,
        lapses_at=NOW + 10,
        state=ApprovalState.APPROVED,
    )
    return msgspec.structs.replace(made, **other)


def with_approvals(
    *policies: Policy, approvals: tuple[ApprovalQuestion, ...] = (), what: Intent = WHAT, by: Chain | None = None
) -> Decision:
    return decide(by or chain_of(agent()), what, compile_policies(policies, 7), (), approvals, NOW)


def test_an_approval_lifts_the_rule_that_it_was_asked_for() -> None:
    decision = with_approvals(policy(OFFER), approvals=(approved("offer"),))
    assert isinstance(decision, Allow)
    assert (str(decision.rule), decision.approval, decision.deadline) == ("test/offer", "q1", NOW + 10)


def test_what_it_rests_on_is_what_covers_it_without_the_rule_that_held_it() -> None:
    covered = policy(rule("allow", "get", "secrets", namespaces="ci"), GUARD)
    decision = with_approvals(covered, approvals=(approved("guard"),))
    assert isinstance(decision, Allow)
    assert (str(decision.rule), decision.approval) == ("test/allow-it", "q1")


@pytest.mark.parametrize(
    "other",
    [
        {"state": ApprovalState.PENDING},
        {"state": ApprovalState.SPENT},
        {"state": ApprovalState.DENIED},
        {"lapses_at": NOW},
        {"lapses_at": float("nan")},
        {"rules": (RuleRef("other", "offer"),)},
        {"rules": ()},
        {"asks": (Approval((Approvers("sre", 1),), 600.0),)},
        {"asks": ()},
    ],
)
def test_whatever_else_it_may_be_it_lifts_nothing(other: dict[str, object]) -> None:
    decision = with_approvals(policy(OFFER), approvals=(approved("offer", **other),))
    assert isinstance(decision, NeedsApproval)


def test_every_rule_that_holds_it_is_asked_for_at_once() -> None:
    decision = with_approvals(policy(OFFER, GUARD))
    assert isinstance(decision, NeedsApproval)
    assert {ref.rule for ref in decision.rules} == {"offer", "guard"}
    assert decision.asks == (TWO_OF_SRE, TWO_OF_SRE)
    assert isinstance(with_approvals(policy(OFFER, GUARD), approvals=(approved("offer"),)), NeedsApproval)
    assert isinstance(with_approvals(policy(OFFER, GUARD), approvals=(approved("guard", "offer"),)), Allow)


def test_two_approvals_that_cover_half_each_cover_nothing() -> None:
    halves = (approved("offer"), approved("guard", id="q2"))
    assert isinstance(with_approvals(policy(OFFER, GUARD), approvals=halves), NeedsApproval)


def test_a_rule_whose_condition_is_not_met_offers_nothing() -> None:
    never = rule("approve", "get", "secrets", namespaces="ci", when="1 == 2", id="never")
    held = policy(never, GUARD)
    assert isinstance(with_approvals(held, what=asks("list", "secrets", namespace="ci")), Deny)
    wide = policy(
        rule("approve", "list", "secrets", namespaces="ci", when="1 == 2", id="never"),
        rule("approve", "list", "secrets", names="deploy-key", id="guard"),
    )
    assert isinstance(with_approvals(wide, what=asks("list", "secrets", namespace="ci")), Deny)


def test_a_deny_wins_over_an_approval() -> None:
    denied = policy(OFFER, rule("deny", "get", "secrets", names="deploy-key"))
    assert isinstance(with_approvals(denied, approvals=(approved("offer"),)), Deny)


def test_an_approval_covers_nothing_that_no_rule_covers() -> None:
    assert isinstance(with_approvals(policy(rule("allow", "get", "pods")), approvals=(approved("offer"),)), Deny)
    both = chain_of(person("alice"), agent())
    assert isinstance(with_approvals(policy(OFFER), approvals=(approved("offer"),), by=both), Deny)


def test_what_a_request_uses_is_held_and_lifted_with_it() -> None:
    what = asks("create", "pods", "web", namespace="ci", uses=(uses("secrets", "deploy-key"),))
    held = policy(rule("allow", "*", "*", namespaces="ci"), rule("approve", "get use", "secrets", id="guard"))
    decision = with_approvals(held, what=what)
    assert isinstance(decision, NeedsApproval)
    assert [str(ref) for ref in decision.rules] == ["test/guard"]
    assert isinstance(with_approvals(held, what=what, approvals=(approved("guard"),)), Allow)


def test_what_nothing_holds_uses_no_approval_up() -> None:
    decision = with_approvals(policy(rule("allow", "get", "secrets", namespaces="ci")), approvals=(approved("offer"),))
    assert isinstance(decision, Allow)
    assert decision.approval == ""


def test_the_first_of_two_that_would_do_is_used_whatever_their_order() -> None:
    pair = (approved("offer", id="b"), approved("offer", id="a"))
    for approvals in (pair, pair[::-1]):
        decision = with_approvals(policy(OFFER), approvals=approvals)
        assert isinstance(decision, Allow)
        assert decision.approval == "a"


def test_an_approval_lets_into_a_pod_that_holds_secrets() -> None:
    enters = rule("allow", "create", "pods/exec", namespaces="ci", id="in")
    enters = msgspec.structs.replace(enters, mounted_secrets=MountedSecrets.APPROVE, approval=TWO_OF_SRE)
    what = asks("create", "pods/exec", "web", namespace="ci")
    what = msgspec.structs.replace(what, held=HeldSecrets(names=("env",), unknown=""))
    assert isinstance(with_approvals(policy(enters), what=what), NeedsApproval)
    decision = with_approvals(policy(enters), approvals=(approved("in"),), what=what)
    assert isinstance(decision, Allow)
    assert (str(decision.rule), decision.approval) == ("test/in", "q1")
    assert isinstance(with_approvals(policy(enters), approvals=(approved("other"),), what=what), NeedsApproval)
