"""Who is at work on a task: its agent, or a person in an emergency, proven by the credential that the task got.

Answers from a snapshot in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

import msgspec

from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.authenticators.task_credential import PREFIX, task_credential_problem
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.delegated_task import LONGEST_CHAIN, task_hangs_on
from narrowgate.core.emergency import Present
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.tasks import Task, TaskState

PROVEN_BY = "task-credential"

_NOT_MINE = NotMine()
_sha256 = hashlib.sha256


class TaskCredentials:
    """An authenticator over one immutable snapshot of active tasks and their holders; a change is a new object."""

    def __init__(
        self,
        tasks: Iterable[Task],
        agents: Iterable[AgentRecord],
        people: Mapping[str, Present] | None = None,
        longest_chain: int = LONGEST_CHAIN,
    ) -> None:
        """`tasks` that are not active are nobody's; `people` are those in an emergency, by the id of its task. Nobody
        speaks for a chain of more than `longest_chain` members, however long ago it was delegated.
        """
        self._longest_chain = min(longest_chain, LONGEST_CHAIN)
        self._tasks: Mapping[bytes, Task] = {
            task.credential_hash: task for task in tasks if task.state is TaskState.ACTIVE and task.credential_hash
        }
        self._by_id: Mapping[str, Task] = {task.id: task for task in self._tasks.values()}
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
        return self._of(task, now)

    def of_task(self, task_id: str, now: float) -> Answer:
        """Whoever works on that task, by whatever they made: Rejected where it is over, or its holder is not let in."""
        task = self._by_id.get(task_id)
        return Rejected(f"task {task_id} is over") if task is None else self._of(task, now)

    def _of(self, task: Task, now: float) -> Answer:
        # Written so that a time that is no number (NaN) counts as the end.
        if task.ends_at is None or not now < task.ends_at:
            return Rejected(OVER)
        if task.parent:
            return self._delegate(task, now)
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

    def _delegate(self, task: Task, now: float) -> Answer:
        """A delegate, speaking for everybody whose task it hangs on: each as its own credential would say now."""
        line = self._line_of(task)
        if line is None:
            return Rejected(f"task {task.parent}, which the task of this credential was delegated from, is over")
        if len(line) > self._longest_chain:
            return Rejected(
                f"the chain of {task.name} has {len(line)} members, and this gate lets in chains of "
                f"{self._longest_chain} at most (tasks.maxDepth): ask for a task of a chain that is less deep"
            )
        root = self._of(line[0], now)
        if not isinstance(root, Identity):
            return root
        for one in line[1:]:
            if one.ends_at is None or not now < one.ends_at:
                return Rejected(f"task {one.id}, which the task of this credential was delegated from, is over")
        found = self._identities.get(task.id)
        if found is None:
            members = [root]
            for one in line[1:]:
                members.append(_delegate_of(members, one))
            found = self._identities[task.id] = msgspec.structs.replace(members[-1], on_behalf_of=tuple(members[:-1]))
        return found

    def _line_of(self, task: Task) -> list[Task] | None:
        """The tasks that a delegated one hangs on, root first, itself last; None where one of them is missing."""
        line = [task]
        while line[0].parent:
            parent = self._by_id.get(line[0].parent)
            same = parent is not None and task_hangs_on(line[0], parent)
            if parent is None or not same or len(line) >= LONGEST_CHAIN:
                return None
            line.insert(0, parent)
        return line

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


def _delegate_of(members: Sequence[Identity], task: Task) -> Identity:
    """Who works on a task that the last of these delegated."""
    giver = members[-1]
    ends = [end for end in (task.ends_at, giver.expires_at) if end is not None]
    return msgspec.structs.replace(
        giver, name=task.name, credential=task.id, task=task.id, delegated_by=task.parent, expires_at=min(ends)
    )


OVER = "the task of this credential is over, or another gate's; ask for a new one: narrowgate tasks request"
