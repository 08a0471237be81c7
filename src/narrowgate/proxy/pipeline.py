"""The data path, top to bottom: identify, understand, record, read, judge (and wait for people, and judge again),
forward or refuse, record.

`Pipeline.serve` is the whole of it. Each step needs what the step before returned; only `decide` makes an Allow, and
`forward` takes nothing else. Everything that can end a request early is an exception that `_refusal_for` turns into an
answer in one place; none of them can end in something being forwarded.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from functools import partial
from typing import NamedTuple, assert_never

import msgspec

from narrowgate.authenticators.port import NotMine, Rejected, Unavailable
from narrowgate.core import refusals, status
from narrowgate.core.audit import Asked, Failed, Level, Outcome, RequestEvents, Verdict
from narrowgate.core.body import must_read_body
from narrowgate.core.body_levels import keeps_request
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.denied_request import DeniedRequest
from narrowgate.core.digest import request_digest
from narrowgate.core.held_secrets import goes_into_pod
from narrowgate.core.identity import Chain, Identity, Kind, chain_behind
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import same_masks
from narrowgate.core.mending import mended_body
from narrowgate.core.pod_templates import enters_pod
from narrowgate.core.request_question import HeldRequest, told
from narrowgate.core.request_summary import Seen
from narrowgate.core.status import Status
from narrowgate.core.target import parse_target, split_cluster
from narrowgate.core.understand import UnknownResource, understand
from narrowgate.proxy.client import ClientConnection, ClientGone
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.denied_requests import DeniedRequests
from narrowgate.proxy.exchange import Exchange, Response, Understood, is_bare, new_audit_id
from narrowgate.proxy.facts import Facts
from narrowgate.proxy.forward import Forwarder, Judged, NoLongerAllowed, is_stream
from narrowgate.proxy.headers import behind_proxy
from narrowgate.proxy.kept_bodies import KeptBodies
from narrowgate.proxy.line_approvals import LineApprovals
from narrowgate.proxy.recent import Recent
from narrowgate.proxy.reduction import InPieces
from narrowgate.proxy.reviews import Reviews
from narrowgate.proxy.rule_uses import CountedRuleUses
from narrowgate.proxy.shown import seen_by_sender
from narrowgate.proxy.sightings import Sightings
from narrowgate.proxy.state import ServedCluster, Snapshot, State, StateStale
from narrowgate.proxy.task_limits import Counting
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable
from narrowgate.proxy.waiting import Asked as AskedPeople
from narrowgate.proxy.waiting import Waiting
from narrowgate.proxy.write_back import MaskedWrite, WriteBack
from narrowgate.store.port import StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import END_OF_HEAD, RequestHead, write_answer

READ_VERBS = frozenset({"get", "list", "watch"})
"""Requests with other verbs change something, or open a stream into a pod: their entry is on disk before they go."""

AGGREGATED_DISCOVERY = b"as=APIGroupDiscoveryList"
"""In the Accept of client-go's discovery (KEP-3352), the first request of every kubectl command."""
VERSION = re.compile(rb"(?:/clusters/[^/?]+)?/version/?(?:\?.*)?")
NO_IMPERSONATION = (
    "the gate runs requests as whoever sends them and passes no impersonation on (--as, Impersonate-*): "
    "leave it out, or use the credential of the identity you mean"
)

log = logging.getLogger("narrowgate.pipeline")


class Unauthenticated(Exception):
    """Nobody proved who sends this; the message says what was wrong with the credential, or that there was none."""


class NobodyVouches(Exception):
    """Who sends this cannot be told now: whoever could vouch for the credential does not answer."""


