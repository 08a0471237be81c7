"""What every sender of notifications must do, each at a real receiver: tell, protect, wait, and never raise."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Iterator
from email import message_from_string, policy

import msgspec
import pytest
from tests.hearing import CUT, Answer, HTTPReceiver, MailServer, ServerSide, until

from narrowgate.control.notifications.mail import MailSender
from narrowgate.control.notifications.messages import Message
from narrowgate.control.notifications.outcomes import Gone, NotNow, Outcome, Told
from narrowgate.control.notifications.receivers import (
    AnyReceiver,
    MailReceiver,
    MailSecurity,
    SlackReceiver,
    WebhookReceiver,
)
from narrowgate.control.notifications.senders import sender_of

URL = "https://gate.example:8444"
NOW = 1_795_000_000.5
KEYS = (b"n" * 32, b"o" * 32)
MESSAGE = Message(
    id="msg_1",
    kind="approval.asked",
    at=NOW - 60,
    title="agent:bot asks to delete configmaps/settings in ci on prod",
    lines=(("purpose", "ünïcode"),),
    commands=("narrowgate approvals approve q1",),
    data={"id": "q1"},
    groups=("sre",),
    approval="q1",
)


@pytest.fixture(scope="module")
def tls() -> ServerSide:
    return ServerSide()


@pytest.fixture
def receiver() -> Iterator[HTTPReceiver]:
    with HTTPReceiver() as made:
        yield made


def webhook(receiver: HTTPReceiver, **more: str) -> WebhookReceiver:
    return WebhookReceiver(name="pager", url=receiver.url, secrets=KEYS, **more)


def slack(receiver: HTTPReceiver) -> SlackReceiver:
    return SlackReceiver(name="chat", channel="C1", token="xoxb-1", url=receiver.url.removesuffix("/hook"))


def mail(server: MailServer, **more: object) -> MailReceiver:
    usual = MailReceiver(
        name="mail",
        host="localhost",
        port=server.port,
        security=MailSecurity.NONE,
        sender="gate@corp.example",
        to=("all@corp.example",),
        groups={"sre": ("a@corp.example",)},
    )
    return msgspec.structs.replace(usual, **more)


def send(receiver: AnyReceiver, *messages: Message) -> list[Outcome]:
    async def all_of_them() -> list[Outcome]:
        sender = sender_of(receiver, URL)
        try:
            return [await sender.send(message, NOW) for message in messages or (MESSAGE,)]
        finally:
            await sender.close()

    return asyncio.run(all_of_them())


def trouble(receiver: AnyReceiver) -> NotNow:
    (outcome,) = send(receiver)
    assert isinstance(outcome, NotNow)
    return outcome


# --- webhooks


def test_a_webhook_can_be_verified_by_the_old_key_and_by_the_new_one(receiver: HTTPReceiver) -> None:
    assert send(webhook(receiver)) == [Told()]
    (heard,) = receiver.heard
    signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    wanted = [f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in KEYS]
    assert heard.headers["webhook-signature"].split(" ") == wanted
    assert heard.headers["webhook-timestamp"] == "1795000000"
    assert heard.headers["content-type"] == "application/json"
    assert heard.document == {"type": "approval.asked", "timestamp": "2026-11-18T11:05:40Z", "data": {"id": "q1"}}


def test_a_message_that_is_sent_again_has_the_same_id(receiver: HTTPReceiver) -> None:
    receiver.answers = [Answer(503)]
    first, second = send(webhook(receiver), MESSAGE, MESSAGE)
    assert (type(first), second) == (NotNow, Told())
    assert {one.headers["webhook-id"] for one in receiver.heard} == {"msg_1"}


def test_410_ends_the_telling_and_nothing_else_does(receiver: HTTPReceiver) -> None:
    receiver.answers = [Answer(410), *(Answer(status) for status in (400, 401, 404, 429, 500, 503))]
    outcomes = send(webhook(receiver), *[MESSAGE] * 7)
    assert isinstance(outcomes[0], Gone)
    assert [type(one) for one in outcomes[1:]] == [NotNow] * 6


def test_a_receivers_pause_is_heard(receiver: HTTPReceiver) -> None:
    receiver.answers = [Answer(429, headers={"Retry-After": "17"})]
    assert trouble(webhook(receiver)).wait == 17.0


def test_a_redirect_is_not_followed(receiver: HTTPReceiver) -> None:
    with HTTPReceiver() as other:
        receiver.answers = [Answer(307, headers={"Location": other.url})]
        assert "redirects are not followed" in trouble(webhook(receiver)).trouble
        assert other.heard == []


def test_a_connection_that_is_cut_or_refused_is_tried_again(receiver: HTTPReceiver) -> None:
    receiver.answers = [Answer(CUT)]
    assert "ended before there was an answer" in trouble(webhook(receiver)).trouble
    receiver.down()
    assert trouble(webhook(receiver)).trouble.startswith("it cannot be reached: ")


def test_an_answer_that_does_not_end_is_not_read_to_its_end(receiver: HTTPReceiver) -> None:
    receiver.answers = [Answer(200, body=b"x" * (8 << 20))]
    assert send(webhook(receiver)) == [Told()]


def test_https_is_verified_by_the_given_authority_alone(tls: ServerSide) -> None:
    with HTTPReceiver(tls) as receiver:
        assert "not trusted" in trouble(webhook(receiver)).trouble
        assert "not trusted" in trouble(webhook(receiver, certificate_authority=ServerSide().ca)).trouble
        assert receiver.heard == []
        assert send(webhook(receiver, certificate_authority=tls.ca)) == [Told()]


def test_no_trouble_quotes_the_address_whose_path_may_be_a_secret(receiver: HTTPReceiver) -> None:
    receiver.down()
    gone = msgspec.structs.replace(webhook(receiver), url=f"http://127.0.0.1:{receiver.port}/hush-hush")
    assert "hush" not in trouble(gone).trouble


# --- Slack


def test_slack_is_told_with_its_token_in_its_channel(receiver: HTTPReceiver) -> None:
    assert send(slack(receiver)) == [Told()]
    (heard,) = receiver.heard
    assert heard.path == "/chat.postMessage"
    assert heard.headers["authorization"] == "Bearer xoxb-1"
    assert heard.document["channel"] == "C1"
    assert "narrowgate approvals approve q1" in heard.body.decode()


def test_slack_that_says_no_in_its_body_is_tried_again(receiver: HTTPReceiver) -> None:
    receiver.answers = [
        Answer(200, b'{"ok": false, "error": "not_in_channel"}'),
        Answer(429, headers={"Retry-After": "3"}),
    ]
    first, second = send(slack(receiver), MESSAGE, MESSAGE)
    assert first == NotNow(trouble="Slack says not_in_channel")
    assert second == NotNow(trouble="it answered 429", wait=3.0)


# --- e-mail


def test_mail_reaches_the_group_that_is_asked(tls: ServerSide) -> None:
    with MailServer() as server:
        assert send(mail(server)) == [Told()]
        (got,) = server.mails
    assert got.to == ("all@corp.example", "a@corp.example")
    parsed = message_from_string(got.text, policy=policy.default)
    assert parsed["Message-ID"] == "<msg_1.mail@gate.example>"
    assert parsed["Subject"].strip() == f"[narrowgate] {MESSAGE.title}"
    assert "purpose: ünïcode" in parsed.get_content()
    assert "narrowgate approvals approve q1" in parsed.get_content()


@pytest.mark.parametrize("security", [MailSecurity.STARTTLS, MailSecurity.TLS])
def test_mail_and_its_password_go_by_verified_tls_alone(tls: ServerSide, security: MailSecurity) -> None:
    at_once = security is MailSecurity.TLS
    with MailServer(tls, at_once=at_once) as server:
        entry = mail(server, security=security, username="gate", password="word", certificate_authority=tls.ca)
        assert send(entry) == [Told()]
        (got,) = server.mails
        assert (got.protected, got.user) == (True, "gate")
        wrong = msgspec.structs.replace(entry, certificate_authority=ServerSide().ca)
        assert "CERTIFICATE_VERIFY_FAILED" in trouble(wrong).trouble
        assert len(server.mails) == 1


def test_a_server_without_starttls_gets_nothing() -> None:
    with MailServer() as server:
        assert "STARTTLS" in trouble(mail(server, security=MailSecurity.STARTTLS, username="u", password="p")).trouble
        assert server.mails == []


@pytest.mark.parametrize(
    ("command", "said", "refused"),
    [
        ("MAIL", "451 later", False),
        ("MAIL", "550 you are nobody", False),
        (".", "554 this looks like spam", True),
        (".", "452 full", False),
        ("RCPT", "550 nobody of that name", True),
    ],
)
def test_what_a_mail_server_refuses_is_told_and_tried_again(command: str, said: str, refused: bool) -> None:
    with MailServer() as server:
        server.refuse = {command: said}
        told = trouble(mail(server, groups={}))
        assert said[:3] in told.trouble
        assert told.refused is refused
        assert send(mail(server)) == [Told()]


def test_of_several_addresses_the_good_ones_get_it() -> None:
    with MailServer() as server:
        server.refuse = {"RCPT": "550 nobody of that name"}
        assert send(mail(server)) == [Told()]
        assert server.mails[0].to == ("a@corp.example",)


def test_a_mail_server_that_answers_in_drops_is_left_and_no_thread_stays_with_it() -> None:
    async def one() -> Outcome:
        sender = MailSender(mail(server), URL, patience=0.5)
        try:
            return await sender.send(MESSAGE, NOW)
        finally:
            await sender.close()

    with MailServer(silent=True) as server:
        outcome = asyncio.run(one())
    assert isinstance(outcome, NotNow)
    assert "did not take it within" in outcome.trouble
    until(
        lambda: not [one for one in threading.enumerate() if one.name.startswith("mail-mail")], "its thread has ended"
    )


def test_a_mail_server_that_is_not_there_is_tried_again() -> None:
    server = MailServer()
    assert "cannot be used" in trouble(mail(server)).trouble


def test_a_question_that_concerns_nobody_of_a_mail_receiver_is_told() -> None:
    server = MailServer()
    assert send(mail(server, to=(), groups={"others": ("o@corp.example",)})) == [Told()]


def test_a_bad_authority_is_known_before_anything_is_sent(receiver: HTTPReceiver) -> None:
    with pytest.raises(ssl.SSLError):
        send(webhook(receiver, certificate_authority="no PEM"))
