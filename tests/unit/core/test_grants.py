"""Grants: whose they are, what they cover, and that they cover nothing by themselves."""

from __future__ import annotations

import math

import msgspec
import pytest
from tests.deciding import NOW, TWO_OF_SRE, agent, answer, asks, gets, person, policy, rule, uses

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.grants import Grant, granted_rule, held_by
from narrowgate.core.identity import Chain, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Approvers, OnEnd, Policy
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.task_limits import Limits

READ = rule("allow", "get list", "pods", namespaces="ci", id="allow-1")
OFFER = rule("grantable", "get list watch", "pods", namespaces="ci prod", id="offer")
GET = asks("get", "pods", "web", namespace="ci")


def grant(*rules: object, **other: object) -> Grant:
    told: dict[str, object] = {
        "task": "t1",
        "kind": Kind.AGENT,
        "name": "ci",
        "cluster": "prod",
        "rules": tuple(granted_rule(each, "t1") for each in (rules or (READ,))),
        "begins_at": NOW - 10,
        "ends_at": NOW + 10,
    }
    return Grant(**(told | other))  # type: ignore[arg-type]


def with_grants(
    what: Intent, *policies: Policy, grants: tuple[Grant, ...] = (), by: Chain | None = None, now: float = NOW
) -> Decision:
    return decide(by or chain_of(agent(task="t1")), what, compile_policies(policies, 7), grants, (), now)


def test_a_standing_credential_of_the_same_agent_holds_nothing_of_the_task() -> None:
    assert isinstance(with_grants(GET, policy(OFFER), grants=(grant(),), by=chain_of(agent())), Deny)


def test_a_grant_covers_what_the_policy_would_still_grant() -> None:
    decision = with_grants(GET, policy(OFFER), grants=(grant(),))
    assert isinstance(decision, Allow)
    assert (str(decision.rule), decision.tasks, decision.deadline) == ("test/offer", ("t1",), NOW + 10)


def test_without_the_grant_it_is_not_covered() -> None:
    assert isinstance(with_grants(GET, policy(OFFER)), Deny)


def test_a_grant_without_a_grantable_rule_covers_nothing() -> None:
    assert isinstance(with_grants(GET, grants=(grant(),)), Deny)
    assert isinstance(with_grants(GET, policy(rule("grantable", "get", "secrets")), grants=(grant(),)), Deny)
    assert isinstance(with_grants(GET, policy(OFFER, subjects="Agent/other"), grants=(grant(),)), Deny)


def test_a_policy_that_was_tightened_takes_effect_at_once() -> None:
    narrower = rule("grantable", "list", "pods", namespaces="ci")
    assert isinstance(with_grants(GET, policy(narrower), grants=(grant(),)), Deny)
    elsewhere = rule("grantable", "get", "pods", namespaces="prod")
    assert isinstance(with_grants(GET, policy(elsewhere), grants=(grant(),)), Deny)


def test_a_rule_that_asks_people_by_now_grants_nothing_that_they_have_not_said_yes_to() -> None:
    asking = policy(msgspec.structs.replace(OFFER, approval=TWO_OF_SRE))
    assert isinstance(with_grants(GET, asking, grants=(grant(),)), Deny)
    assert isinstance(with_grants(GET, asking, grants=(grant(approved=(TWO_OF_SRE,)),)), Allow)
    more = msgspec.structs.replace(TWO_OF_SRE, approvers=(*TWO_OF_SRE.approvers, Approvers("security", 1)))
    stricter = policy(msgspec.structs.replace(OFFER, approval=more))
    assert isinstance(with_grants(GET, stricter, grants=(grant(approved=(TWO_OF_SRE,)),)), Deny)
    # One rule that asks nobody is enough.
    assert isinstance(with_grants(GET, asking, policy(OFFER, name="free"), grants=(grant(),)), Allow)


