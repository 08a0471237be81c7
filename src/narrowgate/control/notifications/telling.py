"""Every receiver told the list of changes, in order, at its own pace, for as long as the process runs.

The list of changes is the queue, and where a receiver is in it stands in the store: whatever ends this process, the
next one goes on at the same change. A message is sent, then the cursor moves: at least once, never out of order. What
fails is tried again before anything that comes after it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence

import msgspec

from narrowgate.control.notifications.events import TEST, TOLD_ACTIONS
from narrowgate.control.notifications.flood import MOST_ASKED, Flood, Measure
from narrowgate.control.notifications.messages import Known, Message, message_of
from narrowgate.control.notifications.outcomes import (
    LONGEST_ASKED_SECONDS,
    MOST_REFUSALS,
    Gone,
    NotNow,
    Sender,
    Told,
    pause_seconds,
)
from narrowgate.control.notifications.receivers import AnyReceiver, Receiver
from narrowgate.control.notifications.senders import sender_of
from narrowgate.store.port import Change, ChangedMeanwhile, NotificationCursor, NotThere, Store, StoreUnavailable

LOOK_SECONDS = 0.5
"""Between two looks whether anything has changed: one number is read, for all receivers."""

BATCH = 100
"""Changes read at a time, and how far a cursor lags at most behind changes that its receiver need not hear of."""

OLDEST_SECONDS = 86_400.0
"""A receiver that was down for longer is not told what happened before: nobody answers a question of the day before."""

AGAIN_SECONDS = 5.0
"""After the store was away."""

log = logging.getLogger("narrowgate.notifications")


class Telling:
    """One receiver: reads changes, makes messages of them, sends them."""

    def __init__(self, store: Store, receiver: Receiver, sender: Sender, url: str) -> None:
        """`url` is the control port's."""
        self._store = store
        self._receiver = receiver
        self._sender = sender
        self._url = url
        self._seen = 0
        self._skipped = 0
        self._flood = Flood()

    @property
    def name(self) -> str:
        """The receiver's."""
        return self._receiver.name

    def begin(self) -> None:
        """Find the receiver's place; one that is new begins at what happens now. It blocks. Raises StoreUnavailable."""
        self._seen = self._store.notifications.cursor(self.name).change

    async def up_to(self, newest: int) -> bool:
        """Tell everything up to the change of that number. False where the receiver wants nothing any more.

        Raises StoreUnavailable, ChangedMeanwhile.
        """
        while self._seen < newest:
            batch = await asyncio.to_thread(self._store.notifications.after, self._seen, BATCH)
            for change in batch:
                if not await self._tell(change):
                    return False
                self._seen = change.number
            if not batch:
                self._seen = newest
            elif len(batch) == BATCH:
                await asyncio.to_thread(self._remember, self._seen)
        return True

    def _message(self, change: Change) -> Message | None:
        """What this receiver is told of a change, None where it is nothing. It blocks."""
        if change.action not in TOLD_ACTIONS:
            return None
        try:
            message = message_of(change, known_about(self._store, change), self._url, time.time())
        except StoreUnavailable:
            raise
        except Exception:
            # A fault in our words for one change must not keep people from hearing of all the others.
            log.exception("a fault of ours: nobody is told of change %d (%s)", change.number, change.action)
            return None
        if message is not None and message.kind == TEST:
            return message if change.subject == self.name else None
        return message if message is not None and self._receiver.hears(message.kind) else None

    async def _tell(self, change: Change) -> bool:
        """Tell a change, where this receiver is told of it at all; False where the receiver is gone."""
        while True:
            # Made anew for each attempt: in an hour a question may have been answered.
            message = await asyncio.to_thread(self._message, change)
            if message is None:
                return True
            measure = self._flood.measure(message, time.time()) if self._receiver.is_people else Measure.TELL
            if measure is Measure.LEAVE_OUT:
                await asyncio.to_thread(self._remember, change.number)
                return True
            if measure is Measure.TELL_LAST:
                message = with_word_of_flood(message)
            if time.time() - message.at > OLDEST_SECONDS:
                self._skipped += 1
                await asyncio.to_thread(self._remember, change.number)
                return True
            if (done := await self._attempt(message, change.number)) is not None:
                return done

    async def _attempt(self, message: Message, number: int) -> bool | None:
        """Try once, when it is time: whether the receiver wants more, None where it is to be tried again."""
        cursor = await asyncio.to_thread(self._store.notifications.cursor, self.name)
        wait = cursor.next_at - time.time()
        # Whatever clock wrote a later time: nothing waits longer than the longest wait.
        if 0 < wait <= LONGEST_ASKED_SECONDS:
            await asyncio.sleep(wait)
        outcome = await self._sender.send(self._with_skipped(message), time.time())
        match outcome:
            case Told():
                self._flood.told(message, time.time())
                await asyncio.to_thread(self._remember, number)
                self._told_again(cursor)
                return True
            case Gone():
                failed = msgspec.structs.replace(cursor, attempts=cursor.attempts + 1, trouble=outcome.trouble)
                await asyncio.to_thread(self._store.notifications.move, failed, was=cursor)
                log.error("receiver %s is told nothing any more: %s", self.name, outcome.trouble)
                return False
            case NotNow():
                return True if await self._failed(cursor, outcome, message, number) else None

    async def _failed(self, cursor: NotificationCursor, outcome: NotNow, message: Message, number: int) -> bool:
        """Write a failure down; True where the message is given up."""
        attempts = cursor.attempts + 1
        if outcome.refused and attempts >= MOST_REFUSALS:
            log.error(
                "receiver %s refuses %s %s: %s; it is left out", self.name, message.kind, message.id, outcome.trouble
            )
            await asyncio.to_thread(self._remember, number)
            return True
        pause = pause_seconds(attempts, outcome, random.random())
        failed = msgspec.structs.replace(
            cursor, attempts=attempts, next_at=time.time() + pause, trouble=outcome.trouble
        )
        await asyncio.to_thread(self._store.notifications.move, failed, was=cursor)
        if outcome.trouble != cursor.trouble:
            log.warning("receiver %s cannot be told now, trying again: %s", self.name, outcome.trouble)
        return False

    def _remember(self, number: int) -> None:
        """Move the cursor to a change that is dealt with. It blocks."""
        was = self._store.notifications.cursor(self.name)
        if number > was.change:
            self._store.notifications.move(NotificationCursor(receiver=self.name, change=number), was=was)

    def _with_skipped(self, message: Message) -> Message:
        if not self._skipped:
            return message
        left_out = f"{self._skipped} from more than a day ago"
        return msgspec.structs.replace(
            message, lines=(*message.lines, ("left out", left_out)), data={**message.data, "leftOut": self._skipped}
        )

    def _told_again(self, cursor: NotificationCursor) -> None:
        if self._skipped:
            log.warning("receiver %s: %d messages older than a day were left out", self.name, self._skipped)
            self._skipped = 0
        if cursor.attempts:
            log.info("receiver %s is told again, after %d attempts", self.name, cursor.attempts)


