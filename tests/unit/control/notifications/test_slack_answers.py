"""Buttons in Slack: only what Slack signed counts, only for mapped people, only with the rights that they have."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from tests.hearing import HTTPReceiver
from tests.unit.control.api.calling import Api
from tests.unit.control.api.questions import asked, signed_in
from tests.unit.control.browsing import Answer, ask

from narrowgate.control.notifications.receivers import SlackReceiver
from narrowgate.control.notifications.signing import button_value
from narrowgate.control.notifications.slack import APPROVE, DENY
from narrowgate.control.notifications.slack_answers import PATH, read_press, slack_routes
from narrowgate.core.approvals import ApprovalState

SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
USERS = {"UADA": "ada", "UBEN": "ben", "UOLGA": "olga", "UMIA": "mia"}


class Slack:
    """A Slack app whose buttons reach this API, and the server of Slack's that is told what came of it."""

    def __init__(self, api: Api, server: HTTPReceiver, **more: Any) -> None:
        self.api, self.server = api, server
        usual = {"name": "chat", "channel": "C1", "token": "xoxb-1", "signing_secret": SECRET, "people": USERS}
        self.receiver = SlackReceiver(**{**usual, "url": server.url.removesuffix("/hook"), **more})
        self.app = Starlette(routes=slack_routes(api.parts, [self.receiver]))

    def press(
        self, user: str, action: str = APPROVE, *, value: str = "", at: float = 0.0, secret: bytes = SECRET
    ) -> Answer:
        return self.send(body_of(user, action, value or button_value(SECRET, "q1")), at=at, secret=secret)

    def send(self, body: bytes, *, at: float = 0.0, secret: bytes = SECRET) -> Answer:
        stamp = str(int(at or time.time()))
        signature = "v0=" + hmac.new(secret, f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": signature,
            "content-type": "application/x-www-form-urlencoded",
        }
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "https",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
            "client": ("192.0.2.7", 40000),
            "server": ("127.0.0.1", 8444),
        }
        return asyncio.run(ask(self.app, scope, body, chunk=100))

    @property
    def said(self) -> str:
        """What the last one who pressed was told, and nobody else."""
        last = self.server.heard[-1]
        assert last.path == "/chat.postEphemeral"
        return str(last.document["text"])

    @property
    def state(self) -> ApprovalState:
        return self.api.store.approvals.get("q1").state


