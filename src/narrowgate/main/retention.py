"""Tasks, questions, and changes to them, dropped from the store once they are over for as long as they are kept.

The record (the trail) keeps their story; the store is what is looked things up in, and must not grow for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from narrowgate.store.port import Store, StoreUnavailable

LOOK_SECONDS = 3_600.0
"""From one look to the next: days are kept, so an hour more or less is nothing."""

LINEAGE_SECONDS = 86_400.0
"""For which it is kept who had an object made that is gone: what it owned may still be looked at for the first time."""

LOST_WRITES_SECONDS = 7 * 86_400.0
"""For which writes are kept of which nobody knows what they made."""

BATCH = 200
"""Rows dropped in one transaction: it holds the store's only write lock for some milliseconds."""

PAUSE_SECONDS = 0.05
"""Between two batches, so that others get at the lock."""

LEAST_LISTED = 30 * 86_400.0
"""Seconds for which changes are listed however little is kept: receivers of notifications that were down read them."""

log = logging.getLogger("narrowgate.control")


class Retention:
    """Looks again and again for what was kept long enough."""

    def __init__(self, store: Store, kept: float) -> None:
        """`kept` is in seconds, from the end of what is kept."""
        self._store = store
        self._kept = kept

    async def follow(self) -> None:
        """Prune for as long as the process runs. A store that is away is asked again next time."""
        while True:
            try:
                more = await asyncio.to_thread(self.prune, time.time())
            except StoreUnavailable as error:
                log.warning("old tasks cannot be dropped from the store now: %s", error)
                more = False
            await asyncio.sleep(PAUSE_SECONDS if more else LOOK_SECONDS)

    def prune(self, now: float) -> bool:
        """Drop one batch of each sort, at `now` (Unix seconds); whether there is more. Raises StoreUnavailable."""
        pruning = self._store.pruning
        sorts: tuple[tuple[Callable[[float, int], int], float], ...] = (
            (pruning.tasks, self._kept),
            (pruning.questions, self._kept),
            (pruning.changes, max(self._kept, LEAST_LISTED)),
        )
        dropped = [drop(now - kept, BATCH) for drop, kept in sorts]
        dropped.append(self._store.lineage.prune(now - LINEAGE_SECONDS, now - LOST_WRITES_SECONDS, BATCH))
        return max(dropped) >= BATCH
