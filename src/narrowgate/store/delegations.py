"""The table of delegations: who answers in whose place, and when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, or_, select, update

from narrowgate.core.delegation import Delegation
from narrowgate.store.changes import Transactions, note_change
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere
from narrowgate.store.tables import delegations

KEPT_SECONDS = 30 * 86_400
"""How long one is listed after its time: a month of looking back. The trail has it for longer."""


class DelegationTable:
    """See `store.port.Delegations`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def add(self, delegation: Delegation, *, by: str, at: float) -> None:
        """See the port."""
        own = select(delegations).where(delegations.c.person == delegation.person)
        with self._database.writing() as connection:
            for other in map(_delegation, connection.execute(own).all()):
                if not other.is_over(at) and other.overlaps(delegation):
                    raise AlreadyThere(
                        f"{other.delegate} answers in {other.person}'s place at that time already "
                        f"(delegation {other.id}): one person at a time; end that one first"
                    )
            if connection.execute(select(delegations.c.id).where(delegations.c.id == delegation.id)).first():
                raise AlreadyThere("there is a delegation with this id already; make a new one")
            # As something new comes, what nobody will look for any more goes; nothing else ever would.
            connection.execute(delete(delegations).where(delegations.c.ends_at < at - KEPT_SECONDS))
            connection.execute(insert(delegations).values(_columns(delegation)))
            note_change(connection, "delegation.added", delegation.id, _told(delegation), by=by, at=at)

    def get(self, delegation_id: str) -> Delegation:
        """See the port."""
        with self._database.reading() as connection:
            row = connection.execute(select(delegations).where(delegations.c.id == delegation_id)).one_or_none()
        if row is None:
            raise NotThere(f'there is no delegation "{delegation_id}"')
        return _delegation(row)

    def change(self, delegation: Delegation, *, was: Delegation, by: str, at: float) -> None:
        """See the port."""
        this = delegations.c.id == was.id
        with self._database.writing() as connection:
            row = connection.execute(select(delegations).where(this)).one_or_none()
            if row is None:
                raise NotThere(f'there is no delegation "{was.id}"')
            if _delegation(row) != was:
                raise ChangedMeanwhile(f'delegation "{was.id}" was changed meanwhile; look at it again')
            connection.execute(update(delegations).where(this).values(_columns(delegation)))
            note_change(connection, "delegation.changed", delegation.id, _told(delegation), by=by, at=at)

    def filled_by(self, delegate: str, *, at: float) -> tuple[Delegation, ...]:
        """See the port."""
        theirs = (delegations.c.delegate == delegate) & (delegations.c.ends_at > at)
        query = select(delegations).where(theirs).order_by(delegations.c.person, delegations.c.id)
        with self._database.reading() as connection:
            found = [_delegation(row) for row in connection.execute(query).all()]
        return tuple(one for one in found if one.is_in_force(at))

    def listed(self, people: Collection[str] | None = None) -> tuple[Delegation, ...]:
        """See the port."""
        query = select(delegations).order_by(delegations.c.id)
        if people is not None:
            names = sorted(people)
            query = query.where(or_(delegations.c.person.in_(names), delegations.c.delegate.in_(names)))
        with self._database.reading() as connection:
            return tuple(_delegation(row) for row in connection.execute(query).all())


def _columns(delegation: Delegation) -> dict[str, Any]:
    return {
        "id": delegation.id,
        "person": delegation.person,
        "delegate": delegation.delegate,
        "begins_at": delegation.begins_at,
        # What was taken back is passed over like what time has ended.
        "ends_at": delegation.ends_at if delegation.ended_at is None else min(delegation.ends_at, delegation.ended_at),
        "document": msgspec.json.encode(delegation).decode(),
    }


def _delegation(row: Row[Any]) -> Delegation:
    return msgspec.json.decode(row.document, type=Delegation)


def _told(delegation: Delegation) -> str:
    """What the change list says about one: all of it."""
    return msgspec.json.encode(delegation).decode()