def body_of(user: str, action: str, value: str) -> bytes:
    payload = {
        "type": "block_actions",
        "user": {"id": user},
        "channel": {"id": "C1"},
        "actions": [{"action_id": action, "value": value}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[Slack]:
    api = Api(tmp_path)
    with HTTPReceiver() as server:
        asked(api)
        yield Slack(api, server)
    api.store.close()


def test_two_people_of_the_group_approve_by_their_buttons(slack: Slack) -> None:
    for name, user in (("ada", "UADA"), ("ben", "UBEN")):
        signed_in(slack.api, name, "sre")
        assert slack.press(user).status == 200
        assert slack.said == f"{name}: you said yes to approval q1."
    assert slack.state is ApprovalState.APPROVED
    question = slack.api.store.approvals.get("q1")
    assert {one.comment for one in question.said} == {"by a button in Slack"}


def test_a_no_is_enough_and_says_where_it_came_from(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    slack.press("UADA", DENY)
    assert slack.state is ApprovalState.DENIED
    assert slack.api.store.approvals.get("q1").ended_because == "denied by a button in Slack"


def test_it_is_on_the_disk_before_it_is_done_and_names_the_person_and_slack(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    slack.press("UADA")
    received, finished = slack.api.memory.entries[-2:]
    assert received[1] is True
    assert [entry["stage"] for entry, _ in (received, finished)] == ["RequestReceived", "ResponseComplete"]
    text = json.dumps(received[0])
    for part in ("ada", "approvals", "q1", "slack"):
        assert part in text


def test_where_the_record_cannot_be_written_nothing_is_done(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    slack.api.memory.full = True
    slack.press("UADA", DENY)
    assert slack.state is ApprovalState.PENDING
    assert "record cannot be written" in slack.said


@pytest.mark.parametrize(
    ("user", "groups", "reason"),
    [
        # Whoever may not see it is told what they would be told if it were not there.
        ("UMIA", ("developers",), 'there is no approval "q1", or it is not asked of you'),
        ("UOLGA", ("sre",), "nobody answers what was asked by or for themselves"),
        ("UNOBODY", ("sre",), "nobody is mapped to the Slack user UNOBODY"),
    ],
)
def test_a_button_gives_nobody_a_right(slack: Slack, user: str, groups: tuple[str, ...], reason: str) -> None:
    for name in ("mia", "olga"):
        signed_in(slack.api, name, *groups)
    assert slack.press(user, DENY).status == 200
    assert reason in slack.said
    assert slack.state is ApprovalState.PENDING
    assert slack.api.memory.last["annotations"]["narrowgate.dev/decision"] == "deny"


def test_somebody_who_is_signed_in_nowhere_answers_nothing(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre", expires_at=time.time() - 1)
    slack.press("UADA")
    assert "ada is not signed in at the gate" in slack.said
    assert slack.state is ApprovalState.PENDING


def test_what_slack_did_not_sign_now_is_refused_and_done_by_nobody(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    assert slack.press("UADA", secret=b"another app").status == 401
    assert slack.press("UADA", at=time.time() - 301).status == 401
    assert slack.press("UADA", at=time.time() + 301).status == 401
    assert slack.state is ApprovalState.PENDING
    assert slack.api.store.approvals.get("q1").said == ()
    assert slack.server.heard == []


def test_what_was_sent_before_is_not_done_again(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    at = time.time()
    assert slack.press("UADA", at=at).status == 200
    assert slack.press("UADA", at=at).status == 409
    assert len(slack.api.store.approvals.get("q1").said) == 1


def test_a_button_that_somebody_else_made_is_about_nothing(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    for value in ("q1", "q1." + "0" * 40, button_value(b"another app", "q1")):
        slack.press("UADA", DENY, value=value)
        assert "did not make this button" in slack.said
    assert slack.state is ApprovalState.PENDING


def test_a_button_under_an_old_message_answers_nothing_any_more(slack: Slack) -> None:
    signed_in(slack.api, "ada", "sre")
    slack.press("UADA", DENY)
    slack.press("UADA")
    assert "cannot be answered any more" in slack.said
    slack.press("UADA", value=button_value(SECRET, "q2"))
    assert 'there is no approval "q2"' in slack.said


def test_a_body_that_is_no_press_or_too_large_is_refused(slack: Slack) -> None:
    assert slack.send(b"payload=%7B%7D").status == 400
    assert slack.send(b"x" * (300 << 10)).status == 413


def test_without_people_there_is_no_such_address(slack: Slack) -> None:
    nobody = SlackReceiver(name="chat", channel="C1", token="t", signing_secret=SECRET)
    assert slack_routes(slack.api.parts, [nobody]) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload=%5B%5D",
        b"\xff",
        b"payload=%7B%22type%22%3A%22block_actions%22%7D",
        body_of("UADA", "some.other", "v"),
        body_of("UADA", APPROVE, "v").replace(b"block_actions", b"view_closed"),
        body_of("UADA", APPROVE, "v") + b"&payload=%7B%7D",
        urlencode(
            {"payload": json.dumps({"type": "block_actions", "user": 1, "channel": {"id": "C"}, "actions": [{}]})}
        ).encode(),
    ],
)
def test_what_is_no_button_of_ours_is_none(body: bytes) -> None:
    assert read_press(body) is None


def test_a_press_is_read() -> None:
    press = read_press(body_of("UADA", DENY, "v"))
    assert press is not None
    assert (press.user, press.channel, press.approve, press.value) == ("UADA", "C1", False, "v")
