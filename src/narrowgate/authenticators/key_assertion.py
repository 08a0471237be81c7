"""What an agent signs to prove itself: a JWT by its registered Ed25519 key (`private_key_jwt`, RFC 7523, section 3).

Only reading: whether the same one was shown before is for the caller to tell (`KeyAssertion.jti`), because that needs a
store. There is one algorithm and one kind of key, and the key is the one that the agent's record holds: nothing that an
assertion says of itself chooses how it is verified. Whoever cannot sign is refused in the same words whatever they
guess, so that nobody learns from them which agents and keys there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from narrowgate.authenticators.base64url import from_base64url, to_base64url
from narrowgate.authenticators.strict_json import NotStrict, read_object
from narrowgate.core.agent import AgentKey, AgentRecord, refusal_of

MAX_CHARACTERS = 4096
"""Of a whole assertion; the usual one has some 400."""

MAX_LIFE = 300.0
"""Seconds between an assertion's making and its end: it is made for one call, and its id is remembered for as long."""

CLOCK_SKEW = 30.0
"""Seconds by which the clock of whoever signs may be ahead of ours."""

LATEST_TIME = 253_402_300_799
"""Seconds; the end of the year 9999. What is beyond it is no time, and may not fit into a float."""

MAX_ID_CHARACTERS = 128
"""Of a `jti`; a UUID has 36."""

ALGORITHMS = ("EdDSA", "Ed25519")
"""Two names of the one algorithm: RFC 8037, section 3.1, and RFC 9864, section 2.2."""

TYPES = ("jwt", "client-authentication+jwt")
"""What `typ` may say where it is there, in lower case: RFC 7519, section 5.1, and the revision of RFC 7523."""

HEADER_MEMBERS = frozenset({"alg", "kid", "typ"})
"""What a header may hold. Others choose a key (`jwk`, `x5c`) or change what is signed (`crit`, `b64`)."""

_UNPROVEN = "is not signed by a key that is registered for the agent it names: ask the agent's owner which keys are"


class KeyAssertionRefused(ValueError):
    """Not an assertion that proves an agent; the text follows "this assertion" and says what to do."""


class KeyAssertion(msgspec.Struct, frozen=True):
    """A verified assertion."""

    agent: AgentRecord
    key_id: str
    """Of the key that signed it."""
    jti: str
    """Counts once: whoever shows it again, before `expires_at`, is refused by the caller."""
    expires_at: float
    """Unix seconds."""


def thumbprint(public: bytes) -> str:
    """The RFC 7638 thumbprint (SHA-256, base64url) of an Ed25519 public key of 32 raw bytes, as RFC 8037 A.3 has it."""
    members = b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % to_base64url(public).encode("ascii")
    return to_base64url(hashlib.sha256(members).digest())


def read_key_assertion(
    text: str, agents: Mapping[str, AgentRecord], audiences: Collection[str], now: float
) -> KeyAssertion:
    """Who signed this, and that it is good at `now` (Unix seconds). Raises KeyAssertionRefused.

    `agents` are all that are registered, by name; `audiences` the addresses that this gate goes by (its control URL,
    its token endpoint).
    """
    signed, header, claims, signature = _parts(text)
    _check_header(header)
    agent, key = _signer(header, claims, agents)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise KeyAssertionRefused(_UNPROVEN) from None
    _check_audience(claims.get("aud"), audiences)
    expires_at = _check_times(claims, now)
    if refusal := refusal_of(agent, now):
        raise KeyAssertionRefused(f"proves an agent that may not come: {refusal}")
    return KeyAssertion(agent, key.id, _id(claims), expires_at)


