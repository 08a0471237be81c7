"""The table of things that count once: codes, states, replayed ids, idempotency keys."""

from __future__ import annotations

import hashlib

from sqlalchemy import ColumnElement, delete, insert, select, update

from narrowgate.store.changes import Transactions
from narrowgate.store.tables import once


class OnceTable:
    """See `store.port.Once`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def put(self, purpose: str, key: str, payload: str, *, expires_at: float, now: float) -> bool:
        """See the port."""
        hashed = _hash(purpose, key)
        with self._database.writing() as connection:
            # What nobody will ask for again goes as something new comes: the table never outgrows what is alive.
            connection.execute(delete(once).where(once.c.expires_at <= now))
            if connection.execute(select(once.c.key_hash).where(once.c.key_hash == hashed)).first():
                return False
            columns = {"key_hash": hashed, "purpose": purpose, "payload": payload, "expires_at": expires_at}
            connection.execute(insert(once).values(columns))
            return True

    def look(self, purpose: str, key: str, *, now: float) -> str | None:
        """See the port."""
        with self._database.reading() as connection:
            return connection.execute(select(once.c.payload).where(_alive(purpose, key, now))).scalar()

    def take(self, purpose: str, key: str, *, now: float) -> str | None:
        """See the port."""
        with self._database.writing() as connection:
            payload = connection.execute(select(once.c.payload).where(_alive(purpose, key, now))).scalar()
            connection.execute(delete(once).where(once.c.key_hash == _hash(purpose, key)))
            return payload

    def change(self, purpose: str, key: str, payload: str, *, now: float) -> bool:
        """See the port."""
        with self._database.writing() as connection:
            done = connection.execute(update(once).where(_alive(purpose, key, now)).values(payload=payload))
            return done.rowcount == 1


def _alive(purpose: str, key: str, now: float) -> ColumnElement[bool]:
    return (once.c.key_hash == _hash(purpose, key)) & (once.c.expires_at > now)


def _hash(purpose: str, key: str) -> bytes:
    # The length keeps two pairs of purpose and key from being the same text.
    return hashlib.sha256(f"{len(purpose)}:{purpose}:{key}".encode("utf-8", "surrogatepass")).digest()
