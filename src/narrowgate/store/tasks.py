"""The table of tasks: those that wait, those that run, those that are over."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, insert, or_, select, update

from narrowgate.core.policy import OnEnd
from narrowgate.core.tasks import Task, TaskState
from narrowgate.store.changes import Transactions, move_generation, note_change
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere
from narrowgate.store.tables import tasks


class TaskTable:
    """See `store.port.Tasks`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def add(self, task: Task, *, by: str, at: float) -> None:
        """See the port."""
        same = tasks.c.id == task.id
        if task.credential_hash:
            same = or_(same, tasks.c.credential_hash == task.credential_hash)
        with self._database.writing() as connection:
            if connection.execute(select(tasks.c.id).where(same)).first():
                raise AlreadyThere("there is a task with this id or credential already; make new ones")
            if task.parent and not self._is_active(connection, task.parent):
                raise ChangedMeanwhile(f'task "{task.parent}" was ended meanwhile: nothing of it can be delegated')
            connection.execute(insert(tasks).values(_columns(task)))
            note_change(connection, "task.requested", task.id, _told(task), by=by, at=at)
            move_generation(connection)

    def get(self, task_id: str) -> Task:
        """See the port."""
        with self._database.reading() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
        if row is None:
            raise NotThere(f'there is no task "{task_id}"')
        return _task(row)

    def change(self, task: Task, *, was: Task, by: str, at: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == was.id)).one_or_none()
            if row is None:
                raise NotThere(f'there is no task "{was.id}"')
            if _task(row) != was:
                raise ChangedMeanwhile(f'task "{was.id}" was changed meanwhile; look at it again')
            connection.execute(update(tasks).where(tasks.c.id == was.id).values(_columns(task)))
            note_change(connection, "task.changed", task.id, _told(task), by=by, at=at)
            move_generation(connection)

    def active(self) -> tuple[Task, ...]:
        """See the port."""
        return self._in_state(TaskState.ACTIVE)

    def waiting(self) -> tuple[Task, ...]:
        """See the port."""
        return self._in_state(TaskState.REQUESTED)

    def listed(self, names: Collection[str] | None = None, *, behind: str = "", limit: int = 100) -> tuple[Task, ...]:
        """See the port."""
        query = select(tasks).order_by(tasks.c.requested_at.desc(), tasks.c.id).limit(limit)
        if names is not None:
            # Names of delegates begin with that of the agent and a slash; "0" is the letter behind it.
            below = (and_(tasks.c.name > f"{name}/", tasks.c.name < f"{name}0") for name in sorted(names))
            query = query.where(or_(tasks.c.name.in_(sorted(names)), *below))
        with self._database.reading() as connection:
            if behind:
                last = connection.execute(select(tasks.c.requested_at).where(tasks.c.id == behind)).scalar()
                if last is None:
                    return ()
                later = and_(tasks.c.requested_at == last, tasks.c.id > behind)
                query = query.where(or_(tasks.c.requested_at < last, later))
            return tuple(_task(row) for row in connection.execute(query).all())

    def delegated_from(self, task_id: str) -> tuple[Task, ...]:
        """See the port."""
        if not task_id:
            return ()
        query = select(tasks).where(tasks.c.parent == task_id).order_by(tasks.c.requested_at, tasks.c.id)
        with self._database.reading() as connection:
            return tuple(_task(row) for row in connection.execute(query).all())

    @staticmethod
    def _is_active(connection: Connection, task_id: str) -> bool:
        return connection.execute(select(tasks.c.state).where(tasks.c.id == task_id)).scalar() == TaskState.ACTIVE.value

    def _in_state(self, state: TaskState) -> tuple[Task, ...]:
        query = select(tasks).where(tasks.c.state == state.value).order_by(tasks.c.id)
        with self._database.reading() as connection:
            return tuple(_task(row) for row in connection.execute(query).all())


def _columns(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "state": task.state.value,
        "requested_at": task.requested_at,
        "credential_hash": task.credential_hash or None,
        "document": msgspec.json.encode(task).decode(),
        "ended_at": task.ended_at,
        "parent": task.parent or None,
        # Most tasks leave what they leave: those alone are looked for that do not.
        "on_end": None if task.on_end is OnEnd.LEAVE else task.on_end.value,
    }


def _task(row: Row[Any]) -> Task:
    return msgspec.json.decode(row.document, type=Task)


def _told(task: Task) -> str:
    """What the change list says about a task: never the hash of its credential."""
    told = {"name": task.name, "cluster": task.cluster, "state": task.state.value, "purpose": task.purpose}
    if task.parent:
        told["parent"] = task.parent
    if task.ended_because:
        told["because"] = task.ended_because
    return msgspec.json.encode(told).decode()
