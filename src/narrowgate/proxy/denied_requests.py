"""What agents were refused, until it is written down where they can ask for it by its id.

Touched by the event loop only. A refusal costs one entry of a list here; how many are kept is bounded for each identity
and in all, so that whoever is refused again and again loses its own oldest, and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque

from narrowgate.core.denied_request import DeniedRequest

MOST_OF_ONE = 100
"""Refusals of one identity between two times they are written down, half a second: a command makes some ten."""
MOST_IDENTITIES = 200
"""Identities that are refused something within that time; what others lack stands in their refusals anyway."""


class DeniedRequests:
    """Refusals of one process that are not yet written down."""

    def __init__(self) -> None:
        self._of: dict[str, deque[DeniedRequest]] = {}
        self._some = asyncio.Event()

    def note(self, denied: DeniedRequest) -> None:
        """Keep one, in the place of its sender's oldest where that has too many."""
        if denied.holder not in self._of and len(self._of) >= MOST_IDENTITIES:
            return
        self._of.setdefault(denied.holder, deque(maxlen=MOST_OF_ONE)).append(denied)
        self._some.set()

    async def taken(self) -> list[DeniedRequest]:
        """All of them, once there is one; they are kept here no longer."""
        await self._some.wait()
        self._some.clear()
        taken, self._of = self._of, {}
        return [one for each in taken.values() for one in each]
