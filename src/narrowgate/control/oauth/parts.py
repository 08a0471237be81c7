"""What the authorization server is made of, and whom it asks. Only values: `routes.py` puts the routes together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from narrowgate.authenticators.port import Authenticator
from narrowgate.control.console_sessions import ConsoleSessions
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.pages import Pages
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.core.agent import AgentRecord
from narrowgate.store.port import Store


class Subjects(msgspec.Struct, frozen=True, kw_only=True):
    """Who may exchange a proof of their own for an access credential; asked anew for each call."""

    authenticator: Callable[[], Authenticator]
    """The authenticator of the current snapshot; one that answers Unavailable while nobody knows what is current."""
    agents: Callable[[], Mapping[str, AgentRecord]]
    """The registered agents of the current snapshot, by name."""


class OAuthParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the authorization server works with, once per process."""

    settings: ControlSettings
    store: Store
    issuer: AccessIssuer
    recorder: Recorder
    sessions: ConsoleSessions
    pages: Pages
    subjects: Subjects
    requesting: threading.Lock = msgspec.field(default_factory=threading.Lock)
    """The lock under which tasks are counted and kept, the same as the API's."""
    clock: Callable[[], float] = time.time
    """Unix seconds, now."""
