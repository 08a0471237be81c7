"""Requests and streams of tasks that have limits, counted before anything is forwarded, with all other processes.

A process is handed requests in blocks, and takes them from its block without asking anybody; for a stream it asks the
store each time. The store is asked by one coroutine (`Counting.follow`), one thing after the other: what it says is
taken down where nobody else writes, whoever has left meanwhile. What could not be counted is not forwarded.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from narrowgate.core import refusals
from narrowgate.core.decision import Deny
from narrowgate.core.task_limits import SILENT_SECONDS, TELL_SECONDS, Limits
from narrowgate.store.port import StoreUnavailable, TaskLimits

ANSWER_SECONDS = 5.0
"""How long a request waits to be counted; SQLite's writers wait as long for each other."""

REFUSED_SECONDS = 0.25
"""How long a no holds without the store being asked again: whoever sends on and on costs the others nothing."""

IDLE_SECONDS = 60.0
"""After so long without a request or a stream nothing more is known here of a task."""

log = logging.getLogger("narrowgate.limits")


class _What(enum.Enum):
    REQUEST = "request"
    STREAM = "stream"
    TOLD = "told"
    """Nothing to count: be there when the streams are told."""


class _Task:
    """What this process knows of one task with limits."""

    __slots__ = ("at_hand", "limit", "refused_at", "streams", "used_at")

    def __init__(self) -> None:
        self.at_hand = 0
        """Requests handed out to this process and not used yet."""
        self.limit = 0
        """The limit under which they were."""
        self.streams = 0
        self.used_at = 0.0
        """Loop time at which something of it was used or asked for."""
        self.refused_at: dict[_What, tuple[float, int]] = {}
        """Loop time of the last no, and the limit it was about."""

    def was_refused(self, what: _What, limit: int, now: float) -> bool:
        at, about = self.refused_at.get(what, (float("-inf"), 0))
        return about == limit and now < at + REFUSED_SECONDS


class _Ask:
    """Something to be counted, and who waits for it."""

    __slots__ = ("answer", "limits", "what")

    def __init__(self, what: _What, limits: Limits, answer: asyncio.Future[bool]) -> None:
        self.what = what
        self.limits = limits
        self.answer = answer


class Taken:
    """What one request has of the limits of its tasks, until it is answered."""

    __slots__ = ("_counting", "_epoch", "is_used", "requests", "streams")

    def __init__(self, counting: Counting, epoch: int) -> None:
        self._counting = counting
        self._epoch = epoch
        self.requests: tuple[str, ...] = ()
        """The tasks for which a request was counted."""
        self.streams: tuple[str, ...] = ()
        """The tasks for which a stream was counted."""
        self.is_used = False
        """Whether it is forwarded: what is not costs no request."""

    def give_back(self) -> None:
        """Let go of everything that is over; once more does nothing."""
        self._counting.let_go(self.streams, () if self.is_used else self.requests)
        self.streams = self.requests = ()

    async def end_streams(self) -> None:
        """Let go of its streams, and wait until other processes know of it, or a while."""
        if self.streams:
            self._counting.let_go(self.streams, ())
            self.streams = ()
            await self._counting.told()

    @property
    def is_lost(self) -> bool:
        """Whether others may by now count without its streams: it has to end."""
        return bool(self.streams) and self._counting.has_lost(self._epoch)


