"""Signatures: the published examples of both schemes, rotation, and everything that must not pass for Slack."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from narrowgate.control.notifications.signing import (
    button_approval,
    button_value,
    is_slack_request,
    webhook_signature,
)

SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
AT = 1531420618
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
"""The example of Slack's page "Verifying requests from Slack"."""


def test_a_webhook_is_signed_as_the_reference_implementation_signs() -> None:
    # The test of the Standard Webhooks reference libraries.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = webhook_signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_key_signs_once_in_their_order() -> None:
    old, new = b"o" * 24, b"n" * 24
    both = webhook_signature([new, old], "msg_1", 1, b"{}").split(" ")
    assert both == [webhook_signature([new], "msg_1", 1, b"{}"), webhook_signature([old], "msg_1", 1, b"{}")]


@pytest.mark.parametrize(("message", "at", "body"), [("msg_2", 1, b"{}"), ("msg_1", 2, b"{}"), ("msg_1", 1, b"{ }")])
def test_id_time_and_body_are_signed(message: str, at: int, body: bytes) -> None:
    assert webhook_signature([b"k"], message, at, body) != webhook_signature([b"k"], "msg_1", 1, b"{}")


def test_what_slack_signed_is_known() -> None:
    assert is_slack_request(SECRET, str(AT), SIGNATURE, BODY, AT + 299.0)


@pytest.mark.parametrize(
    ("secret", "timestamp", "signature", "body", "now"),
    [
        (SECRET, str(AT), SIGNATURE, BODY, AT + 301.0),
        (SECRET, str(AT), SIGNATURE, BODY, AT - 301.0),
        (SECRET, str(AT), SIGNATURE, BODY, float("nan")),
        (SECRET, str(AT), SIGNATURE, BODY + b" ", AT),
        (SECRET, str(AT + 1), SIGNATURE, BODY, AT),
        (SECRET, str(AT), SIGNATURE.upper(), BODY, AT),
        (SECRET, str(AT), "", BODY, AT),
        (SECRET, str(AT), "v0=ü", BODY, AT),
        (SECRET, "", SIGNATURE, BODY, AT),
        (SECRET, f"{AT}.0", SIGNATURE, BODY, AT),
        (SECRET, "1" * 400, SIGNATURE, BODY, AT),
        (b"", str(AT), "v0=" + hmac.new(b"", f"v0:{AT}:".encode() + BODY, hashlib.sha256).hexdigest(), BODY, AT),
        (b"other", str(AT), SIGNATURE, BODY, AT),
    ],
)
def test_anything_else_is_not_from_slack(
    secret: bytes, timestamp: str, signature: str, body: bytes, now: float
) -> None:
    assert not is_slack_request(secret, timestamp, signature, body, now)


def test_a_button_of_the_gates_names_its_question() -> None:
    assert button_approval(SECRET, button_value(SECRET, "q1")) == "q1"


@pytest.mark.parametrize("value", ["q1", "q1.", "", ".", "q2." + "0" * 40, button_value(b"other", "q1"), "q1.ü"])
def test_a_button_of_somebody_else_names_nothing(value: str) -> None:
    assert button_approval(SECRET, value) == ""
    assert button_approval(SECRET, "q2" + button_value(SECRET, "q1")[2:]) == ""


def test_without_a_secret_no_button_is_believed() -> None:
    assert button_approval(b"", button_value(b"", "q1")) == ""
