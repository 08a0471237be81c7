"""The sender of each receiver, by its sort."""

from __future__ import annotations

from typing import assert_never

from narrowgate.control.notifications.mail import MailSender
from narrowgate.control.notifications.outcomes import Sender
from narrowgate.control.notifications.receivers import AnyReceiver, MailReceiver, SlackReceiver, WebhookReceiver
from narrowgate.control.notifications.slack import SlackSender
from narrowgate.control.notifications.webhooks import WebhookSender


def sender_of(receiver: AnyReceiver, url: str) -> Sender:
    """How that receiver is told. Made within the event loop; `url` is the control port's. Raises ssl.SSLError."""
    match receiver:
        case WebhookReceiver():
            return WebhookSender(receiver)
        case SlackReceiver():
            return SlackSender(receiver)
        case MailReceiver():
            return MailSender(receiver, url)
        case _:
            assert_never(receiver)