def with_word_of_flood(message: Message) -> Message:
    """The message, with what is done about a holder that has people told so much."""
    word = f"{MOST_ASKED} messages about {message.holder} within the hour: no more are sent here for a while"
    return msgspec.structs.replace(
        message,
        lines=(*message.lines, ("note", word)),
        commands=(*message.commands, "narrowgate approvals list"),
    )


def known_about(store: Store, change: Change) -> Known:
    """What the store has about a change. It blocks. Raises StoreUnavailable."""
    noun = change.action.partition(".")[0]
    before = store.notifications.before(change) if noun in ("agent", "task") else None
    question, task = None, None
    try:
        if noun == "approval":
            question = store.approvals.get(change.subject)
        task_id = question.task if question is not None else change.subject if noun == "task" else ""
        if task_id:
            task = store.tasks.get(task_id)
    except NotThere:
        # It was removed since: then the change itself is all that there is to tell.
        log.debug("%s is not there any more", change.subject)
    return Known(before=before, question=question, task=task)


async def tell_receivers(store: Store, receivers: Sequence[AnyReceiver], url: str) -> None:
    """Tell all receivers of all that happens, until cancelled. `url` is the control port's. Raises ssl.SSLError."""
    senders = [sender_of(receiver, url) for receiver in receivers]
    try:
        pairs = zip(receivers, senders, strict=True)
        await tell_everybody(store, [Telling(store, receiver, sender, url) for receiver, sender in pairs])
    finally:
        for sender in senders:
            await sender.close()


async def tell_everybody(store: Store, tellings: Sequence[Telling]) -> None:
    """Tell all receivers until cancelled, each in a task of its own: one that is slow delays nobody else."""
    if not tellings:
        return
    feed = _Feed()
    async with asyncio.TaskGroup() as group:
        for telling in tellings:
            group.create_task(_follow(feed, telling))
        while True:
            try:
                await feed.tell(await asyncio.to_thread(store.notifications.newest))
            except StoreUnavailable as error:
                log.warning("nobody can be told anything now: %s", error)
            await asyncio.sleep(LOOK_SECONDS)


async def _follow(feed: _Feed, telling: Telling) -> None:
    begun, seen, goes_on = False, -1, True
    while goes_on:
        try:
            if not begun:
                await asyncio.to_thread(telling.begin)
                begun = True
            seen = await feed.beyond(seen)
            goes_on = await telling.up_to(seen)
        except ChangedMeanwhile as error:
            log.warning("%s", error)
            begun, seen = False, -1
            await asyncio.sleep(AGAIN_SECONDS)
        except StoreUnavailable as error:
            log.warning("receiver %s waits for the store: %s", telling.name, error)
            seen = -1
            await asyncio.sleep(AGAIN_SECONDS)
        except Exception:
            # Telling people is no reason for the gate to end; what was not told is tried again.
            log.exception("a fault of ours while receiver %s is told", telling.name)
            begun, seen = False, -1
            await asyncio.sleep(AGAIN_SECONDS)


class _Feed:
    """The number of the newest change, for many who wait until it is higher than the last they saw."""

    def __init__(self) -> None:
        self._newest = -1
        self._moved = asyncio.Condition()

    async def tell(self, newest: int) -> None:
        """Wake everybody where there is something new."""
        async with self._moved:
            if newest != self._newest:
                self._newest = newest
                self._moved.notify_all()

    async def beyond(self, seen: int) -> int:
        """The newest number, once it is another one than `seen`."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._newest != seen and self._newest >= 0)
            return self._newest
