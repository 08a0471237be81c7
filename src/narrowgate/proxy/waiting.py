"""Requests that wait for people: their question is put once, they are held for a while, and pass once.

Here is what needs the store and time; what is asked and told is `core.request_question`, what an answer lifts
`core.decide`. A question outlives the request that asked it, its connection and this process: the same request sent
again finds it, and its answer. The store says whether something was spent, so that any number of processes spend it
once.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import msgspec

from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import (
    ApprovalEvent,
    ApprovalQuestion,
    ApprovalState,
    NotPossible,
    after,
    still_approved,
    unanswerable,
)
from narrowgate.core.decision import Decision, Deny, NeedsApproval
from narrowgate.core.identity import Kind
from narrowgate.core.people import People
from narrowgate.core.request_question import HeldRequest, is_refused_still, question_for_request
from narrowgate.core.request_summary import Seen
from narrowgate.core.understand import is_streaming
from narrowgate.proxy.state import State, StateStale
from narrowgate.store.people import PeopleNow
from narrowgate.store.port import AlreadyThere, Approvals, ChangedMeanwhile, Delegations, NotThere, SignIns, Tasks

HOLD_SECONDS = 50.0
"""How long a request is held for an answer: below the minute after which common proxies and clients give up."""

MAX_HELD = 1000
"""Requests held at a time in one process; further ones are answered at once, and their questions stand all the same."""
MAX_HELD_OF_ONE = 50
"""Of one identity: one command of kubectl asks for some at a time, and nobody takes all places."""
MAX_HELD_BYTES = 64 * 1024 * 1024
"""Of the bodies of all held requests together: a body has at most 3 MiB, and most have none."""
MAX_OPEN_OF_ONE = 100
"""Questions of one identity that wait for people at a time: beyond that nobody reads them."""
ATTEMPTS = 3
"""How often a question is looked for and put when others put or answer it at the same instant."""

BY_GATE = "gate"
"""Who changed a question that nobody asked to change."""


class Asked(msgspec.Struct, frozen=True):
    """A held request, and how the pipeline takes part."""

    held: HeldRequest
    needs: NeedsApproval
    weight: int
    """Bytes that it keeps in memory while it is held."""
    record: Callable[[NeedsApproval], Awaitable[None]]
    """Have the question in the journal, on the disk, before it is put. Raises TrailUnwritable."""
    judge_again: Callable[[], Awaitable[Decision]]
    """Asked whenever the snapshot is replaced; anything but NeedsApproval ends the wait."""
    see: Callable[[], Awaitable[Seen | None]]
    """What the cluster shows its sender of the object that it is about; asked for where a question is put."""
    put: Callable[[ApprovalQuestion], None] | None = None
    """Told of the question once it stands, before anybody is waited for."""
    waits_on: bool = False
    """Whether it waits for as long as people may answer: a session stays open, a request is answered."""


class Kept(Protocol):
    """What is needed of a store (`store.port.Store`)."""

    @property
    def approvals(self) -> Approvals:
        """Questions."""
        ...

    @property
    def sign_ins(self) -> SignIns:
        """Where people's groups are told."""
        ...

    @property
    def delegations(self) -> Delegations:
        """Who answers in whose place."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Where a task's purpose is told."""
        ...

    def agent(self, name: str) -> AgentRecord:
        """The agent of that name. Raises NotThere."""
        ...


