"""Signatures of webhooks (Standard Webhooks 1.0.0), and of what Slack sends (its v0). Values only."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

SLACK_LATENESS_SECONDS = 300
"""By which the time of a request from Slack may differ from ours (Slack, "Verifying requests from Slack")."""


def webhook_signature(keys: Sequence[bytes], message_id: str, at: int, body: bytes) -> str:
    """The header `webhook-signature`: a signature by each key, so that a receiver may know the old or the new one."""
    signed = f"{message_id}.{at}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys)


def button_value(secret: bytes, approval: str) -> str:
    """What a button in Slack carries: the question's id, and proof that the gate made the button.

    Whoever has the bot's token can post messages with buttons of their own, under other words; not with this.
    """
    return f"{approval}.{hmac.new(secret, b'button:' + approval.encode(), hashlib.sha256).hexdigest()[:40]}"


def button_approval(secret: bytes, value: str) -> str:
    """The question that a button of the gate's is about; empty for any other button."""
    approval = value.rpartition(".")[0]
    made = secret and hmac.compare_digest(button_value(secret, approval).encode(), value.encode("utf-8", "replace"))
    return approval if made else ""


def is_slack_request(secret: bytes, timestamp: str, signature: str, body: bytes, now: float) -> bool:
    """Whether Slack signed this body, within five minutes of `now` (Unix seconds). Nothing is believed by no secret."""
    if not secret or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if not abs(now - int(timestamp)) <= SLACK_LATENESS_SECONDS:
        return False
    wanted = "v0=" + hmac.new(secret, b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace"))
