"""What people's answers come to: distinct people, from the named groups, never whoever asked."""

from __future__ import annotations

import math

import msgspec
import pytest

from narrowgate.core.approvals import (
    APPROVAL_TRANSITIONS,
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
    verdict,
)
from narrowgate.core.decision import RuleRef
from narrowgate.core.policy import Approval, Approvers

GROUPS = {
    "alice": frozenset({"sre"}),
    "bob": frozenset({"sre", "security"}),
    "carol": frozenset({"security"}),
    "dave": frozenset({"developers"}),
}


def asking(*approvers: tuple[str, int], **other: object) -> ApprovalQuestion:
    made = ApprovalQuestion(
        id="a1",
        asks=(Approval(tuple(Approvers(group, count) for group, count in approvers), 300.0),),
        rules=(RuleRef("p", "r"),),
        digest="d",
        asked_at=1_000.0,
        lapses_at=1_300.0,
    )
    return msgspec.structs.replace(made, **other)


def says(person: str, voice: Voice = Voice.YES) -> Said:
    return Said(person=person, voice=voice, at=1_100.0)


def heard(question: ApprovalQuestion, *answers: Said) -> ApprovalQuestion:
    for said in answers:
        question = answered(question, said, GROUPS, 1_100.0)
    return question


def test_as_many_people_as_the_rule_says() -> None:
    one = heard(asking(("sre", 2)), says("alice"))
    assert one.state is ApprovalState.PENDING
    assert heard(one, says("bob")).state is ApprovalState.APPROVED


def test_one_person_twice_is_one_person() -> None:
    assert heard(asking(("sre", 2)), says("alice"), says("alice")).state is ApprovalState.PENDING


def test_one_person_in_two_groups_counts_for_one_of_them() -> None:
    both = asking(("sre", 1), ("security", 1))
    assert heard(both, says("bob")).state is ApprovalState.PENDING
    assert heard(both, says("bob"), says("alice")).state is ApprovalState.APPROVED
    assert heard(both, says("bob"), says("carol")).state is ApprovalState.APPROVED
    assert heard(asking(("sre", 2), ("security", 1)), says("alice"), says("bob")).state is ApprovalState.PENDING


def test_one_no_denies_whoever_said_yes_before() -> None:
    denied = heard(asking(("sre", 2)), says("alice"), says("bob", Voice.NO))
    assert (denied.state, denied.ended_at) == (ApprovalState.DENIED, 1_100.0)


def test_an_answer_can_be_changed_while_it_is_open() -> None:
    question = asking(("sre", 2), said=(says("alice", Voice.NO),))
    assert heard(question, says("alice"), says("bob")).state is ApprovalState.APPROVED


def test_who_is_in_no_named_group_or_asked_may_not_answer() -> None:
    with pytest.raises(NotPossible, match="dave is in none of the groups that approval a1 is asked of: sre"):
        heard(asking(("sre", 1)), says("dave"))
    with pytest.raises(NotPossible, match="nobody answers what was asked by or for themselves"):
        heard(asking(("sre", 1), excluded=("alice",)), says("alice"))
    assert answer_problem(asking(("sre", 1)), "nobody", frozenset())


def test_an_approver_who_left_the_group_has_not_approved() -> None:
    approved = heard(asking(("sre", 2)), says("alice"), says("bob"))
    assert still_approved(approved, GROUPS, 1_200.0)
    assert not still_approved(approved, GROUPS | {"bob": frozenset({"security"})}, 1_200.0)
    assert not still_approved(approved, {"alice": frozenset({"sre"})}, 1_200.0)


@pytest.mark.parametrize("now", [1_300.0, 9_999.0, math.nan])
def test_what_comes_too_late_finds_it_lapsed(now: float) -> None:
    question = asking(("sre", 1))
    assert answered(question, says("alice"), GROUPS, now).state is ApprovalState.LAPSED
    approved = heard(question, says("alice"))
    assert not still_approved(approved, GROUPS, now)
    assert after(approved, ApprovalEvent.SPENT, now).state is ApprovalState.LAPSED


@pytest.mark.parametrize("state", list(ApprovalState))
@pytest.mark.parametrize("event", list(ApprovalEvent))
def test_nothing_happens_that_is_not_in_the_table(state: ApprovalState, event: ApprovalEvent) -> None:
    question = asking(("sre", 1), state=state)
    to = APPROVAL_TRANSITIONS.get((state, event))
    if to is None:
        with pytest.raises(NotPossible, match=f"approval a1 is {state.value}"):
            after(question, event, 1_200.0)
    else:
        assert after(question, event, 1_200.0).state is to


def test_a_question_that_is_over_takes_no_answers() -> None:
    with pytest.raises(NotPossible, match="cannot be answered any more"):
        heard(asking(("sre", 1), state=ApprovalState.WITHDRAWN), says("alice"))


@pytest.mark.parametrize("asks", [(), (Approval((), 300.0),)])
def test_a_question_that_asks_nobody_is_no_yes(asks: tuple[Approval, ...]) -> None:
    assert verdict(asking(("sre", 1), asks=asks, said=(says("alice"),)), GROUPS) is None


def test_every_rule_that_held_it_must_be_answered() -> None:
    two = asking(
        ("sre", 1), asks=(Approval((Approvers("sre", 1),), 300.0), Approval((Approvers("security", 1),), 300.0))
    )
    assert heard(two, says("alice")).state is ApprovalState.PENDING
    assert heard(two, says("alice"), says("carol")).state is ApprovalState.APPROVED
