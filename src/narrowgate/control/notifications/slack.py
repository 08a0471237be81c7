"""Telling a Slack channel: `chat.postMessage`, with buttons where mapped people may answer by them.

What agents wrote goes into `plain_text` objects, in which Slack makes neither links nor mentions of anything, and into
the fallback text escaped.
"""

from __future__ import annotations

from typing import Any

import msgspec

from narrowgate.control.notifications.messages import Message
from narrowgate.control.notifications.outcomes import Gone, NotNow, Outcome, Told
from narrowgate.control.notifications.posting import Posting, refusal
from narrowgate.control.notifications.printable_text import printable
from narrowgate.control.notifications.receivers import SlackReceiver
from narrowgate.control.notifications.signing import button_value

LONGEST_SECTION = 2900
"""Characters of one text object; Slack takes 3000."""

APPROVE, DENY = "narrowgate.approve", "narrowgate.deny"
"""What the buttons are called in what Slack sends (`action_id`)."""

_FOR_EVER = frozenset({"account_inactive", "token_revoked", "is_archived"})
"""After these nothing changes until somebody changes the configuration (Slack, chat.postMessage, "Errors")."""

_THIS_ONE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_too_long", "no_text"})
"""About this very message."""


class SlackSender:
    """See `outcomes.Sender`."""

    def __init__(self, receiver: SlackReceiver) -> None:
        """Raises ssl.SSLError where the CA is none."""
        self._receiver = receiver
        self._posting = Posting(receiver.certificate_authority)

    async def send(self, message: Message, now: float) -> Outcome:
        """See the port."""
        receiver = self._receiver
        secret = receiver.signing_secret if receiver.people else b""
        body = msgspec.json.encode(slack_message(message, receiver.channel, secret))
        headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {self._receiver.token}"}
        posted = await self._posting.post(f"{self._receiver.url}/chat.postMessage", body, headers, now)
        if isinstance(posted, NotNow):
            return posted
        if posted.status != 200:
            return refusal(posted)
        return slack_outcome(posted.body)

    async def close(self) -> None:
        """See the port."""
        await self._posting.close()


def slack_outcome(body: bytes) -> Outcome:
    """What Slack's answer means: it says 200 to everything, and in the body what it is."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NotNow(trouble="it did not answer as Slack does")
    if answer.get("ok") is True:
        return Told()
    error = printable(str(answer.get("error", "no reason")), 100)
    if error in _FOR_EVER:
        return Gone(trouble=f"Slack says {error}; mend its entry in the configuration")
    return NotNow(trouble=f"Slack says {error}", refused=error in _THIS_ONE)


def slack_message(message: Message, channel: str, secret: bytes) -> dict[str, Any]:
    """The arguments of `chat.postMessage`; with buttons where there is a `secret` to mark them with."""
    lines = "\n".join(f"{label}: {text}" for label, text in message.lines)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(message.title, 150)}]
    if lines:
        blocks.append({"type": "section", "text": _plain(lines, LONGEST_SECTION)})
    if message.commands:
        blocks.append({"type": "section", "text": _plain("\n".join(message.commands), LONGEST_SECTION)})
    if secret and message.approval:
        value = button_value(secret, message.approval)
        blocks.append({"type": "actions", "elements": [_button(message, each, value) for each in (APPROVE, DENY)]})
    return {
        "channel": channel,
        "text": escaped(message.title[:200]),
        "blocks": blocks,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _button(message: Message, action: str, value: str) -> dict[str, Any]:
    approve = action == APPROVE
    return {
        "type": "button",
        "action_id": action,
        "value": value,
        "style": "primary" if approve else "danger",
        "text": _plain("Approve" if approve else "Deny", 75),
        "confirm": {
            "title": _plain("Approve this?" if approve else "Deny this?", 100),
            "text": _plain(message.title, 300),
            "confirm": _plain("Approve" if approve else "Deny", 30),
            "deny": _plain("Back", 30),
        },
    }


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": text if len(text) <= longest else f"{text[: longest - 3]}...", "emoji": False}


def escaped(text: str) -> str:
    """Slack's three characters (Slack, "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
