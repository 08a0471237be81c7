"""Requests that are being answered right now, judged again whenever what they were judged by has changed.

A watch, an exec or a long list may outlive the permission it began with. Every forwarded request is entered here; when
the snapshot is replaced, a deadline passes, or its proof may have ended elsewhere without a word, the same question is
asked again, and anything but Allow ends it. So does no answer in time: one that waits for a cluster or an issuer holds
up nothing but itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import assert_never

from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.proxy.state import State, StateStale

LOOK_SECONDS = 0.25
"""How often deadlines and snapshots are looked at; ending a stream takes at most this and a loop turn."""

CHANGED_SECONDS = 0.5
"""For the answer once what a request was judged by has changed: with the look before, it ends within a second."""

RECHECK_SECONDS = 10.0
"""For the answer where nothing is known to have changed and only the proof is looked at again."""

GONE_BY = 403
"""The HTTP status of an end, unless it was told another."""

log = logging.getLogger("narrowgate.running")


class Running:
    """One request under way."""

    __slots__ = (
        "asked_at",
        "code",
        "deadline",
        "decide_again",
        "end",
        "is_long",
        "judging",
        "look_at",
        "number",
        "over",
        "recheck_seconds",
    )

    def __init__(
        self,
        decide_again: Callable[[], Awaitable[Decision]],
        end: Callable[[str, int], None],
        deadline: float | None,
        number: int,
        *,
        is_long: bool,
        recheck_seconds: float | None = None,
    ) -> None:
        self.decide_again = decide_again
        self.end = end
        self.deadline = deadline
        """Unix seconds."""
        self.number = number
        """The snapshot it was last judged by."""
        self.is_long = is_long
        """Whether it may go on for as long as it likes (a watch, an exec)."""
        self.recheck_seconds = recheck_seconds
        """See `Identity.recheck_seconds`."""
        self.look_at = 0.0
        """Unix seconds at which it is to be judged again though nothing has changed."""
        self.judging: asyncio.Task[None] | None = None
        """The question under way."""
        self.asked_at = 0.0
        """Unix seconds at which that began."""
        self.over = ""
        """Why it was ended; empty while it goes on."""
        self.code = GONE_BY
        """The HTTP status that says so, where it can still be said."""
        self.allowed_until(deadline)

    def allowed_until(self, deadline: float | None) -> None:
        """It was judged just now, and may go on."""
        self.deadline = deadline
        recheck_at = time.time() + self.recheck_seconds if self.recheck_seconds is not None else math.inf
        self.look_at = recheck_at if deadline is None else min(deadline, recheck_at)

    def finish(self, reason: str, code: int = GONE_BY) -> None:
        """End it; the first reason is the one that counts, however often it is told."""
        if not self.over:
            self.over, self.code = reason, code
        self.end(self.over, self.code)

    def is_changed(self, now: float, number: int) -> bool:
        """Whether what it was judged by does not hold any more."""
        return self.number != number or (self.deadline is not None and now >= self.deadline)


class RunningRequests:
    """All requests under way in this process."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._running: set[Running] = set()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def number(self) -> int:
        """Of the snapshot that requests are judged by now."""
        return self._state.number

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
        async with asyncio.TaskGroup() as questions:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    number = self._state.current(asyncio.get_running_loop().time()).number
                except StateStale as error:
                    self.end_all(str(error))
                    continue
                now = time.time()
                for running in list(self._running):
                    # Ten thousand idle watches are looked at four times a second: the usual answer is found right here.
                    if running.number != number or now >= running.look_at or running.judging is not None:
                        self._look_at(running, now, number, questions)

    def _look_at(self, running: Running, now: float, number: int, questions: asyncio.TaskGroup) -> None:
        if running.over:
            # Its answer is still on its way out.
            running.finish(running.over)
            return
        if running.judging is None:
            running.asked_at = now
            running.judging = questions.create_task(self._judge(running, number))
            return
        limit = CHANGED_SECONDS if running.is_changed(now, number) else RECHECK_SECONDS
        if not running.asked_at <= now < running.asked_at + limit:
            running.judging.cancel()
            running.finish("nobody could say in time whether this is still allowed")

    async def _judge(self, running: Running, number: int) -> None:
        decision: Decision
        try:
            decision = await running.decide_again()
        except StateStale as error:
            decision = Deny(message=str(error))
        except Exception:
            # The end of this request, never of the gate; and never a stream that goes on unjudged.
            log.exception("a running request could not be judged again")
            decision = Deny(message="the gate failed to judge this request again")
        if running not in self._running:
            # It was answered meanwhile; its connection may be somebody else's by now.
            return
        match decision:
            case Allow():
                running.number = number
                running.allowed_until(decision.deadline)
                running.judging = None
            case Deny(message=message, code=code):
                running.finish(message, code)
            case NeedsApproval(message=message):
                running.finish(message)
            case _:
                assert_never(decision)

    def end_long(self, reason: str) -> None:
        """End what would never end by itself (the gate is stopping)."""
        for running in [each for each in self._running if each.is_long]:
            running.finish(reason)

    def end_all(self, reason: str) -> None:
        """End everything that still runs."""
        for running in list(self._running):
            running.finish(reason)
