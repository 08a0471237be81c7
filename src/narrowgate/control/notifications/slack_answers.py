"""Answers by buttons in Slack: from Slack, by a mapped person who is signed in, and then as by the API.

A button gives nobody any right. Who pressed it is told by Slack's signature and by the configuration; whether they may
answer is told by the groups of their newest running sign-in, by the same code that answers the API, and the record is
written before anything is done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from narrowgate.control.api import approvals
from narrowgate.control.api.calls import Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.callers import Caller, identity_of
from narrowgate.control.notifications.posting import Posting
from narrowgate.control.notifications.receivers import SlackReceiver
from narrowgate.control.notifications.signing import SLACK_LATENESS_SECONDS, button_approval, is_slack_request
from narrowgate.control.notifications.slack import APPROVE, DENY, escaped
from narrowgate.control.problems import Problem, Trouble, problem_response
from narrowgate.core.audit import ActsOn, Asked, Failed, Permitted, redact
from narrowgate.core.call_rights import Action, right_of
from narrowgate.core.decision import Deny
from narrowgate.core.identity import Identity, chain_behind
from narrowgate.store.port import NotThere, StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable

PATH = "/integrations/slack"
"""What is written into the Slack app as its request URL for interactivity."""

MOST_BYTES = 256 << 10
"""Of what Slack sends; it repeats the whole message that the button is under."""

BODY_SECONDS = 10.0

_ONCE = "slack-request"

log = logging.getLogger("narrowgate.control")


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody pressed a button of ours."""

    user: str
    channel: str
    approve: bool
    value: str


def read_press(body: bytes) -> Press | None:
    """What Slack says was pressed (a form with the field `payload`); None where it is no button of ours."""
    try:
        (text,) = parse_qs(body.decode(), strict_parsing=True, max_num_fields=8).get("payload", [""])
        payload = msgspec.json.decode(text, type=dict[str, Any])
        (action,) = payload["actions"]
        known = payload["type"] == "block_actions" and action["action_id"] in (APPROVE, DENY)
        found = {
            "user": payload["user"]["id"],
            "channel": payload["channel"]["id"],
            "value": action["value"],
            "approve": action["action_id"] == APPROVE,
        }
        return msgspec.convert(found, Press) if known else None
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.MsgspecError):
        return None


def slack_routes(parts: ApiParts, receivers: Sequence[SlackReceiver]) -> list[Route]:
    """The one address that Slack calls; none where no receiver has buttons."""
    pressed = SlackAnswers(parts, [one for one in receivers if one.signing_secret and one.people])
    return [Route(PATH, pressed.serve, methods=["POST"])] if pressed.receivers else []