def test_a_grantable_rule_that_became_shorter_ends_the_grant_earlier() -> None:
    old = grant(begins_at=NOW - 60, ends_at=NOW + 600)
    assert isinstance(with_grants(GET, policy(OFFER), grants=(old,)), Deny)
    assert isinstance(with_grants(GET, policy(OFFER), grants=(grant(begins_at=NOW - 59, ends_at=NOW + 600),)), Allow)


def test_more_than_the_grant_is_not_covered_though_the_policy_would_grant_it() -> None:
    watch = asks("watch", "pods", namespace="ci")
    assert isinstance(with_grants(watch, policy(OFFER), grants=(grant(),)), Deny)
    elsewhere = asks("get", "pods", "web", namespace="prod")
    assert isinstance(with_grants(elsewhere, policy(OFFER), grants=(grant(),)), Deny)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another"},
        {"task": "t2"},
        {"kind": Kind.PERSON},
        {"cluster": "staging"},
        {"ends_at": NOW},
        {"begins_at": NOW + 1},
        {"ends_at": math.nan},
        {"begins_at": math.nan},
    ],
)
def test_a_grant_of_another_or_of_another_time_covers_nothing(other: dict[str, object]) -> None:
    assert isinstance(with_grants(GET, policy(OFFER), grants=(grant(**other),)), Deny)


def test_a_deny_rule_wins_over_a_grant() -> None:
    decision = with_grants(GET, policy(OFFER, rule("deny", "*", "pods", id="no")), grants=(grant(),))
    assert isinstance(decision, Deny)
    assert str(decision.rule) == "test/no"


def test_an_approve_rule_holds_what_a_grant_covers() -> None:
    held = rule("approve", "get", "pods", id="ask")
    assert isinstance(with_grants(GET, policy(OFFER, held), grants=(grant(),)), NeedsApproval)


def test_a_condition_of_the_grantable_rule_is_asked_at_every_request() -> None:
    only_web = rule("grantable", "get", "pods", namespaces="ci", when="request.name == 'web'")
    assert isinstance(with_grants(GET, policy(only_web), grants=(grant(),)), Allow)
    other = asks("get", "pods", "db", namespace="ci")
    assert isinstance(with_grants(other, policy(only_web), grants=(grant(),)), Deny)


def test_what_a_request_uses_must_be_granted_too() -> None:
    creates = rule("allow", "create", "pods", namespaces="ci", id="allow-1")
    offer = rule("grantable", "create", "pods", namespaces="ci", id="pods")
    secret = rule("grantable", "get", "secrets", namespaces="ci", id="secrets")
    what = asks("create", "pods", namespace="ci", uses=(uses("secrets", "key"),))
    assert isinstance(with_grants(what, policy(offer, secret), grants=(grant(creates),)), Deny)
    reads = rule("allow", "get", "secrets", namespaces="ci", id="allow-2")
    decision = with_grants(what, policy(offer, secret), grants=(grant(creates, reads),))
    assert isinstance(decision, Allow)


def test_every_member_of_a_chain_needs_its_own() -> None:
    both = chain_of(msgspec.structs.replace(person("alice"), task="t2"), agent(task="t1"))
    offer = policy(OFFER, subjects="Agent/ci Person/alice")
    assert isinstance(with_grants(GET, offer, grants=(grant(),), by=both), Deny)
    hers = grant(task="t2", kind=Kind.PERSON, name="alice", ends_at=NOW + 5)
    decision = with_grants(GET, offer, grants=(grant(), hers), by=both)
    assert isinstance(decision, Allow)
    assert (decision.tasks, decision.deadline) == (("t1", "t2"), NOW + 5)


def test_whoever_holds_a_grant_may_discover_and_ask_about_itself() -> None:
    assert isinstance(with_grants(gets("/api"), policy(OFFER), grants=(grant(),)), Allow)
    assert isinstance(with_grants(gets("/api"), policy(OFFER)), Deny)
    assert isinstance(with_grants(gets("/metrics"), policy(OFFER), grants=(grant(),)), Deny)


