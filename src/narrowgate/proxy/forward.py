"""From an Allow to an answered client: the only place that sends a caller's request to an API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from narrowgate.core.body_levels import keeps_response
from narrowgate.core.decision import Allow, Decision, Deny
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.lineage import PendingWrite
from narrowgate.core.mending import WARNING
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.target import rebuild
from narrowgate.core.typed_lines import asks_for, reads_lines
from narrowgate.core.visible import Part
from narrowgate.proxy.answering import Answering, Session, written_at_once
from narrowgate.proxy.exchange import Exchange, Response, Understood, is_bare
from narrowgate.proxy.headers import upgrade_of, upstream_headers
from narrowgate.proxy.joined_list import JoinedList
from narrowgate.proxy.lineage_writes import LineageWrites
from narrowgate.proxy.long_running import is_cut, is_long_running, is_refused_exec, recheck_seconds
from narrowgate.proxy.masking import AnswerMasks, Masking
from narrowgate.proxy.reduction import Reduction, parts_of
from narrowgate.proxy.running import Running, RunningRequests
from narrowgate.proxy.session_lines import Ask, SessionLines
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.proxy.sessions import Sessions
from narrowgate.proxy.transform import masked_request
from narrowgate.proxy.upstream import Pool, UpstreamBroken, UpstreamConnection, UpstreamUnreachable
from narrowgate.wire.http1 import (
    LAST_CHUNK,
    MAX_REMEMBERED_HEAD,
    NO_BODY,
    REMEMBERED_HEADS,
    Framing,
    ResponseHead,
    with_header,
    without_length,
    write_request_head,
)
from narrowgate.wire.session_codec import asked_of, session_codec
from narrowgate.wire.unreadable import Unreadable

Started = Callable[[int], Awaitable[None]]
"""Called with the status when a long-running answer begins, before any of it reaches the client."""


class Judged(NamedTuple):
    """How a request under way is judged again."""

    again: Callable[[], Awaitable[Decision]]
    started: Started
    ask: Ask
    """Asks people about a line that is typed into the session that it opened."""


class NoLongerAllowed(Exception):
    """What allowed a request ended while it was under way; the message says how. Nothing was answered."""


class Sending(NamedTuple):
    """As whom a request is sent on, and what of it."""

    who: Chain
    rule: RuleRef
    """What covers it."""
    is_read: bool
    """Whether the gate reads the answer."""
    reduction: Reduction | None = None
    """What the answer is reduced to, of a list or watch that is not shown whole."""


class Forwarder:
    """Sends what was allowed, relays what is answered, and lets go when the permission ends."""

    def __init__(
        self, running: RunningRequests, masking: Masking, sessions: Sessions, lineage: LineageWrites | None = None
    ) -> None:
        """`lineage` keeps who had pods made, where that is to be known."""
        self._running = running
        self._lineage = lineage
        self._sessions = sessions
        self.masking = masking
        """For whoever else must know what its sender is shown."""
        self._beginnings: dict[tuple[bytes, str, bool], bytes] = {}

    async def forward(
        self,
        exchange: Exchange,
        what: Understood,
        who: Chain,
        allowed: Allow,
        body: bytes | None,
        judged: Judged,
    ) -> Response:
        """Send the request with this decision and relay the answer. `body` None means: stream the client's body.

        Raises UpstreamUnreachable, UpstreamBroken, ClusterNotReady, NoLongerAllowed before anything was answered,
        Malformed for an upgrade that is not served, ListExpired and InPieces for a part of a list that cannot be had.
        """
        info, visible = what.intent.info, allowed.visible
        self.masking.require_unmasked_selectors(allowed.masks, info, what.target, what.intent.cluster)
        sending = Sending(who, allowed.rule, self._reads(exchange, allowed, what.intent))
        if visible is None:
            return await self._one_answer(exchange, what, sending, allowed, body, judged)
        parts = parts_of(visible, info, what.served.cluster.access.mode)
        sending = sending._replace(rule=visible.covering(parts[0]), reduction=Reduction(visible, parts[0]))
        if len(parts) > 1:
            return await self._joined(exchange, what, sending, allowed, parts, judged.again)
        return await self._one_answer(exchange, what.of_part(parts[0]), sending, allowed, body, judged)

    async def _one_answer(
        self,
        exchange: Exchange,
        what: Understood,
        sending: Sending,
        allowed: Allow,
        body: bytes | None,
        judged: Judged,
    ) -> Response:
        decide_again, started = _with_lines(allowed, judged.again), judged.started
        info = what.intent.info
        is_long = is_long_running(what)
        masks = self._masks(what, allowed, sending)
        shown = self.masking.of_session(allowed.masks, info, what.intent.cluster)

        def running(end: Callable[[str, int], None]) -> Running:
            return _running(exchange, what, sending, allowed, decide_again, end)

        upgrade = upgrade_of(exchange.head, info)
        self._sessions.require_recordable(what)
        pool, request = await self._written(exchange, what, sending, body, upgrade)
        making = await self._making(exchange, what, sending.who, allowed, decide_again)
        async with self._unless_unreachable(making):
            if body is None and not exchange.head.framing.empty:
                connection, head = await self._stream(exchange, request, await pool.connect(), running)
            else:
                # What people said yes to is sent once: a kept connection that has died could make a second time of it.
                once = bool(allowed.approval)
                connection, head = await what.served.cluster.exchange(
                    pool, exchange.head.method, request, body or b"", once=once
                )
        try:
            if head.status == 101 and not upgrade:
                raise UpstreamBroken("the API server switched protocols without being asked")
            head = _readable(head, masks)
            if allowed.mends:
                head = with_header(head, b"warning", f'299 narrowgate "{WARNING}"'.encode("ascii"))
            if is_refused_exec(what, head.status) and exchange.taken is not None:
                # kubectl sends it once more as SPDY, maybe to another process, as soon as it has this answer.
                await exchange.taken.end_streams()
            if is_long or info.verb in ("get", "list"):
                await self._require_allowed(what, allowed, decide_again)
            head, whole = (head, None) if is_long else await self._at_hand(making, connection, head)
            if is_long:
                await started(head.status)
                exchange.streaming_code = head.status
            elif whole is not None:
                # The usual small answer is here already: one write, and nothing that could be ended in between.
                done = written_at_once(exchange, head, whole, masks)
                connection.release()
                return done
            lines = _lines(what, allowed, shown, judged.ask)
            session = self._session(exchange, what, sending.who, head, (shown, lines)) if head.status == 101 else None
            recorder = self._sessions.begun_body(exchange, what, sending.who, head)
            response = Answering(exchange, connection, head, recorder, watches_json=info.verb == "watch", masks=masks)
            with self._running.entered(running(response.end)):
                done = await (response.splice(session) if head.status == 101 else response.relay())
        except BaseException:
            connection.abort()
            raise
        return done

    async def _making(
        self,
        exchange: Exchange,
        what: Understood,
        who: Chain,
        allowed: Allow,
        decide_again: Callable[[], Awaitable[Decision]],
    ) -> PendingWrite | None:
        """Keep who is about to have pods made; None where nobody is. Raises StoreUnavailable, NoLongerAllowed."""
        making = await self._lineage.begun(what, who, exchange.audit_id) if self._lineage is not None else None
        if self._lineage is None or making is None:
            return None
        try:
            # The store was waited for: whoever was revoked meanwhile is not let through.
            await self._require_allowed(what, allowed, decide_again)
        except NoLongerAllowed:
            await self._lineage.never_sent(making)
            raise
        return making

    @asynccontextmanager
    async def _unless_unreachable(self, making: PendingWrite | None) -> AsyncIterator[None]:
        """Keep nobody for a write for which there was no connection: nothing was sent, and no write is sent twice."""
        try:
            yield
        except UpstreamUnreachable:
            if self._lineage is not None and making is not None:
                await self._lineage.never_sent(making)
            raise

    async def _at_hand(
        self, making: PendingWrite | None, connection: UpstreamConnection, head: ResponseHead
    ) -> tuple[ResponseHead, bytes | None]:
        """The whole answer, where it is here already, or where what it made must be known before it is told."""
        if self._lineage is None or making is None:
            return head, connection.body_at_hand()
        return await self._lineage.answered(making, connection, head)

    def _session(
        self,
        exchange: Exchange,
        what: Understood,
        who: Chain,
        head: ResponseHead,
        looks: tuple[SessionMasks | None, SessionLines | None],
    ) -> Session | None:
        """What reads the session that this 101 begins; None where nobody has to.

        Raises UpstreamBroken where it cannot be read, TrailUnwritable where it cannot be recorded.
        """
        masks, lines = looks
        rewrite = lines or masks
        asked = asked_of(exchange.head, what.intent.info.subresource, what.target)
        try:
            is_read = rewrite is not None or self._sessions.records(what)
            codec = session_codec(asked, head, rewrite, lines) if is_read else None
        except Unreadable as error:
            problem = f"what the API server has switched to cannot be read, and is not passed on: {error}"
            raise UpstreamBroken(problem) from None
        if codec is None:
            return None
        return Session(codec, masks, self._sessions.begun(exchange, what, who, head, masks), lines)

    def require_acceptable(self, exchange: Exchange, what: Understood, allowed: Allow) -> None:
        """Raise Malformed: 406 where the client accepts no form in which the answer could be masked, 403 where it
        selects by what is masked.
        """
        self.masking.require_unmasked_selectors(allowed.masks, what.intent.info, what.target, what.intent.cluster)
        if self._reads(exchange, allowed, what.intent):
            masked_request(upstream_headers(exchange.head, what.intent.info, ""), what.intent.info)

    async def _require_allowed(
        self, what: Understood, allowed: Allow, decide_again: Callable[[], Awaitable[Decision]]
    ) -> None:
        """Judge a request again whose answer came after what it was judged by had changed: nothing is read too late.

        The answer to a write is passed on all the same: it says what has happened. Raises NoLongerAllowed.
        """
        if what.snapshot.number == self._running.number and (
            allowed.deadline is None or time.time() < allowed.deadline
        ):
            return
        again = await decide_again()
        if not isinstance(again, Allow):
            raise NoLongerAllowed(again.message)

    def _reads(self, exchange: Exchange, allowed: Allow, what: Intent) -> bool:
        """Whether the gate reads the answer, to mask it, to reduce it, to keep it, or to know what pods it makes."""
        if allowed.visible is not None or keeps_response(exchange.level):
            return True
        if self._lineage is not None and self._lineage.reads(what.cluster, what.info):
            return True
        return self.masking.is_needed(allowed.masks, what.info)

    def _masks(self, what: Understood, allowed: Allow, sending: Sending) -> AnswerMasks | None:
        info, cluster = what.intent.info, what.intent.cluster
        return self.masking.of(allowed.masks, info, cluster, cut=is_cut(what), reduction=sending.reduction)

    async def _joined(
        self,
        exchange: Exchange,
        what: Understood,
        sending: Sending,
        allowed: Allow,
        parts: tuple[Part, ...],
        decide_again: Callable[[], Awaitable[Decision]],
    ) -> Response:
        """A list that is asked for in parts, each by the rule that gives it."""
        visible, masks = allowed.visible, self._masks(what, allowed, sending)
        assert visible is not None
        assert sending.reduction is not None
        assert masks is not None

        async def ask(part: Part, version: str) -> tuple[UpstreamConnection, ResponseHead]:
            asked = what.of_part(part, version)
            given = sending._replace(rule=visible.covering(part))
            pool, request = await self._written(exchange, asked, given, b"", "")
            connection, head = await what.served.cluster.exchange(pool, exchange.head.method, request, b"")
            try:
                await self._require_allowed(what, allowed, decide_again)
            except BaseException:
                connection.abort()
                raise
            return connection, head

        joined = JoinedList(exchange.answers_to, masks, sending.reduction, ask)
        with self._running.entered(_running(exchange, what, sending, allowed, decide_again, joined.end)):
            return await joined.relay(parts)

    async def _written(
        self, exchange: Exchange, what: Understood, sending: Sending, body: bytes | None, upgrade: str
    ) -> tuple[Pool, bytes]:
        """The head as it goes to the cluster, and by which connections."""
        authentication = await what.served.account.headers(what.told(sending.who), sending.rule, exchange.audit_id)
        head = exchange.head
        framing = head.framing if body is None else Framing(len(body))
        masked = sending.is_read
        # What is asked for a reduced list hangs on who asks.
        remembered = is_bare(head) and not upgrade and sending.reduction is None
        begin = self._begin_remembered(exchange, what, masked=masked) if remembered else None
        if begin is None:
            begin = _begin(exchange, what, upgrade, framing, masked=masked)
        lines = b"".join([b"%b: %b\r\n" % pair for pair in authentication])
        request = b"%b%baudit-id: %b\r\n\r\n" % (begin, lines, exchange.audit_id.encode("ascii"))
        bears_token = any(name == b"authorization" for name, _ in authentication)
        return what.served.cluster.pool_for(bears_token=bears_token), request

    def _begin_remembered(self, exchange: Exchange, what: Understood, *, masked: bool) -> bytes | None:
        """The beginning of a request that is a head and nothing else: the same for the same bytes and cluster."""
        if len(exchange.head.block) > MAX_REMEMBERED_HEAD:
            return None
        key = (exchange.head.block, what.intent.cluster, masked)
        found = self._beginnings.get(key)
        if found is None:
            found = _begin(exchange, what, "", NO_BODY, masked=masked)
            if len(self._beginnings) >= REMEMBERED_HEADS:
                self._beginnings.clear()
            self._beginnings[key] = found
        return found

    async def _stream(
        self,
        exchange: Exchange,
        request: bytes,
        connection: UpstreamConnection,
        running: Callable[[Callable[[str, int], None]], Running],
    ) -> tuple[UpstreamConnection, ResponseHead]:
        """Send a body as it comes (only for `proxy`: everything else is read whole, because it must be judged).

        It may come for as long as it likes, so it is judged again like an answer. Raises NoLongerAllowed.
        """
        client, chunked = exchange.client, exchange.head.framing.chunked
        loop = asyncio.get_running_loop()
        over = ""
        try:
            async with asyncio.timeout(None) as sending:

                def end(reason: str, _code: int) -> None:
                    # Whatever is waited for, the client's next part or the cluster's answer.
                    nonlocal over
                    over = reason
                    if not sending.expired():
                        sending.reschedule(loop.time())

                with self._running.entered(running(end)):
                    connection.send(exchange.head.method, request, b"")
                    while part := await client.body_part():
                        await connection.send_more(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                    if chunked:
                        await connection.send_more(LAST_CHUNK)
                    return connection, await connection.response_head()
        except BaseException as error:
            connection.abort()
            if over and isinstance(error, TimeoutError):
                client.must_close = True
                raise NoLongerAllowed(over) from None
            raise


def _running(
    exchange: Exchange,
    what: Understood,
    sending: Sending,
    allowed: Allow,
    decide_again: Callable[[], Awaitable[Decision]],
    end: Callable[[str, int], None],
) -> Running:
    number, seconds = what.snapshot.number, recheck_seconds(exchange, sending.who[-1])
    is_long = is_long_running(what)
    return Running(decide_again, end, allowed.deadline, number, is_long=is_long, recheck_seconds=seconds)


def _readable(head: ResponseHead, masks: AnswerMasks | None) -> ResponseHead:
    """The head as it may be told. Raises UpstreamBroken where an answer that must be masked cannot be."""
    if masks is None:
        return head
    masks.require_readable(head)
    # Of a HEAD: how long the body would have been says how much of it is hidden.
    return without_length(head) if head.framing.empty and masks.shows is not None else head


def _begin(exchange: Exchange, what: Understood, upgrade: str, framing: Framing, *, masked: bool) -> bytes:
    """The upstream request up to where its authentication follows."""
    cluster = what.served.cluster
    headers = upstream_headers(exchange.head, what.intent.info, upgrade)
    if masked:
        headers = masked_request(headers, what.intent.info)
    headers = [(b"host", cluster.host_header), *headers]
    target = cluster.access.path_prefix.encode("ascii") + rebuild(what.target)
    return write_request_head(exchange.head.method, target, headers, framing)[:-2]


def _lines(what: Understood, allowed: Allow, masks: SessionMasks | None, ask: Ask) -> SessionLines | None:
    """What looks at the lines that are typed into a session; None where no rule asks for that, or nothing is typed."""
    query = what.target.query
    if not allowed.lines or not reads_lines(query):
        return None
    return SessionLines(allowed.lines, masks, ask, has_terminal=asks_for(query, "tty"))


def _with_lines(allowed: Allow, decide_again: Callable[[], Awaitable[Decision]]) -> Callable[[], Awaitable[Decision]]:
    """What judges a session again, and ends it where other lines end it than when it began."""

    async def again() -> Decision:
        decision = await decide_again()
        if isinstance(decision, Allow) and decision.lines != allowed.lines:
            return Deny(message="what may be typed into this session has changed: open it again")
        return decision

    return again
