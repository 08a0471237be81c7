"""A sign-in with an OpenID provider that is under way, as the browser carries it: in a cookie, and nowhere else.

The cookie holds one secret; state, nonce and PKCE verifier are derived from it. So the answer can only be used in the
browser that asked (RFC 9700, section 4.7), and the gate keeps nothing for somebody who has proven nothing: a flood of
begun sign-ins fills no table. Nobody but us can set a `__Host-` cookie, and whoever changes their own only spoils
their own sign-in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import Self

import msgspec

COOKIE_PREFIX = "__Host-narrowgate-oidc-"
"""Each sign-in that is under way has a cookie of its own: people have several tabs."""

COOKIE_LETTERS = 12
"""Letters of the state that end the cookie's name: 72 bits tell the tabs of one browser apart."""

PENDING_SECONDS = 600.0
"""From the beginning to the provider's answer: time to find a password and a second factor."""

MOST_PENDING = 5
"""Sign-ins under way in one browser; the oldest give way."""

LONGEST_COOKIE = 4000
"""Characters; browsers keep 4096 bytes of a cookie with its name."""

_SECRET_BYTES = 32

_COOKIE_NAME = re.compile(rf"{COOKIE_PREFIX}[-_A-Za-z0-9]{{{COOKIE_LETTERS}}}", re.ASCII)


class OIDCPending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sign-in that was begun."""

    secret: bytes
    """256 random bits."""
    provider: str
    return_to: str
    started_at: int
    """Unix seconds."""

    @classmethod
    def begin(cls, provider: str, return_to: str, now: float) -> Self:
        """A new one."""
        secret = secrets.token_bytes(_SECRET_BYTES)
        return cls(secret=secret, provider=provider, return_to=return_to, started_at=int(now))

    @property
    def state(self) -> str:
        """Comes back with the answer (RFC 6749, section 4.1.1)."""
        return self._derived(b"state")

    @property
    def nonce(self) -> str:
        """Comes back inside the ID token (OpenID Connect Core 1.0, section 3.1.2.1)."""
        return self._derived(b"nonce")

    @property
    def verifier(self) -> str:
        """RFC 7636, section 4.1: shown to the provider with the code, by us and directly."""
        return self._derived(b"verifier")

    @property
    def challenge(self) -> str:
        """`verifier` by S256 (RFC 7636, section 4.2)."""
        return _base64url(hashlib.sha256(self.verifier.encode("ascii")).digest())

    @property
    def cookie_name(self) -> str:
        """See COOKIE_PREFIX."""
        return cookie_name(self.state)

    def cookie(self) -> str:
        """The value of its cookie."""
        return _base64url(msgspec.json.encode(self))

    def runs(self, now: float) -> bool:
        """Whether its time is not over."""
        return self.started_at <= now + 1 and now < self.started_at + PENDING_SECONDS

    def _derived(self, purpose: bytes) -> str:
        return _base64url(hmac.digest(self.secret, b"narrowgate oidc 1 " + purpose, "sha256"))


def cookie_name(state: str) -> str:
    """The cookie that a state belongs to; no such cookie exists for what is no state of ours."""
    return COOKIE_PREFIX + state[:COOKIE_LETTERS]


def is_cookie_name(name: str) -> bool:
    """Whether a cookie is called as ours are; a name that is not may hold what no header of ours should."""
    return _COOKIE_NAME.fullmatch(name) is not None


def read_pending(value: str) -> OIDCPending | None:
    """What a cookie holds; None where it is none of ours."""
    if len(value) > LONGEST_COOKIE:
        return None
    try:
        content = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
        pending = msgspec.json.decode(content, type=OIDCPending)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
    return pending if len(pending.secret) == _SECRET_BYTES else None


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
