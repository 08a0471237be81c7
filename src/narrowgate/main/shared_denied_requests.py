"""What agents are refused is written down by each process, to be asked for by its id at the control port."""

from __future__ import annotations

import asyncio
import logging
import time

from narrowgate.proxy.denied_requests import DeniedRequests
from narrowgate.store.port import Store, StoreUnavailable

WRITE_SECONDS = 0.5
"""Shortest time between two writes: however much is refused, the store is written twice a second at most."""

log = logging.getLogger("narrowgate.denied")


async def write_down(denied: DeniedRequests, store: Store) -> None:
    """Write down what is refused, for as long as the gate runs. What a store that is away misses is lost: it stands in
    the refusals themselves, and no request waits for this.
    """
    trouble = ""
    while True:
        taken = await denied.taken()
        try:
            await asyncio.to_thread(store.denied_requests.tell, taken, now=time.time())
            trouble = ""
        except StoreUnavailable as error:
            if str(error) != trouble:
                trouble = str(error)
                log.warning("what is refused cannot be asked for by its id: %s", trouble)
        await asyncio.sleep(WRITE_SECONDS)
