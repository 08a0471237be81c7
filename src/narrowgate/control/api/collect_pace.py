"""How often somebody may ask whether people have answered: as in OpenID Connect CIBA (Core 1.0, sections 7.3 and 11).

Kept in the memory of the control process: whoever finds another one is told to wait by that one, too.
"""

from __future__ import annotations

import threading

INTERVAL_SECONDS = 2
"""From one question to the next, as it is told with a task that waits: people take longer than that to read."""

MOST_REMEMBERED = 10_000
"""Tasks that are asked about within an interval: all that can wait of five hundred agents."""


class CollectPace:
    """When each waiting task was last asked about. For several threads."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_too_fast(self, task: str, now: float) -> bool:
        """Whether the task was asked about less than an interval before `now` (Unix seconds); it is noted that it is
        asked about now.
        """
        with self._lock:
            before = self._asked.pop(task, None)
            while self._asked and (len(self._asked) >= MOST_REMEMBERED or self._is_over(now)):
                del self._asked[next(iter(self._asked))]
            self._asked[task] = now
        # A clock that was set back tells nothing.
        return before is not None and 0 <= now - before < INTERVAL_SECONDS

    def _is_over(self, now: float) -> bool:
        return not 0 <= now - next(iter(self._asked.values())) < INTERVAL_SECONDS
