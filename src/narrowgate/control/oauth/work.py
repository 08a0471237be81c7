"""How every call to the authorization server goes, whatever it asks for: read, prove, record, do, record, answer.

A part of the server proves that something may be done and hands back `Work`; nothing but `Desk.serve` does it, and only
once the record is on the disk. Where the record cannot be written, nothing is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from narrowgate.control.oauth.answers import Refused, granted, refusal, store_silent, trail_silent
from narrowgate.control.oauth.parameters import Parameters, posted
from narrowgate.control.oauth.throttle import Throttle, source_key
from narrowgate.control.recorder import Recorder
from narrowgate.core.audit import ActsOn, Asked, Failed, Permitted
from narrowgate.core.decision import Deny
from narrowgate.core.identity import Identity
from narrowgate.store.port import StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable

log = logging.getLogger("narrowgate.control")

SERVER_FAULT = 500
"""From this status on it is not the caller who is at fault."""

SOURCE_LIMIT = 64
USER_AGENT_LIMIT = 512
"""Characters of an address and of a user agent that are kept with a sign-in."""


class Call(msgspec.Struct, frozen=True):
    """What is known of a call besides its parameters."""

    now: float
    """Unix seconds; the same for all that is decided about it."""
    source_ip: str
    user_agent: str
    uses_authorization: bool = False
    """Whether it came with an Authorization header."""


class Work(msgspec.Struct, frozen=True):
    """Something that may be done, once it is recorded."""

    who: Identity | None
    acts_on: ActsOn
    because: str
    """What made it permitted, in a word or two."""
    do: Callable[[], Mapping[str, object]]
    """Does it and says what to answer. Blocking; may raise Refused where somebody else was faster."""


Prove = Callable[[Parameters, Call], Awaitable[Work]]
"""Tells whether a call may do what it asks for. Raises Refused, StoreUnavailable."""


def call_of(request: Request, now: float) -> Call:
    """What is known of a request."""
    return Call(
        now=now,
        source_ip=request.client.host[:SOURCE_LIMIT] if request.client else "",
        user_agent=request.headers.get("user-agent", "")[:USER_AGENT_LIMIT],
        uses_authorization="authorization" in request.headers,
    )


class Desk:
    """Takes the calls of programs.

    Refusals fill the record, so each address has so many of them; beyond those it is told to wait, and nothing is
    recorded any more. What is good passes all the same: many people may come from one address, and a flood from there
    must not sign them out. Nothing here could be guessed: every secret has 256 bits.
    """

    def __init__(self, recorder: Recorder, refusals: Throttle, clock: Callable[[], float]) -> None:
        self._recorder = recorder
        self._refusals = refusals
        self._clock = clock

    async def serve(self, request: Request, acts_on: ActsOn, prove: Prove) -> Response:
        """Answer one call; `acts_on` is what the record says of it where nothing better is known."""
        call = call_of(request, self._clock())
        asked: Asked | None = None
        try:
            work = await prove(await posted(request), call)
            asked = self._recorder.asked(request, work.who, work.acts_on)
            await self._recorder.received(asked)
            answer = await asyncio.to_thread(work.do)
            await self._recorder.finished(asked, Permitted(because=work.because), 200)
            return granted(answer)
        except Refused as error:
            refused = error
        except StoreUnavailable as error:
            log.error("nothing is issued: %s", error)
            refused = store_silent()
        except TrailUnwritable as error:
            log.error("nothing is issued: %s", error)
            return refusal(trail_silent())
        if refused.quiet:
            return refusal(refused)
        if refused.code < SERVER_FAULT and (held := self._held_back(call)):
            return refusal(held)
        asked = asked or self._recorder.asked(request, refused.who, refused.acts_on or acts_on)
        return await self._refused(asked, refused)

    def _held_back(self, call: Call) -> Refused | None:
        """What whoever is refused too often hears instead; None for everybody else, for whom it counts."""
        source = source_key(call.source_ip)
        if wait := self._refusals.wait(source, call.now):
            sentence = "too many refused calls came from this address; mend what is wrong, and wait before the next one"
            return Refused("temporarily_unavailable", sentence, code=429, wait=wait)
        self._refusals.count(source, call.now)
        return None

    async def _refused(self, asked: Asked, refused: Refused) -> Response:
        fault = refused.code >= SERVER_FAULT
        verdict = Failed(message=str(refused)) if fault else Deny(message=str(refused), code=refused.code)
        try:
            await self._recorder.finished(asked, verdict, refused.code)
        except TrailUnwritable as error:
            log.error("a refusal cannot be recorded: %s", error)
            return refusal(trail_silent())
        return refusal(refused)
