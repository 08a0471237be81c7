"""A person's sign-in as a value: who came, how that was proven, until when, and how it ended."""

from __future__ import annotations

import enum

import msgspec


class Client(enum.Enum):
    """What a sign-in was made for."""

    CLI = "cli"
    """`narrowgate login`: renews short access credentials."""
    CONSOLE = "console"
    """A browser, which holds it as a cookie."""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in of one person. It is a session in the record: everything done with it names its id."""

    id: str
    """Public; `Identity.credential` of everything that is done with it."""
    person: str
    groups: tuple[str, ...] = ()
    """As the identity provider told them at the sign-in; they are not asked for again before the next one."""
    source: str
    """Who vouched: `oidc:<name>` or `saml:<name>` of the configuration; `link` for the one-time link on the host."""
    claims: tuple[tuple[str, str], ...] = ()
    """See `Identity.claims`."""
    client: Client
    secret_hash: bytes
    """SHA-256 of what renews it (the CLI) or is it (the console's cookie): 256 random bits, nowhere else."""
    previous_hash: bytes = b""
    """The secret that the current one replaced; its use tells of a copy (RFC 9700, section 4.14.2)."""
    renewed_at: float
    """Unix seconds; when the current secret was made."""
    created_at: float
    expires_at: float
    """Unix seconds; absolute: no renewal goes beyond it."""
    source_ip: str = ""
    user_agent: str = ""
    ended_at: float | None = None
    ended_because: str = ""
    """In words: `signed out`, `ended by person:alice`, `its secret was used twice`."""
