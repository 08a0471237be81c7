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
    unanswerable,
    verdict,
)
from narrowgate.core.decision import RuleRef
from narrowgate.core.people import People, Seat
from narrowgate.core.policy import Approval, Approvers

GROUPS = {
    "alice": frozenset({"sre"}),
    "bob": frozenset({"sre", "security"}),
    "carol": frozenset({"security"}),
    "dave": frozenset({"developers"}),
}
PEOPLE = People(groups=GROUPS)


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


def heard(question: ApprovalQuestion, *answers: Said, people: People = PEOPLE) -> ApprovalQuestion:
    for said in answers:
        question = answered(question, said, people, 1_100.0)
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
    assert answer_problem(asking(("sre", 1)), "nobody", PEOPLE)


def test_an_approver_who_left_the_group_has_not_approved() -> None:
    approved = heard(asking(("sre", 2)), says("alice"), says("bob"))
    assert still_approved(approved, PEOPLE, 1_200.0)
    left = People(groups=GROUPS | {"bob": frozenset({"security"})})
    assert not still_approved(approved, left, 1_200.0)
    assert not still_approved(approved, People(groups={"alice": frozenset({"sre"})}), 1_200.0)


@pytest.mark.parametrize("now", [1_300.0, 9_999.0, math.nan])
def test_what_comes_too_late_finds_it_lapsed(now: float) -> None:
    question = asking(("sre", 1))
    assert answered(question, says("alice"), PEOPLE, now).state is ApprovalState.LAPSED
    approved = heard(question, says("alice"))
    assert not still_approved(approved, PEOPLE, now)
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
    assert verdict(asking(("sre", 1), asks=asks, said=(says("alice"),)), PEOPLE) is None


def test_every_rule_that_held_it_must_be_answered() -> None:
    two = asking(
        ("sre", 1), asks=(Approval((Approvers("sre", 1),), 300.0), Approval((Approvers("security", 1),), 300.0))
    )
    assert heard(two, says("alice")).state is ApprovalState.PENDING
    assert heard(two, says("alice"), says("carol")).state is ApprovalState.APPROVED


# --- in the place of somebody who is away


def away(name: str, *groups: str, member_of: tuple[str, ...] = ()) -> Seat:
    return Seat(person=name, groups=frozenset(groups), member_of=frozenset(member_of or groups))


def with_seats(**seats: Seat) -> People:
    """Dave, who is in no group that is asked, and the others; each fills the one place that is named here."""
    return People(groups=GROUPS, seats={name: (seat,) for name, seat in seats.items()})


FOR_ALICE = with_seats(dave=away("alice", "sre"))


def test_somebody_counts_in_the_place_of_who_is_away_and_it_is_written_down() -> None:
    question = heard(asking(("sre", 2)), says("dave"), people=FOR_ALICE)
    assert [(said.person, said.stands_for) for said in question.said] == [("dave", ("alice",))]
    assert heard(question, says("bob"), people=FOR_ALICE).state is ApprovalState.APPROVED
    assert heard(asking(("sre", 2)), says("dave", Voice.NO), people=FOR_ALICE).state is ApprovalState.DENIED


def test_a_place_is_filled_once_by_who_answers_themselves_before_anybody_else() -> None:
    after_her = heard(asking(("sre", 2)), says("alice"), people=FOR_ALICE)
    with pytest.raises(NotPossible, match="whoever dave answers for has answered approval a1 themselves"):
        heard(after_her, says("dave"), people=FOR_ALICE)
    before_her = heard(asking(("sre", 2)), says("dave"), says("alice"), people=FOR_ALICE)
    assert before_her.state is ApprovalState.PENDING
    assert heard(before_her, says("bob"), people=FOR_ALICE).state is ApprovalState.APPROVED


def test_whoever_fills_several_places_is_one_person() -> None:
    people = People(groups=GROUPS, seats={"dave": (away("alice", "sre"), away("carol", "security"))})
    question = heard(asking(("sre", 1), ("security", 1)), says("dave"), people=people)
    assert (question.state, question.said[0].stands_for) == (ApprovalState.PENDING, ("alice", "carol"))
    own = People(groups=GROUPS, seats={"bob": (away("alice", "sre"),)})
    counted = heard(asking(("sre", 2)), says("bob"), people=own)
    assert (counted.state, counted.said[0].stands_for) == (ApprovalState.PENDING, ())


