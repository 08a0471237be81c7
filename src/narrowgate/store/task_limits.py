"""The tables of what tasks with limits have used: requests handed out to processes, and streams under way in each.

Requests go out in blocks, counted before any of them is used: whatever happens to a process, no more are used than the
limit says. Streams are told again and again by whoever has them; a row that nobody refreshes counts for nothing soon.
Nothing here is a change that snapshots are read anew for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from narrowgate.core.task_limits import STALE_SECONDS, TaskUse, block_of
from narrowgate.store.changes import Transactions
from narrowgate.store.tables import task_requests, task_streams


class TaskLimitTable:
    """See `store.port.TaskLimits`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def hand_out(self, task: str, limit: int, *, returned: int = 0) -> int:
        """See the port."""
        with self._database.writing() as connection:
            taken = max(0, _taken(connection, task) - returned)
            block = block_of(limit - taken)
            if block or returned:
                added = insert(task_requests).values(task=task, taken=taken + block)
                connection.execute(added.on_conflict_do_update(index_elements=("task",), set_={"taken": taken + block}))
            return block

    def take_back(self, returned: Mapping[str, int]) -> None:
        """See the port."""
        with self._database.writing() as connection:
            for task, requests in returned.items():
                left = max(0, _taken(connection, task) - requests)
                connection.execute(update(task_requests).where(task_requests.c.task == task).values(taken=left))

    def add_stream(self, task: str, limit: int, own: int, *, by: str, now: float) -> bool:
        """See the port."""
        with self._database.writing() as connection:
            of_task = task_streams.c.task == task
            connection.execute(delete(task_streams).where(of_task & (task_streams.c.at < now - STALE_SECONDS)))
            others = func.coalesce(func.sum(task_streams.c.streams), 0)
            running = connection.execute(select(others).where(of_task & (task_streams.c.writer != by))).scalar_one()
            if running + own >= limit:
                return False
            _tell(connection, {task: own + 1}, by, now)
            return True

    def tell_streams(self, running: Mapping[str, int], *, by: str, now: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            _tell(connection, running, by, now)

    def used(self, tasks: Collection[str], *, now: float) -> dict[str, TaskUse]:
        """See the port."""
        wanted = sorted(tasks)
        fresh = task_streams.c.at >= now - STALE_SECONDS
        streams = select(task_streams.c.task, func.sum(task_streams.c.streams)).group_by(task_streams.c.task)
        with self._database.reading() as connection:
            requests = select(task_requests.c.task, task_requests.c.taken).where(task_requests.c.task.in_(wanted))
            taken = {row[0]: row[1] for row in connection.execute(requests).all()}
            running = connection.execute(streams.where(task_streams.c.task.in_(wanted) & fresh)).all()
        under_way = {row[0]: row[1] for row in running}
        return {task: TaskUse(taken.get(task, 0), under_way.get(task, 0)) for task in wanted}


def _taken(connection: Connection, task: str) -> int:
    found = connection.execute(select(task_requests.c.taken).where(task_requests.c.task == task)).scalar()
    return 0 if found is None else int(found)


def _tell(connection: Connection, running: Mapping[str, int], by: str, now: float) -> None:
    over = [task for task, streams in running.items() if not streams]
    if over:
        mine = task_streams.c.writer == by
        connection.execute(delete(task_streams).where(mine & task_streams.c.task.in_(over)))
    rows = [{"task": task, "writer": by, "streams": streams, "at": now} for task, streams in running.items() if streams]
    if rows:
        added = insert(task_streams)
        later = {"streams": added.excluded.streams, "at": added.excluded.at}
        connection.execute(added.on_conflict_do_update(index_elements=("task", "writer"), set_=later), rows)
