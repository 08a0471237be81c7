"""The search index of the record, kept up to date while the gate's processes write: one process does that for all."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import closing
from pathlib import Path

from narrowgate.trail.index import Index
from narrowgate.trail.index_file import IndexUnusable

LOOK_SECONDS = 2.0
"""From one look at the journals to the next: what was done is found about as soon as somebody can ask for it."""

REST = 49.0
"""Of the time that taking in took, rested afterwards: at most a fiftieth of a processor is taken from requests. That
keeps up with some two hundred requests a second; what a busy hour leaves behind is taken in later, or by whoever
searches."""

BITE = 16 * 1024 * 1024
"""Bytes of the record taken in at a time, about half a second's work: between two, a command may take its turn."""

AGAIN_SECONDS = 60.0
"""After a failure: a full disk is not mended sooner, and each try says why in the log."""

log = logging.getLogger("narrowgate.control")


class SearchIndex:
    """Takes in what the journals gain. A gate without a search works all the same, so that no failure ends it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = threading.Event()

    async def follow(self) -> None:
        """Keep up for as long as the process runs; ends within a batch when it is cancelled."""
        try:
            while True:
                began = time.monotonic()
                try:
                    await asyncio.to_thread(self.take_in)
                    pause = max(LOOK_SECONDS, REST * (time.monotonic() - began))
                except (IndexUnusable, OSError) as error:
                    log.warning("the record cannot be searched up to date: %s", error)
                    pause = AGAIN_SECONDS
                await asyncio.sleep(pause)
        finally:
            self._stop.set()

    def take_in(self) -> bool:
        """Take a bite; False where another process is at it. Raises IndexUnusable, OSError."""
        taken = 0

        def progress(done: int, total: int) -> None:  # noqa: ARG001 (what is left waits for the next bite)
            nonlocal taken
            taken = done

        with closing(Index.open(self._folder)) as index:
            if index.in_memory:
                raise IndexUnusable(f"{self._folder} cannot be written, so that no search index can be kept in it")
            return index.update(progress, stop=lambda: taken >= BITE or self._stop.is_set(), wait=0.0)
