"""The table of sessions that somebody ended while they ran: short-lived, for the processes in which they run."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import delete, insert, select

from narrowgate.store.changes import Transactions, move_generation, note_change
from narrowgate.store.tables import session_ends

KEPT_SECONDS = 86_400.0
"""A day. A process that has not heard of an end within seconds refuses everything, and no session outlives its process;
the list of changes and the trail keep who ended it for longer."""

MOST_KEPT = 10_000
"""The newest: each is held by every process."""


class SessionEndTable:
    """See `store.port.SessionEnds`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def end(self, session: str, because: str, *, by: str, at: float) -> None:
        """See the port."""
        ends = session_ends.c
        with self._database.writing() as connection:
            connection.execute(delete(session_ends).where(ends.at < at - KEPT_SECONDS))
            if connection.execute(select(ends.session).where(ends.session == session)).first():
                return
            connection.execute(insert(session_ends).values(session=session, because=because, by=by, at=at))
            kept = select(ends.session).order_by(ends.at.desc(), ends.session).limit(-1).offset(MOST_KEPT)
            connection.execute(delete(session_ends).where(ends.session.in_(kept)))
            detail = msgspec.json.encode({"because": because}).decode()
            note_change(connection, "session.ended", session, detail, by=by, at=at)
            move_generation(connection)

    def since(self, at: float) -> Mapping[str, str]:
        """See the port."""
        ends = session_ends.c
        with self._database.reading() as connection:
            rows = connection.execute(select(ends.session, ends.by, ends.because).where(ends.at >= at)).all()
        return {row.session: _sentence(row.by, row.because) for row in rows}


def _sentence(by: str, because: str) -> str:
    return f"the session was ended by {by}" + (f": {because}" if because else "")
