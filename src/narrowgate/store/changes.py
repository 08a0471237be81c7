"""What every change to the store leaves behind: an entry in the list of changes, and, where it matters, a new stamp."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, func, insert, select, update

from narrowgate.store.tables import changes, generation


class Transactions(Protocol):
    """A database as its tables see it. Both raise StoreUnavailable."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection to read with."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that holds the write lock from its beginning."""
        ...


def note_change(connection: Connection, action: str, subject: str, detail: str, *, by: str, at: float) -> None:
    """Add to the list of changes, in the transaction of the change itself."""
    number = (connection.execute(select(func.max(changes.c.number))).scalar() or 0) + 1
    columns = {"number": number, "at": at, "by": by, "action": action, "subject": subject, "detail": detail}
    connection.execute(insert(changes).values(columns))


def move_generation(connection: Connection) -> None:
    """Tell everybody that what requests are judged by has changed (`Store.change_stamp`)."""
    connection.execute(update(generation).values(number=generation.c.number + 1))
