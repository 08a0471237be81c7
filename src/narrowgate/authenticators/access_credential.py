"""What an access credential looks like: `nga1_<claims>.<signature>`, made by the control plane, believed by both ports.

It is short-lived and says everything about its bearer, so that any process of the gate believes it the moment it was
made: nothing has to reach a store first. Claims are JSON, the signature is Ed25519 (RFC 8032) with a key of the gate's
that signs nothing else; both are base64url without padding (RFC 7515, section 2). It is no JWT on purpose: there is one
algorithm, one key, one issuer, and nothing in it that could be chosen by whoever presents it.
"""

from __future__ import annotations

import enum

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from narrowgate.authenticators.base64url import from_base64url, to_base64url
from narrowgate.core.identity import Kind

PREFIX = "nga1_"
"""Begins every access credential; the digit is the version of this format."""

CONTEXT = b"narrowgate access credential 1\n"
"""Precedes what is signed: a signature made for anything else is none here."""

MAX_CHARACTERS = 16_384
"""Of a whole credential. With 64 groups of 253 letters it would be 22 KB; a head of requests has room for 64."""


class Port(enum.Enum):
    """Which of the gate's ports a credential opens; the other one refuses it."""

    KUBERNETES = "kubernetes"
    CONTROL = "control"


class ActedFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody for whom the bearer of a credential acts (RFC 8693, section 1.1, delegation)."""

    kind: Kind
    name: str
    groups: tuple[str, ...] = ()
    proven_by: str
    claims: tuple[tuple[str, str], ...] = ()


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a credential says. Every field was checked when it was made; names are checked again when it is read."""

    id: str
    """Public id: of the person's sign-in; else a new one."""
    port: Port
    kind: Kind
    name: str
    groups: tuple[str, ...] = ()
    proven_by: str
    """`Identity.proven_by`: how whoever got it had proven itself."""
    claims: tuple[tuple[str, str], ...] = ()
    cluster: str = ""
    """The one cluster it opens; never empty on the data port."""
    behind: tuple[ActedFor, ...] = ()
    """Whom its bearer acts for, the root first; none where it acts for itself."""
    issued_at: float
    expires_at: float
    """Unix seconds; never later than the end of what it was given for."""


class NotGenuine(ValueError):
    """Not an access credential of this gate's; the text follows "this access credential"."""


class AccessSigner:
    """Makes access credentials; only the control plane has one."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._key = private_key

    def sign(self, claims: AccessClaims) -> str:
        """The credential. Raises ValueError where it would be too long to be presented."""
        payload = to_base64url(msgspec.json.encode(claims))
        text = f"{PREFIX}{payload}.{to_base64url(self._key.sign(CONTEXT + payload.encode('ascii')))}"
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"{claims.name} is in too many groups: the access credential would not fit in a request")
        return text


def read_access_credential(text: str, public_key: Ed25519PublicKey) -> AccessClaims:
    """What a credential says. Raises NotGenuine; whether it is still good is for the caller to tell."""
    if not text.startswith(PREFIX) or len(text) > MAX_CHARACTERS:
        raise NotGenuine("is no access credential")
    payload, dot, signature = text[len(PREFIX) :].partition(".")
    if not dot:
        raise NotGenuine("is cut short")
    try:
        public_key.verify(from_base64url(signature), CONTEXT + payload.encode("ascii"))
        return msgspec.json.decode(from_base64url(payload), type=AccessClaims)
    except InvalidSignature:
        raise NotGenuine("was not made by this gate, or was changed") from None
    except ValueError:
        raise NotGenuine("is cut short, or has characters that do not belong to it") from None
