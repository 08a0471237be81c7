"""The table of requests that agents were refused lately: short-lived, bounded, no part of the record.

The trail has every refusal for good; this is what an agent, or who answers for it, may ask for by the refusal's id.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert

from narrowgate.core.denied_request import DeniedRequest
from narrowgate.store.changes import Transactions
from narrowgate.store.port import NotThere
from narrowgate.store.tables import denied_requests

KEPT_SECONDS = 3600.0
"""An hour: whoever asks later sends the request again, and reads what is refused then."""
MOST_OF_ONE = 1_000
"""Of one identity, the newest: one command of a client is some ten of them."""
MOST_KEPT = 50_000
"""In all, the newest: some tens of megabytes at most, however many agents are refused however often."""


class DeniedRequestTable:
    """See `store.port.DeniedRequests`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def tell(self, denied: Sequence[DeniedRequest], *, now: float) -> None:
        """See the port."""
        kept = denied_requests.c
        newest = {one.audit_id: one for one in denied}
        with self._database.writing() as connection:
            connection.execute(delete(denied_requests).where(kept.at < now - KEPT_SECONDS))
            if newest:
                connection.execute(
                    insert(denied_requests).on_conflict_do_nothing(), [_columns(one) for one in newest.values()]
                )
            for holder in sorted({one.holder for one in denied}):
                own = select(kept.audit_id).where(kept.holder == holder).order_by(kept.at.desc(), kept.audit_id)
                # SQLite has no OFFSET without a LIMIT; -1 is none.
                connection.execute(delete(denied_requests).where(kept.audit_id.in_(own.limit(-1).offset(MOST_OF_ONE))))
            if (connection.execute(select(func.count()).select_from(denied_requests)).scalar() or 0) > MOST_KEPT:
                all_ = select(kept.audit_id).order_by(kept.at.desc(), kept.audit_id).limit(-1).offset(MOST_KEPT)
                connection.execute(delete(denied_requests).where(kept.audit_id.in_(all_)))

    def get(self, audit_id: str, *, now: float) -> DeniedRequest:
        """See the port."""
        kept = denied_requests.c
        query = select(kept.document).where((kept.audit_id == audit_id) & (kept.at >= now - KEPT_SECONDS))
        with self._database.reading() as connection:
            document = connection.execute(query).scalar()
        if document is None:
            raise NotThere(f'there is no request "{audit_id}" that was refused within the last hour')
        return msgspec.json.decode(document, type=DeniedRequest)


def _columns(one: DeniedRequest) -> dict[str, object]:
    document = msgspec.json.encode(one).decode()
    return {"audit_id": one.audit_id, "holder": one.holder, "at": one.at, "document": document}
