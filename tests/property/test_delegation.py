"""Laws of delegation over random trees: a descendant may do a part of what each of its ancestors may, and whatever
ends takes with it what hangs on it, and nothing else.

The tree is not only such as the gate would make: rules of children are drawn without looking at their parents'.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deciding import NOW, asks, policy

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow
from narrowgate.core.delegated_task import as_delegated, beyond, delegate_of, in_force
from narrowgate.core.grants import Grant
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Effect, Policy, Rule
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.core.tasks import Task, TaskEvent, TaskState

VERBS = ("get", "list", "delete")
RESOURCES = ("pods", "secrets")
NAMESPACES = ("ci", "qa")
NAMES = ("a", "b")

REQUESTS = [
    asks(verb, resource, name if verb != "list" else "", namespace=namespace)
    for verb in VERBS
    for resource in RESOURCES
    for namespace in NAMESPACES
    for name in (NAMES if verb == "get" else NAMES[:1])
]


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=len(values), unique=True).map(tuple)


@st.composite
def a_rule(draw: st.DrawFn, effect: Effect) -> Rule:
    return Rule(
        id=effect.value,
        effect=effect,
        verbs=draw(some(VERBS) | st.just(("*",))),
        api_groups=("",),
        resources=draw(some(RESOURCES) | st.just(("*",))),
        namespaces=draw(some(NAMESPACES) | st.just(("*",))),
        names=draw(st.none() | some(NAMES)),
        max_duration=10_000.0 if effect is Effect.GRANTABLE else None,
    )


@st.composite
def rules(draw: st.DrawFn, effect: Effect) -> tuple[Rule, ...]:
    drawn = draw(st.lists(a_rule(effect), min_size=1, max_size=2))
    return tuple(msgspec.structs.replace(one, id=f"{one.id}-{number}") for number, one in enumerate(drawn))


@st.composite
def plain_rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    """As tasks have them: one resource and at most one name in each rule."""
    found = []
    for number, one in enumerate(draw(rules(Effect.ALLOW))):
        names = one.names[:1] if one.names else None
        found.append(msgspec.structs.replace(one, id=f"allow-{number}", resources=one.resources[:1], names=names))
    return tuple(found)


@st.composite
def trees(draw: st.DrawFn) -> list[Task]:
    """A task and those that hang on it, each behind its parent, four members deep at most."""
    made: list[Task] = []
    depths: dict[str, int] = {}
    for number in range(draw(st.integers(1, 5))):
        parents = [one for one in made if depths[one.id] < 4]
        parent = draw(st.sampled_from(parents)) if parents else None
        task = Task(
            id=f"t{number}",
            kind=Kind.AGENT,
            name="bot" if parent is None else delegate_of(parent.name, f"h{number}"),
            requested_by="agent:bot",
            cluster="prod",
            purpose="x",
            rules=draw(plain_rules()),
            seconds=draw(st.sampled_from((50.0, 100.0, 200.0))),
            requested_at=NOW - 60,
            lapses_at=NOW,
            parent="" if parent is None else parent.id,
        ).after(TaskEvent.ACTIVATED, NOW - 60)
        depths[task.id] = 1 if parent is None else depths[parent.id] + 1
        made.append(task)
    return made


@st.composite
def policies(draw: st.DrawFn) -> tuple[Policy, ...]:
    effects = draw(
        st.lists(st.sampled_from([Effect.GRANTABLE, Effect.GRANTABLE, Effect.ALLOW, Effect.DENY]), max_size=4)
    )
    subjects = st.sampled_from(("Agent/bot", "Agent/*", "Group/bots", "Agent/bot/h1", "Agent/other"))
    return tuple(
        policy(*draw(rules(effect)), name=f"p{number}", subjects=draw(subjects))
        for number, effect in enumerate(effects)
    )


def line_of(task: Task, by_id: Mapping[str, Task]) -> list[Task]:
    line = [task]
    while line[0].parent:
        line.insert(0, by_id[line[0].parent])
    return line


def may(line: list[Task], grants: list[Grant], what: Intent, rulebook: Rulebook) -> bool:
    """Whether the holder of the last task of a line may do something."""
    members = [
        Identity(
            kind=one.kind,
            name=one.name,
            groups=("bots",),
            proven_by="test",
            credential=one.id,
            task=one.id,
            delegated_by=one.parent,
        )
        for one in line
    ]
    return isinstance(decide(chain_of(*members), what, rulebook, grants, (), NOW), Allow)


def allowed(tasks: list[Task], rulebook: Rulebook) -> dict[str, frozenset[int]]:
    """By task, the places of the requests that its holder may make, as a gate that has these tasks would decide."""
    by_id = {one.id: one for one in tasks}
    grants = [grant for one in in_force(tasks) if (grant := one.grant()) is not None]
    return {
        task.id: frozenset(
            place for place, what in enumerate(REQUESTS) if may(line_of(task, by_id), grants, what, rulebook)
        )
        for task in tasks
    }


@given(trees(), policies())
@settings(max_examples=50, deadline=None)
def test_a_descendant_may_do_a_part_of_what_each_of_its_ancestors_may(
    tasks: list[Task], written: tuple[Policy, ...]
) -> None:
    found = allowed(tasks, compile_policies(written, 1))
    by_id = {task.id: task for task in tasks}
    for task in tasks:
        for above in line_of(task, by_id)[:-1]:
            assert found[task.id] <= found[above.id]


@given(trees(), policies())
@settings(max_examples=40, deadline=None)
def test_a_delegate_does_nothing_that_is_not_in_its_own_task(tasks: list[Task], written: tuple[Policy, ...]) -> None:
    found = allowed(tasks, compile_policies(written, 1))
    for task in (one for one in tasks if one.parent):
        # The same task as one that was asked for, where everything is offered: what is in it, and no more.
        offering = policy(
            Rule(
                id="all",
                effect=Effect.GRANTABLE,
                verbs=("*",),
                api_groups=("",),
                resources=("*",),
                namespaces=("*",),
                max_duration=10_000.0,
            ),
            subjects="Agent/bot",
        )
        alone = msgspec.structs.replace(task, parent="", name="bot")
        assert found[task.id] <= allowed([alone], compile_policies([offering], 1))[task.id]


@given(trees(), policies(), st.data())
@settings(max_examples=40, deadline=None)
def test_ending_any_task_ends_exactly_what_hangs_on_it(
    tasks: list[Task], written: tuple[Policy, ...], data: st.DataObject
) -> None:
    rulebook = compile_policies(written, 1)
    before = allowed(tasks, rulebook)
    chosen = data.draw(st.sampled_from(tasks))
    over = chosen.after(TaskEvent.REVOKED, NOW)
    left = [over if one is chosen else one for one in tasks]
    by_id = {one.id: one for one in left}
    after = allowed(left, rulebook)
    for task in left:
        if over not in line_of(task, by_id):
            assert after[task.id] == before[task.id]
        elif task.parent:
            assert after[task.id] == frozenset()
    # Written down, it is the same: all of the subtree has ended with it, and nothing else has ended.
    kept = {over.id: over}
    for task in left:
        if task.parent:
            kept[task.id] = (
                as_delegated(task, kept.get(task.parent, by_id[task.parent]), NOW) if task is not over else over
            )
    hanging = {task.id for task in left if task is not over and over in line_of(task, by_id)}
    assert all(kept[task_id].state is not TaskState.ACTIVE for task_id in hanging)
    assert {task_id for task_id, task in kept.items() if task.ended_with == over.id} <= hanging


@given(trees(), st.data())
@settings(max_examples=40, deadline=None)
def test_taking_from_a_task_and_asking_anew_gives_nothing_back(tasks: list[Task], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(tasks))
    kept = tuple(rule for rule in chosen.rules if data.draw(st.booleans())) or chosen.rules[:1]
    less = chosen.narrowed(kept, min(chosen.ends_at or NOW, NOW + 10))
    before = {one.id: one for one in in_force(tasks)}
    after = {one.id: one for one in in_force([less if task is chosen else task for task in tasks])}
    for one in after.values():
        assert set(one.rules) <= set(before[one.id].rules)
        assert (one.ends_at or 0) <= (before[one.id].ends_at or 0)
        if one.parent:
            parent = next(
                task for task in in_force([less if task is chosen else task for task in tasks]) if task.id == one.parent
            )
            assert beyond(one.rules, parent.rules) == ""
