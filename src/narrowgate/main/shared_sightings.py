"""The processes of a gate tell each other where agents' credentials are used: each sees its own connections only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from narrowgate.core.sighting import Sighting
from narrowgate.proxy.sightings import AT_WORK, Sightings
from narrowgate.store.port import Store, StoreUnavailable

SHARE_SECONDS = 5.0
"""How often: what two processes see is noticed within two of these."""

log = logging.getLogger("narrowgate.sightings")


async def share(sightings: Sightings, store: Store, by: str) -> None:
    """Tell what the process `by` saw, and hear what the others did, for as long as the gate runs.

    A store that is away costs what would have been noticed meanwhile, and nothing else: no request waits for this.
    """
    trouble = ""
    heard_at = 0.0
    while True:
        await asyncio.sleep(SHARE_SECONDS)
        now = time.time()
        try:
            heard = await asyncio.to_thread(_swap, store, sightings.to_tell(now), by, heard_at)
            # Rows are written a moment after they were seen; what is heard twice changes nothing.
            heard_at = now - 2 * SHARE_SECONDS
            trouble = ""
        except StoreUnavailable as error:
            if str(error) != trouble:
                trouble = str(error)
                log.warning("what other processes see is not known: %s", trouble)
            continue
        sightings.hear(heard, now)


def _swap(store: Store, told: Sequence[Sighting], by: str, since: float) -> tuple[Sighting, ...]:
    now = time.time()
    if told:
        store.sightings.tell(told, by=by, forget_before=now - AT_WORK)
    return store.sightings.others(by=by, since=max(since, now - AT_WORK))