class Waiting:
    """The held requests of one process, touched by its event loop only. Every call may raise StoreUnavailable."""

    def __init__(self, state: State, store: Kept, hold_seconds: float = HOLD_SECONDS) -> None:
        self._state = state
        self._store = store
        self._hold_seconds = hold_seconds
        self._news: set[asyncio.Event] = set()
        self._held_of: Counter[str] = Counter()
        self._bytes = 0
        self._stopping = False
        state.on_change.append(self._tell)

    def __len__(self) -> int:
        return self._held_of.total()

    async def answer_to(self, asked: Asked) -> ApprovalQuestion | Deny:
        """Put the question, unless it stands already, and hold the request until something moved or time is up.

        The question comes back as it is then. Deny where it could not be put.
        """
        news = asyncio.Event()
        self._news.add(news)
        # Told of changes from before the question is read: no answer can come unnoticed in between.
        try:
            question = await self._put(asked)
            if isinstance(question, Deny) or question.state is not ApprovalState.PENDING:
                return question
            if asked.put is not None:
                asked.put(question)
            holder = str(asked.held.who[-1])
            if not self._has_room(holder, asked.weight):
                return question
            with self._counted(holder, asked.weight):
                return await self._hold(question, asked, news)
        finally:
            self._news.discard(news)

    async def spend(self, question: ApprovalQuestion) -> bool:
        """Use an approved question up; False where it cannot be used (any more), and then nothing may be forwarded."""
        return await asyncio.to_thread(self._spend, question, time.time())

    async def take_back(self, digest: str, because: str) -> None:
        """Withdraw what was asked about that request, if anything was: nothing else could ever use the answer."""
        await asyncio.to_thread(self._take_back, digest, because, time.time())

    def stop(self) -> None:
        """Hold nothing any longer: the gate is stopping, and the same request sent to the next one finds its answer."""
        self._stopping = True
        self._tell()

    # --- holding

    def _tell(self) -> None:
        for news in self._news:
            news.set()

    def _has_room(self, holder: str, weight: int) -> bool:
        if self._stopping or self._bytes + weight > MAX_HELD_BYTES:
            return False
        return len(self) < MAX_HELD and self._held_of[holder] < MAX_HELD_OF_ONE

    @contextmanager
    def _counted(self, holder: str, weight: int) -> Iterator[None]:
        self._held_of[holder] += 1
        self._bytes += weight
        try:
            yield
        finally:
            self._bytes -= weight
            self._held_of[holder] -= 1
            if not self._held_of[holder]:
                del self._held_of[holder]

    async def _hold(self, question: ApprovalQuestion, asked: Asked, news: asyncio.Event) -> ApprovalQuestion:
        try:
            async with asyncio.timeout(self._until(question, asked) - time.time()):
                while not self._stopping:
                    await news.wait()
                    news.clear()
                    if not isinstance(await asked.judge_again(), NeedsApproval):
                        return question
                    if question.id not in self._pending():
                        # Over, or put after the snapshot was read: only the store can tell.
                        question = await asyncio.to_thread(self._store.approvals.get, question.id)
                    if question.state is not ApprovalState.PENDING:
                        return question
        except TimeoutError:
            pass
        return await asyncio.to_thread(self._store.approvals.get, question.id)

    def _until(self, question: ApprovalQuestion, asked: Asked) -> float:
        """Unix seconds at which the hold ends at the latest."""
        if asked.waits_on:
            return question.lapses_at
        # kubectl sends an exec that was refused as WebSocket once more as SPDY, at once: both have one time between
        # them, or its user waits twice as long to be told.
        begun = question.asked_at if is_streaming(asked.held.intent.info) else time.time()
        return min(begun + self._hold_seconds, question.lapses_at)

    def _pending(self) -> frozenset[str]:
        try:
            return self._state.current(asyncio.get_running_loop().time()).pending
        except StateStale:
            return frozenset()

    # --- the store

    async def _put(self, asked: Asked) -> ApprovalQuestion | Deny:
        for _ in range(ATTEMPTS):
            found = await asyncio.to_thread(self._find, asked, time.time())
            if found is not None:
                return found
            held = await asyncio.to_thread(self._completed, asked.held)
            held = msgspec.structs.replace(held, seen=await asked.see())
            # Two objects of some megabytes are compared.
            question = await asyncio.to_thread(
                question_for_request, secrets.token_hex(8), held, asked.needs, time.time()
            )
            if nobody := unanswerable(question.asks, question.excluded_groups):
                return _not_askable(asked.needs, nobody)
            await asked.record(msgspec.structs.replace(asked.needs, approval=question.id))
            if await asyncio.to_thread(self._add, question):
                return question
        return _too_busy(asked.needs)

    def _find(self, asked: Asked, now: float) -> ApprovalQuestion | Deny | None:
        """What stands about this request; None where it has to be asked."""
        approvals = self._store.approvals
        for kept in approvals.about_request(asked.held.digest):
            question = kept.at(now)
            if is_refused_still(question, now):
                return question
            if question.is_final:
                continue
            if self._is_good(question, asked.needs, now):
                return question
            self._withdraw(question, now)
        if len(approvals.listed({str(asked.held.who[-1])}, states={ApprovalState.PENDING}, limit=MAX_OPEN_OF_ONE)) >= (
            MAX_OPEN_OF_ONE
        ):
            return _too_many(asked.needs)
        return None

    def _is_good(self, question: ApprovalQuestion, needs: NeedsApproval, now: float) -> bool:
        """Whether it asks for all that holds the request now and, once approved, its answers still count."""
        pairs = zip(needs.rules, needs.asks, strict=True)
        if not all(question.covers(rule, ask) for rule, ask in pairs):
            return False
        return question.state is ApprovalState.PENDING or still_approved(question, self._people(question, now), now)

    def _withdraw(self, question: ApprovalQuestion, now: float) -> None:
        """Make room for a question that asks what has to be asked now."""
        self._end(question, "the rules that hold the request, or who may answer, have changed since it was asked", now)

    def _take_back(self, digest: str, because: str, now: float) -> None:
        for kept in self._store.approvals.about_request(digest):
            if not kept.at(now).is_final:
                self._end(kept, because, now)

    def _end(self, question: ApprovalQuestion, because: str, now: float) -> None:
        """Withdraw it. Whoever changed it meanwhile was faster."""
        try:
            withdrawn = after(question, ApprovalEvent.WITHDRAWN, now, because)
            self._store.approvals.change(withdrawn, was=question, by=BY_GATE, at=now)
        except (ChangedMeanwhile, NotPossible, NotThere):
            return

    def _completed(self, held: HeldRequest) -> HeldRequest:
        """With what its task is for, and everybody who was shown a credential that it can be sent with."""
        shown: list[str] = []
        for member in held.who:
            if member.kind is Kind.AGENT and not member.delegated_by:
                # An agent that is gone by now asks nothing any more: its next request is not let in.
                with suppress(NotThere):
                    shown += self._store.agent(member.name).handed_to
        for member in held.who:
            # Whoever holds the credential of any of these tasks can delegate until it asks this.
            with suppress(NotThere):
                if member.task:
                    known = self._store.tasks.get(member.task)
                    shown += (known.requested_by, *known.handed_to)
                    held = msgspec.structs.replace(held, purpose=known.purpose, link=known.link)
        return msgspec.structs.replace(held, handed_to=tuple(shown))

    def _add(self, question: ApprovalQuestion) -> bool:
        try:
            self._store.approvals.add(question, by=question.about.asked_by, at=question.asked_at)
        except AlreadyThere:
            return False
        return True

    def _spend(self, question: ApprovalQuestion, now: float) -> bool:
        try:
            kept = self._store.approvals.get(question.id)
            if kept.digest != question.digest or not still_approved(kept, self._people(kept, now), now):
                return False
            spent = after(kept, ApprovalEvent.SPENT, now)
            if spent.state is not ApprovalState.SPENT:
                return False
            self._store.approvals.change(spent, was=kept, by=question.about.asked_by, at=now)
        except (ChangedMeanwhile, NotPossible, NotThere):
            return False
        return True

    def _people(self, question: ApprovalQuestion, now: float) -> People:
        return PeopleNow(self._store, now).about(question)


def _too_many(needs: NeedsApproval) -> Deny:
    return Deny(
        message=f"{needs.message}, and {MAX_OPEN_OF_ONE} questions of this identity wait for people already",
        hint="wait until some are answered, or withdraw them: narrowgate approvals list",
        rule=needs.rule,
    )


def _not_askable(needs: NeedsApproval, nobody: str) -> Deny:
    return Deny(message=f"{needs.message}, and {nobody}", hint="ask whoever writes the policies", rule=needs.rule)


def _too_busy(needs: NeedsApproval) -> Deny:
    return Deny(
        message=f"{needs.message}, and its question was put and ended several times at this very moment",
        hint="send it again",
        rule=needs.rule,
    )
