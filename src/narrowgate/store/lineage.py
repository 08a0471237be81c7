"""The tables of lineage: who had which object made, and writes of which nobody knows yet what they made."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from narrowgate.core.leftovers import Leftover, created_under
from narrowgate.core.lineage import Author, PendingWrite, Placement
from narrowgate.store.changes import Transactions, move_generation
from narrowgate.store.leftovers import forget_people, note_created, note_made_before, note_owned, note_person
from narrowgate.store.tables import leftovers, lineage, lineage_writes

_objects = lineage.c
_writes = lineage_writes.c


class LineageTable:
    """See `store.port.Lineage`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def begin(self, write: PendingWrite) -> None:
        """See the port."""
        columns = {
            "audit_id": write.audit_id,
            "cluster": write.cluster,
            "resource": write.resource,
            "namespace": write.namespace,
            "at": write.at,
            "document": msgspec.json.encode(write).decode(),
        }
        with self._database.writing() as connection:
            connection.execute(insert(lineage_writes).values(columns))
            _have_it_looked_at(connection, write)

    def drop(self, audit_id: str) -> None:
        """See the port."""
        query = select(_writes.document).where(_writes.audit_id == audit_id)
        with self._database.writing() as connection:
            document = connection.execute(query).scalar()
            _drop(connection, audit_id)
            if document is not None:
                _have_it_looked_at(connection, msgspec.json.decode(document, type=PendingWrite))

    def pending(self, cluster: str, resource: str, namespace: str) -> tuple[PendingWrite, ...]:
        """See the port."""
        here = (_writes.cluster == cluster) & (_writes.resource == resource) & (_writes.namespace == namespace)
        with self._database.reading() as connection:
            found = connection.execute(select(_writes.document).where(here).order_by(_writes.at)).scalars().all()
        return tuple(msgspec.json.decode(document, type=PendingWrite) for document in found)

    def lost(self, cluster: str, begun_before: float, *, limit: int = 1000) -> tuple[PendingWrite, ...]:
        """See the port."""
        here = (_writes.cluster == cluster) & (_writes.at < begun_before)
        query = select(_writes.document).where(here).order_by(_writes.at, _writes.audit_id).limit(limit)
        with self._database.reading() as connection:
            found = connection.execute(query).scalars().all()
        return tuple(msgspec.json.decode(document, type=PendingWrite) for document in found)

    def add(self, placement: Placement, *, answered: str = "", created: bool = False) -> Placement:
        """See the port."""
        with self._database.writing() as connection:
            if answered:
                _drop(connection, answered)
            for task in created_under(placement.authors) if created else ():
                note_created(connection, Leftover(task=task, cluster=placement.cluster, uid=placement.uid))
            kept = _get(connection, placement.cluster, placement.uid)
            if created and kept is not None:
                note_made_before(connection, placement.cluster, placement.uid)
            if kept is None:
                # Written by the same unions as what is added later: what is kept does not hang on which came first.
                new = msgspec.structs.replace(placement, authors=()).grown(placement.authors)
                connection.execute(insert(lineage).values(_columns(new) | {"number": 0}))
                note_owned(connection, new.cluster, new.uid, new.owners)
                return new
            grown = kept.grown(
                placement.authors, placement.owners, is_settled=placement.is_settled, audit_id=placement.audit_id
            )
            if grown == kept:
                return kept
            columns = _columns(grown)
            note_owned(connection, grown.cluster, grown.uid, grown.owners)
            if kept.is_settled and grown.authors != kept.authors:
                columns["number"] = _next_number(connection)
            here = (_objects.cluster == placement.cluster) & (_objects.uid == placement.uid)
            connection.execute(update(lineage).where(here).values(columns))
            return grown

    def changed_by_a_person(self, cluster: str, uid: str, *, answered: str, at: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            note_person(connection, cluster, uid, at)
            _drop(connection, answered)

    def get(self, cluster: str, uid: str) -> Placement | None:
        """See the port."""
        with self._database.reading() as connection:
            return _get(connection, cluster, uid)

    def is_there(self, cluster: str, uid: str) -> bool:
        """See the port."""
        here = (_objects.cluster == cluster) & (_objects.uid == uid) & _objects.gone_at.is_(None)
        with self._database.reading() as connection:
            return connection.execute(select(_objects.uid).where(here)).first() is not None

    def grown_since(self, number: int) -> tuple[int, tuple[tuple[str, str], ...]]:
        """See the port."""
        query = select(_objects.cluster, _objects.uid, _objects.number).where(_objects.number > number)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        newest = max((row.number for row in rows), default=number)
        return newest, tuple((row.cluster, row.uid) for row in rows)

    def listed(
        self, cluster: str, resource: str = "", *, limit: int = 1000, with_gone: bool = False
    ) -> tuple[Placement, ...]:
        """See the port."""
        here = _objects.cluster == cluster
        if not with_gone:
            here &= _objects.gone_at.is_(None)
        if resource:
            here &= _objects.resource == resource
        query = select(lineage).where(here).order_by(_objects.first_at.desc(), _objects.uid).limit(limit)
        with self._database.reading() as connection:
            return tuple(_placement(row) for row in connection.execute(query).all())

    def gone(self, cluster: str, uid: str, *, at: float) -> None:
        """See the port."""
        here = (_objects.cluster == cluster) & (_objects.uid == uid) & _objects.gone_at.is_(None)
        with self._database.reading() as connection:
            if connection.execute(select(_objects.uid).where(here)).first() is None:
                # Most that goes in a cluster was never the gate's: the write lock is for what was.
                return
        with self._database.writing() as connection:
            connection.execute(update(lineage).where(here).values(gone_at=at))

    def prune(self, gone_before: float, begun_before: float, limit: int) -> int:
        """See the port."""
        with self._database.writing() as connection:
            # The newest number stays: the next is counted from it.
            newest = select(func.max(_objects.number)).scalar_subquery()
            over = (_objects.gone_at < gone_before) & ((_objects.number == 0) | (_objects.number < newest))
            objects = connection.execute(select(_objects.cluster, _objects.uid).where(over).limit(limit)).all()
            for row in objects:
                connection.execute(delete(lineage).where((_objects.cluster == row.cluster) & (_objects.uid == row.uid)))
                here = (leftovers.c.cluster == row.cluster) & (leftovers.c.uid == row.uid)
                connection.execute(delete(leftovers).where(here))
            forget_people(connection, gone_before)
            old = select(_writes.audit_id).where(_writes.at < begun_before).limit(limit)
            writes = connection.execute(old).scalars().all()
            connection.execute(delete(lineage_writes).where(_writes.audit_id.in_(writes)))
        return len(objects) + len(writes)


def _have_it_looked_at(connection: Connection, write: PendingWrite) -> None:
    """Have everybody who remembers what this write may change look again: whether it was made nobody may ever know."""
    if write.is_create or not write.author:
        return
    mine = (_objects.cluster == write.cluster) & (_objects.resource == write.resource)
    mine &= (_objects.namespace == write.namespace) & (_objects.name == write.name) & _objects.gone_at.is_(None)
    for row in connection.execute(select(lineage).where(mine)).all():
        kept = _placement(row)
        if kept.is_settled and kept.grown((write.author,)) != kept:
            here = (_objects.cluster == kept.cluster) & (_objects.uid == kept.uid)
            connection.execute(update(lineage).where(here).values(number=_next_number(connection)))


def _next_number(connection: Connection) -> int:
    """Of something that everybody has to hear of."""
    move_generation(connection)
    return (connection.execute(select(func.max(_objects.number))).scalar() or 0) + 1


def _drop(connection: Connection, audit_id: str) -> None:
    connection.execute(delete(lineage_writes).where(_writes.audit_id == audit_id))


def _get(connection: Connection, cluster: str, uid: str) -> Placement | None:
    here = (_objects.cluster == cluster) & (_objects.uid == uid)
    row = connection.execute(select(lineage).where(here)).one_or_none()
    return None if row is None else _placement(row)


def _columns(placement: Placement) -> dict[str, Any]:
    return msgspec.structs.asdict(placement) | {
        "authors": msgspec.json.encode(placement.authors).decode(),
        "owners": msgspec.json.encode(placement.owners).decode(),
    }


def _placement(row: Row[Any]) -> Placement:
    columns = dict(row._mapping)
    del columns["number"]
    columns["authors"] = msgspec.json.decode(columns["authors"], type=tuple[Author, ...])
    columns["owners"] = msgspec.json.decode(columns["owners"], type=tuple[str, ...])
    return Placement(**columns)
