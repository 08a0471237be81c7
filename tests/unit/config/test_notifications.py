"""`notifications`: what an entry means, and what each mistake in it is answered with."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from narrowgate.config import Config, ConfigError, parse_config
from narrowgate.control.notifications.receivers import (
    DEFAULT_EVENTS,
    MailReceiver,
    MailSecurity,
    SlackReceiver,
    WebhookReceiver,
)

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OLD = bytes(range(24))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pager.secret").write_text(f"{SECRET}\n")
    (tmp_path / "both.secret").write_text(f"{SECRET}\nwhsec_{base64.b64encode(OLD).decode()}\n")
    (tmp_path / "slack.token").write_text("xoxb-1\n")
    (tmp_path / "slack.signing").write_text("8f74\n")
    (tmp_path / "mail.password").write_text("word\n")
    return tmp_path


def read(folder: Path, **sections: list[dict[str, Any]]) -> Config:
    document = {"apiVersion": "narrowgate.dev/v1alpha1", "kind": "Config", "notifications": sections}
    return parse_config(yaml.safe_dump(document), folder / "narrowgate.yaml")


def refusal(folder: Path, **sections: list[dict[str, Any]]) -> str:
    with pytest.raises(ConfigError) as refused:
        read(folder, **sections)
    return str(refused.value)


def webhook(**more: Any) -> dict[str, Any]:
    return {"name": "pager", "url": "https://hooks.corp/narrowgate", "secretFile": "pager.secret", **more}


def slack(**more: Any) -> dict[str, Any]:
    return {"name": "chat", "channel": "C0123456", "tokenFile": "slack.token", **more}


def mail(**more: Any) -> dict[str, Any]:
    return {"name": "mail", "server": "smtp.corp", "from": "gate@corp.example", "to": ["sre@corp.example"], **more}


def test_without_the_section_nobody_is_told(folder: Path) -> None:
    assert read(folder).receivers == ()


def test_a_webhook_has_its_keys_and_hears_of_approvals_and_emergencies(folder: Path) -> None:
    assert read(folder, webhooks=[webhook()]).receivers == (
        WebhookReceiver(name="pager", url="https://hooks.corp/narrowgate", secrets=(KEY,), events=DEFAULT_EVENTS),
    )


def test_two_secrets_in_a_file_sign_twice(folder: Path) -> None:
    (found,) = read(folder, webhooks=[webhook(secretFile="both.secret")]).receivers
    assert isinstance(found, WebhookReceiver)
    assert found.secrets == (KEY, OLD)


def test_slack_has_its_token_and_its_people(folder: Path) -> None:
    buttons = {"signingSecretFile": "slack.signing", "people": {"U0123ABC": "corp:alice"}}
    assert read(folder, slack=[slack(events=["*"], **buttons)]).receivers == (
        SlackReceiver(
            name="chat",
            events=("*",),
            channel="C0123456",
            token="xoxb-1",
            signing_secret=b"8f74",
            people={"U0123ABC": "corp:alice"},
        ),
    )


def test_mail_is_protected_unless_it_stays_on_the_machine(folder: Path) -> None:
    (usual,) = read(folder, email=[mail()]).receivers
    assert isinstance(usual, MailReceiver)
    assert (usual.host, usual.port, usual.security) == ("smtp.corp", 587, MailSecurity.STARTTLS)
    (local,) = read(folder, email=[mail(server="[::1]:2525", security="none")]).receivers
    assert isinstance(local, MailReceiver)
    assert (local.host, local.port) == ("::1", 2525)
    assert 'notifications.email[0].security: "none" is for a server on this machine' in refusal(
        folder, email=[mail(security="none")]
    )


def test_mail_goes_to_addresses_by_group(folder: Path) -> None:
    entry = mail(to=[], groups={"corp:sre": ["a@corp.example", "a@corp.example"]}, username="gate")
    (found,) = read(folder, email=[{**entry, "passwordFile": "mail.password"}]).receivers
    assert isinstance(found, MailReceiver)
    assert found.groups == {"corp:sre": ("a@corp.example",)}
    assert (found.username, found.password) == ("gate", "word")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"url": "http://hooks.corp/x"}, "webhooks[0].url:"),
        ({"url": "https://user:word@hooks.corp/x"}, "is no address"),
        ({"url": "https://hooks.corp:x/"}, "is no address"),
        ({"url": "ftp://127.0.0.1/x"}, "is not https"),
        ({"secretFile": ""}, "needs secretFile or secretVariable"),
        ({"secretFile": "slack.token"}, 'its secret is not "whsec_"'),
        ({"events": ["approval.asks"]}, 'there is no event "approval.asks", did you mean "approval.asked"?'),
        ({"events": ["notification.test"]}, 'there is no event "notification.test"'),
        ({"name": "Pager"}, '"Pager" is no name'),
        ({"certificateAuthority": "pager.secret"}, "holds no certificate"),
        ({"secret": SECRET}, "unknown key"),
    ],
)
def test_a_mistake_in_a_webhook_is_named(folder: Path, more: dict[str, Any], complaint: str) -> None:
    said = refusal(folder, webhooks=[webhook(**more)])
    assert complaint in said
    if "secret" not in more:
        assert SECRET not in said


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"channel": "general"}, '"general" is no channel'),
        ({"people": {"U0123ABC": "corp:alice"}}, "buttons need both"),
        ({"signingSecretFile": "slack.signing"}, "buttons need both"),
        ({"signingSecretFile": "slack.signing", "people": {"alice": "corp:alice"}}, "is no Slack user id"),
        ({"signingSecretFile": "slack.signing", "people": {"U0123ABC": "system:alice"}}, "reserved for Kubernetes"),
        ({"apiURL": "http://slack.example"}, "is not https"),
        ({"tokenFile": "both.secret"}, "more than one line"),
    ],
)
def test_a_mistake_in_slack_is_named(folder: Path, more: dict[str, Any], complaint: str) -> None:
    assert complaint in refusal(folder, slack=[slack(**more)])


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"server": "smtp.corp/x"}, "is not host or host:port"),
        ({"server": "smtp.corp:99999"}, "is not host or host:port"),
        ({"security": "ssl"}, 'unknown value "ssl"'),
        ({"username": "gate"}, "write both, or neither"),
        ({"passwordFile": "mail.password"}, "write both, or neither"),
        ({"from": ""}, '"from" is missing'),
        ({"to": ["sre@corp.example\nBcc: x@y.example"]}, "is no address"),
        ({"to": ["SRE <sre@corp.example>"]}, "is no address"),
        ({"to": []}, "goes to nobody"),
        ({"groups": {"system:masters": ["a@b.example"]}}, "reserved for Kubernetes"),
        ({"to": [f"a{number}@corp.example" for number in range(51)]}, "more than 50 addresses"),
    ],
)
def test_a_mistake_in_mail_is_named(folder: Path, more: dict[str, Any], complaint: str) -> None:
    assert complaint in refusal(folder, email=[mail(**more)])


def test_every_receiver_has_a_name_of_its_own_and_there_are_sixteen_at_most(folder: Path) -> None:
    assert 'there is another receiver "pager"' in refusal(folder, webhooks=[webhook()], slack=[slack(name="pager")])
    many = [webhook(name=f"pager-{number}") for number in range(17)]
    assert "more than 16 receivers" in refusal(folder, webhooks=many)
    assert len(read(folder, webhooks=many[:16]).receivers) == 16
