"""A task as JSON: one shape for the API and for the command line. Neither its credential nor the hash is in it."""

from __future__ import annotations

import msgspec

from narrowgate.core.duration import duration_text
from narrowgate.core.identity import Kind
from narrowgate.core.moment import moment_text
from narrowgate.core.policy import OnEnd
from narrowgate.core.task_limits import TaskUse
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import wanted_text

NOTHING_USED = TaskUse()


class TaskRuleDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a task is for."""

    id: str
    """By which it is kept when the task is narrowed."""
    text: str
    """As it is asked for: `get,list pods -n ci`."""


class TaskDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A task as anybody may see it who may see it at all. Moments are RFC 3339 in UTC, null where there is none."""

    id: str
    kind: Kind
    name: str
    """Who holds the access: the agent of this name, or a person in an emergency."""
    requested_by: str
    cluster: str
    purpose: str
    link: str
    state: TaskState
    allow: tuple[TaskRuleDocument, ...]
    lasts: str
    """How long the access lasts from when it begins: `20m`."""
    max_requests: int | None
    """Requests that it covers in all; null: any number."""
    requests_used: int | None
    """Those used, or handed to one of the gate's processes that is about to; null where they are not counted."""
    max_streams: int | None
    """Streams that it covers at one time; null: any number."""
    streams: int | None
    """Those under way; null where they are not counted."""
    requested_at: str
    began_at: str | None
    ends_at: str | None
    """When the access ends at the latest."""
    ended_at: str | None
    ended_because: str
    parent: str
    """The task that it was delegated from; empty where it was asked for."""
    ended_with: str
    """The task above it with whose end it ended; empty where it ended by itself."""
    on_end: OnEnd
    """What becomes of the workloads that were created under it when it is over: `leave`, `deleteWorkloads`."""
    emergency: bool
    """Whether a person took it for themselves, at once; it is looked at afterwards, as approval `<id>-review`."""


def task_document(task: Task, now: float, used: TaskUse = NOTHING_USED) -> TaskDocument:
    """The document of a task as time leaves it at `now` (Unix seconds); `used` is what it has used of its limits."""
    task = task.at(now)
    return TaskDocument(
        id=task.id,
        kind=task.kind,
        name=task.name,
        requested_by=task.requested_by,
        cluster=task.cluster,
        purpose=task.purpose,
        link=task.link,
        state=task.state,
        allow=tuple(TaskRuleDocument(id=rule.id, text=wanted_text(rule)) for rule in task.rules),
        lasts=duration_text(task.seconds),
        max_requests=task.max_requests,
        requests_used=None if task.max_requests is None else used.requests,
        max_streams=task.max_streams,
        streams=None if task.max_streams is None else used.streams,
        requested_at=moment_text(task.requested_at),
        began_at=_moment(task.began_at),
        ends_at=_moment(task.ends_at),
        ended_at=_moment(task.ended_at),
        ended_because=task.ended_because,
        parent=task.parent,
        ended_with=task.ended_with,
        on_end=task.on_end,
        emergency=task.emergency,
    )


def _moment(at: float | None) -> str | None:
    return None if at is None else moment_text(at)
