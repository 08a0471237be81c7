"""Laws of tasks, grants and approvals: what is final stays so, and nothing is covered that nobody granted."""

from __future__ import annotations

import contextlib
import itertools
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deciding import rule
from tests.property.decide_model import chains, intents, policy_sets

from narrowgate.core.approvals import (
    ApprovalEvent,
    ApprovalQuestion,
    ApprovalState,
    Matter,
    NotPossible,
    Said,
    Voice,
    after,
    answered,
    verdict,
)
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, RuleRef
from narrowgate.core.grants import Grant, granted_rule
from narrowgate.core.identity import Chain, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.people import People
from narrowgate.core.policy import Approval, Approvers, Effect, Policy
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.tasks import NotPossible as TaskNotPossible
from narrowgate.core.tasks import Task, TaskEvent, TaskState

bounded = settings(max_examples=200, deadline=None)

EVERYTHING = rule("allow", "*", "*", groups="*", namespaces="*", id="all")
TASK = Task(
    id="t",
    kind=Kind.AGENT,
    name="one",
    requested_by="agent:one",
    cluster="prod",
    purpose="x",
    rules=(EVERYTHING,),
    seconds=100.0,
    requested_at=0.0,
    lapses_at=50.0,
)
times = st.floats(0.0, 300.0)
histories = st.lists(st.tuples(st.sampled_from(TaskEvent), times), max_size=8)


def lived(history: list[tuple[TaskEvent, float]]) -> list[Task]:
    """Every task that a history of events leads through; what is not possible changes nothing."""
    found = [TASK]
    for event, now in sorted(history, key=lambda one: one[1]):
        try:
            found.append(found[-1].after(event, now))
        except TaskNotPossible:
            found.append(found[-1])
    return found


@bounded
@given(histories)
def test_a_task_that_is_over_stays_as_it_is(history: list[tuple[TaskEvent, float]]) -> None:
    for before, later in itertools.pairwise(lived(history)):
        if before.is_final:
            assert later == before


@bounded
@given(histories, times)
def test_a_task_covers_only_between_an_activation_in_time_and_its_end(
    history: list[tuple[TaskEvent, float]], now: float
) -> None:
    task = lived(history)[-1].at(now)
    grant = task.grant()
    if grant is not None:
        assert task.state is TaskState.ACTIVE
        assert any(event is TaskEvent.ACTIVATED and at == grant.begins_at < 50.0 for event, at in history)
        assert now < grant.ends_at <= grant.begins_at + 100.0


def grants_of(*names: str) -> tuple[Grant, ...]:
    return tuple(
        Grant(
            task=f"t-{name}",
            kind=Kind.AGENT if name in ("one", "two") else Kind.PERSON,
            name=name,
            cluster="prod",
            rules=(granted_rule(EVERYTHING, f"t-{name}"),),
            begins_at=0.0,
            ends_at=1_000.0,
        )
        for name in names
    )


def at_work(chain: Chain) -> Chain:
    """The same, each with the credential of a task."""
    return chain_of(*(msgspec.structs.replace(member, task=f"t-{member.name}") for member in chain))


def everywhere_allowed(policies: list[Policy]) -> list[Policy]:
    """The same policies, with every grantable rule a standing permission."""
    return [
        msgspec.structs.replace(
            one,
            rules=tuple(
                msgspec.structs.replace(each, effect=Effect.ALLOW, max_duration=None)
                if each.effect is Effect.GRANTABLE
                else each
                for each in one.rules
            ),
        )
        for one in policies
    ]


def passing(decision: Decision) -> Decision:
    """The same without what of a list may be seen, which holds the grants it was worked out with."""
    return msgspec.structs.replace(decision, visible=None) if isinstance(decision, Allow) else decision


