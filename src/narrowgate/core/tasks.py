"""A task: a piece of work that access was asked for, and the states it goes through, as one table.

    requested → active → completed | expired | revoked
    requested → denied | lapsed

A state is left by the events in the table and by no others; final states are never left. Nothing is covered before a
task is active and nothing after. Deadlines are absolute and were set by the gate: what is late is late whoever says
what first.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from narrowgate.core.grants import Grant, granted_rule
from narrowgate.core.identity import Kind
from narrowgate.core.policy import Approval, OnEnd, Rule
from narrowgate.core.task_limits import is_within, limits_of


class TaskState(enum.Enum):
    """Where a task is."""

    REQUESTED = "requested"
    ACTIVE = "active"
    COMPLETED = "completed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DENIED = "denied"
    LAPSED = "lapsed"


class TaskEvent(enum.Enum):
    """What happens to a task."""

    ACTIVATED = "activated"
    """Nobody had to be asked, or everybody who had to said yes."""
    DENIED = "denied"
    LAPSED = "lapsed"
    """Nobody answered in time, or it was taken back before anybody did."""
    COMPLETED = "completed"
    """Whoever asked for it is done."""
    REVOKED = "revoked"
    """Somebody ended it: an approver, an administrator, the agent's owner, a pause."""
    EXPIRED = "expired"


TASK_TRANSITIONS: Final[dict[tuple[TaskState, TaskEvent], TaskState]] = {
    (TaskState.REQUESTED, TaskEvent.ACTIVATED): TaskState.ACTIVE,
    (TaskState.REQUESTED, TaskEvent.DENIED): TaskState.DENIED,
    (TaskState.REQUESTED, TaskEvent.LAPSED): TaskState.LAPSED,
    (TaskState.ACTIVE, TaskEvent.COMPLETED): TaskState.COMPLETED,
    (TaskState.ACTIVE, TaskEvent.REVOKED): TaskState.REVOKED,
    (TaskState.ACTIVE, TaskEvent.EXPIRED): TaskState.EXPIRED,
}
"""The whole machine; a pair that is not here does not happen."""


