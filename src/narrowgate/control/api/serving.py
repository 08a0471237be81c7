"""One call, from the request to the answer: identify, permit, read, record, do, record.

The order is the rule: nothing is read of a call that may not be made, nothing is done before it is on the disk, and
nothing is answered before the answer is in the journal. Whatever goes wrong on the way is one problem document.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from narrowgate.control.api.calls import Answered, Call, Sent
from narrowgate.control.api.idempotency import REPLAYED, IdempotencyKey, Kept, Replays, read_key
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.reading import read_body, read_if_match, read_query, refuse_disguised
from narrowgate.control.callers import Caller
from narrowgate.control.problems import Problem, Trouble, encode, problem_response
from narrowgate.core.audit import ActsOn, Asked, Failed, Permitted, Verdict, redact
from narrowgate.core.call_rights import AT_WORK, Action, Right, right_of, roles_for
from narrowgate.core.decision import Deny
from narrowgate.core.identity import chain_behind
from narrowgate.core.malformed import Malformed
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere, StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of every answer: what somebody may see now, nobody keeps for later."""

MALFORMED = frozenset({Trouble.UNREADABLE, Trouble.MEDIA_TYPE, Trouble.TOO_LARGE, Trouble.METHOD, Trouble.SLOW})
"""Troubles of the request's form; the others are refusals, or failures of ours."""

_MOST_NAME = 512
"""Characters of a name that are kept in the record: names of all sorts are shorter."""

log = logging.getLogger("narrowgate.control")


class Resource:
    """One path of the API, an ASGI application: its calls by method, everything else refused."""

    def __init__(self, parts: ApiParts, calls: Mapping[str, Call]) -> None:
        self._parts = parts
        self.calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        call = self.calls.get(request.method)
        exchange = Exchange(self._parts, request, call)
        response = await (exchange.serve(call) if call else exchange.refuse(self._trouble(request)))
        await response(scope, receive, send)

    def _trouble(self, request: Request) -> Problem:
        if not self.calls:
            return Problem(Trouble.NOT_FOUND, "the API has no such path; see /api/v1/openapi.json")
        known = ", ".join(sorted(self.calls))
        return Problem(Trouble.METHOD, f"{request.method[:32]} cannot be done here, but {known}", {"Allow": known})


class Exchange:
    """One request while it is answered."""

    def __init__(self, parts: ApiParts, request: Request, call: Call | None) -> None:
        self._parts = parts
        self._request = request
        self._asked = parts.recorder.asked(request, None, _acts_on(call, request, None) if call else None)
        self._replays = Replays(parts.store.once)
        self._done = False

    async def serve(self, call: Call) -> Response:
        """Answer it, whatever happens."""
        try:
            return await self._serve(call)
        except Exception as error:  # noqa: BLE001 (the border: each becomes one problem document)
            return await self.refuse(_problem_of(error, self._asked))

    async def refuse(self, problem: Problem) -> Response:
        """Record a refusal and answer it. What was done all the same is said to be."""
        if self._done:
            problem = Problem(Trouble.UNRECORDED, f"this was done, but its end could not be recorded: {problem.detail}")
        try:
            await self._parts.recorder.finished(self._asked, _verdict(problem), problem.trouble.status)
        except TrailUnwritable as error:
            if problem.trouble is not Trouble.UNRECORDED:
                problem = Problem(Trouble.UNRECORDED, f"nothing is answered that cannot be recorded: {error}")
        return problem_response(problem, self._asked.audit_id)

    async def _serve(self, call: Call) -> Response:
        refuse_disguised(self._request, takes_slashes=":path}" in call.path)
        caller = await self._parts.callers.identify(self._request)
        self._asked = msgspec.structs.replace(self._asked, chain=chain_behind(caller.identity))
        right = _permitted(call, caller)
        sent, content = await self._read(call, caller, right)
        self._asked = msgspec.structs.replace(self._asked, acts_on=_acts_on(call, self._request, sent.body))
        key = read_key(self._request, caller.identity, content, heeded=call.changes)
        if key is None:
            return await self._answer(call, sent, await self._do(call, sent))
        kept = await asyncio.to_thread(self._replays.begin, key, sent.now)
        if kept is not None:
            return await self._replay(kept)
        return await self._do_once(call, sent, key)

    async def _read(self, call: Call, caller: Caller, right: Right) -> tuple[Sent, bytes]:
        query = read_query(self._request, call.query)
        tags = read_if_match(self._request, heeded=call.tagged)
        body, content = await read_body(self._request, call.body)
        sent = Sent(
            caller=caller,
            right=right,
            path=self._request.path_params,
            query=query,
            body=body,
            if_match=tags,
            now=time.time(),
            rulebook=self._parts.rulebook() if call.by_policies else None,
        )
        return sent, content

    async def _do(self, call: Call, sent: Sent) -> Answered:
        if call.changes:
            await self._parts.recorder.received(self._asked)
        answered = await asyncio.to_thread(call.work, self._parts, sent)
        self._done = call.changes
        self._asked = _made(self._asked, answered)
        return answered

    async def _do_once(self, call: Call, sent: Sent, key: IdempotencyKey) -> Response:
        try:
            answered = await self._do(call, sent)
        except (Problem, AlreadyThere, NotThere, ChangedMeanwhile, TrailUnwritable):
            # Nothing was done: the key may be used again. After any other failure nobody knows, and it stays taken.
            await asyncio.to_thread(self._replays.refused, key, sent.now)
            raise
        shown = answered.document if answered.kept is None else answered.kept
        body = b"" if shown is None else encode(shown)
        await asyncio.to_thread(self._replays.done, key, call.status, answered.headers, body, time.time())
        return await self._answer(call, sent, answered)

    async def _answer(self, call: Call, sent: Sent, answered: Answered) -> Response:
        await self._parts.recorder.finished(self._asked, Permitted(because=str(sent.right)), call.status)
        body = b"" if answered.document is None else encode(answered.document)
        return _response(call.status, answered.headers, body)

    async def _replay(self, kept: Kept) -> Response:
        because = Permitted(because="answered before, under the same idempotency key")
        await self._parts.recorder.finished(self._asked, because, kept.status)
        return _response(kept.status, {**kept.headers, REPLAYED: "true"}, kept.body.encode())