def test_a_place_counts_while_it_is_filled_and_for_what_was_said_in_it() -> None:
    approved = heard(asking(("sre", 1)), says("dave"), people=FOR_ALICE)
    assert still_approved(approved, FOR_ALICE, 1_200.0)
    assert not still_approved(approved, PEOPLE, 1_200.0)
    assert not still_approved(approved, with_seats(dave=away("alice", "security")), 1_200.0)
    # What somebody said for themselves is not said for somebody else because they are asked to stand in later.
    own = heard(asking(("sre", 1), ("security", 1)), says("carol"))
    later = with_seats(carol=away("erin", "sre"))
    assert verdict(own, later) is None
    assert own.said[0].stands_for == ()


def test_nobody_gets_able_by_delegation_who_is_kept_out_nor_lets_anybody_be() -> None:
    for excluded in ("alice", "dave"):
        question = asking(("sre", 1), excluded=(excluded,))
        assert answer_problem(question, "dave", FOR_ALICE)
        approved = asking(("sre", 1), state=ApprovalState.APPROVED, excluded=(excluded,))
        said = (msgspec.structs.replace(says("dave"), stands_for=("alice",)),)
        assert not still_approved(msgspec.structs.replace(approved, said=said), FOR_ALICE, 1_200.0)


def test_whoever_is_signed_in_nowhere_fills_no_place() -> None:
    question = asking(("sre", 1), said=(msgspec.structs.replace(says("gone"), stands_for=("alice",)),))
    assert verdict(question, with_seats(gone=away("alice", "sre"))) is None
    assert answer_problem(question, "gone", with_seats(gone=away("alice", "sre")))


# --- kept out since, and by the rule


def test_whoever_can_ask_as_the_agent_by_now_has_not_approved_and_cannot() -> None:
    approved = heard(asking(("sre", 1)), says("alice"))
    shown = msgspec.structs.replace(PEOPLE, excluded=frozenset({"alice"}))
    assert still_approved(approved, PEOPLE, 1_200.0)
    assert not still_approved(approved, shown, 1_200.0)
    assert "credential they were shown" in answer_problem(asking(("sre", 1)), "alice", shown)
    # A no of theirs counts as little: nobody who asks decides.
    assert verdict(asking(("sre", 1), said=(says("alice", Voice.NO),)), shown) is None


def kept_out(*approvers: tuple[str, int], **other: object) -> ApprovalQuestion:
    """Members of what answers for the agent (sre) may not answer."""
    made = asking(*approvers, excluded_groups=("sre",))
    asks = tuple(msgspec.structs.replace(ask, not_by_owner=True) for ask in made.asks)
    return msgspec.structs.replace(made, asks=asks, **other)


def test_members_of_the_owning_group_are_kept_out_only_where_the_rule_says_so() -> None:
    assert heard(asking(("sre", 1), excluded_groups=("sre",)), says("alice")).state is ApprovalState.APPROVED
    question = kept_out(("sre", 1), ("security", 1))
    with pytest.raises(NotPossible, match=r"answers for the agent \(sre\) is kept out by the rule"):
        heard(question, says("alice"))
    # Bob is in both groups: being asked as one does not hide being the other.
    with pytest.raises(NotPossible, match="kept out by the rule"):
        heard(question, says("bob"))
    assert heard(kept_out(("security", 1)), says("carol")).state is ApprovalState.APPROVED


def test_nobody_stands_in_for_a_member_of_the_owning_group_there() -> None:
    for_bob = with_seats(dave=away("bob", "security", member_of=("sre", "security")))
    assert answer_problem(kept_out(("security", 1)), "dave", for_bob)
    assert not answer_problem(asking(("security", 1)), "dave", for_bob)


def test_a_group_that_owns_the_agent_by_now_is_kept_out_too() -> None:
    question = msgspec.structs.replace(kept_out(("security", 1)), excluded_groups=())
    assert not answer_problem(question, "carol", PEOPLE)
    assert answer_problem(question, "carol", msgspec.structs.replace(PEOPLE, owner_groups=frozenset({"security"})))


def test_each_rule_keeps_out_for_itself() -> None:
    asks = (kept_out(("security", 1)).asks[0], Approval((Approvers("sre", 1),), 300.0))
    question = asking(("sre", 1), asks=asks, excluded_groups=("sre",))
    assert heard(question, says("alice")).state is ApprovalState.PENDING
    assert heard(question, says("alice"), says("bob")).state is ApprovalState.PENDING
    assert heard(question, says("alice"), says("carol")).state is ApprovalState.APPROVED


def test_what_nobody_can_answer_is_told_and_everything_else_is_asked() -> None:
    both = kept_out(("security", 1), ("sre", 1)).asks
    assert "nobody can answer: sre is asked, which answers for the agent" in unanswerable(both, ("sre",))
    assert unanswerable(both, ("developers",)) == ""
    assert unanswerable(kept_out(("security", 1)).asks, ("sre",)) == ""
    assert unanswerable(asking(("sre", 1)).asks, ("sre",)) == ""
