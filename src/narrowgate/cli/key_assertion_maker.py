"""What an agent with a registered key signs to prove itself at the gate (`private_key_jwt`, RFC 7523, section 3).

The gate's side is `authenticators/key_assertion.py`. Nothing here sends it anywhere.
"""

from __future__ import annotations

import secrets

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from narrowgate.authenticators.base64url import to_base64url
from narrowgate.authenticators.key_assertion import ALGORITHMS, thumbprint
from narrowgate.cli.failure import Failed

LIFE = 60
"""Seconds an assertion is good for: it is made for one call. Far below what the gate takes, as clocks may differ."""

_ID_BYTES = 16
"""128 random bits: no two assertions ever share an id, whoever makes them."""


def make_key_assertion(private_key_pem: bytes, agent: str, audience: str, now: float) -> str:
    """An assertion of `agent` for the gate at `audience` (its control URL), made at `now` (Unix seconds).

    The key is PEM, PKCS #8 or OpenSSH, without a passphrase. Raises Failed when it is not an Ed25519 key.
    """
    key = _private_key(private_key_pem)
    header = {"alg": ALGORITHMS[0], "typ": "JWT", "kid": thumbprint(key.public_key().public_bytes_raw())}
    made_at = int(now)
    claims = {
        "iss": agent,
        "sub": agent,
        "aud": audience,
        "iat": made_at,
        "exp": made_at + LIFE,
        "jti": to_base64url(secrets.token_bytes(_ID_BYTES)),
    }
    begin = ".".join(to_base64url(msgspec.json.encode(part)) for part in (header, claims))
    return f"{begin}.{to_base64url(key.sign(begin.encode('ascii')))}"


def _private_key(pem: bytes) -> Ed25519PrivateKey:
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in pem else load_pem_private_key
    try:
        key = load(pem, None)
    except TypeError:
        raise Failed("a key with a passphrase", "the agent's key file", "take the passphrase off it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Failed(
            "not a private key in PEM", "the agent's key file", "make one with `narrowgate agents keys generate`"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Failed("not an Ed25519 key", "the agent's key file", "make one with `narrowgate agents keys generate`")
    return key
