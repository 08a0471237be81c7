"""What a process counted of the rules that let requests through, told to the store every few seconds."""

from __future__ import annotations

import asyncio
import logging
import time

from narrowgate.proxy.rule_uses import CountedRuleUses
from narrowgate.store.port import Store, StoreUnavailable

TELL_SECONDS = 10.0
"""How often: a gate that is killed loses what was used for the first time within this; one that is stopped, nothing."""

log = logging.getLogger("narrowgate.rule_uses")


class SharedRuleUses:
    """Tells the store what one process counts; no request waits for it."""

    def __init__(self, counted: CountedRuleUses, store: Store) -> None:
        self._counted = counted
        self._store = store
        self._begun = False
        self._trouble = ""

    async def follow(self) -> None:
        """Tell again and again, for as long as the gate runs."""
        while True:
            await self.tell()
            await asyncio.sleep(TELL_SECONDS)

    async def tell(self) -> None:
        """Tell what was counted since the last time. While the store is away it is kept, within its limit."""
        uses, lost_at = self._counted.take()
        try:
            if not self._begun:
                await asyncio.to_thread(self._store.rule_uses.begin, time.time())
                self._begun = True
            if uses or lost_at is not None:
                await asyncio.to_thread(self._store.rule_uses.tell, uses, lost_at=lost_at)
            self._trouble = ""
        except StoreUnavailable as error:
            self._counted.put_back(uses, lost_at)
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("when rules are used cannot be kept: %s", self._trouble)
