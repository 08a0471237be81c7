"""How telling people goes, as metrics: kept up by looking at the store, because another process does the telling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from narrowgate.store.port import NotificationCursor, Store, StoreUnavailable

LOOK_SECONDS = 10.0
"""From one look to the next: scrapers come every fifteen seconds or so."""

log = logging.getLogger("narrowgate.notifications")


class ToldReceivers(Collector):
    """The failed attempts of each configured receiver, as they were at the last look."""

    def __init__(self, store: Store, names: Iterable[str]) -> None:
        self._store = store
        self._attempts = dict.fromkeys(names, 0)

    async def follow(self) -> None:
        """Look for as long as the process runs. A store that is away leaves the numbers as they are."""
        while self._attempts:
            try:
                self.take(await asyncio.to_thread(self._store.notifications.cursors))
            except StoreUnavailable as error:
                log.debug("how telling goes is not known now: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    def take(self, cursors: Iterable[NotificationCursor]) -> None:
        """Remember what a look has found."""
        for cursor in cursors:
            if cursor.receiver in self._attempts:
                self._attempts[cursor.receiver] = cursor.attempts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus asks for."""
        if not self._attempts:
            return
        told = "Failed attempts at the next message to a receiver of notifications; 0 while all is well."
        family = GaugeMetricFamily("narrowgate_notification_attempts", told, labels=["receiver"])
        for name, attempts in self._attempts.items():
            family.add_metric([name], attempts)
        yield family
