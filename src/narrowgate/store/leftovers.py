"""The table of workloads that were created under tasks, and of what has become of them since those ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from narrowgate.core.leftovers import ORPHAN_SECONDS, Fate, Leftover
from narrowgate.core.policy import OnEnd
from narrowgate.store.changes import Transactions
from narrowgate.store.tables import leftovers, lineage, tasks

PERSON = "a person had a hand in it"

MOST_MADE_BEFORE = 1_000
"""Objects that are looked at below one whose creation becomes known: what controllers make of it in a moment."""

_columns = leftovers.c
_by_person = _columns.task == ""
"""The rows that stand for no task, but for a person."""


class LeftoverTable:
    """See `store.port.Leftovers`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def due(self, now: float, limit: int = 100) -> tuple[Leftover, ...]:
        """See the port."""
        over = (tasks.c.on_end == OnEnd.DELETE_WORKLOADS.value) & tasks.c.ended_at.is_not(None)
        waits = (_columns.fate == Fate.WAITS.value) & (_columns.next_at <= now)
        waits &= or_(_columns.is_owned.is_(False), tasks.c.ended_at <= now - ORPHAN_SECONDS)
        same = (lineage.c.cluster == _columns.cluster) & (lineage.c.uid == _columns.uid)
        joined = leftovers.join(tasks, tasks.c.id == _columns.task).join(lineage, same)
        query = select(leftovers).select_from(joined).where(over, waits, lineage.c.gone_at.is_(None))
        query = query.order_by(_columns.next_at, _columns.task, _columns.cluster, _columns.uid).limit(limit)
        with self._database.reading() as connection:
            return tuple(_leftover(row) for row in connection.execute(query).all())

    def keep(self, leftover: Leftover) -> None:
        """See the port."""
        here = (
            (_columns.task == leftover.task)
            & (_columns.cluster == leftover.cluster)
            & (_columns.uid == leftover.uid)
            & (_columns.fate == Fate.WAITS.value)
        )
        with self._database.writing() as connection:
            connection.execute(update(leftovers).where(here).values(_values(leftover)))

    def of_object(self, cluster: str, uid: str) -> tuple[Leftover, ...]:
        """See the port."""
        query = select(leftovers).where(_is(cluster, uid), ~_by_person).order_by(_columns.task)
        with self._database.reading() as connection:
            return tuple(_leftover(row) for row in connection.execute(query).all())

    def of_task(self, task: str, limit: int = 100) -> tuple[Leftover, ...]:
        """See the port."""
        query = select(leftovers).where(_columns.task == task).order_by(_columns.cluster, _columns.uid).limit(limit)
        with self._database.reading() as connection:
            return tuple(_leftover(row) for row in connection.execute(query).all())


def note_created(connection: Connection, leftover: Leftover) -> None:
    """Keep what was created under a task, in the transaction in which it becomes known; once is enough."""
    if connection.execute(select(_columns.uid).where(_is(leftover.cluster, leftover.uid), _by_person)).first():
        leftover = leftover.ended(Fate.LEFT, PERSON)
    connection.execute(insert(leftovers).prefix_with("OR IGNORE").values(_values(leftover)))
    if not leftover.is_owned:
        # It may have been seen below something else before the answer to its own creation was kept.
        here = _is(leftover.cluster, leftover.uid) & (_columns.task == leftover.task)
        connection.execute(update(leftovers).where(here).values(is_owned=False))


def note_made_before(connection: Connection, cluster: str, uid: str) -> None:
    """Keep that what is below an object is left behind as well, where it was seen before the creation of that one was
    known: a watch may be faster than the answer.
    """
    front, seen = [uid], {uid}
    while front and len(seen) < MOST_MADE_BEFORE:
        owner = front.pop()
        mentions = func.instr(lineage.c.owners, msgspec.json.encode(owner).decode()) > 0
        below = connection.execute(select(lineage.c.uid).where(lineage.c.cluster == cluster, mentions)).scalars().all()
        for found in below:
            note_owned(connection, cluster, found, (owner,))
        front += [found for found in below if found not in seen]
        seen.update(below)


def note_owned(connection: Connection, cluster: str, uid: str, owners: Iterable[str]) -> None:
    """Keep that an object is owned by what was created under tasks: it is what these leave behind as well."""
    for owner in owners:
        query = select(_columns.task).where(_is(cluster, owner), ~_by_person)
        for task in connection.execute(query).scalars().all():
            note_created(connection, Leftover(task=task, cluster=cluster, uid=uid, is_owned=True))


def note_person(connection: Connection, cluster: str, uid: str, at: float) -> None:
    """Keep that a person changed an object: for the tasks under which it was created, and those that come to be known.

    The API server has an object for whoever looks before the answer to its creation is kept here.
    """
    here = _is(cluster, uid) & (_columns.fate == Fate.WAITS.value)
    connection.execute(update(leftovers).where(here).values(fate=Fate.LEFT.value, why=PERSON))
    marked = Leftover(task="", cluster=cluster, uid=uid, fate=Fate.LEFT, next_at=at, why=PERSON)
    connection.execute(insert(leftovers).prefix_with("OR IGNORE").values(_values(marked)))


def forget_people(connection: Connection, before: float) -> None:
    """Drop who changed what before then, where nobody created it under a task since."""
    connection.execute(delete(leftovers).where(_by_person & (_columns.next_at < before)))


def _is(cluster: str, uid: str) -> ColumnElement[bool]:
    return (_columns.cluster == cluster) & (_columns.uid == uid)


def _values(leftover: Leftover) -> dict[str, Any]:
    return msgspec.structs.asdict(leftover) | {"fate": leftover.fate.value}


def _leftover(row: Row[Any]) -> Leftover:
    columns = dict(row._mapping)
    return Leftover(**columns | {"fate": Fate(columns["fate"])})