class Misdirected(Exception):
    """The request names no cluster, or not the one its credential opens, or another sender; `code` is 400 or 403."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class Withheld(Exception):
    """What was allowed is not forwarded after all: `decision` says why."""

    def __init__(self, decision: Deny | NeedsApproval, intent: Intent) -> None:
        super().__init__(decision.message)
        self.decision = decision
        self.intent = intent


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
        self._loop = asyncio.get_running_loop()
        self._state = state
        self._trail = trail
        self._waiting = waiting
        self._counting = counting
        self._keeps_reads = keeps.reads
        self._bodies = keeps.bodies
        self._forwarder = forwarder
        self._write_back = WriteBack(forwarder.masking)
        self._facts = Facts(forwarder.masking, self._write_back)
        self._reviews = Reviews()
        self._recent = Recent()
        self.sightings = Sightings()
        """Where credentials are seen, for whoever tells other processes."""
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
            snapshot = self._state.current(self._loop.time())
            known = self._recent.find(exchange, snapshot) if is_bare(head) else None
            if known is None:
                who = await self._identify(exchange, snapshot)
                if head.impersonates:
                    raise Misdirected(NO_IMPERSONATION, 403)
                what = self._understand(exchange, who, snapshot) or await self._look_again(exchange, who, snapshot)
                self._level(exchange, who, what)
                events = RequestEvents(exchange.asked(who, what.intent))
            else:
                who, what = known.who, known.what
                self._level(exchange, who, what)
                self._see(exchange, who[-1])
                events = known.events.again(exchange.audit_id, exchange.received_at)
            intent = what.intent
            await self._record(exchange, events, intent)
            what, body = (what, b"") if is_bare(head) else await self._read(exchange, who, what)
            current = self._state.current(self._loop.time())
            if current is not snapshot:
                # It moved while the body came, or the disk or the cluster was waited for: nothing read before holds.
                known, what = None, msgspec.structs.replace(what, snapshot=current)
                await self._require_same(exchange, who, current)
            what = await self._entering(exchange, who, what)
            verdict = known.allowed if known is not None else self._judge(exchange, what, who, events)
            if isinstance(verdict, NeedsApproval):
                what, body, verdict = await self._ask_people(exchange, what, who, body, (verdict, events))
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
            verdict, refusal = self._refusal_for(error)
            response = self._answer(exchange, refusal)
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

    async def _identify(self, exchange: Exchange, snapshot: Snapshot) -> Chain:
        answer = await snapshot.authenticator.authenticate(exchange.presented, exchange.received_at)
        match answer:
            case Identity():
                self._see(exchange, answer)
                return chain_behind(answer)
            case Rejected(reason=reason):
                raise Unauthenticated(reason)
            case NotMine():
                raise Unauthenticated("no credential that the gate knows: use the kubeconfig that the gate issued")
            case Unavailable(reason=reason):
                raise NobodyVouches(reason)
            case _:
                assert_never(answer)

    async def _require_same(self, exchange: Exchange, who: Chain, snapshot: Snapshot) -> None:
        """Refuse a request whose credential stands for somebody else, or nobody, by now."""
        if await self._identify(exchange, snapshot) != who:
            raise Misdirected("who sends this changed while it was read: send it again", 403)

    def _see(self, exchange: Exchange, sender: Identity) -> None:
        """Take down, once per request, where its credential is used."""
        if exchange.place is not None or exchange.noticed:
            return
        exchange.place, exchange.noticed = self.sightings.arrived(
            sender, exchange.client, exchange.user_agent, exchange.received_at
        )
        if exchange.noticed:
            log.warning("%s (request %s)", exchange.noticed, exchange.audit_id)

    def _understand(self, exchange: Exchange, who: Chain, snapshot: Snapshot) -> Understood | None:
        """What the request means; None where that cannot be told before discovery is read again."""
        named, target = split_cluster(parse_target(exchange.head.target))
        served = self._cluster_for(named, who)
        cluster = served.cluster
        try:
            intent = understand(exchange.head.method, target, cluster.known(), cluster.name)
        except (UnknownResource, ClusterNotReady):
            return None
        return Understood(intent, target, served, snapshot)

    async def _look_again(self, exchange: Exchange, who: Chain, snapshot: Snapshot) -> Understood:
        """What is unknown may have appeared a moment ago (a CRD, the cluster itself): look once more, then say no."""
        named, target = split_cluster(parse_target(exchange.head.target))
        served = self._cluster_for(named, who)
        cluster = served.cluster
        await cluster.refresh_discovery()
        intent = understand(exchange.head.method, target, cluster.known(), cluster.name)
        return Understood(intent, target, served, snapshot)

    def _cluster_for(self, named: str, who: Chain) -> ServedCluster:
        clusters = self._state.clusters
        bound = who[-1].cluster
        if bound and named and named != bound:
            raise Misdirected(f"this credential opens cluster {bound!r}, and the path names another one", 403)
        name = named or bound
        if not name and len(clusters) == 1:
            return next(iter(clusters.values()))
        served = clusters.get(name)
        if served is not None:
            return served
        snapshot = self._state.current(self._loop.time())
        usable = snapshot.rulebook.clusters_of(who[-1], sorted(clusters))
        choice = ", ".join(usable) or "none that this identity may use"
        asked = f"there is no cluster {name!r} for you" if name else "the request does not say which cluster it is for"
        raise Misdirected(f"{asked}: write /clusters/<name>/... with one of: {choice}")

    async def _read(self, exchange: Exchange, who: Chain, what: Understood) -> tuple[Understood, bytes | None]:
        """Read the body where it has a say; None stands for a body that is streamed (only behind `proxy`)."""
        if not must_read_body(what.intent.info):
            return what, b"" if exchange.head.framing.empty else self._facts.unread(exchange, what)
        return await self._facts.read(exchange, who, what)

    def _judge(self, exchange: Exchange, what: Understood, who: Chain, events: RequestEvents) -> Decision:
        grants = what.snapshot.grants_of(who)
        decision = decide(who, what.intent, what.snapshot.rulebook, grants, what.approvals, time.time())
        looked = what.intent.held is not None or what.intent.pods is not None
        if isinstance(decision, Allow) and not what.approvals and not looked and is_bare(exchange.head):
            self._recent.keep(exchange, who, what, decision, events)
        return decision

    async def _ask_people(
        self,
        exchange: Exchange,
        what: Understood,
        who: Chain,
        body: bytes | None,
        judged: tuple[NeedsApproval, RequestEvents],
    ) -> tuple[Understood, bytes | None, Decision]:
        """Put the question, hold the request, and judge it again with what has become of the question by then."""
        needs, events = judged
        if body is None or not needs.asks:
            return what, body, refusals.streamed(needs) if body is None else needs
        await self._write_back.settled(exchange, who, what, body, None)

        async def record(asked: NeedsApproval) -> None:
            await self._trail.record(events.received(asked, exchange.noticed), durable=True)

        async def judge_again() -> Decision:
            return await self._decide_again(exchange, what)

        async def see() -> Seen | None:
            return await seen_by_sender(exchange, who, what, self._forwarder.masking)

        held = _held(exchange, who, what)
        question = await self._waiting.answer_to(AskedPeople(held, needs, len(exchange.body), record, judge_again, see))
        if isinstance(question, Deny):
            return what, body, question
        if question.is_final:
            return what, body, told(question, needs, time.time())
        settled, body = await self._look_anew(exchange, who)
        settled = msgspec.structs.replace(settled, approvals=(question,))
        decision = self._judge(exchange, settled, who, events)
        if isinstance(decision, Allow) and decision.approval:
            decision = await self._use_approval(exchange, settled, (decision, needs, events))
        if isinstance(decision, NeedsApproval):
            decision = told(question, decision, time.time())
        return settled, body, decision

    async def _look_anew(self, exchange: Exchange, who: Chain) -> tuple[Understood, bytes]:
        """A request that waited, looked at as if it came now: nothing seen before the wait need hold any more."""
        snapshot = self._state.current(self._loop.time())
        await self._require_same(exchange, who, snapshot)
        what = self._understand(exchange, who, snapshot) or await self._look_again(exchange, who, snapshot)
        if not must_read_body(what.intent.info) or is_bare(exchange.head):
            return await self._entering(exchange, who, what), b""
        complete, body = await self._facts.complete(exchange, who, what)
        return await self._entering(exchange, who, complete), body

    async def _entering(self, exchange: Exchange, who: Chain, what: Understood) -> Understood:
        """What is in the pod that a request goes into, by the snapshot of this very moment."""
        while goes_into_pod(what.intent.info) or enters_pod(what.intent.info):
            looked = await self._facts.into_pod(exchange, who, what)
            current = self._state.current(self._loop.time())
            if current is what.snapshot:
                return looked
            what = msgspec.structs.replace(what, snapshot=current)
            await self._require_same(exchange, who, current)
        return what

    async def _use_approval(
        self, exchange: Exchange, what: Understood, judged: tuple[Allow, NeedsApproval, RequestEvents]
    ) -> Decision:
        """Spend the approval, for every process of every gate, before anything is forwarded; and record that."""
        allowed, needs, events = judged
        self._forwarder.require_acceptable(exchange, what, allowed)
        if allowed.limits:
            # First: what cannot be forwarded must not use up what people have said yes to.
            await self._count(exchange, what, allowed)
        (question,) = what.approvals
        if not await self._waiting.spend(question):
            return refusals.used_elsewhere(needs, question.id)
        await self._trail.record(events.received(allowed, exchange.noticed), durable=True)
        # The disk and the store were waited for: whoever was revoked meanwhile is not let through.
        return await self._decide_again(exchange, what)

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
            body = await self._settled(exchange, who, what, body, allowed)
        if allowed.mends and body:
            content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
            body = mended_body(content_type, body, allowed.mends)
        self.rule_uses.count(who, what.intent.cluster, allowed, exchange.received_at)
        if self._bodies is None or not keeps_request(exchange.level):
            return await self._answered(exchange, who, what, body, allowed, events)

        async def still_allowed() -> None:
            await self._require_still(exchange, what, allowed)

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
            await self._count(exchange, what, allowed)

        async def decide_again() -> Decision:
            decision = await self._decide_again(exchange, what)
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
        lines = LineApprovals(self._waiting, partial(_held, exchange, who, what), allowed, record, decide_again)
        judged = Judged(decide_again, started, lines.ask)
        return await self._forwarder.forward(exchange, what, who, allowed, body, judged)

    async def _settled(
        self, exchange: Exchange, who: Chain, what: Understood, body: bytes | None, allowed: Allow
    ) -> bytes | None:
        """The body as it is sent on, with what its sender was shown masked put back. That is judged like any other."""
        settled = await self._write_back.settled(exchange, who, what, body, allowed.rule)
        if settled.is_put_back:
            body = await self._judged_again(exchange, who, what, settled.body)
        else:
            body = settled.body
        await self._require_still(exchange, what, allowed)
        return body

    async def _require_still(self, exchange: Exchange, what: Understood, allowed: Allow) -> None:
        """Once the cluster or the disk was waited for: raise Withheld for whoever was revoked meanwhile."""
        if self._state.current(self._loop.time()) is what.snapshot:
            return
        again = await self._decide_again(exchange, what)
        if not isinstance(again, Allow):
            raise Withheld(again, what.intent)
        if not same_masks(allowed.masks, again.masks):
            raise Withheld(Deny(message="what is masked for you has changed: send it again"), what.intent)

    async def _judged_again(self, exchange: Exchange, who: Chain, what: Understood, body: bytes | None) -> bytes:
        """The body with its masked values put back, once that is allowed. Of it nothing is told."""
        try:
            again, complete = await self._facts.complete(exchange, who, what, body)
        except Malformed as error:
            code = error.code
            raise Malformed("with its masked values put back, this write cannot be judged", code) from None
        grants = what.snapshot.grants_of(who)
        decision = decide(who, again.intent, what.snapshot.rulebook, grants, what.approvals, time.time())
        if not isinstance(decision, Allow):
            refused = Deny(message="with its masked values put back, this write is not allowed", rule=decision.rule)
            raise Withheld(refused, what.intent)
        return complete

    async def _count(self, exchange: Exchange, what: Understood, allowed: Allow) -> None:
        """Count a request, once, for the tasks with limits that it rests on. Raises Withheld where none is left."""
        if exchange.taken is not None:
            return
        counts_as_stream = is_stream(what)
        exchange.taken = self._counting.at_hand(allowed.limits, is_stream=counts_as_stream)
        if exchange.taken is not None:
            return
        taken = await self._counting.take(allowed.limits, is_stream=counts_as_stream)
        if isinstance(taken, Deny):
            raise Withheld(taken, what.intent)
        exchange.taken = taken
        # The store was waited for: whoever was revoked meanwhile is not let through.
        again = await self._decide_again(exchange, what)
        if not isinstance(again, Allow):
            raise Withheld(again, what.intent)
        if again.limits != allowed.limits:
            raise Withheld(refusals.limits_moved(allowed.limits[0].task), what.intent)

    async def _decide_again(self, exchange: Exchange, what: Understood) -> Decision:
        """The same question under the current snapshot: is it still this identity, and may it still?"""
        if exchange.taken is not None and exchange.taken.is_lost:
            return refusals.stream_not_counted()
        snapshot = self._state.current(self._loop.time())
        if (ended := snapshot.ended.get(exchange.audit_id)) is not None:
            return Deny(message=ended)
        now = time.time()
        answer = await snapshot.authenticator.authenticate(exchange.presented, now)
        match answer:
            case Identity():
                chain = chain_behind(answer)
                grants = snapshot.grants_of(chain)
                return decide(chain, what.intent, snapshot.rulebook, grants, what.approvals, now)
            case Rejected(reason=reason):
                return Deny(message=reason)
            case NotMine():
                return Deny(message="the credential is not known any more")
            case Unavailable(reason=reason):
                # How long a proof is good without being looked at again is its authenticator's affair; here it is over.
                return Deny(message=reason)
            case _:
                assert_never(answer)

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
        return self._answer(exchange, status.refusal(verdict, intent, kept_as))

    def _let_go(self, exchange: Exchange) -> None:
        """What a request held while it was under way is free again."""
        if exchange.taken is not None:
            exchange.taken.give_back()
        self.sightings.left(exchange.place, time.time())

    def _answer(self, exchange: Exchange, refusal: Status) -> Response:
        """Answer with a Status of the gate's own. After a broken answer there is nothing left to say."""
        client = exchange.client
        if client.sent:
            client.abort()
            return Response(code=0, bytes_out=client.sent)
        text = reads_text_only(exchange.head)
        answer = whole_answer(refusal, close=client.must_close, text=text, audit_id=exchange.audit_id)
        if exchange.head.method == "HEAD":
            # The head of that answer and no more (RFC 9110 9.3.2): a body would be read as the next answer.
            answer = answer[: answer.index(END_OF_HEAD) + len(END_OF_HEAD)]
        client.write(answer)
        return Response(code=refusal.code)

    def _refusal_for(self, error: Exception) -> tuple[Verdict, Status]:
        """What an exception means for the record and for the caller."""
        match error:
            case Malformed():
                return error, status.of_malformed(error)
            case MaskedWrite(message=message):
                return Malformed(message, 422), error.status
            case Unauthenticated():
                return Deny(message=str(error), code=401), status.unauthorized(str(error))
            case Misdirected(code=code):
                return Malformed(str(error), code), status.failure(code, str(error))
            case NoLongerAllowed() | InPieces():
                return Deny(message=str(error)), status.failure(403, str(error))
            case Withheld(decision=decision, intent=intent):
                return decision, status.refusal(decision, intent)
            case UpstreamBroken():
                return Failed(message=str(error)), status.gateway(str(error))
            case UpstreamUnreachable() | ClusterNotReady() | StateStale() | NobodyVouches() | StoreUnavailable():
                return Failed(message=str(error)), status.unavailable(str(error))
            case TrailUnwritable():
                log.error("the trail cannot be written: %s", error)
                return Failed(message=str(error)), status.internal(
                    f"nothing is forwarded that cannot be recorded: {error}"
                )
            case _:
                log.exception("a request broke the gate")
                return Failed(message=f"internal error: {error}"), status.internal("the gate failed on this request")

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


