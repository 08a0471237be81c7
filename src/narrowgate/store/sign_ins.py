"""The table of people's sign-ins."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.tasks import TaskState
from narrowgate.store.changes import Transactions, move_generation, note_change
from narrowgate.store.port import AlreadyThere, NotThere
from narrowgate.store.tables import sign_ins, tasks

KEPT_SECONDS = 30 * 86_400
"""How long a sign-in is listed after it was over: a month of looking back. The trail has it for longer."""


class SignInTable:
    """See `store.port.SignIns`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def add(self, sign_in: SignIn, *, by: str, at: float) -> None:
        """See the port."""
        secrets = [sign_in.secret_hash]
        with self._database.writing() as connection:
            taken = (
                (sign_ins.c.id == sign_in.id)
                | sign_ins.c.secret_hash.in_(secrets)
                | sign_ins.c.previous_hash.in_(secrets)
            )
            if connection.execute(select(sign_ins.c.id).where(taken)).first():
                raise AlreadyThere("there is a sign-in with this id or secret already; make new ones")
            # As something new comes, what nobody will look for any more goes; nothing else ever would.
            connection.execute(delete(sign_ins).where(sign_ins.c.expires_at < at - KEPT_SECONDS))
            connection.execute(insert(sign_ins).values(_columns(sign_in)))
            told = {"person": sign_in.person, "source": sign_in.source, "client": sign_in.client.value}
            detail = msgspec.json.encode(told | {"sourceIP": sign_in.source_ip}).decode()
            note_change(connection, "signin.added", sign_in.id, detail, by=by, at=at)
            # Somebody in an emergency is in it with the groups of their newest sign-in.
            at_work = (tasks.c.name == sign_in.person) & (tasks.c.state == TaskState.ACTIVE.value)
            if connection.execute(select(tasks.c.id).where(at_work)).first():
                move_generation(connection)

    def get(self, sign_in_id: str) -> SignIn:
        """See the port."""
        with self._database.reading() as connection:
            row = connection.execute(select(sign_ins).where(sign_ins.c.id == sign_in_id)).one_or_none()
        if row is None:
            raise NotThere(f'there is no sign-in "{sign_in_id}"')
        return _sign_in(row)

    def by_secret(self, secret_hash: bytes) -> SignIn:
        """See the port."""
        same = (sign_ins.c.secret_hash == secret_hash) | (sign_ins.c.previous_hash == secret_hash)
        with self._database.reading() as connection:
            row = connection.execute(select(sign_ins).where(same)).first()
        if row is None:
            raise NotThere("there is no sign-in with this secret")
        return _sign_in(row)

    def renew(self, sign_in_id: str, old_hash: bytes, new_hash: bytes, *, at: float) -> bool:
        """See the port."""
        this = (sign_ins.c.id == sign_in_id) & (sign_ins.c.secret_hash == old_hash) & sign_ins.c.ended_at.is_(None)
        with self._database.writing() as connection:
            renewed = {"secret_hash": new_hash, "previous_hash": old_hash, "renewed_at": at}
            return connection.execute(update(sign_ins).where(this).values(renewed)).rowcount == 1

    def end(self, sign_in_id: str, because: str, *, by: str, at: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            row = connection.execute(select(sign_ins).where(sign_ins.c.id == sign_in_id)).one_or_none()
            if row is None:
                raise NotThere(f'there is no sign-in "{sign_in_id}"')
            if row.ended_at is not None:
                return
            ended = {"ended_at": at, "ended_because": because}
            connection.execute(update(sign_ins).where(sign_ins.c.id == sign_in_id).values(ended))
            detail = msgspec.json.encode({"person": row.person, "because": because}).decode()
            note_change(connection, "signin.ended", sign_in_id, detail, by=by, at=at)
            move_generation(connection)

    def listed(
        self,
        person: str = "",
        *,
        running_at: float | None = None,
        limit: int = 100,
        behind: tuple[float, str] | None = None,
    ) -> tuple[SignIn, ...]:
        """See the port."""
        query = select(sign_ins).order_by(sign_ins.c.created_at.desc(), sign_ins.c.id).limit(limit)
        if person:
            query = query.where(sign_ins.c.person == person)
        if running_at is not None:
            query = query.where(sign_ins.c.ended_at.is_(None) & (sign_ins.c.expires_at > running_at))
        if behind is not None:
            at, last = behind
            older = sign_ins.c.created_at < at
            query = query.where(older | ((sign_ins.c.created_at == at) & (sign_ins.c.id > last)))
        with self._database.reading() as connection:
            return tuple(_sign_in(row) for row in connection.execute(query).all())

    def ended_since(self, at: float) -> frozenset[str]:
        """See the port."""
        with self._database.reading() as connection:
            rows = connection.execute(select(sign_ins.c.id).where(sign_ins.c.ended_at >= at)).all()
        return frozenset(row.id for row in rows)


def _columns(sign_in: SignIn) -> dict[str, Any]:
    return msgspec.structs.asdict(sign_in) | {
        "groups": msgspec.json.encode(sign_in.groups).decode(),
        "claims": msgspec.json.encode(sign_in.claims).decode(),
        "client": sign_in.client.value,
        "previous_hash": sign_in.previous_hash or None,
    }


def _sign_in(row: Row[Any]) -> SignIn:
    columns = dict(row._mapping)
    columns["groups"] = msgspec.json.decode(columns["groups"], type=tuple[str, ...])
    columns["claims"] = msgspec.json.decode(columns["claims"], type=tuple[tuple[str, str], ...])
    columns["client"] = Client(columns["client"])
    columns["previous_hash"] = columns["previous_hash"] or b""
    return SignIn(**columns)