@settings(max_examples=400, deadline=None)
@given(chains, intents(), policy_sets())
def test_a_grant_of_everything_gives_what_the_policies_offer_and_not_more(
    chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    everybody = grants_of("one", "two", "alice", "bob")
    with_grants = decide(at_work(chain), what, compile_policies(policies, 1), everybody, (), 10.0)
    as_if_standing = decide(chain, what, compile_policies(everywhere_allowed(policies), 1), (), (), 10.0)
    assert type(with_grants) is type(as_if_standing)
    without = decide(chain, what, compile_policies(policies, 1), (), (), 10.0)
    if isinstance(without, Allow):
        # Of a list with a grant more may be seen; by which rules it passes is the same.
        assert passing(with_grants) == passing(without)


@bounded
@given(chains, intents(), policy_sets((Effect.ALLOW, Effect.DENY, Effect.APPROVE)))
def test_a_grant_adds_nothing_where_nothing_is_grantable(chain: Chain, what: Intent, policies: list[Policy]) -> None:
    book = compile_policies(policies, 1)
    everybody, working = grants_of("one", "two", "alice", "bob"), at_work(chain)
    granted, plain = (decide(working, what, book, grants, (), 10.0) for grants in (everybody, ()))
    assert passing(granted) == passing(plain)


people = ("ann", "ben", "cat", "dan")
memberships = st.fixed_dictionaries(
    {person: st.frozensets(st.sampled_from(("sre", "sec")), max_size=2) for person in people}
)
asked = st.lists(st.tuples(st.sampled_from(("sre", "sec")), st.integers(1, 2)), min_size=1, max_size=2)
voices = st.lists(st.tuples(st.sampled_from(people), st.sampled_from(Voice)), max_size=6)


def question(approvers: list[tuple[str, int]], excluded: tuple[str, ...] = ()) -> ApprovalQuestion:
    return ApprovalQuestion(
        id="a",
        asks=(Approval(tuple(Approvers(group, count) for group, count in approvers), 60.0),),
        rules=(RuleRef("p", "r"),),
        excluded=excluded,
        asked_at=0.0,
        lapses_at=100.0,
    )


@bounded
@given(asked, voices, memberships, st.randoms())
def test_what_answers_come_to_does_not_depend_on_their_order(
    approvers: list[tuple[str, int]],
    spoken: list[tuple[str, Voice]],
    groups: dict[str, frozenset[str]],
    chance: random.Random,
) -> None:
    last = dict(spoken)
    said = tuple(Said(person=person, voice=voice, at=1.0) for person, voice in last.items())
    shuffled = tuple(chance.sample(said, len(said)))
    one, other = (msgspec.structs.replace(question(approvers), said=order) for order in (said, shuffled))
    assert verdict(one, People(groups=groups)) is verdict(other, People(groups=groups))


@bounded
@given(asked, voices, memberships)
def test_an_approval_has_as_many_people_of_each_group_as_it_asks_and_all_different(
    approvers: list[tuple[str, int]], spoken: list[tuple[str, Voice]], groups: dict[str, frozenset[str]]
) -> None:
    last = dict(spoken)
    said = tuple(Said(person=person, voice=voice, at=1.0) for person, voice in last.items())
    come_to = verdict(msgspec.structs.replace(question(approvers), said=said), People(groups=groups))
    yes = [person for person, voice in last.items() if voice is Voice.YES]
    no = [person for person, voice in last.items() if voice is Voice.NO and groups[person] & {g for g, _ in approvers}]
    places = [group for group, count in approvers for _ in range(count)]
    # Said with every way of seating people instead of with a matching.
    seated = any(
        all(place in groups[person] for place, person in zip(places, order, strict=True))
        for order in itertools.permutations(yes, len(places))
    )
    expected = ApprovalEvent.DENIED if no else ApprovalEvent.APPROVED if seated else None
    assert come_to is expected


@bounded
@given(asked, memberships, st.lists(st.sampled_from(Voice), max_size=4), st.sampled_from(people))
def test_nobody_approves_alone_what_needs_somebody_else(
    approvers: list[tuple[str, int]], groups: dict[str, frozenset[str]], spoken: list[Voice], asker: str
) -> None:
    now = question(approvers, excluded=(asker,))
    for voice in spoken:
        with contextlib.suppress(NotPossible):
            now = answered(now, Said(person=asker, voice=voice, at=1.0), People(groups=groups), 1.0)
    assert now.state is ApprovalState.PENDING
    assert now.said == ()


events = st.lists(st.tuples(st.sampled_from(ApprovalEvent), st.floats(0.0, 150.0)), max_size=6)


@bounded
@given(events)
def test_an_approval_that_is_over_stays_as_it_is(history: list[tuple[ApprovalEvent, float]]) -> None:
    now = question([("sre", 1)])
    spent = 0
    for event, at in history:
        before = now
        with contextlib.suppress(NotPossible):
            now = after(now, event, at)
        if before.is_final:
            assert now == before
        spent += now.state is ApprovalState.SPENT and before.state is not ApprovalState.SPENT
    assert spent <= 1


# --- a clock that steps back and forth

clocks = st.lists(st.one_of(times, st.just(float("nan")), st.just(float("inf"))), max_size=8)
steps = st.lists(
    st.one_of(st.tuples(st.sampled_from(TaskEvent), times), st.tuples(st.none(), times)),
    max_size=10,
)


@bounded
@given(steps)
def test_a_clock_that_steps_back_and_forth_revives_no_task_that_was_written_down_as_over(
    history: list[tuple[TaskEvent | None, float]],
) -> None:
    """None stands for the gate's own look at the clock, which writes down what time alone has ended."""
    task, over = TASK, None
    for event, now in history:
        with contextlib.suppress(TaskNotPossible):
            task = task.at(now) if event is None else task.at(now).after(event, now)
        if over is not None:
            assert task == over
        if task.is_final:
            over = task
            assert task.grant() is None


@bounded
@given(steps, clocks)
def test_looking_at_the_clock_again_changes_only_what_is_not_over(
    history: list[tuple[TaskEvent | None, float]], nows: list[float]
) -> None:
    for task in lived([(event, now) for event, now in history if event is not None]):
        for now in nows:
            seen = task.at(now)
            assert seen.at(now) == seen
            assert (seen is task) or (seen.is_final and not task.is_final)


question_steps = st.lists(
    st.tuples(st.one_of(st.none(), st.sampled_from(ApprovalEvent), st.sampled_from(Voice)), times), max_size=10
)


@bounded
@given(question_steps, st.booleans())
def test_a_clock_that_steps_back_and_forth_revives_no_question_and_a_review_is_never_used(
    history: list[tuple[ApprovalEvent | Voice | None, float]], review: bool
) -> None:
    question = ApprovalQuestion(
        id="q",
        asks=(Approval((Approvers("sre", 1),), 60.0),),
        rules=(RuleRef("p", "r"),),
        about=Matter(review=review),
        asked_at=0.0,
        lapses_at=50.0,
    )
    over = None
    for said, now in history:
        with contextlib.suppress(NotPossible):
            match said:
                case None:
                    question = question.at(now)
                case ApprovalEvent():
                    question = after(question.at(now), said, now)
                case Voice():
                    answer = Said(person="carol", voice=said, at=now)
                    question = answered(question.at(now), answer, People(groups={"carol": frozenset({"sre"})}), now)
        if over is not None:
            assert question == over
        if question.is_final:
            over = question
        if review:
            assert question.state not in (ApprovalState.SPENT, ApprovalState.WITHDRAWN)
            assert not question.covers(RuleRef("p", "r"), question.asks[0])