class NotPossible(Exception):
    """An event that a task's state does not know; the text says which state that is."""


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task. Every change is a new value."""

    id: str
    """Public."""
    kind: Kind
    name: str
    """The identity that is to hold the access."""
    requested_by: str
    """Who asked: the identity itself, or a person for it (`person:alice`)."""
    cluster: str
    purpose: str
    link: str = ""
    """Where more is written about it (a ticket); empty where there is nothing."""
    rules: tuple[Rule, ...]
    """What is asked for, as plain allow rules."""
    credential_id: str = ""
    """Public; what the record names. Empty before the task is active."""
    credential_hash: bytes = b""
    """SHA-256 of its credential: 256 random bits, shown once, worth nothing after the end."""
    handed_to: tuple[str, ...] = ()
    """Who could take its credential: whoever asked, and who had been shown one of the agent's by then
    (`AgentRecord.handed_to`). Kept here, because it is good although the agent's own is replaced."""
    approved: tuple[Approval, ...] = ()
    """What people have said yes to; empty where nobody was asked. A rule that asks for more grants nothing."""
    seconds: float
    """How long the access is to last once it begins."""
    requested_at: float
    lapses_at: float
    """Unix seconds until which people may answer."""
    max_requests: int | None = None
    """Requests that it covers in all; None: any number. Never more than the rules that it rests on say."""
    max_streams: int | None = None
    """Streams that it covers at one time; None: any number."""
    on_end: OnEnd = OnEnd.LEAVE
    """What becomes of the workloads that were created under it, or under what was delegated from it, when it is over.
    """
    parent: str = ""
    """The task that it was delegated from (`delegated_task`): it covers nothing by itself, but bounds its delegate to a
    part of what that one's holder may do, and it ends with it. Empty for a task that was asked for."""
    ended_with: str = ""
    """The task, from which it was delegated in some steps, with whose end it ended; empty where it ended by itself."""
    emergency: bool = False
    """Begun at once, told to everybody who is to know, and looked at afterwards (break-glass)."""
    sign_in: str = ""
    """The sign-in that a person took an emergency with: it ends with it. Empty for every other task."""
    state: TaskState = TaskState.REQUESTED
    began_at: float | None = None
    ends_at: float | None = None
    """Unix seconds; set when it becomes active, never moved later."""
    ended_at: float | None = None
    ended_because: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to it any more."""
        return not any(state is self.state for state, _ in TASK_TRANSITIONS)

    def after(self, event: TaskEvent, now: float, because: str = "") -> Task:
        """The task once `event` has happened at `now`. Raises NotPossible.

        An answer that comes after the deadline for answers makes it lapse, whatever the answer was; an end that comes
        after the end of the access finds it expired.
        """
        event = self._in_time(event, now)
        state = TASK_TRANSITIONS.get((self.state, event))
        if state is None:
            raise NotPossible(f"task {self.id} is {self.state.value}: it cannot be {event.value} any more")
        if state is TaskState.ACTIVE:
            return msgspec.structs.replace(self, state=state, began_at=now, ends_at=now + self.seconds)
        return msgspec.structs.replace(self, state=state, ended_at=now, ended_because=because or state.value)

    def paused(self, now: float) -> Task:
        """The task once its agent has been paused; one that is over stays as it is. Raises NotPossible while it waits.

        Nothing that it leaves behind is deleted: a pause is for looking at what an agent has done.
        """
        ended = self.at(now)
        if ended.is_final:
            return ended
        ended = ended.after(TaskEvent.REVOKED, now, "the agent was paused")
        return msgspec.structs.replace(ended, on_end=OnEnd.LEAVE)

    def at(self, now: float) -> Task:
        """The task as time alone leaves it: lapsed or expired where its time is over, else itself."""
        if self.state is TaskState.REQUESTED and not now < self.lapses_at:
            return self.after(TaskEvent.LAPSED, now)
        if self.state is TaskState.ACTIVE and self._is_over(now):
            return self.after(TaskEvent.EXPIRED, now)
        return self

    def narrowed(
        self,
        rules: tuple[Rule, ...],
        ends_at: float,
        max_requests: int | None = None,
        max_streams: int | None = None,
    ) -> Task:
        """The same with only those of its rules, and no later an end. Raises NotPossible for anything wider.

        A limit that is None stays as it is.
        """
        if self.state is not TaskState.ACTIVE or self.ends_at is None:
            raise NotPossible(f"task {self.id} is {self.state.value}: only an active one can be narrowed")
        requests = self.max_requests if max_requests is None else max_requests
        streams = self.max_streams if max_streams is None else max_streams
        within = is_within(requests, self.max_requests) and is_within(streams, self.max_streams)
        if not within or not set(rules) <= set(self.rules) or not ends_at <= self.ends_at:
            raise NotPossible(f"task {self.id} can be narrowed, never widened: ask for a new one")
        return msgspec.structs.replace(self, rules=rules, ends_at=ends_at, max_requests=requests, max_streams=streams)

    def grant(self) -> Grant | None:
        """What it covers; None in every state but active."""
        if self.state is not TaskState.ACTIVE or self.began_at is None or self.ends_at is None:
            return None
        return Grant(
            task=self.id,
            kind=self.kind,
            name=self.name,
            cluster=self.cluster,
            rules=tuple(granted_rule(rule, self.id) for rule in self.rules),
            begins_at=self.began_at,
            ends_at=self.ends_at,
            approved=self.approved,
            link=self.link,
            parent=self.parent,
            emergency=self.emergency,
            limits=limits_of(self.id, self.max_requests, self.max_streams),
            on_end=self.on_end,
        )

    def _in_time(self, event: TaskEvent, now: float) -> TaskEvent:
        if self.state is TaskState.REQUESTED and not now < self.lapses_at:
            return TaskEvent.LAPSED
        if self.state is TaskState.ACTIVE and self._is_over(now):
            return TaskEvent.EXPIRED
        return event

    def _is_over(self, now: float) -> bool:
        # Written so that a time that is no number (NaN) counts as past the end.
        return self.ends_at is None or not now < self.ends_at
