"""What of a task may be delegated, and what becomes of it: a part of the rules, no later an end, and nothing besides.

A delegate is nobody whom policies know. It is judged as the root of its chain, within its own task's rules, within
those of the task that this was delegated from, and so on up to the root's (`judging`); all of these must be under way.
So a delegation gives nothing, whatever is written in it: here it is kept from saying more than it gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from narrowgate.core.grants import granted_rule
from narrowgate.core.identity import DELEGATES, Kind
from narrowgate.core.names import LONGEST_NAME
from narrowgate.core.policy import Rule
from narrowgate.core.task_limits import is_within, least
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import part_in_words, parts_of

MOST_PARTS: Final = 512
"""Verbs times namespaces of one delegated task: all of them are looked at again when a task that it hangs on is made
less, for every task at once. A fifth of a second for a hundred such tasks."""

LONGEST_CHAIN: Final = 8
"""Members of a chain at most, whatever is configured: each is judged by itself at every request."""

USUAL_CHAIN: Final = 4
"""Where nothing is configured: an agent, its helper, the helper's, and one more."""

_REMEMBERED: Final = 4_096
"""Pairs of rules of which it is remembered what one leaves of the other: more than tasks that run in one place."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


def delegate_name_problem(name: str, giver: str) -> str:
    """Why `giver` cannot call a delegate so, worded to follow the name; empty when it can (RFC 1123, a label)."""
    if not _LABEL.fullmatch(name):
        return 'is no name for a delegate: write up to 63 lower case letters, digits and "-" between them'
    return "makes the name of the chain too long" if len(delegate_of(giver, name)) > LONGEST_NAME else ""


def delegate_of(giver: str, name: str) -> str:
    """The full name of a delegate: `ci-reviewer/helper`."""
    return f"{giver}{DELEGATES}{name}"


def root_of(name: str) -> str:
    """The name of the agent that a delegate works for in the end, whose name is `name`; of an agent itself, its own."""
    return name.partition(DELEGATES)[0]


def undelegable(task: Task, now: float) -> str:
    """Why nothing of this task can be delegated, in words; empty where it can."""
    found = task.at(now)
    if found.state is not TaskState.ACTIVE:
        return f"task {task.id} is {found.state.value}: only an active one can be delegated"
    if task.emergency or task.kind is not Kind.AGENT:
        return f"task {task.id} is a person's emergency, which nobody else works on"
    return ""


def beyond(rules: Iterable[Rule], within: Sequence[Rule]) -> str:
    """The first part of `rules` that is not in `within`, in the words of a request; empty where all of it is.

    What cannot be shown to be within is not: a rule over all namespaces is in no number of single ones.
    """
    compiled = [granted_rule(rule, "") for rule in within]
    looked_at = 0
    for rule in rules:
        for part in parts_of(rule):
            looked_at += 1
            if looked_at > MOST_PARTS or not any(one.covers(part) for one in compiled):
                return part_in_words(rule, part)
    return ""


def as_delegated(task: Task, parent: Task, now: float, by: str = "") -> Task:
    """A delegated task as the one that it was delegated from leaves it at `now`: ended with it, or made less.

    `by` is who ended that one, where it is known. Nothing here makes a task more.
    """
    task = task.at(now)
    if task.state is not TaskState.ACTIVE:
        return task
    if parent.state is not TaskState.ACTIVE:
        because = parent.ended_because
        if not parent.ended_with:
            told = f": {because}" if because not in ("", parent.state.value) else ""
            because = f"task {parent.id}, which it was delegated from, was {parent.state.value}{_by(by)}{told}"
        event = TaskEvent.EXPIRED if parent.state is TaskState.EXPIRED else TaskEvent.REVOKED
        ended = task.after(event, now, because)
        # What becomes of what it leaves behind is what becomes of all that the tree leaves behind.
        return msgspec.structs.replace(ended, ended_with=parent.ended_with or parent.id, on_end=parent.on_end)
    less = _within(task, parent)
    if less.rules:
        return less
    because = f"task {parent.id}, which it was delegated from, was made less, and nothing is left of this one{_by(by)}"
    return msgspec.structs.replace(task.after(TaskEvent.REVOKED, now, because), ended_with=parent.id)


def in_force(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Of these tasks the active ones that count, each as those that it was delegated from leave it, in their order.

    A task whose parent is not among them is left out.
    """
    listed = tuple(task for task in tasks if task.state is TaskState.ACTIVE)
    by_id = {task.id: task for task in listed}
    found: dict[str, Task | None] = {}
    for task in listed:
        _settle(task, by_id, found)
    return tuple(one for task in listed if (one := found[task.id]) is not None)


def task_hangs_on(task: Task, parent: Task) -> bool:
    """Whether a task is one that was delegated from that very one: to a delegate of its holder, on its cluster."""
    same = (task.parent, task.cluster, task.kind) == (parent.id, parent.cluster, parent.kind)
    below = task.name.removeprefix(parent.name + DELEGATES)
    return same and task.kind is Kind.AGENT and below != task.name and DELEGATES not in below


def _settle(task: Task, by_id: Mapping[str, Task], found: dict[str, Task | None]) -> None:
    """Find out what counts of a task and of all that it hangs on."""
    line = [task]
    while line[-1].parent and line[-1].id not in found and len(line) <= LONGEST_CHAIN:
        parent = by_id.get(line[-1].parent)
        if parent is None:
            break
        line.append(parent)
    for one in reversed(line):
        if one.id in found:
            continue
        if not one.parent:
            found[one.id] = one
            continue
        parent = found.get(one.parent)
        found[one.id] = None if parent is None else _within(one, parent)


def _within(task: Task, parent: Task) -> Task:
    """What is left of an active task within its parent. Of a rule that is not wholly within it nothing is."""
    rules = _rules_within(task.rules, parent.rules) if task_hangs_on(task, parent) else ()
    ends = [end for end in (task.ends_at, parent.ends_at) if end is not None]
    requests, streams = least(task.max_requests, parent.max_requests), least(task.max_streams, parent.max_streams)
    ends_at = min(ends) if len(ends) == 2 else task.began_at
    less = msgspec.structs.replace(task, rules=rules, ends_at=ends_at, max_requests=requests, max_streams=streams)
    return task if less == task else less


@lru_cache(maxsize=_REMEMBERED)
def _rules_within(rules: tuple[Rule, ...], within: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if not beyond((rule,), within))


def limits_problem(wanted: tuple[int | None, int | None], parent: Task) -> str:
    """Why a delegate cannot have these limits of requests and streams, in words; empty where it can."""
    bounds = (("maxRequests", parent.max_requests), ("maxStreams", parent.max_streams))
    for (name, bound), limit in zip(bounds, wanted, strict=True):
        if limit is not None and not is_within(limit, bound):
            return f"{name}: task {parent.id} has {bound}, and what is delegated from it no more"
    return ""


def _by(who: str) -> str:
    return f" by {who}" if who else ""
