"""`notifications`: who is told of what happens, as written, and how it becomes receivers."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from narrowgate.config.document import Document, Path_, suggestion
from narrowgate.config.pem import read_authority
from narrowgate.config.secret_source import SecretSources
from narrowgate.control.notifications.events import EVENTS
from narrowgate.control.notifications.receivers import (
    DEFAULT_EVENTS,
    MOST_RECEIVERS,
    SLACK_URL,
    AnyReceiver,
    MailReceiver,
    MailSecurity,
    SlackReceiver,
    WebhookReceiver,
)
from narrowgate.core.names import name_problem

MOST_SECRETS = 4
"""Keys that a webhook is signed with at one time: the old one and the new one, with room for a slip."""

MOST_ADDRESSES = 50
"""Addresses that one message goes to; a mailing list is for more."""

LONGEST_ADDRESS = 254
"""Characters (RFC 5321, section 4.5.3.1.3, less the angle brackets)."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_KEY_BYTES = range(24, 65)
"""Of a webhook's key (Standard Webhooks 1.0.0, "Signature scheme")."""
_SLACK_USER = re.compile(r"[UW][A-Z0-9]{2,30}", re.ASCII)
_SLACK_CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,30}|#[^\s,<>&]{1,80}")
# Narrower than RFC 5322: what stands in a header and in an SMTP command must not mean more than an address.
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}", re.ASCII)
_PORTS = {MailSecurity.STARTTLS: 587, MailSecurity.TLS: 465, MailSecurity.NONE: 25}
"""RFC 6409 and RFC 8314."""


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Keys as written in YAML."""


class WebhookEntry(_Shape, frozen=True):
    """One of `notifications.webhooks` as written."""

    name: str
    url: str
    secret_file: str = ""
    secret_variable: str = ""
    events: list[str] | None = None
    certificate_authority: str = ""


class SlackEntry(_Shape, frozen=True):
    """One of `notifications.slack` as written."""

    name: str
    channel: str
    token_file: str = ""
    token_variable: str = ""
    api_url: str = msgspec.field(default=SLACK_URL, name="apiURL")
    signing_secret_file: str = ""
    signing_secret_variable: str = ""
    people: dict[str, str] = {}
    events: list[str] | None = None
    certificate_authority: str = ""


class MailEntry(_Shape, frozen=True):
    """One of `notifications.email` as written."""

    name: str
    server: str
    security: str = MailSecurity.STARTTLS.value
    username: str = ""
    password_file: str = ""
    password_variable: str = ""
    sender: str = msgspec.field(default="", name="from")
    to: list[str] = []
    groups: dict[str, list[str]] = {}
    events: list[str] | None = None
    certificate_authority: str = ""


class NotificationsEntry(_Shape, frozen=True):
    """`notifications` as written."""

    webhooks: list[WebhookEntry] = []
    slack: list[SlackEntry] = []
    email: list[MailEntry] = []


def read_receivers(
    document: Document, written: NotificationsEntry, folder: Path, environ: Mapping[str, str] = os.environ
) -> tuple[AnyReceiver, ...]:
    """Everybody who is told, their secrets read. Raises ConfigError with file, line and key."""
    reader = _Reader(document, folder, environ)
    here: Path_ = ("notifications",)
    entries: list[tuple[Path_, WebhookEntry | SlackEntry | MailEntry]] = [
        *(((*here, "webhooks", index), webhook) for index, webhook in enumerate(written.webhooks)),
        *(((*here, "slack", index), slack) for index, slack in enumerate(written.slack)),
        *(((*here, "email", index), mail) for index, mail in enumerate(written.email)),
    ]
    if len(entries) > MOST_RECEIVERS:
        document.refuse(here, f"more than {MOST_RECEIVERS} receivers; let one webhook pass on to several")
    names: set[str] = set()
    for at, entry in entries:
        if not _NAME.fullmatch(entry.name):
            document.refuse(
                (*at, "name"), f'"{entry.name}" is no name; use up to 63 lower case letters, digits and "-"'
            )
        if entry.name in names:
            document.refuse((*at, "name"), f'there is another receiver "{entry.name}"; give each its own name')
        names.add(entry.name)
    return tuple(reader.receiver(at, entry) for at, entry in entries)


class _Reader:
    """The receivers of one file on their way."""

    def __init__(self, document: Document, folder: Path, environ: Mapping[str, str]) -> None:
        self._document = document
        self._folder = folder
        self._secrets = SecretSources(document, folder, environ)

    def receiver(self, here: Path_, written: WebhookEntry | SlackEntry | MailEntry) -> AnyReceiver:
        match written:
            case WebhookEntry():
                return self._webhook(here, written)
            case SlackEntry():
                return self._slack(here, written)
            case MailEntry():
                return self._mail(here, written)

    def _webhook(self, here: Path_, written: WebhookEntry) -> WebhookReceiver:
        self._check_url((*here, "url"), written.url)
        text = self._secrets.must_read(here, "secret", written.secret_file, written.secret_variable)
        return WebhookReceiver(
            name=written.name,
            events=self._events(here, written.events),
            url=written.url,
            secrets=self._keys(here, text.split()),
            certificate_authority=self._authority(here, written.certificate_authority),
        )

    def _keys(self, here: Path_, written: Sequence[str]) -> tuple[bytes, ...]:
        if len(written) > MOST_SECRETS:
            self._document.refuse(here, f"has more than {MOST_SECRETS} secrets; leave the newest ones")
        keys = []
        for secret in written:
            try:
                key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
            except binascii.Error:
                key = b""
            if not secret.startswith("whsec_") or len(key) not in _KEY_BYTES:
                self._document.refuse(
                    here,
                    'its secret is not "whsec_" and 24 to 64 bytes in base64; make one with `openssl rand -base64 32`',
                )
            keys.append(key)
        return tuple(keys)

    def _slack(self, here: Path_, written: SlackEntry) -> SlackReceiver:
        self._check_url((*here, "apiURL"), written.api_url)
        if not _SLACK_CHANNEL.fullmatch(written.channel):
            self._document.refuse((*here, "channel"), f'"{written.channel}" is no channel; write its id, or #name')
        for user, person in written.people.items():
            if not _SLACK_USER.fullmatch(user):
                self._document.refuse((*here, "people", user), "is no Slack user id; write it like U0123ABCD")
            if problem := name_problem(person):
                self._document.refuse((*here, "people", user), f'"{person}" {problem}')
        signing = self._secrets.read(
            here, "signingSecret", written.signing_secret_file, written.signing_secret_variable
        )
        if bool(signing) != bool(written.people):
            self._document.refuse(
                here, "buttons need both signingSecretFile and people; add what is missing, or neither"
            )
        return SlackReceiver(
            name=written.name,
            events=self._events(here, written.events),
            channel=written.channel,
            token=self._one_word(
                here, self._secrets.must_read(here, "token", written.token_file, written.token_variable)
            ),
            url=written.api_url.rstrip("/"),
            certificate_authority=self._authority(here, written.certificate_authority),
            signing_secret=self._one_word(here, signing).encode(),
            people=dict(written.people),
        )

    def _mail(self, here: Path_, written: MailEntry) -> MailReceiver:
        host, port = self._server((*here, "server"), written.server)
        security = self._security(here, written.security)
        if security is MailSecurity.NONE and not _is_loopback(host):
            self._document.refuse((*here, "security"), '"none" is for a server on this machine; use starttls or tls')
        password = self._secrets.read(here, "password", written.password_file, written.password_variable)
        if bool(password) != bool(written.username):
            self._document.refuse(here, "a username goes with passwordFile or passwordVariable; write both, or neither")
        if not written.sender:
            self._document.refuse(here, '"from" is missing; add the address that mail comes from')
        for group in written.groups:
            if problem := name_problem(group):
                self._document.refuse((*here, "groups", group), f'"{group}" {problem}')
        to = self._addresses((*here, "to"), written.to)
        groups = {name: self._addresses((*here, "groups", name), each) for name, each in written.groups.items()}
        if not to and not any(groups.values()):
            self._document.refuse(here, "goes to nobody; add addresses under to, or under groups")
        return MailReceiver(
            name=written.name,
            events=self._events(here, written.events),
            host=host,
            port=port or _PORTS[security],
            security=security,
            username=written.username,
            password=self._one_word(here, password),
            certificate_authority=self._authority(here, written.certificate_authority),
            sender=self._addresses((*here, "from"), [written.sender])[0],
            to=to,
            groups=groups,
        )

    def _one_word(self, here: Path_, secret: str) -> str:
        # What stands in a header must not begin another one.
        if not secret.isprintable():
            self._document.refuse(here, "its secret is more than one line; put it alone on one line")
        return secret

    def _server(self, here: Path_, text: str) -> tuple[str, int]:
        """Host and port; port 0 where none is written."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname or "", parts.port or 0
        except ValueError:
            host, port = "", 0
        if not host or not text.isprintable() or any(letter in text for letter in "/@?# "):
            self._document.refuse(here, f'"{text}" is not host or host:port; write it like "smtp.corp:587"')
        return host, port

    def _security(self, here: Path_, text: str) -> MailSecurity:
        try:
            return MailSecurity(text)
        except ValueError:
            known = [one.value for one in MailSecurity]
            self._document.refuse((*here, "security"), f'unknown value "{text}"{suggestion(text, known)}')

    def _addresses(self, here: Path_, written: Sequence[str]) -> tuple[str, ...]:
        if len(written) > MOST_ADDRESSES:
            self._document.refuse(here, f"more than {MOST_ADDRESSES} addresses; use a mailing list")
        for address in written:
            if len(address) > LONGEST_ADDRESS or not _ADDRESS.fullmatch(address):
                self._document.refuse(here, f'"{address}" is no address; write it like "sre@corp.example", and no name')
        return tuple(dict.fromkeys(written))

    def _authority(self, here: Path_, written: str) -> str:
        return read_authority(self._document, (*here, "certificateAuthority"), written, self._folder)

    def _check_url(self, here: Path_, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            self._document.refuse(here, f'"{url}" is no address; write it like "https://hooks.corp/narrowgate"')
        if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
            self._document.refuse(here, f'"{url}" is no address; write it like "https://hooks.corp/narrowgate"')
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
            self._document.refuse(here, f'"{url}" is not https; only an address of this machine may be http')

    def _events(self, here: Path_, written: list[str] | None) -> tuple[str, ...]:
        if written is None:
            return DEFAULT_EVENTS
        known = ["*", *sorted({f"{event.partition('.')[0]}.*" for event in EVENTS}), *EVENTS]
        for index, pattern in enumerate(written):
            if pattern not in known:
                self._document.refuse(
                    (*here, "events", index), f'there is no event "{pattern}"{suggestion(pattern, known)}'
                )
        return tuple(dict.fromkeys(written))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
