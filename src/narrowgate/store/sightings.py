"""The table of where agents' credentials are used, by the process that saw it: short-lived, no part of the record."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from narrowgate.core.sighting import Sighting
from narrowgate.store.changes import Transactions
from narrowgate.store.tables import sightings

MOST_HEARD = 10_000
"""Sightings that are read at a time, the latest first: as many as a process remembers."""


class SightingTable:
    """See `store.port.Sightings`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def tell(self, seen: Sequence[Sighting], *, by: str, forget_before: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            connection.execute(delete(sightings).where(sightings.c.at < forget_before))
            if seen:
                rows = [msgspec.structs.asdict(one) | {"writer": by} for one in seen]
                added = insert(sightings)
                later = {name: added.excluded[name] for name in ("agent", "user_agent", "at")}
                key = ("proof", "network", "writer")
                connection.execute(added.on_conflict_do_update(index_elements=key, set_=later), rows)

    def others(self, *, by: str, since: float) -> tuple[Sighting, ...]:
        """See the port."""
        wanted = [sightings.c[name] for name in Sighting.__struct_fields__]
        query = select(*wanted).where((sightings.c.writer != by) & (sightings.c.at >= since))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(sightings.c.at.desc()).limit(MOST_HEARD)).all()
        return tuple(Sighting(**row._mapping) for row in rows)
