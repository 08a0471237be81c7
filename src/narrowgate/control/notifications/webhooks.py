"""Telling programs by signed webhooks, as Standard Webhooks 1.0.0 has them."""

from __future__ import annotations

from narrowgate.control.notifications.messages import Message, payload
from narrowgate.control.notifications.outcomes import Gone, NotNow, Outcome, Told
from narrowgate.control.notifications.posting import Posting, refusal
from narrowgate.control.notifications.receivers import WebhookReceiver
from narrowgate.control.notifications.signing import webhook_signature

GONE = 410
"""The receiver wants no more (Standard Webhooks 1.0.0, "Operational considerations")."""


class WebhookSender:
    """See `outcomes.Sender`."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        """Raises ssl.SSLError where the CA is none."""
        self._receiver = receiver
        self._posting = Posting(receiver.certificate_authority)

    async def send(self, message: Message, now: float) -> Outcome:
        """See the port."""
        body = payload(message)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": webhook_signature(self._receiver.secrets, message.id, int(now), body),
        }
        posted = await self._posting.post(self._receiver.url, body, headers, now)
        if isinstance(posted, NotNow):
            return posted
        if 200 <= posted.status < 300:
            return Told()
        if posted.status == GONE:
            return Gone(trouble="it answered 410: it wants nothing more; take it out of the configuration")
        return refusal(posted)

    async def close(self) -> None:
        """See the port."""
        await self._posting.close()