class Counting:
    """The counts of one process, touched by its event loop only. Nothing is counted unless `follow` runs."""

    def __init__(
        self,
        store: TaskLimits,
        name: str,
        *,
        tell_seconds: float = TELL_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`name` is this process's own, never used again by another one. `tell_seconds` is how often it tells,
        `answer_seconds` how long a request waits to be counted.
        """
        self._tell_seconds = tell_seconds
        self._answer_seconds = answer_seconds
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._name = name
        self._tasks: dict[str, _Task] = {}
        self._asks: deque[_Ask] = deque()
        # Each is a request under way, and connections are limited.
        self._news = asyncio.Event()
        self._changed: set[str] = set()
        self._told_at = float("-inf")
        """Loop time at which others last heard of all streams here."""
        self._epoch = 0
        """Grows when others may have counted without the streams of before."""

    def __len__(self) -> int:
        """Streams with a limit under way."""
        return sum(task.streams for task in self._tasks.values())

    def at_hand(self, limits: Sequence[Limits], *, is_stream: bool) -> Taken | None:
        """Count a request with what this process has in hand; None where the store has to be asked."""
        for each in limits:
            if is_stream and each.streams is not None:
                return None
            task = self._tasks.get(each.task)
            if each.requests is not None and (task is None or task.limit != each.requests or task.at_hand <= 0):
                return None
        taken = Taken(self, self._epoch)
        for each in limits:
            if each.requests is not None:
                self._use_one(each.task, taken)
        return taken

    async def take(self, limits: Sequence[Limits], *, is_stream: bool) -> Taken | Deny:
        """Count a request, and a stream where it is one; Deny where one of the tasks has none left.

        Raises StoreUnavailable.
        """
        taken = Taken(self, self._epoch)
        try:
            for each in limits:
                if is_stream and each.streams is not None:
                    if not await self._counted(_What.STREAM, each, each.streams):
                        return self._refused(taken, refusals.no_stream_left(each.task, each.streams))
                    taken.streams = (*taken.streams, each.task)
                if each.requests is not None:
                    if not await self._counted(_What.REQUEST, each, each.requests):
                        return self._refused(taken, refusals.no_request_left(each.task, each.requests))
                    taken.requests = (*taken.requests, each.task)
        except BaseException:
            taken.give_back()
            raise
        return taken

    def let_go(self, streams: Collection[str], requests: Collection[str]) -> None:
        """Streams that have ended, and requests that were counted and not used, by their tasks."""
        for name in requests:
            task = self._of(name)
            task.at_hand += 1
            task.refused_at.pop(_What.REQUEST, None)
        for name in streams:
            self._of(name).streams -= 1
            self._changed.add(name)
        if streams:
            self._news.set()

    async def told(self) -> None:
        """Wait until what has changed is told to others; no longer than that they would find out by themselves."""
        try:
            await self._ask(_What.TOLD, Limits(""))
        except StoreUnavailable as error:
            log.warning("the end of a stream could not be told: %s", error)

    def has_lost(self, epoch: int) -> bool:
        """Whether streams that were counted in that epoch may be counted by nobody any more."""
        return self._epoch != epoch or self._loop.time() - self._told_at > SILENT_SECONDS

    async def follow(self) -> None:
        """Ask and tell the store, for as long as the gate runs."""
        tell_at = self._loop.time() + self._tell_seconds
        while True:
            try:
                async with asyncio.timeout_at(tell_at):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            while self._asks:
                if self._loop.time() >= tell_at:
                    break
                await self._answer(self._asks.popleft())
            if self._asks:
                self._news.set()
            if self._loop.time() >= tell_at:
                await self._tell_all()
                tell_at = self._loop.time() + self._tell_seconds
            elif self._changed:
                await self._tell(self._changed)

    async def settle(self) -> None:
        """Give back what was not used: the gate is stopping, and nothing is under way any more. `follow` still runs."""
        await self._give_back(dict(self._tasks))
        await self.told()

    # --- asking

    async def _counted(self, what: _What, limits: Limits, limit: int) -> bool:
        """Whether one more was counted. Raises StoreUnavailable."""
        task = self._of(limits.task)
        now = task.used_at = self._loop.time()
        if task.was_refused(what, limit, now):
            return False
        if what is _What.STREAM and task.streams >= limit:
            return False
        return await self._ask(what, limits)

    async def _ask(self, what: _What, limits: Limits) -> bool:
        ask = _Ask(what, limits, self._loop.create_future())
        self._asks.append(ask)
        self._news.set()
        try:
            async with asyncio.timeout(self._answer_seconds):
                try:
                    return await ask.answer
                except asyncio.CancelledError:
                    # The answer may be there all the same, and whoever it was for will never see it.
                    if ask.answer.done() and not ask.answer.cancelled() and ask.answer.exception() is None:
                        self._undo(ask, got=ask.answer.result())
                    raise
        except TimeoutError:
            raise StoreUnavailable("the store does not say in time how much of the task is left; try again") from None

    async def _answer(self, ask: _Ask) -> None:
        if ask.answer.done():
            # Whoever asked has left.
            return
        name = ask.limits.task
        try:
            match ask.what:
                case _What.REQUEST:
                    got = await self._request(name, ask.limits.requests or 0)
                case _What.STREAM:
                    got = await self._stream(name, ask.limits.streams or 0)
                case _What.TOLD:
                    got = await self._tell(self._changed)
        except Exception as error:  # noqa: BLE001 whoever asked is told; the next one is answered all the same
            reason = error if isinstance(error, StoreUnavailable) else StoreUnavailable(f"counting failed: {error}")
            if not ask.answer.done():
                ask.answer.set_exception(reason)
            return
        if ask.answer.done():
            self._undo(ask, got=got)
        else:
            ask.answer.set_result(got)

    def _undo(self, ask: _Ask, *, got: bool) -> None:
        """Take back what was counted for somebody who has left."""
        counted = (ask.limits.task,) if got else ()
        match ask.what:
            case _What.REQUEST:
                self.let_go((), counted)
            case _What.STREAM:
                self.let_go(counted, ())
            case _What.TOLD:
                pass

    async def _request(self, name: str, limit: int) -> bool:
        """One request from the block in hand, or from a new one."""
        task = self._of(name)
        if task.at_hand <= 0 and task.was_refused(_What.REQUEST, limit, self._loop.time()):
            return False
        if task.limit != limit or task.at_hand <= 0:
            returned, task.at_hand = max(0, task.at_hand), 0
            block = await asyncio.to_thread(self._store.hand_out, name, limit, returned=returned)
            task.at_hand += block
            task.limit = limit
            # However long the store took: what came just now is not idle.
            task.used_at = self._loop.time()
        if task.at_hand <= 0:
            task.refused_at[_What.REQUEST] = self._loop.time(), limit
            return False
        task.at_hand -= 1
        return True

    async def _stream(self, name: str, limit: int) -> bool:
        task = self._of(name)
        first = not len(self)
        asked_at, now = self._loop.time(), time.time()
        own = task.streams
        if own >= limit or task.was_refused(_What.STREAM, limit, asked_at):
            return False
        # Whatever ends meanwhile is told afterwards: what the store has is never less than what runs.
        if not await asyncio.to_thread(self._store.add_stream, name, limit, own, by=self._name, now=now):
            task.refused_at[_What.STREAM] = self._loop.time(), limit
            return False
        task.streams += 1
        if first:
            self._told_at = asked_at
        return True

    # --- telling

    async def _tell_all(self) -> None:
        """Tell every stream again, give back requests that nobody uses, forget tasks that nobody works on."""
        now = self._loop.time()
        running = {name for name, task in self._tasks.items() if task.streams}
        if running and now - self._told_at > SILENT_SECONDS:
            # This process was kept from its work (a stopped machine): others may have counted without it.
            self._epoch += 1
        await self._tell(running | self._changed)
        idle = {name: task for name, task in self._tasks.items() if task.used_at < now - self._tell_seconds}
        await self._give_back(idle)
        for name, task in idle.items():
            if not task.streams and not task.at_hand and task.used_at < now - IDLE_SECONDS:
                del self._tasks[name]

    async def _give_back(self, tasks: Mapping[str, _Task]) -> None:
        returned = {name: task.at_hand for name, task in tasks.items() if task.at_hand > 0}
        for name in returned:
            # Before the store is asked: what it may give to others is not used here any more.
            tasks[name].at_hand = 0
        if returned:
            await self._try(lambda: self._store.take_back(returned))

    async def _tell(self, names: Collection[str]) -> bool:
        told = {name: self._of(name).streams for name in names}
        asked_at, now = self._loop.time(), time.time()
        self._changed.difference_update(told)
        if not told:
            return True
        if not await self._try(lambda: self._store.tell_streams(told, by=self._name, now=now)):
            self._changed.update(told)
            return False
        if all(name in told for name, task in self._tasks.items() if task.streams):
            self._told_at = asked_at
        return True

    async def _try(self, call: Callable[[], None]) -> bool:
        try:
            await asyncio.to_thread(call)
        except StoreUnavailable as error:
            log.warning("what tasks have used cannot be told: %s", error)
            return False
        return True

    # --- the rest

    def _of(self, name: str) -> _Task:
        found = self._tasks.get(name)
        if found is None:
            found = self._tasks[name] = _Task()
            found.used_at = self._loop.time()
        return found

    def _use_one(self, name: str, taken: Taken) -> None:
        task = self._tasks[name]
        task.at_hand -= 1
        task.used_at = self._loop.time()
        taken.requests = (*taken.requests, name)

    def _refused(self, taken: Taken, deny: Deny) -> Deny:
        taken.give_back()
        return deny