def test_what_standing_rules_cover_rests_on_no_task() -> None:
    decision = with_grants(GET, policy(OFFER, rule("allow", "get", "pods", namespaces="ci")), grants=(grant(),))
    assert isinstance(decision, Allow)
    assert (decision.tasks, decision.deadline) == ((), None)
    assert decision == answer(GET, policy(OFFER, rule("allow", "get", "pods", namespaces="ci")))


def test_the_order_of_grants_changes_nothing() -> None:
    other = grant(task="t0", ends_at=NOW + 1)
    assert [each.task for each in held_by((grant(), other), agent(task="t1"), "prod", NOW)] == ["t1"]
    first = with_grants(GET, policy(OFFER), grants=(grant(), other))
    assert first == with_grants(GET, policy(OFFER), grants=(other, grant()))


@pytest.mark.parametrize("wrong", [rule("deny", "get", "pods"), rule("allow", "get", "pods", when="true")])
def test_only_plain_allow_rules_are_granted(wrong: object) -> None:
    with pytest.raises(ValueError, match="plain allow rules"):
        granted_rule(wrong, "t1")  # type: ignore[arg-type]


LIMITED = msgspec.structs.replace(OFFER, max_requests=50, max_streams=2)


@pytest.mark.parametrize(
    ("requests", "streams", "covered"),
    [(50, 2, True), (1, 1, True), (51, 2, False), (50, 3, False), (None, 2, False), (50, None, False)],
)
def test_a_rule_with_lower_limits_than_the_task_has_grants_nothing_any_more(
    requests: int | None,
    streams: int | None,
    covered: bool,
) -> None:
    mine = grant(limits=Limits("t1", requests, streams))
    assert isinstance(with_grants(GET, policy(LIMITED), grants=(mine,)), Allow) is covered
    assert isinstance(with_grants(GET, policy(LIMITED), grants=(grant(),)), Deny)


def test_what_rests_on_a_task_with_limits_says_so_and_nothing_else_does() -> None:
    mine = Limits("t1", 50, None)
    limited = with_grants(GET, policy(OFFER), grants=(grant(limits=mine),))
    assert isinstance(limited, Allow)
    assert limited.limits == (mine,)
    free = with_grants(GET, policy(OFFER), grants=(grant(),))
    assert isinstance(free, Allow)
    assert free.limits == ()
    # Discovery, asking what one may do, and what is allowed at any time count for no task.
    for what in (
        gets("/api"),
        asks("create", "selfsubjectaccessreviews", group="authorization.k8s.io", namespaced=False),
    ):
        found = with_grants(what, policy(OFFER), grants=(grant(limits=mine),))
        assert isinstance(found, Allow)
        assert found.limits == ()


def test_a_rule_that_asks_for_a_link_by_now_grants_nothing_to_a_task_without_it() -> None:
    asking = policy(msgspec.structs.replace(OFFER, links=("https://tickets.corp/",)))
    assert isinstance(with_grants(GET, asking, grants=(grant(),)), Deny)
    assert isinstance(with_grants(GET, asking, grants=(grant(link="https://tickets.corp.evil.example/1"),)), Deny)
    assert isinstance(with_grants(GET, asking, grants=(grant(link="https://tickets.corp/OPS-1"),)), Allow)


def test_a_rule_that_deletes_in_the_end_by_now_grants_nothing_to_a_task_that_leaves_what_it_leaves() -> None:
    deletes = policy(msgspec.structs.replace(OFFER, on_end=OnEnd.DELETE_WORKLOADS))
    told = grant(on_end=OnEnd.DELETE_WORKLOADS)
    assert isinstance(with_grants(GET, deletes, grants=(grant(),)), Deny)
    assert isinstance(with_grants(GET, deletes, grants=(told,)), Allow)
    assert isinstance(with_grants(GET, policy(OFFER), grants=(told,)), Allow)
