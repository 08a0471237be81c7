"""Judging a request, once and again: while it waits for people, once it has waited for the cluster, the disk or the
store, and when what is sent is not what was read.

Whatever was waited for, the same question is put again before anything goes on: see `Judge.again`.
"""

from __future__ import annotations

import time
from typing import assert_never

import msgspec

from narrowgate.authenticators.port import NotMine, Rejected, Unavailable
from narrowgate.core import refusals
from narrowgate.core.audit import RequestEvents
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.digest import request_digest
from narrowgate.core.identity import Chain, Identity, chain_behind
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import same_masks
from narrowgate.core.request_question import HeldRequest, told
from narrowgate.core.request_summary import Seen
from narrowgate.proxy.endings import Withheld
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.facts import Facts
from narrowgate.proxy.forward import Forwarder
from narrowgate.proxy.headers import behind_proxy
from narrowgate.proxy.long_running import is_stream
from narrowgate.proxy.shown import seen_by_sender
from narrowgate.proxy.task_limits import Counting
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.proxy.understanding import Understanding
from narrowgate.proxy.waiting import Asked, Waiting
from narrowgate.proxy.write_back import WriteBack


class Judge:
    """Asks `decide`, and people, about the requests of one process."""

    def __init__(
        self,
        understanding: Understanding,
        looks: tuple[Facts, WriteBack],
        forwarder: Forwarder,
        waiting: Waiting,
        counting: Counting,
        trail: TrailWriter,
    ) -> None:
        self._understanding = understanding
        self._facts, self._write_back = looks
        self._forwarder = forwarder
        self._waiting = waiting
        self._counting = counting
        self._trail = trail

    def judge(self, who: Chain, what: Understood) -> Decision:
        """What `decide` says of it now, by the snapshot that it was understood by."""
        grants = what.snapshot.grants_of(who)
        return decide(who, what.intent, what.snapshot.rulebook, grants, what.approvals, time.time())

    async def ask_people(
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
            return await self.again(exchange, what)

        async def see() -> Seen | None:
            return await seen_by_sender(exchange, who, what, self._forwarder.masking)

        held = held_request(exchange, who, what)
        question = await self._waiting.answer_to(Asked(held, needs, len(exchange.body), record, judge_again, see))
        if isinstance(question, Deny):
            return what, body, question
        if question.is_final:
            return what, body, told(question, needs, time.time())
        settled, body = await self._understanding.look_anew(exchange, who)
        settled = msgspec.structs.replace(settled, approvals=(question,))
        decision = self.judge(who, settled)
        if isinstance(decision, Allow) and decision.approval:
            decision = await self._use_approval(exchange, settled, (decision, needs, events))
        if isinstance(decision, NeedsApproval):
            decision = told(question, decision, time.time())
        return settled, body, decision

    async def _use_approval(
        self, exchange: Exchange, what: Understood, judged: tuple[Allow, NeedsApproval, RequestEvents]
    ) -> Decision:
        """Spend the approval, for every process of every gate, before anything is forwarded; and record that."""
        allowed, needs, events = judged
        self._forwarder.require_acceptable(exchange, what, allowed)
        if allowed.limits:
            # First: what cannot be forwarded must not use up what people have said yes to.
            await self.count(exchange, what, allowed)
        (question,) = what.approvals
        if not await self._waiting.spend(question):
            return refusals.used_elsewhere(needs, question.id)
        await self._trail.record(events.received(allowed, exchange.noticed), durable=True)
        # The disk and the store were waited for: whoever was revoked meanwhile is not let through.
        return await self.again(exchange, what)

    async def settled(
        self, exchange: Exchange, who: Chain, what: Understood, body: bytes | None, allowed: Allow
    ) -> bytes | None:
        """The body as it is sent on, with what its sender was shown masked put back. That is judged like any other."""
        settled = await self._write_back.settled(exchange, who, what, body, allowed.rule)
        if settled.is_put_back:
            body = await self._judged_again(exchange, who, what, settled.body)
        else:
            body = settled.body
        await self.require_still(exchange, what, allowed)
        return body

    async def _judged_again(self, exchange: Exchange, who: Chain, what: Understood, body: bytes | None) -> bytes:
        """The body with its masked values put back, once that is allowed. Of it nothing is told."""
        try:
            again, complete = await self._facts.complete(exchange, who, what, body)
        except Malformed as error:
            code = error.code
            raise Malformed("with its masked values put back, this write cannot be judged", code) from None
        decision = self.judge(who, msgspec.structs.replace(what, intent=again.intent))
        if not isinstance(decision, Allow):
            refused = Deny(message="with its masked values put back, this write is not allowed", rule=decision.rule)
            raise Withheld(refused, what.intent)
        return complete

    async def count(self, exchange: Exchange, what: Understood, allowed: Allow) -> None:
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
        again = await self.again(exchange, what)
        if not isinstance(again, Allow):
            raise Withheld(again, what.intent)
        if again.limits != allowed.limits:
            raise Withheld(refusals.limits_moved(allowed.limits[0].task), what.intent)

    async def require_still(self, exchange: Exchange, what: Understood, allowed: Allow) -> None:
        """Once the cluster or the disk was waited for: raise Withheld for whoever was revoked meanwhile."""
        if self._understanding.current() is what.snapshot:
            return
        again = await self.again(exchange, what)
        if not isinstance(again, Allow):
            raise Withheld(again, what.intent)
        if not same_masks(allowed.masks, again.masks):
            raise Withheld(Deny(message="what is masked for you has changed: send it again"), what.intent)
        if allowed.mends != again.mends:
            raise Withheld(Deny(message="how its pods must be mended has changed: send it again"), what.intent)

    async def again(self, exchange: Exchange, what: Understood) -> Decision:
        """The same question under the current snapshot: is it still this identity, and may it still?"""
        if exchange.taken is not None and exchange.taken.is_lost:
            return refusals.stream_not_counted()
        snapshot = self._understanding.current()
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


def held_request(exchange: Exchange, who: Chain, what: Understood) -> HeldRequest:
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
