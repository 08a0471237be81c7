"""The port: what an authenticator is given, and the four things it may answer."""

from __future__ import annotations

from typing import Protocol

import msgspec

from narrowgate.core.identity import Identity


class Presented(msgspec.Struct, frozen=True):
    """What a connection or request brought along to prove itself. Never logged, never recorded."""

    bearer: str = ""
    client_certificate: bytes = b""
    """DER of the verified client certificate; empty where TLS had none."""


class NotMine(msgspec.Struct, frozen=True):
    """Such a credential is not of the sort this authenticator knows: ask the next one."""


class Rejected(msgspec.Struct, frozen=True):
    """The credential is of this authenticator's sort and is not good: nobody else is asked. 401 with this reason."""

    reason: str


class Unavailable(msgspec.Struct, frozen=True):
    """The credential is of this authenticator's sort, and whoever could vouch for it does not answer now: nobody else
    is asked. 503 with this reason, which begins in lower case and says who does not answer; asking again may help."""

    reason: str


Answer = Identity | NotMine | Rejected | Unavailable


class Authenticator(Protocol):
    """One way to prove an identity. Implementations pass tests/contract/test_authenticators.py."""

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """Say who presents this at `now` (Unix seconds). Answers from memory where it can: it is on the data path."""
        ...
