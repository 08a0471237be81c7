"""What was over long ago is dropped from the tables of tasks, questions and changes, in small transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, delete, func, or_, select

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.tasks import TaskState
from narrowgate.store.changes import Transactions
from narrowgate.store.tables import approvals, changes, task_requests, task_streams, tasks

_GOING_ON = (TaskState.REQUESTED.value, TaskState.ACTIVE.value)


class Pruning:
    """See `store.port.Pruning`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def tasks(self, over_before: float, limit: int) -> int:
        """See the port."""
        # Where a task ended before its end was kept by itself, the time at which it was asked for stands for it.
        ended_at = func.coalesce(tasks.c.ended_at, tasks.c.requested_at)
        over = tasks.c.state.not_in(_GOING_ON) & (ended_at < over_before)
        with self._database.writing() as connection:
            found = connection.execute(select(tasks.c.id).where(over).limit(limit)).scalars().all()
            for column in (task_requests.c.task, task_streams.c.task, tasks.c.id):
                _drop(connection, column, found)
        return len(found)

    def questions(self, over_before: float, limit: int) -> int:
        """See the port."""
        # An approved one is used, or lapses, before its time is over; what stays so is a review that ended well.
        over = (approvals.c.state != ApprovalState.PENDING.value) & (approvals.c.lapses_at < over_before)
        with self._database.writing() as connection:
            found = connection.execute(select(approvals.c.id).where(over).limit(limit)).scalars().all()
            _drop(connection, approvals.c.id, found)
        return len(found)

    def changes(self, made_before: float, limit: int) -> int:
        """See the port."""
        about = or_(*(changes.c.action.startswith(noun, autoescape=True) for noun in ("task.", "approval.")))
        newest = select(func.max(changes.c.number)).scalar_subquery()
        old = about & (changes.c.at < made_before) & (changes.c.number < newest)
        with self._database.writing() as connection:
            query = select(changes.c.number).where(old).order_by(changes.c.number).limit(limit)
            found = connection.execute(query).scalars().all()
            _drop(connection, changes.c.number, found)
        return len(found)


def _drop(connection: Connection, column: Column[Any], values: Sequence[Any]) -> None:
    if values:
        connection.execute(delete(column.table).where(column.in_(values)))
