"""Questions written down as lapsed that nobody answered, or used, in time.

Nothing rests on this for what is let through: whoever looks at a question looks at the clock. It is for the lists, for
the record of changes, and so that what every process reads anew holds no more questions than are open.
"""

from __future__ import annotations

import asyncio
import logging
import time

from narrowgate.store.port import ChangedMeanwhile, NotThere, Store, StoreUnavailable

SWEEP_SECONDS = 5.0
"""From one look to the next: lists lag that much behind, at most."""

BY = "gate"
"""Who changes are signed by that nobody asked for."""

log = logging.getLogger("narrowgate.control")


class ApprovalEnds:
    """Looks at the open questions of a store again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def follow(self) -> None:
        """Write down what lapsed for as long as the process runs. A store that is away is asked again next time."""
        while True:
            try:
                await asyncio.to_thread(self.sweep, time.time())
            except StoreUnavailable as error:
                log.warning("the ends of approvals cannot be written down now: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    def sweep(self, now: float) -> None:
        """Write down every question whose time is over at `now` (Unix seconds). Raises StoreUnavailable."""
        for question in self._store.approvals.open():
            lapsed = question.at(now)
            if lapsed is not question:
                try:
                    self._store.approvals.change(lapsed, was=question, by=BY, at=now)
                except (ChangedMeanwhile, NotThere):
                    # It was answered or used at this very moment; then it is looked at again.
                    continue
