"""Requests that are being answered right now, judged again whenever what they were judged by has changed.

A watch, an exec or a long list may outlive the permission it began with. Every forwarded request is entered here; when
the snapshot is replaced or a deadline passes, the same question is asked again, and anything but Allow ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.proxy.state import State, StateStale

LOOK_SECONDS = 0.25
"""How often deadlines and snapshots are looked at; ending a stream takes at most this and a loop turn."""


class Running:
    """One request under way."""

    __slots__ = ("deadline", "decide_again", "end", "is_long", "number")

    def __init__(
        self,
        decide_again: Callable[[], Awaitable[Decision]],
        end: Callable[[str], None],
        deadline: float | None,
        number: int,
        *,
        is_long: bool,
    ) -> None:
        self.decide_again = decide_again
        self.end = end
        self.deadline = deadline
        """Unix seconds."""
        self.number = number
        """The snapshot it was last judged by."""
        self.is_long = is_long
        """Whether it may go on for as long as it likes (a watch, an exec)."""


class RunningRequests:
    """All requests under way in this process."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._running: set[Running] = set()

    def __len__(self) -> int:
        return len(self._running)

    @contextmanager
    def entered(self, running: Running) -> Iterator[None]:
        """Hold a request under watch for as long as it is answered."""
        self._running.add(running)
        try:
            yield
        finally:
            self._running.discard(running)

    async def watch_over(self) -> None:
        """Judge again what needs it, for as long as the gate runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.time()
            try:
                number = self._state.current(asyncio.get_running_loop().time()).number
            except StateStale as error:
                self.end_all(str(error))
                continue
            for running in list(self._running):
                expired = running.deadline is not None and now >= running.deadline
                if expired or running.number != number:
                    await self._judge(running, number)

    async def _judge(self, running: Running, number: int) -> None:
        try:
            decision = await running.decide_again()
        except StateStale as error:
            running.end(str(error))
            return
        if running not in self._running:
            # It was answered meanwhile; its connection may be somebody else's by now.
            return
        match decision:
            case Allow():
                running.number = number
                running.deadline = decision.deadline
            case Deny() | NeedsApproval():
                running.end(decision.message)

    def end_long(self, reason: str) -> None:
        """End what would never end by itself (the gate is stopping)."""
        for running in [each for each in self._running if each.is_long]:
            running.end(reason)

    def end_all(self, reason: str) -> None:
        """End everything that still runs."""
        for running in list(self._running):
            running.end(reason)
