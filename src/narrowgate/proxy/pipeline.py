"""The data path, top to bottom: identify, understand, record, read, judge (and wait for people, and judge again),
forward or refuse, record.

`Pipeline.serve` is the whole of it. Each step needs what the step before returned; only `decide` makes an Allow, and
`forward` takes nothing else. The steps themselves are in `understanding`, `judge` and `forward`. Everything that can
end a request early is an exception that `endings.refusal_for` turns into an answer in one place; none of them can end
in something being forwarded.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import NamedTuple, assert_never

import msgspec

from narrowgate.core import status
from narrowgate.core.audit import Asked, Failed, Level, Outcome, RequestEvents, Verdict
from narrowgate.core.body_levels import keeps_request
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.denied_request import DeniedRequest
from narrowgate.core.identity import Chain, Kind
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import same_masks
from narrowgate.core.mending import mended_body
from narrowgate.proxy.client import ClientConnection, ClientGone
from narrowgate.proxy.denied_requests import DeniedRequests
from narrowgate.proxy.endings import Misdirected, answer_with, left_by_client, refusal_for, whole_answer
from narrowgate.proxy.exchange import Exchange, Response, Understood, is_bare, new_audit_id
from narrowgate.proxy.facts import Facts
from narrowgate.proxy.forward import Forwarder, Judged
from narrowgate.proxy.judge import Judge, held_request
from narrowgate.proxy.kept_bodies import KeptBodies
from narrowgate.proxy.line_approvals import LineApprovals
from narrowgate.proxy.recent import Recent
from narrowgate.proxy.reviews import Reviews
from narrowgate.proxy.rule_uses import CountedRuleUses
from narrowgate.proxy.sightings import Sightings
from narrowgate.proxy.state import State
from narrowgate.proxy.task_limits import Counting
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.proxy.understanding import Understanding
from narrowgate.proxy.waiting import Waiting
from narrowgate.proxy.write_back import WriteBack
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import RequestHead

READ_VERBS = frozenset({"get", "list", "watch"})
"""Requests with other verbs change something, or open a stream into a pod: their entry is on disk before they go."""

NO_IMPERSONATION = (
    "the gate runs requests as whoever sends them and passes no impersonation on (--as, Impersonate-*): "
    "leave it out, or use the credential of the identity you mean"
)


class Keeps(NamedTuple):
    """How much of what goes through is recorded."""

    reads: bool = True
    """False: allowed reads leave no entry (`audit: {reads: None}`); all else always does."""
    bodies: KeptBodies | None = None
    """What says how much of which request is kept; None: of none more than its entry."""


class Pipeline:
    """Serves requests, one call of `serve` each. One per process."""

    def __init__(
        self,
        state: State,
        trail: TrailWriter,
        forwarder: Forwarder,
        waiting: Waiting,
        counting: Counting,
        *,
        keeps: Keeps | None = None,
    ) -> None:
        """Made inside the event loop."""
        keeps = keeps or Keeps()
        self._trail = trail
        self._waiting = waiting
        self._keeps_reads = keeps.reads
        self._bodies = keeps.bodies
        self._forwarder = forwarder
        self._reviews = Reviews()
        self._recent = Recent()
        self.sightings = Sightings()
        """Where credentials are seen, for whoever tells other processes."""
        write_back = WriteBack(forwarder.masking)
        facts = Facts(forwarder.masking, write_back)
        self._seen = Understanding(state, facts, self.sightings)
        self._judge = Judge(self._seen, (facts, write_back), forwarder, waiting, counting, trail)
        self.denied = DeniedRequests()
        """What agents were refused, for whoever writes it down."""
        self.rule_uses = CountedRuleUses()
        """What rules let through, for whoever keeps it."""

    async def serve(self, client: ClientConnection, head: RequestHead) -> None:
        """Serve one request and record how it ended. Raises nothing but ClientGone and cancellation."""
        exchange = Exchange(head, client)
        who: Chain | None = None
        intent: Intent | None = None
        events: RequestEvents | None = None
        verdict: Verdict = Failed(message="the client left before the request was decided")
        response = Response(code=0)
        try:
            snapshot = self._seen.current()
            known = self._recent.find(exchange, snapshot) if is_bare(head) else None
            if known is None:
                who = await self._seen.identify(exchange, snapshot)
                if head.impersonates:
                    raise Misdirected(NO_IMPERSONATION, 403)
                found = self._seen.understand(exchange, who, snapshot)
                what = found or await self._seen.look_again(exchange, who, snapshot)
                self._level(exchange, who, what)
                events = RequestEvents(exchange.asked(who, what.intent))
            else:
                who, what = known.who, known.what
                self._level(exchange, who, what)
                self._seen.see(exchange, who[-1])
                events = known.events.again(exchange.audit_id, exchange.received_at)
            intent = what.intent
            await self._record(exchange, events, intent)
            what, body = (what, b"") if is_bare(head) else await self._seen.read(exchange, who, what)
            current = self._seen.current()
            if current is not snapshot:
                # It moved while the body came, or the disk or the cluster was waited for: nothing read before holds.
                known, what = None, msgspec.structs.replace(what, snapshot=current)
                await self._seen.require_same(exchange, who, current)
            what = await self._seen.entering(exchange, who, what)
            verdict = known.allowed if known is not None else self._judged(exchange, what, who, events)
            if isinstance(verdict, NeedsApproval):
                what, body, verdict = await self._judge.ask_people(exchange, what, who, body, (verdict, events))
            match verdict:
                case Allow():
                    response = await self._allowed(exchange, who, what, body, verdict, events)
                case Deny() | NeedsApproval():
                    response = self._refused(exchange, who, what, verdict)
                case _:
                    assert_never(verdict)
        except (asyncio.CancelledError, ClientGone):
            response = left_by_client(exchange, response)
            raise
        except Exception as error:  # noqa: BLE001 every way to end early is answered, and recorded, in one place
            verdict, refusal = refusal_for(error)
            response = answer_with(exchange, refusal)
        finally:
            self._let_go(exchange)
            if exchange.noticed or self._is_kept(exchange, intent, verdict, response):
                events = events or RequestEvents(exchange.asked(who, intent))
                self._finished(events, verdict, response, exchange)

    def refuse_head(self, client: ClientConnection, error: Malformed) -> None:
        """Answer and record a head, or a body, that could not be read: what follows it has no known beginning."""
        now = time.time()
        unread = Asked(audit_id=new_audit_id(), method="", target=b"", received_at=now, source_ip=client.peer)
        self._trail.note(RequestEvents(unread).finished(error, Outcome(code=error.code, at=now)))
        if not client.sent:
            client.write(whole_answer(status.of_malformed(error), close=True))

    # --- the steps

    async def _record(self, exchange: Exchange, events: RequestEvents, intent: Intent) -> None:
        """Have the request in the journal, a write on the disk, before it is forwarded. Raises TrailUnwritable."""
        reads = intent.info.verb in READ_VERBS
        if not reads or exchange.noticed or self._keeps_read(exchange):
            await self._trail.record(events.received(noticed=exchange.noticed), durable=not reads)
        elif problem := self._trail.problem():
            # Not recording a read is the operator's choice; a recorder that does not work is nobody's.
            raise TrailUnwritable(problem)

    def _level(self, exchange: Exchange, who: Chain, what: Understood) -> None:
        """Find out, once per request, how much of it is kept."""
        if self._bodies is not None:
            exchange.level = self._bodies.levels.of(who, what.intent.cluster, what.intent.info)

    def _keeps_read(self, exchange: Exchange) -> bool:
        """Whether an allowed read leaves an entry: the level of its own says so before what is said of all."""
        if self._bodies is None:
            return self._keeps_reads
        match exchange.level:
            case Level.NONE:
                return False
            case Level.METADATA:
                return self._keeps_reads
            case Level.REQUEST | Level.REQUEST_RESPONSE:
                return True
            case _:
                assert_never(exchange.level)

    def _is_kept(self, exchange: Exchange, intent: Intent | None, verdict: Verdict, response: Response) -> bool:
        """Whether the end of a request is recorded: always, but for reads that went well where nobody wants those (and
        that nobody was asked about).
        """
        if intent is None or response.failed or self._keeps_read(exchange):
            return True
        return intent.info.verb not in READ_VERBS or not isinstance(verdict, Allow) or bool(verdict.approval)

    def _judged(self, exchange: Exchange, what: Understood, who: Chain, events: RequestEvents) -> Decision:
        decision = self._judge.judge(who, what)
        looked = what.intent.held is not None or what.intent.pods is not None
        if isinstance(decision, Allow) and not what.approvals and not looked and is_bare(exchange.head):
            self._recent.keep(exchange, who, what, decision, events)
        return decision

    async def _allowed(
        self,
        exchange: Exchange,
        who: Chain,
        what: Understood,
        body: bytes | None,
        allowed: Allow,
        events: RequestEvents,
    ) -> Response:
        if exchange.body and not self._reviews.answers(what.intent):
            body = await self._judge.settled(exchange, who, what, body, allowed)
        if allowed.mends and body:
            content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
            body = mended_body(content_type, body, allowed.mends)
        self.rule_uses.count(who, what.intent.cluster, allowed, exchange.received_at)
        if self._bodies is None or not keeps_request(exchange.level):
            return await self._answered(exchange, who, what, body, allowed, events)

        async def still_allowed() -> None:
            await self._judge.require_still(exchange, what, allowed)

        async def answered() -> Response:
            return await self._answered(exchange, who, what, body, allowed, events)

        return await self._bodies.kept(exchange, what, who, (allowed, events), (still_allowed, answered))

    async def _answered(
        self,
        exchange: Exchange,
        who: Chain,
        what: Understood,
        body: bytes | None,
        allowed: Allow,
        events: RequestEvents,
    ) -> Response:
        """Forward it, or answer what the gate itself knows."""
        if self._reviews.answers(what.intent):
            return await self._reviews.answer(exchange, who, what, allowed)
        if allowed.limits:
            await self._judge.count(exchange, what, allowed)

        async def decide_again() -> Decision:
            decision = await self._judge.again(exchange, what)
            if isinstance(decision, Allow) and not same_masks(allowed.masks, decision.masks):
                # What is under way is masked as it began; what it should be now is found by sending it again.
                return Deny(message="what is masked in this answer has changed: send it again")
            if isinstance(decision, Allow) and allowed.visible != decision.visible:
                # 410 makes whoever watches list anew, and forget what it may not see any more (client-go's reflector).
                return Deny(message="what may be seen of this has changed: list again", code=410)
            return decision

        async def started(code: int) -> None:
            await self._trail.record(events.started(allowed, code, time.time(), exchange.noticed), durable=False)

        async def record(decision: Decision) -> None:
            await self._trail.record(events.received(decision, exchange.noticed), durable=True)

        if exchange.taken is not None:
            exchange.taken.is_used = True
        lines = LineApprovals(self._waiting, partial(held_request, exchange, who, what), allowed, record, decide_again)
        judged = Judged(decide_again, started, lines.ask)
        return await self._forwarder.forward(exchange, what, who, allowed, body, judged)

    # --- endings

    def _refused(self, exchange: Exchange, who: Chain, what: Understood, verdict: Deny | NeedsApproval) -> Response:
        """Answer with a refusal; what an agent could ask for is kept, so that it can by the id of this request."""
        sender, kept_as, intent = who[-1], "", what.intent
        if self._bodies is not None and keeps_request(exchange.level):
            exchange.refused = self._bodies.refused(exchange, what, who)
        if isinstance(verdict, Deny) and verdict.missing and sender.kind is Kind.AGENT:
            kept_as = exchange.audit_id
            denied = DeniedRequest(
                audit_id=exchange.audit_id,
                holder=str(sender),
                cluster=intent.cluster,
                at=exchange.received_at,
                wanted=verdict.missing,
            )
            self.denied.note(denied)
        return answer_with(exchange, status.refusal(verdict, intent, kept_as))

    def _let_go(self, exchange: Exchange) -> None:
        """What a request held while it was under way is free again."""
        if exchange.taken is not None:
            exchange.taken.give_back()
        self.sightings.left(exchange.place, time.time())

    def _finished(self, events: RequestEvents, verdict: Verdict, response: Response, exchange: Exchange) -> None:
        if response.failed and isinstance(verdict, Allow):
            verdict = Failed(message=response.failed)
        outcome = Outcome(
            code=response.code,
            at=time.time(),
            bytes_out=response.bytes_out,
            ended_because=response.ended_because,
            masked=response.masked,
            recording=response.recording,
            filtered=response.filtered,
            noticed=exchange.noticed,
            sent=exchange.refused,
        )
        self._trail.note(events.finished(verdict, outcome))
