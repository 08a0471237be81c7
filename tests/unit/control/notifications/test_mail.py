"""E-mail: who gets it, and that nothing in a message can become a header, an address or another message."""

from __future__ import annotations

import msgspec
from tests.unit.control.notifications.samples import NOW

from narrowgate.control.notifications.mail import mail_of, recipients
from narrowgate.control.notifications.messages import Message
from narrowgate.control.notifications.receivers import MailReceiver

RECEIVER = MailReceiver(
    name="mail",
    host="smtp.corp",
    port=587,
    sender="gate@corp.example",
    to=("all@corp.example",),
    groups={"sre": ("a@corp.example", "all@corp.example"), "security": ("s@corp.example",)},
)
MESSAGE = Message(id="msg_1", kind="approval.asked", at=NOW, title="agent:bot asks", groups=("sre",))


def test_a_question_goes_to_the_groups_that_it_is_asked_of_once_each() -> None:
    assert recipients(RECEIVER, MESSAGE) == ("all@corp.example", "a@corp.example")


def test_what_is_asked_of_nobody_goes_to_who_gets_everything() -> None:
    assert recipients(RECEIVER, msgspec.structs.replace(MESSAGE, kind="task.began", groups=())) == ("all@corp.example",)
    only_groups = msgspec.structs.replace(RECEIVER, to=())
    assert recipients(only_groups, msgspec.structs.replace(MESSAGE, kind="task.began", groups=("ops",))) == ()


def test_an_emergency_goes_to_everybody() -> None:
    loud = msgspec.structs.replace(MESSAGE, kind="emergency.begun", groups=())
    assert set(recipients(RECEIVER, loud)) == {"all@corp.example", "a@corp.example", "s@corp.example"}


def test_the_message_id_stays_and_nobodys_holiday_note_answers() -> None:
    mail = mail_of(MESSAGE, RECEIVER, ("a@corp.example",), "gate.example")
    again = mail_of(MESSAGE, RECEIVER, ("a@corp.example",), "gate.example")
    assert mail["Message-ID"] == again["Message-ID"] == "<msg_1.mail@gate.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"] == "[narrowgate] agent:bot asks"


def test_several_are_not_shown_to_each_other() -> None:
    text = mail_of(MESSAGE, RECEIVER, ("a@corp.example", "b@corp.example"), "gate.example").as_string()
    assert "b@corp.example" not in text


def test_nothing_that_was_written_becomes_a_header_or_ends_the_message() -> None:
    evil = msgspec.structs.replace(
        MESSAGE, title="x\r\nBcc: evil@example.org\r\n\r\nbody", lines=(("purpose", "."), ("more", "ünïcode"))
    )
    mail = mail_of(evil, RECEIVER, ("a@corp.example",), "gate.example")
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[narrowgate] x  Bcc: evil@example.org    body"
    assert "purpose: .\n" in mail.get_content()
    assert "more: ünïcode" in mail.get_content()