def _held(exchange: Exchange, who: Chain, what: Understood) -> HeldRequest:
    """What a question is made from."""
    content_type = exchange.head.fields.get(b"content-type", b"")
    program = behind_proxy(exchange.head, what.intent.info)
    return HeldRequest(
        who=who,
        intent=what.intent,
        target=what.target,
        body=exchange.body,
        digest=request_digest(who[-1], what.intent, what.target, content_type, exchange.body, program),
        audit_id=exchange.audit_id,
    )


def left_by_client(exchange: Exchange, response: Response) -> Response:
    """How a request ended whose client left: a stream has come to its end, anything else has failed."""
    left, sent = "the client closed the connection", exchange.client.sent
    if exchange.streaming_code:
        streaming, recording = exchange.streaming_code, exchange.recording
        return Response(code=streaming, bytes_out=sent, ended_because=left, recording=recording)
    return Response(code=response.code, bytes_out=sent, failed=left)


def reads_text_only(head: RequestHead) -> bool:
    """Whether this is a request whose refusal client-go never reads as a Status: it shows text, or prints "unknown".

    Discovery and the version are fetched with `Do().Raw()` (rest/request.go, newUnstructuredResponseError).
    """
    return AGGREGATED_DISCOVERY in head.fields.get(b"accept", b"") or VERSION.fullmatch(head.target) is not None


def whole_answer(answer: Status, *, close: bool, text: bool = False, audit_id: str = "") -> bytes:
    """A Status as a complete HTTP answer; `text` leaves only its message, `audit_id` names it in the record."""
    # As the API server does in every answer of its own (k8s.io/apiserver/pkg/endpoints/filters/with_auditid.go).
    headers: tuple[tuple[str, str], ...] = (("audit-id", audit_id),) if audit_id else ()
    if answer.code == 401:
        headers = (*headers, ("www-authenticate", 'Bearer realm="narrowgate"'))
    if answer.retry_after:
        headers = (*headers, ("retry-after", str(answer.retry_after)))
    body = answer.message.encode() if text else status.to_json(answer)
    return write_answer(answer.code, REASONS.get(answer.code, "Error"), body, close=close, headers=headers, text=text)


REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
