"""The table of when rules were last used, by whom and where: kept for people to read, judged by nobody.

One row without a holder says since when nothing is missing here. It moves on whenever something had to be left out, so
that "never used" is never said of what may have been used.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from narrowgate.core.standing import RuleUse, RuleUses
from narrowgate.store.changes import Transactions
from narrowgate.store.tables import rule_uses

MOST_KEPT = 10_000
"""Rows: identities times the rules they use, of the largest installation that is thought of. The oldest go first."""

_KEY = ("holder", "cluster", "policy", "rule")

_COUNTING = {"holder": "", "cluster": "", "policy": "", "rule": ""}
"""The key of the row that says since when nothing is missing; no identity is called so."""


class RuleUseTable:
    """See `store.port.RuleUseLog`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def begin(self, at: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            connection.execute(insert(rule_uses).values(_COUNTING | {"at": at}).on_conflict_do_nothing())

    def tell(self, uses: Sequence[RuleUse], *, lost_at: float | None = None) -> None:
        """See the port."""
        with self._database.writing() as connection:
            _keep_latest(connection, [msgspec.structs.asdict(use) for use in uses])
            dropped_at = _drop_oldest(connection)
            missing = [at for at in (lost_at, dropped_at) if at is not None]
            if missing:
                _keep_latest(connection, [_COUNTING | {"at": max(missing)}])

    def known(self) -> RuleUses:
        """See the port."""
        query = select(*[rule_uses.c[name] for name in RuleUse.__struct_fields__]).order_by(rule_uses.c.at.desc())
        with self._database.reading() as connection:
            found = [RuleUse(**row._mapping) for row in connection.execute(query).all()]
        since = next((use.at for use in found if not use.holder), None)
        return RuleUses(tuple(use for use in found if use.holder), since)


def _keep_latest(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Add rows; of two about the same the later one stays, whichever process tells it first."""
    if rows:
        added = insert(rule_uses)
        later = {"at": func.max(rule_uses.c.at, added.excluded.at)}
        connection.execute(added.on_conflict_do_update(index_elements=_KEY, set_=later), rows)


def _drop_oldest(connection: Connection) -> float | None:
    """Drop what is too much; the time of the latest use that went, None where none did."""
    used = rule_uses.c.holder != ""
    newest = select(rule_uses.c.at).where(used).order_by(rule_uses.c.at.desc())
    last: float | None = connection.execute(newest.offset(MOST_KEPT).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(rule_uses).where(used & (rule_uses.c.at <= last)))
    return last
