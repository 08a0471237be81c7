"""The recorder of one process, opened as the configuration wants it, and what is forgotten of recordings in time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from narrowgate.config import Config, recording_keys, recording_store
from narrowgate.file_lock import ENDING_SECONDS
from narrowgate.proxy.recordings import Recorder, Told
from narrowgate.recordings.port import RecordingStore, RecordingsUnavailable
from narrowgate.recordings.retention import Kept, KnownKinds, remove_old
from narrowgate.recordings.sealing import RecordingKey
from narrowgate.recordings.spool import Spool

LOOK_SECONDS = 3_600.0
"""From one look to the next, as for tasks: days are kept."""

BATCH = 200
"""Recordings removed at a time, each with a request or two of its own where the store is far away."""

PAUSE_SECONDS = 1.0
"""Between two batches."""

log = logging.getLogger("narrowgate.recordings")


def open_recorder(config: Config, writer: str, told: Told) -> Recorder:
    """The recorder of the process called `writer`. What a killed gate left is finished first, and `told`.

    Blocks on the disk, and for a process that is just ending: at start only. Raises RecordingUnwritable, SpoolInUse,
    ConfigError.
    """
    store = recording_store(config)
    spool = Spool.open(config.data_dir / "spool", writer, recording_keys(config), wait=ENDING_SECONDS)
    finished, problems = spool.recover()
    for problem in problems:
        log.warning("%s", problem)
    for head in finished:
        told(head)
    return Recorder(spool, store, told)


class RecordingRetention:
    """Looks again and again for recordings that were kept long enough."""

    def __init__(self, store: RecordingStore, kept: Kept, keys: Sequence[RecordingKey]) -> None:
        """The keys are for headers, where kinds are kept for different times."""
        self._store = store
        self._kept = kept
        self._kinds = KnownKinds(store, keys)

    async def follow(self) -> None:
        """Remove for as long as the process runs. A store that is away is asked again next time."""
        if self._kept.shortest is None:
            return
        while True:
            try:
                more = await asyncio.to_thread(self.remove, time.time())
            except RecordingsUnavailable as error:
                log.warning("old recordings cannot be removed now: %s", error)
                more = False
            await asyncio.sleep(PAUSE_SECONDS if more else LOOK_SECONDS)

    def remove(self, now: float) -> bool:
        """Remove one batch, at `now` (Unix seconds); whether there is more. Raises RecordingsUnavailable."""
        removed = remove_old(self._store, self._kept, now, BATCH, self._kinds)
        if removed:
            log.info(
                "removed %d recordings, %s to %s, as retention.recordings says", len(removed), removed[0], removed[-1]
            )
        return len(removed) == BATCH
