"""Questions written down as lapsed that nobody answered, or used, in time; those that nothing can use are taken back.

Nothing rests on this for what is let through: whoever looks at a question looks at the clock. It is for the lists, for
the record of changes, and so that what every process reads anew holds no more questions than are open.
"""

from __future__ import annotations

import asyncio
import logging
import time

from narrowgate.core.approvals import ApprovalEvent, ApprovalQuestion, after
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
            ended = question.at(now)
            if ended is question and self._is_useless(question, now):
                ended = after(question, ApprovalEvent.WITHDRAWN, now, f"task {question.credential} is over")
            if ended is not question:
                try:
                    self._store.approvals.change(ended, was=question, by=BY, at=now)
                except (ChangedMeanwhile, NotThere):
                    # It was answered or used at this very moment; then it is looked at again.
                    continue

    def _is_useless(self, question: ApprovalQuestion, now: float) -> bool:
        """Whether it is about a request that only the credential of a task could send, and that task is over."""
        if not question.digest:
            return False
        try:
            return self._store.tasks.get(question.credential).at(now).is_final
        except NotThere:
            # Asked with another credential than a task's.
            return False
