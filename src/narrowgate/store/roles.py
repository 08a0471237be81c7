"""The table of roles in the gate that people were given by name."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, insert, select

from narrowgate.store.changes import Transactions, note_change
from narrowgate.store.port import NotThere, RoleGrant
from narrowgate.store.tables import role_grants


class RoleTable:
    """See `store.port.Roles`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def give(self, grant: RoleGrant) -> None:
        """See the port."""
        this = (role_grants.c.person == grant.person) & (role_grants.c.role == grant.role)
        with self._database.writing() as connection:
            if connection.execute(select(role_grants).where(this)).first():
                return
            connection.execute(insert(role_grants).values(msgspec.structs.asdict(grant)))
            detail = msgspec.json.encode({"role": grant.role}).decode()
            note_change(connection, "role.given", grant.person, detail, by=grant.given_by, at=grant.given_at)

    def take(self, person: str, role: str, *, by: str, at: float) -> None:
        """See the port."""
        this = (role_grants.c.person == person) & (role_grants.c.role == role)
        with self._database.writing() as connection:
            if connection.execute(delete(role_grants).where(this)).rowcount == 0:
                raise NotThere(f'{person} was not given the role "{role}"; look at the list of roles')
            note_change(connection, "role.taken", person, msgspec.json.encode({"role": role}).decode(), by=by, at=at)

    def listed(self) -> tuple[RoleGrant, ...]:
        """See the port."""
        with self._database.reading() as connection:
            rows = connection.execute(select(role_grants).order_by(role_grants.c.person, role_grants.c.role)).all()
        return tuple(RoleGrant(**row._mapping) for row in rows)
