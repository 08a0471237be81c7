"""Emergencies: short, few, told about, looked at afterwards, and resting on emergency rules alone."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from tests.deciding import NOW, TWO_OF_SRE, agent, asks, person, policy, rule

from narrowgate.core.approvals import (
    ApprovalEvent,
    ApprovalQuestion,
    ApprovalState,
    NotPossible,
    Said,
    Voice,
    after,
    answer_problem,
    answered,
    still_approved,
)
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Deny, RuleRef
from narrowgate.core.emergency import (
    BARRED_SECONDS,
    DAY_SECONDS,
    MOST_A_DAY,
    barred_by,
    emergency_purpose_problem,
    review_of,
    too_many,
)
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.people import People
from narrowgate.core.policy import Approval, Approvers, Policy
from narrowgate.core.preview import could_be_allowed
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import NotOffered, Offer, longest_offered, offer_of, read_wanted

LEADS = Approval((Approvers("sre-leads", 1),), 3_600.0)
BREAK_GLASS = rule("grantable", "get patch", "deployments", groups="apps", namespaces="ci", id="glass", review=LEADS)
PLAIN = rule("grantable", "get patch", "deployments", groups="apps", namespaces="ci", id="plain")
PATCH = asks("patch", "deployments", "web", namespace="ci", group="apps")
WANTED = (read_wanted("patch deployments.apps/web -n ci", 1),)
TASK = Task(
    id="t1",
    kind=Kind.PERSON,
    name="alice",
    requested_by="person:alice",
    cluster="prod",
    purpose="the database is down",
    rules=WANTED,
    seconds=50.0,
    requested_at=NOW,
    lapses_at=NOW + 1,
    emergency=True,
)
ACTIVE = TASK.after(TaskEvent.ACTIVATED, NOW)
OFFER = Offer(("ops/glass",), (), reviews=(LEADS,))
PEOPLE = People(groups={"alice": frozenset({"sre-leads"}), "carol": frozenset({"sre-leads"}), "dave": frozenset({"x"})})


def policies(*rules: Any) -> tuple[Policy, ...]:
    return (policy(*rules, subjects="Person/alice Agent/ci"),)


def at_work(task: Task) -> Identity:
    return msgspec.structs.replace(person(task.name), task=task.id, credential=task.id)


def decided(task: Task, *rules: Any) -> object:
    grant = task.grant()
    assert grant is not None
    return decide(chain_of(at_work(task)), PATCH, compile_policies(policies(*rules), 1), (grant,), (), NOW + 1)


def offered(*rules: Any, emergency: bool, who: Identity | None = None) -> Offer:
    holding = compile_policies(policies(*rules), 1).holding(who or person("alice"), "prod")
    return offer_of(holding, WANTED, 50.0, emergency=emergency)


def said(person_: str, voice: Voice = Voice.YES, comment: str = "") -> Said:
    return Said(person=person_, voice=voice, comment=comment, at=NOW + 1)


def test_an_emergency_rests_on_emergency_rules_alone_and_no_other_task_rests_on_them() -> None:
    plain = msgspec.structs.replace(ACTIVE, emergency=False)
    assert isinstance(decided(ACTIVE, BREAK_GLASS), Allow)
    assert isinstance(decided(ACTIVE, PLAIN), Deny)
    assert isinstance(decided(plain, BREAK_GLASS), Deny)
    assert isinstance(decided(plain, PLAIN), Allow)


def test_a_deny_rule_wins_over_an_emergency_and_a_removed_rule_ends_it() -> None:
    refused = decided(ACTIVE, BREAK_GLASS, rule("deny", "patch", "deployments", groups="apps", id="never"))
    assert isinstance(refused, Deny)
    assert str(refused.rule) == "test/never"
    assert isinstance(decided(ACTIVE), Deny)


def test_nothing_is_asked_of_the_cluster_in_the_name_of_a_task_that_no_rule_gives_anything_any_more() -> None:
    plain = msgspec.structs.replace(ACTIVE, emergency=False)
    for task, rule_, given in (
        (ACTIVE, BREAK_GLASS, True),
        (ACTIVE, PLAIN, False),
        (plain, BREAK_GLASS, False),
        (plain, PLAIN, True),
    ):
        grant = task.grant()
        assert grant is not None
        rulebook = compile_policies(policies(rule_), 1)
        found = could_be_allowed(chain_of(at_work(task)), PATCH, rulebook, (grant,), NOW + 1)
        assert (found is not None) is given


def test_an_emergency_is_offered_by_emergency_rules_alone() -> None:
    found = offered(BREAK_GLASS, PLAIN, emergency=True)
    assert (found.rules, found.approvals, found.reviews) == (("test/glass",), (), (LEADS,))
    found = offered(BREAK_GLASS, PLAIN, emergency=False)
    assert (found.rules, found.reviews) == (("test/plain",), ())
    with pytest.raises(NotOffered, match="no emergency rule offers it"):
        offered(PLAIN, emergency=True)
    with pytest.raises(NotOffered, match="no policy offers it"):
        offered(BREAK_GLASS, emergency=False)
    holding = compile_policies(policies(BREAK_GLASS), 1).holding(person("alice"), "prod")
    assert (longest_offered(holding, WANTED), longest_offered(holding, WANTED, emergency=True)) == (0.0, 60.0)


def test_a_refusal_names_no_command_for_what_only_an_emergency_gives() -> None:
    for who in (agent(), person("alice")):
        refused = decide(chain_of(who), PATCH, compile_policies(policies(BREAK_GLASS), 1), (), (), NOW)
        assert isinstance(refused, Deny)
        assert "--allow" not in f"{refused.message} {refused.hint}"


def test_the_review_is_asked_of_whom_the_rules_say_and_not_of_whoever_took_it() -> None:
    review = review_of(ACTIVE, OFFER, NOW)
    assert (review.id, review.task, review.asks, review.lapses_at) == ("t1-review", "t1", (LEADS,), NOW + 3_600)
    assert review.about.wanted == ("patch deployments.apps/web -n ci",)
    assert "nobody answers what was asked by or for themselves" in answer_problem(review, "alice", PEOPLE)
    assert "in none of the groups" in answer_problem(review, "dave", PEOPLE)
    assert answer_problem(review, "carol", PEOPLE) == ""


@pytest.mark.parametrize(
    ("task", "offer"),
    [
        (msgspec.structs.replace(ACTIVE, emergency=False), OFFER),
        (msgspec.structs.replace(ACTIVE, kind=Kind.AGENT), OFFER),
        (ACTIVE, Offer(("ops/plain",), ())),
    ],
)
def test_nothing_else_is_reviewed(task: Task, offer: Offer) -> None:
    with pytest.raises(ValueError, match="no emergency that somebody could review"):
        review_of(task, offer, NOW)


def test_a_yes_says_that_it_was_in_order_and_is_the_end_of_the_review() -> None:
    review = answered(review_of(ACTIVE, OFFER, NOW), said("carol", comment="right"), PEOPLE, NOW + 1)
    assert (review.state, review.ended_at, review.ended_because) == (ApprovalState.APPROVED, NOW + 1, "right")
    assert review.is_final
    assert review.at(math.inf) is review
    for event in ApprovalEvent:
        with pytest.raises(NotPossible):
            after(review, event, NOW + 2)


def test_a_review_covers_nothing_whatever_its_state() -> None:
    approve = rule("approve", "patch", "deployments", groups="apps", id="glass")
    review = answered(review_of(ACTIVE, OFFER, NOW), said("carol"), PEOPLE, NOW + 1)
    held = msgspec.structs.replace(review, rules=(RuleRef("test", "glass"),), asks=(TWO_OF_SRE,))
    assert not held.covers(held.rules[0], TWO_OF_SRE)
    assert not still_approved(review, PEOPLE, NOW + 1)
    decision = decide(chain_of(person("alice")), PATCH, compile_policies(policies(approve), 1), (), (held,), NOW + 1)
    assert not isinstance(decision, Allow)
    asked = msgspec.structs.replace(held, about=msgspec.structs.replace(held.about, review=False))
    decision = decide(chain_of(person("alice")), PATCH, compile_policies(policies(approve), 1), (), (asked,), NOW + 1)
    assert isinstance(decision, Allow)


def test_a_review_is_denied_or_lapses_and_is_never_taken_back() -> None:
    review = review_of(ACTIVE, OFFER, NOW)
    with pytest.raises(NotPossible, match="nobody takes it back"):
        after(review, ApprovalEvent.WITHDRAWN, NOW + 1)
    denied = answered(review, said("carol", Voice.NO, "there was no outage"), PEOPLE, NOW + 1)
    assert (denied.state, denied.ended_because) == (ApprovalState.DENIED, "there was no outage")
    assert review.at(NOW + 3_600).state is ApprovalState.LAPSED


@pytest.mark.parametrize(
    ("ages", "more"),
    [
        ((), True),
        ((1.0, 2.0), True),
        ((1.0, 2.0, DAY_SECONDS - 1), False),
        ((1.0, 2.0, DAY_SECONDS), True),
        ((-3_600.0, -7_200.0, 1.0), False),
    ],
)
def test_a_person_takes_so_many_a_day_and_a_clock_that_is_set_back_gives_no_more(
    ages: tuple[float, ...], more: bool
) -> None:
    taken = [msgspec.structs.replace(ACTIVE, requested_at=NOW - age) for age in ages]
    others = [msgspec.structs.replace(ACTIVE, emergency=False)] * MOST_A_DAY
    assert (too_many([*taken, *others], NOW) == "") is more


def test_after_a_no_there_is_no_other_one_for_a_while() -> None:
    review = review_of(ACTIVE, OFFER, NOW)
    denied = answered(review, said("carol", Voice.NO, "no"), PEOPLE, NOW + 1)
    plain: ApprovalQuestion = msgspec.structs.replace(denied, about=msgspec.structs.replace(denied.about, review=False))
    assert barred_by([review, plain], NOW + 2) is None
    assert barred_by([review, denied], NOW + BARRED_SECONDS) is denied
    assert barred_by([review, denied], NOW + 1 + BARRED_SECONDS) is None


def test_a_purpose_says_what_has_happened() -> None:
    assert "at least 10 characters" in emergency_purpose_problem("   db   ")
    assert emergency_purpose_problem("db is down") == ""
