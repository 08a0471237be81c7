"""The text of recordings, kept up to date while they are made: by one process for all, and at a low rate."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Final

from narrowgate.main.text_filling import Filled, TextFilling
from narrowgate.recordings.port import RecordingsUnavailable
from narrowgate.trail.text_file import TextUnusable

LOOK_SECONDS: Final = 5.0
"""From one look at the recordings to the next: in object storage each one is a request or two, paid for."""

REST: Final = 19.0
"""Of the time that taking in took, rested afterwards: at most a twentieth of a processor, which is some hundred
kilobytes of text a second. What a busy hour leaves behind is taken in later, or by whoever searches."""

BITE_SECONDS: Final = 0.5
"""For which text is taken in at a time; a command that searches waits for no longer than that."""

AGAIN_SECONDS: Final = 60.0
"""After a failure: a full disk or a store that is away is not mended sooner, and each try says why in the log."""

log = logging.getLogger("narrowgate.control")


class TextFollowing:
    """Follows recordings. A gate without a search for text works all the same, so that no failure ends it."""

    def __init__(self, filling: TextFilling) -> None:
        self._filling = filling
        self._stop = threading.Event()

    async def follow(self) -> None:
        """Keep up for as long as the process runs; ends within an entry when it is cancelled."""
        try:
            while True:
                try:
                    with self._filling.follows() as held:
                        if held:
                            await self._keep_up()
                except (TextUnusable, RecordingsUnavailable, OSError) as error:
                    log.warning("the text of recordings cannot be searched up to date: %s", error)
                    await asyncio.sleep(AGAIN_SECONDS)
                else:
                    # A command reads what a killed gate left.
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._stop.set()

    async def _keep_up(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.to_thread(self.take_in)
            await asyncio.sleep(max(LOOK_SECONDS, REST * (time.monotonic() - began)))

    def take_in(self) -> Filled:
        """Take a bite. Raises as `TextFilling.fill`."""
        deadline = time.monotonic() + BITE_SECONDS
        return self._filling.fill(lambda: self._stop.is_set() or time.monotonic() > deadline, is_following=True)
