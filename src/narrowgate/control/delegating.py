"""Making a delegated task: everything that is checked, and the one moment at which it is kept.

The API and the token endpoint both end here, so that neither gives what the other would refuse.
"""

from __future__ import annotations

import threading

import msgspec

from narrowgate.authenticators.task_credential import new_task_credential
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.delegated_task import (
    as_delegated,
    beyond,
    delegate_name_problem,
    delegate_of,
    in_force,
    limits_problem,
    root_of,
    undelegable,
)
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.policy import Rule
from narrowgate.core.task_fields import DEFAULT_SECONDS, MOST_ACTIVE, task_purpose_problem
from narrowgate.core.task_limits import least
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import MOST_WANTED, WantedRefused, read_wanted
from narrowgate.store.port import ChangedMeanwhile, NotThere, Store
from narrowgate.store.task_trees import ancestors_of


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to delegate, not looked at yet."""

    name: str
    """What the delegate is called, below the name of whoever delegates."""
    purpose: str
    allow: tuple[str, ...]
    """As tasks are asked for: `get,list pods -n ci`."""
    seconds: float | None
    """How long, and no longer than the task that it is delegated from; None: as a task that does not say."""
    max_requests: int | None = None
    max_streams: int | None = None


class Delegated(msgspec.Struct, frozen=True):
    """A delegated task that has begun, at the one moment when its credential's text is known."""

    task: Task
    credential: str


class Delegating:
    """Makes delegated tasks. It blocks, and raises Problem and errors of the store's port."""

    def __init__(self, store: Store, requesting: threading.Lock, longest_chain: int) -> None:
        """`requesting` is held while tasks are counted and kept; a chain has `longest_chain` members at most."""
        self._store = store
        self._requesting = requesting
        self._longest_chain = longest_chain

    def delegate(self, parent_id: str, who: Identity, wish: Wish, now: float) -> Delegated:
        """Delegate a part of a task that `who` works on, at `now` (Unix seconds)."""
        parent, depth = self._parent(parent_id, who, now)
        if depth + 1 > self._longest_chain:
            raise Problem(
                Trouble.FORBIDDEN,
                f"the chain of {parent.name} has {depth} members, and this gate judges chains of "
                f"{self._longest_chain} at most (tasks.maxDepth): nothing more can be delegated from here",
            )
        rules = _checked(wish, parent)
        made = new_task_credential()
        requested = Task(
            id=made.task,
            kind=parent.kind,
            name=delegate_of(parent.name, wish.name),
            requested_by=str(who),
            cluster=parent.cluster,
            purpose=wish.purpose,
            link=parent.link,
            rules=rules,
            credential_id=made.task,
            credential_hash=made.hash,
            handed_to=tuple(dict.fromkeys((str(who), parent.requested_by, *parent.handed_to))),
            seconds=_seconds(wish, parent, now),
            max_requests=least(wish.max_requests, parent.max_requests),
            max_streams=least(wish.max_streams, parent.max_streams),
            requested_at=now,
            # Nobody is asked: it begins in this moment or never.
            lapses_at=now + 1.0,
            on_end=parent.on_end,
            parent=parent.id,
        )
        task = as_delegated(requested.after(TaskEvent.ACTIVATED, now), parent, now)
        with self._requesting:
            self._refuse_more(parent, task, now)
            try:
                self._store.tasks.add(task, by=str(who), at=now)
            except ChangedMeanwhile as error:
                raise Problem(Trouble.CONFLICT, str(error)) from None
        return Delegated(task, made.text)

    def _parent(self, parent_id: str, who: Identity, now: float) -> tuple[Task, int]:
        """The task to delegate from, as those that it hangs on leave it, and the members of its chain.

        Whoever does not work on it is told what they would be told if it were not there.
        """
        missing = Problem(Trouble.NOT_FOUND, f'there is no task "{parent_id}" that you work on, and could delegate')
        try:
            kept = self._store.tasks.get(parent_id)
            agent = self._store.agent(root_of(kept.name)) if kept.kind is Kind.AGENT else None
        except NotThere:
            raise missing from None
        is_holder = who.kind is kept.kind and who.name == kept.name and who.task in ("", kept.id)
        # An agent that was removed and made anew under its old name is another one, and so are its tasks.
        if not is_holder or (agent is not None and agent.created_at > kept.requested_at):
            raise missing
        if problem := undelegable(kept, now):
            raise Problem(Trouble.CONFLICT, problem)
        line = (kept, *ancestors_of(self._store.tasks, kept))
        parent = next((one for one in in_force(line) if one.id == kept.id), None)
        if parent is None or undelegable(parent, now):
            raise Problem(Trouble.CONFLICT, f"task {kept.id} hangs on one that is over: nothing of it can be delegated")
        return parent, len(line)

    def _refuse_more(self, parent: Task, task: Task, now: float) -> None:
        """Raise Problem where the agent has as many tasks as one may, or a delegate of that name is at work on it."""
        refuse_too_many(self._store, task, now)
        siblings = (one.at(now) for one in self._store.tasks.delegated_from(parent.id))
        if any(one.name == task.name and not one.is_final for one in siblings):
            raise Problem(
                Trouble.CONFLICT,
                f"name: {task.name} is at work on task {parent.id} already; choose another name, or complete its task",
            )


def refuse_too_many(store: Store, wanted: Task, now: float) -> None:
    """Raise Problem where its agent has as many active tasks as one may, those of its delegates counted.

    Whoever asks holds the lock on requests for tasks until it is kept.
    """
    agent = root_of(wanted.name)
    others = (task for task in store.tasks.active() if task.kind is wanted.kind and root_of(task.name) == agent)
    if sum(not task.at(now).is_final for task in others) >= MOST_ACTIVE:
        raise Problem(Trouble.CONFLICT, f'agent "{agent}" has {MOST_ACTIVE} active tasks; complete those that are done')


def _checked(wish: Wish, parent: Task) -> tuple[Rule, ...]:
    """The rules that are wanted, if they can be had. Raises Problem."""
    if problem := delegate_name_problem(wish.name, parent.name):
        raise Problem(Trouble.INVALID, f'name: "{wish.name[:100]}" {problem}')
    if problem := task_purpose_problem(wish.purpose):
        raise Problem(Trouble.INVALID, problem)
    if not wish.allow or len(wish.allow) > MOST_WANTED:
        raise Problem(Trouble.INVALID, f"allow: name 1 to {MOST_WANTED} rules; nothing is delegated unless it is named")
    try:
        rules = tuple(read_wanted(text, number) for number, text in enumerate(wish.allow, 1))
    except WantedRefused as error:
        raise Problem(Trouble.INVALID, f"allow: {error}") from None
    if part := beyond(rules, parent.rules):
        raise Problem(Trouble.FORBIDDEN, f"{part}: task {parent.id} has it not, or not as a whole; delegate less")
    if problem := limits_problem((wish.max_requests, wish.max_streams), parent):
        raise Problem(Trouble.FORBIDDEN, problem)
    return rules


def _seconds(wish: Wish, parent: Task, now: float) -> float:
    left = (parent.ends_at or now) - now
    return min(DEFAULT_SECONDS if wish.seconds is None else wish.seconds, left)
