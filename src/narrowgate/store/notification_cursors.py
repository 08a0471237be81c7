"""The list of changes read as a queue, and the table of how far each receiver of notifications has read it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, func, insert, select, update

from narrowgate.store.changes import Transactions, note_change
from narrowgate.store.port import Change, ChangedMeanwhile, NotificationCursor
from narrowgate.store.tables import changes, notification_cursors


class NotificationCursorTable:
    """See `store.port.Notifications`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def newest(self) -> int:
        """See the port."""
        with self._database.reading() as connection:
            return connection.execute(select(func.max(changes.c.number))).scalar() or 0

    def after(self, change: int, limit: int = 100) -> tuple[Change, ...]:
        """See the port."""
        query = select(changes).where(changes.c.number > change).order_by(changes.c.number).limit(limit)
        with self._database.reading() as connection:
            return tuple(Change(**row._mapping) for row in connection.execute(query).all())

    def before(self, change: Change) -> Change | None:
        """See the port."""
        noun = change.action.partition(".")[0]
        same = (changes.c.subject == change.subject) & changes.c.action.startswith(f"{noun}.", autoescape=True)
        query = select(changes).where(same & (changes.c.number < change.number))
        with self._database.reading() as connection:
            row = connection.execute(query.order_by(changes.c.number.desc()).limit(1)).one_or_none()
        return None if row is None else Change(**row._mapping)

    def cursor(self, receiver: str) -> NotificationCursor:
        """See the port."""
        this = select(notification_cursors).where(notification_cursors.c.receiver == receiver)
        with self._database.reading() as connection:
            row = connection.execute(this).one_or_none()
        if row is not None:
            return _cursor(row)
        with self._database.writing() as connection:
            row = connection.execute(this).one_or_none()
            if row is not None:
                return _cursor(row)
            newest = connection.execute(select(func.max(changes.c.number))).scalar() or 0
            begun = NotificationCursor(receiver=receiver, change=newest)
            connection.execute(insert(notification_cursors).values(msgspec.structs.asdict(begun)))
            return begun

    def move(self, cursor: NotificationCursor, *, was: NotificationCursor) -> None:
        """See the port."""
        this = notification_cursors.c.receiver == was.receiver
        with self._database.writing() as connection:
            row = connection.execute(select(notification_cursors).where(this)).one_or_none()
            if row is None or _cursor(row) != was:
                raise ChangedMeanwhile(f'receiver "{was.receiver}" is told by another process, too; look at it again')
            connection.execute(update(notification_cursors).where(this).values(msgspec.structs.asdict(cursor)))

    def ask_test(self, receiver: str, *, by: str, at: float) -> int:
        """See the port."""
        with self._database.writing() as connection:
            note_change(connection, "notification.test", receiver, "{}", by=by, at=at)
            return connection.execute(select(func.max(changes.c.number))).scalar() or 0

    def cursors(self) -> tuple[NotificationCursor, ...]:
        """See the port."""
        query = select(notification_cursors).order_by(notification_cursors.c.receiver)
        with self._database.reading() as connection:
            return tuple(_cursor(row) for row in connection.execute(query).all())


def _cursor(row: Row[Any]) -> NotificationCursor:
    return NotificationCursor(**row._mapping)
