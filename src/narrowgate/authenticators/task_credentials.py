"""Who is at work on a task: its agent, or a person in an emergency, proven by the credential that the task got.

Answers from a snapshot in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import assert_never

from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.authenticators.task_credential import PREFIX, task_credential_problem
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.emergency import Present
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.tasks import Task, TaskState

PROVEN_BY = "task-credential"

_NOT_MINE = NotMine()
_sha256 = hashlib.sha256


class TaskCredentials:
    """An authenticator over one immutable snapshot of active tasks and their holders; a change is a new object."""

    def __init__(
        self, tasks: Iterable[Task], agents: Iterable[AgentRecord], people: Mapping[str, Present] | None = None
    ) -> None:
        """`tasks` that are not active are nobody's; `people` are those in an emergency, by the id of its task."""
        self._tasks: Mapping[bytes, Task] = {
            task.credential_hash: task for task in tasks if task.state is TaskState.ACTIVE and task.credential_hash
        }
        self._agents: Mapping[str, AgentRecord] = {agent.name: agent for agent in agents}
        self._people: Mapping[str, Present] = people or {}
        self._identities: dict[str, Identity] = {}

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        bearer = presented.bearer
        if not bearer.startswith(PREFIX):
            return _NOT_MINE
        try:
            task = self._tasks.get(_sha256(bearer.encode()).digest())
        except UnicodeEncodeError:
            task = None
        if task is None:
            problem = task_credential_problem(bearer)
            return Rejected(f"this task's credential {problem}; copy it again" if problem else OVER)
        # Written so that a time that is no number (NaN) counts as the end.
        if task.ends_at is None or not now < task.ends_at:
            return Rejected(OVER)
        match task.kind:
            case Kind.AGENT:
                return self._agent(task, now)
            case Kind.PERSON:
                return self._person(task, now)
            case Kind.WORKLOAD:
                return Rejected(OVER)
            case _:
                assert_never(task.kind)

    def _person(self, task: Task, now: float) -> Answer:
        """The person as their sign-ins say now: an end of the one that it was taken with is an end of the emergency."""
        present = self._people.get(task.id) if task.emergency else None
        if present is None or task.ends_at is None or not now < present.expires_at:
            return Rejected(f'the sign-in that "{task.name}" took this emergency with is over, and so is the emergency')
        found = self._identities.get(task.id)
        if found is None:
            found = self._identities[task.id] = Identity(
                kind=task.kind,
                name=task.name,
                groups=present.groups,
                proven_by=PROVEN_BY,
                credential=task.id,
                cluster=task.cluster,
                task=task.id,
                emergency=True,
                expires_at=min(task.ends_at, present.expires_at),
            )
        return found

    def _agent(self, task: Task, now: float) -> Answer:
        """The agent as its record says now: a pause or an end of the agent is one of its tasks."""
        record = self._agents.get(task.name)
        if record is None or task.began_at is None or record.created_at > task.began_at:
            return Rejected(f'agent "{task.name}", whose task this was, is not registered any more; ask its owner')
        if refusal := refusal_of(record, now):
            return Rejected(refusal)
        found = self._identities.get(task.id)
        if found is None:
            ends = [end for end in (task.ends_at, record.ends_at) if end is not None]
            found = self._identities[task.id] = Identity(
                kind=task.kind,
                name=task.name,
                groups=record.groups,
                owner=record.owner,
                proven_by=PROVEN_BY,
                credential=task.id,
                cluster=task.cluster,
                task=task.id,
                expires_at=min(ends),
            )
        return found


OVER = "the task of this credential is over, or another gate's; ask for a new one: narrowgate tasks request"