class SlackAnswers:
    """Takes what Slack sends when a button is pressed."""

    def __init__(self, parts: ApiParts, receivers: Sequence[SlackReceiver]) -> None:
        self._parts = parts
        self.receivers = tuple(receivers)

    async def serve(self, request: Request) -> Response:
        """Answer one request of Slack's. It is told 200 for whatever it sent truly; people are told what came of it."""
        now = time.time()
        asked = self._parts.recorder.asked(request, None, None)
        try:
            body = await _body(request)
            senders = await self._senders_of(request, body, now)
            press = read_press(body)
            if press is None:
                raise Problem(Trouble.UNREADABLE, "this is no press of a button of Narrowgate's")
        except (Problem, StoreUnavailable) as error:
            problem = _problem_of(error)
            await self._record_refusal(asked, problem)
            return problem_response(problem, asked.audit_id)
        # One Slack app may serve several channels, each with people of its own.
        receiver = next((one for one in senders if press.user in one.people), senders[0])
        said = await self._pressed(asked, receiver, press, now)
        return Response(status_code=200, background=BackgroundTask(_tell, receiver, press, said))

    async def _senders_of(self, request: Request, body: bytes, now: float) -> list[SlackReceiver]:
        """The receivers whose Slack app signed this. Raises Problem where there is none, or it was sent before."""
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        senders = [
            one for one in self.receivers if is_slack_request(one.signing_secret, timestamp, signature, body, now)
        ]
        if not senders:
            raise Problem(Trouble.NOT_SIGNED_IN, "this was not signed by a Slack app that the gate knows, just now")
        ends, once = now + 2 * SLACK_LATENESS_SECONDS, self._parts.store.once
        if not await asyncio.to_thread(once.put, _ONCE, signature, "", expires_at=ends, now=now):
            raise Problem(Trouble.CONFLICT, "this was sent before")
        return senders

    async def _pressed(self, asked: Asked, receiver: SlackReceiver, press: Press, now: float) -> str:
        """Answer the question, or say why not; recorded either way."""
        recorder = self._parts.recorder
        try:
            who, approval = await self._presser(receiver, press, now)
            verb = "approve" if press.approve else "deny"
            acts_on = ActsOn(verb=verb, resource="approvals", name=redact(approval)[:512])
            asked = msgspec.structs.replace(asked, chain=chain_behind(who), acts_on=acts_on)
            because = await self._answer(asked, who, approval, press, now)
            await recorder.finished(asked, Permitted(because=because), 200)
            return f"{who.name}: you said {'yes' if press.approve else 'no'} to approval {approval}."
        except TrailUnwritable as error:
            log.error("what was pressed in Slack cannot be recorded: %s", error)
            return "The gate's record cannot be written; look at the approval itself before you go on."
        except Exception as error:  # noqa: BLE001 (the border: each becomes one sentence)
            problem = _problem_of(error)
            await self._record_refusal(asked, problem)
            return f"This was not done: {problem.detail}."

    async def _presser(self, receiver: SlackReceiver, press: Press, now: float) -> tuple[Identity, str]:
        """Who pressed, and which question they answer. Raises Problem, StoreUnavailable."""
        approval = button_approval(receiver.signing_secret, press.value)
        if not approval:
            raise Problem(Trouble.FORBIDDEN, "the gate did not make this button; be careful with whoever did")
        person = receiver.people.get(press.user, "")
        if not person:
            raise Problem(
                Trouble.FORBIDDEN,
                f"nobody is mapped to the Slack user {press.user[:32]}; use `narrowgate approvals`, or ask an admin",
            )
        running = await asyncio.to_thread(self._parts.store.sign_ins.listed, person, running_at=now, limit=1)
        if not running:
            raise Problem(Trouble.FORBIDDEN, f"{person} is not signed in at the gate; use `narrowgate login` first")
        who = identity_of(running[0])
        claims = tuple(sorted((*who.claims, ("slack-user", press.user))))
        return msgspec.structs.replace(who, proven_by=f"slack:{receiver.name}", claims=claims), approval

    async def _answer(self, asked: Asked, who: Identity, approval: str, press: Press, now: float) -> str:
        """Do it by the API's own code; the right that it rests on. Raises Problem and what the API's calls raise."""
        roles = await self._parts.callers.roles(who)
        right = right_of(Action.ANSWER_APPROVAL, roles)
        if right is None:
            raise Problem(Trouble.FORBIDDEN, f"{who} may not answer")
        await self._parts.recorder.received(asked)
        work, body = (
            (approvals.approve, approvals.Yes(comment="by a button in Slack"))
            if press.approve
            else (approvals.deny, approvals.No(reason="denied by a button in Slack"))
        )
        caller = Caller(identity=who, roles=roles)
        sent = Sent(caller=caller, right=right, path={"id": approval}, body=body, now=now)
        await asyncio.to_thread(work, self._parts, sent)
        return f"{right}, by a button in Slack"

    async def _record_refusal(self, asked: Asked, problem: Problem) -> None:
        status = problem.trouble.status
        verdict = Failed(message=problem.detail) if status >= 500 else Deny(message=problem.detail, code=status)
        try:
            await self._parts.recorder.finished(asked, verdict, status)
        except TrailUnwritable as error:
            # Nothing was done, and nobody is told anything that was not known: the refusal stands.
            log.error("a refusal of what Slack sent cannot be recorded: %s", error)


async def _body(request: Request) -> bytes:
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise Problem(Trouble.TOO_LARGE, f"the body has more than {MOST_BYTES} bytes")
    except TimeoutError:
        raise Problem(Trouble.SLOW, f"the body did not come within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise Problem(Trouble.UNREADABLE, "the body was cut short") from None
    return bytes(content)


async def _tell(receiver: SlackReceiver, press: Press, said: str) -> None:
    """Tell whoever pressed, and nobody else, what came of it. Where that fails, the approval itself tells."""
    posting = Posting(receiver.certificate_authority)
    try:
        document = {
            "channel": press.channel,
            "user": press.user,
            "text": escaped(said),
            "parse": "none",
            "mrkdwn": False,
        }
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {receiver.token}"}
        await posting.post(f"{receiver.url}/chat.postEphemeral", msgspec.json.encode(document), headers, time.time())
    finally:
        await posting.close()


def _problem_of(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case NotThere():
            return Problem(Trouble.NOT_FOUND, str(error))
        case StoreUnavailable():
            log.error("what was pressed in Slack cannot be done: %s", error)
            return Problem(Trouble.UNAVAILABLE, "the gate's store cannot be used now; its log says why")
        case _:
            log.error("a fault of ours after a button in Slack", exc_info=error)
            return Problem(Trouble.FAULT, "the gate could not do this; its log says why")