def _parts(text: str) -> tuple[bytes, dict[str, Any], dict[str, Any], bytes]:
    """What is signed, header, claims, signature: the compact serialization of RFC 7515, section 7.1."""
    if len(text) > MAX_CHARACTERS:
        raise KeyAssertionRefused(f"is longer than {MAX_CHARACTERS} characters: leave out what is not asked for")
    pieces = text.split(".")
    if len(pieces) != 3:
        raise KeyAssertionRefused("is not a signed JWT (three parts with dots between them)")
    try:
        header, claims, signature = (from_base64url(piece) for piece in pieces)
        return text.rpartition(".")[0].encode("ascii"), read_object(header), read_object(claims), signature
    except NotStrict as error:
        raise KeyAssertionRefused(f"has a part that {error}") from None
    except ValueError:
        raise KeyAssertionRefused("has a part that is not base64url without padding") from None


def _check_header(header: dict[str, Any]) -> None:
    if foreign := sorted(set(header) - HEADER_MEMBERS):
        raise KeyAssertionRefused(f"has {foreign[0][:32]!r} in its header: only alg, kid and typ may stand there")
    if header.get("alg") not in ALGORITHMS:
        raise KeyAssertionRefused(f"is not signed with Ed25519: alg must be {ALGORITHMS[0]}")
    kind = header.get("typ", TYPES[0])
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
        raise KeyAssertionRefused("is of another type: typ must be JWT, or be left out")


def _signer(
    header: dict[str, Any], claims: dict[str, Any], agents: Mapping[str, AgentRecord]
) -> tuple[AgentRecord, AgentKey]:
    """The agent that the assertion names, and the key of its that it claims to be signed by."""
    name = claims.get("sub")
    if not isinstance(name, str) or claims.get("iss") != name:
        raise KeyAssertionRefused("does not name one agent: iss and sub must both be the agent's name")
    agent = agents.get(name)
    key = None if agent is None else next((key for key in agent.keys if key.id == header.get("kid")), None)
    if agent is None or key is None:
        raise KeyAssertionRefused(_UNPROVEN)
    return agent, key


def _check_audience(audience: object, audiences: Collection[str]) -> None:
    """For this gate, and for it alone: what others take as well, they could show here."""
    listed = audience if isinstance(audience, list) else [audience]
    if len(listed) != 1 or not isinstance(listed[0], str) or listed[0] not in audiences:
        known = " or ".join(sorted(audiences))
        raise KeyAssertionRefused(f"is not for this gate alone: aud must be {known}")


def _check_times(claims: dict[str, Any], now: float) -> float:
    """Its end, in Unix seconds."""
    expires_at = _seconds(claims, "exp")
    if expires_at is None:
        raise KeyAssertionRefused(f"has no exp: it must end at most {MAX_LIFE:.0f} s after it was made")
    # Each comparison is written so that a time that is no number counts against it.
    if not now < expires_at:
        raise KeyAssertionRefused("has expired: make a new one for each call, and see that the clock is right")
    if not expires_at <= now + MAX_LIFE + CLOCK_SKEW:
        raise KeyAssertionRefused(f"lives too long: exp may be at most {MAX_LIFE:.0f} s ahead")
    for member in ("nbf", "iat"):
        begins_at = _seconds(claims, member)
        if begins_at is not None and not begins_at <= now + CLOCK_SKEW:
            raise KeyAssertionRefused(f"is not valid yet ({member}): see that the clock is right")
    return expires_at


def _seconds(claims: dict[str, Any], member: str) -> float | None:
    """A NumericDate (RFC 7519, section 2); None where it is not there."""
    if member not in claims:
        return None
    value = claims[member]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LATEST_TIME:
        raise KeyAssertionRefused(f"has a {member} that is not a number of seconds since 1970")
    return float(value)


def _id(claims: dict[str, Any]) -> str:
    found = claims.get("jti")
    if not isinstance(found, str):
        found = ""
    fits = 0 < len(found) <= MAX_ID_CHARACTERS and found.isascii() and found.isprintable()
    if not fits:
        raise KeyAssertionRefused(f"has no jti: give each its own, of at most {MAX_ID_CHARACTERS} plain characters")
    return found
