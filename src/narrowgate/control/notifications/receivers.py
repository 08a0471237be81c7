"""Who is told what, as the configuration says it: webhooks, Slack channels and mail servers, checked and frozen."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

MOST_RECEIVERS = 16
"""Each has a task and a place in the list of changes; more belong behind one webhook that passes on."""

DEFAULT_EVENTS = ("approval.*", "emergency.*")
"""What a receiver hears of that does not say: questions that wait for people, and emergencies."""

ALWAYS_TOLD = frozenset({"emergency.begun", "emergency.unreviewed"})
"""Every receiver hears of these, whatever it says: that is what makes an emergency loud."""

SLACK_URL = "https://slack.com/api"


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """What all receivers have."""

    name: str
    """Of one receiver alone; its place in the list of changes is kept under it."""
    events: tuple[str, ...] = DEFAULT_EVENTS
    """Types (`task.began`), or all of a kind (`task.*`), or `*`."""

    def hears(self, kind: str) -> bool:
        """Whether it is told of events of that type, a test apart: that is for whom it names."""
        noun = kind.partition(".")[0]
        return kind in ALWAYS_TOLD or any(pattern in (kind, f"{noun}.*", "*") for pattern in self.events)

    @property
    def is_people(self) -> bool:
        """Whether people read what it gets, and can be worn down; programs get everything."""
        return True


class WebhookReceiver(Receiver, frozen=True, kw_only=True):
    """A program that takes signed webhooks."""

    url: str
    secrets: tuple[bytes, ...]
    """The keys that each message is signed with: one, and the next or the last one while they are changed."""
    certificate_authority: str = ""
    """PEM; empty: whom the system trusts."""

    @property
    def is_people(self) -> bool:
        """See above."""
        return False


class SlackReceiver(Receiver, frozen=True, kw_only=True):
    """A Slack channel."""

    channel: str
    """Its id (`C0123456`) or `#name`."""
    token: str
    """Of a bot, `xoxb-...`; it needs the scope `chat:write`."""
    url: str = SLACK_URL
    certificate_authority: str = ""
    signing_secret: bytes = b""
    """Of the Slack app, which signs what its buttons send; empty: no buttons."""
    people: Mapping[str, str] = {}
    """The person (`corp:alice@corp.example`) of each Slack user id who may answer by buttons."""


class MailSecurity(enum.Enum):
    """How a connection to a mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"
    """Only to the same machine."""


class MailReceiver(Receiver, frozen=True, kw_only=True):
    """A mail server, and whom it carries mail to."""

    host: str
    port: int
    security: MailSecurity = MailSecurity.STARTTLS
    username: str = ""
    """Empty: the server asks for none."""
    password: str = ""
    certificate_authority: str = ""
    sender: str
    to: tuple[str, ...] = ()
    """Addresses that everything goes to that the receiver hears of."""
    groups: Mapping[str, tuple[str, ...]] = {}
    """Addresses of the people in a group: they get the questions that are asked of it."""


AnyReceiver = WebhookReceiver | SlackReceiver | MailReceiver