def _permitted(call: Call, caller: Caller) -> Right:
    """The caller's right to make the call. Raises Problem: whatever the table does not give is refused."""
    if caller.identity.task and call.action not in AT_WORK:
        raise Problem(
            Trouble.FORBIDDEN,
            f"a task's credential cannot {call.action.value}: it may look at its task, delegate of it and complete it; "
            "use your own",
        )
    right = right_of(call.action, caller.roles)
    if right is None:
        held = ", ".join(sorted(role.value for role in caller.roles))
        needed = " or ".join(role.value for role in roles_for(call.action)) or "nobody"
        raise Problem(
            Trouble.FORBIDDEN,
            f"{caller.identity} may not {call.action.value}: it takes the role {needed}, you are {held}; ask an admin",
        )
    return right


def _acts_on(call: Call, request: Request, body: object) -> ActsOn:
    """What the entry in the trail names: the object of the path, or the one that a body is about to make."""
    parameters = request.path_params
    if call.resource == "roles":
        role = parameters.get("role", "") or getattr(getattr(body, "role", None), "value", "")
        person = parameters.get("person", "") or getattr(body, "person", "")
        name = f"{role}/{person}" if role or person else ""
    else:
        name = next((str(value) for value in parameters.values()), "") or getattr(body, "name", "")
    # Somebody may put a credential where a name belongs.
    return ActsOn(
        verb=call.verb,
        resource=call.resource,
        name=redact(name)[:_MOST_NAME],
        emergency=call.action is Action.TAKE_EMERGENCY,
        because=getattr(body, "because", ""),
    )


def _made(asked: Asked, answered: Answered) -> Asked:
    """With the id of what the call has made, which had none before: the end of the entry names it."""
    made = getattr(answered.document, "id", "")
    if asked.acts_on is None or asked.acts_on.name or not isinstance(made, str):
        return asked
    return msgspec.structs.replace(asked, acts_on=msgspec.structs.replace(asked.acts_on, name=made))


def _problem_of(error: Exception, asked: Asked) -> Problem:
    match error:
        case Problem():
            return error
        case AlreadyThere():
            return Problem(Trouble.CONFLICT, str(error))
        case NotThere():
            return Problem(Trouble.NOT_FOUND, str(error))
        case ChangedMeanwhile():
            return Problem(Trouble.CHANGED, str(error))
        case StoreUnavailable():
            log.error("the API cannot use the store: %s", error)
            return Problem(Trouble.UNAVAILABLE, "the gate's store cannot be used now; its log says why", _LATER)
        case TrailUnwritable():
            log.error("the API cannot write the record: %s", error)
            return Problem(
                Trouble.UNRECORDED, "the record cannot be written, so nothing was done; the log says why", _LATER
            )
        case _:
            log.error("a fault of ours in call %s", asked.audit_id, exc_info=error)
            return Problem(Trouble.FAULT, "the gate could not do this; report the instance named here to who runs it")


_LATER = {"Retry-After": "5"}
"""Seconds: a disk that is full or a store that is locked is not mended sooner."""


def _verdict(problem: Problem) -> Verdict:
    if problem.trouble in MALFORMED:
        return Malformed(problem.detail, problem.trouble.status)
    if problem.trouble.status >= 500:
        return Failed(message=problem.detail)
    return Deny(message=problem.detail, code=problem.trouble.status)


def _response(status: int, headers: Mapping[str, str], body: bytes) -> Response:
    media_type = "application/json" if body else None
    return Response(body, status, {**HEADERS, **headers}, media_type=media_type)
