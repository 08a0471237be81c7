"""Tokens and key sets: nothing but TokenRefused and KeySetInvalid may come out, and nothing unsigned is taken.

    python tests/fuzz/fuzz_jwt.py --seconds 60 [--seed 7]

A third of the time a token is spoilt after it was signed, a third before (and then signed), a third the key set is.
Prints the seed, so that a failure can be had again, and how much was taken and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from joserfc.jwk import ECKey, RSAKey
from tests.fuzz.driver import fuzz
from tests.oidc_issuer import AUDIENCE, FAR, Issuer, base64url, key_set, verifier_of, with_signature

from narrowgate.authenticators.jwks import KeySet, KeySetInvalid, TokenRefused, verified
from narrowgate.authenticators.jwt_issuer import KNOWN_ALGORITHMS, ClaimMapping
from narrowgate.core.names import valid_name

NOW = 1_700_000_000.0
KEY = ECKey.generate_key("P-256", {"kid": "first"})
OTHERS = (RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-384", {"kid": "p384"}))
ISSUER = Issuer(KEY, *OTHERS)
KEYS = KeySet.of(key_set(KEY, *OTHERS))
VERIFIER = verifier_of(ISSUER, groups=ClaimMapping(expression="claims.?groups.orValue([])"))
HEADER = {"alg": "ES256", "typ": "JWT", "kid": "first"}
CLAIMS = {"iss": ISSUER.url, "aud": AUDIENCE, "sub": "alice", "exp": FAR, "groups": ["sre"]}
# fmt: off
PIECES = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN", b"1e999", b"-1",
    b'"sub":"system:masters",', b'"alg":"none",', b'"alg":"HS256",', b'"exp":1e400,', b'"crit":["exp"],',
    b'"kid":null,', b'"aud":{},', b'"kty":"oct","k":"AA",', b'"n":"AQAB",', b'"d":"AA",', b"\xff", b"\x00", b" ",
    b"9" * 400, b"[" * 500, b'{"a":' * 300,
)
# fmt: on
LETTERS = "ABCxyz019-_.=+/ \n\u00e9"


def spoilt(source: random.Random, document: Mapping[str, object] | bytes) -> bytes:
    """A document as JSON, mostly with something odd in it."""
    raw = bytearray(document if isinstance(document, bytes) else json.dumps(document).encode())
    for _ in range(source.choice((0, 0, 1, 1, 2))):
        at = source.randint(0, len(raw))
        raw[at:at] = source.choice(PIECES)
    for _ in range(source.choice((0, 0, 0, 1, 3))):
        raw[source.randrange(len(raw))] = source.randrange(256)
    return bytes(raw)


def misspelt(source: random.Random, token: str) -> str:
    """A token with letters changed, taken out or put in."""
    letters = list(token)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(letters))
        letters[at : at + source.randint(0, 2)] = source.choice(("", *LETTERS))
    return "".join(letters)


def check_signed(source: random.Random) -> str:
    """What is odd was signed all the same: whoever it stands for may be vouched for."""
    header = spoilt(source, HEADER) if source.random() < 0.3 else json.dumps(HEADER).encode()
    token = with_signature(header, spoilt(source, CLAIMS), KEY, "ES256")
    try:
        identity = asyncio.run(VERIFIER.verify(token, NOW))
    except TokenRefused:
        return "signed and refused"
    if not valid_name(identity.name) or not all(valid_name(group) for group in identity.groups):
        raise AssertionError(f"vouched for {identity}")
    if identity.expires_at is None or not identity.expires_at > NOW:
        raise AssertionError(f"does not end: {identity}")
    return "signed and taken"


def check_misspelt(source: random.Random) -> str:
    """What was changed after it was signed is refused."""
    good = with_signature(json.dumps(HEADER).encode(), json.dumps(CLAIMS).encode(), KEY, "ES256")
    token = misspelt(source, good)
    try:
        claims = verified(token, KEYS, KNOWN_ALGORITHMS)
    except TokenRefused:
        return "misspelt and refused"
    if token != good:
        raise AssertionError(f"{token} was taken for {claims}")
    return "not misspelt after all"


def check_keys(source: random.Random) -> str:
    """A key set is one or is none; what is signed by none of its keys is refused."""
    try:
        keys = KeySet.of(spoilt(source, key_set(KEY, *OTHERS)))
    except KeySetInvalid:
        return "no key set"
    unsigned = f"{base64url(json.dumps(HEADER).encode())}.{base64url(json.dumps(CLAIMS).encode())}"
    try:
        verified(f"{unsigned}.{base64url(source.randbytes(64))}", keys, KNOWN_ALGORITHMS)
    except TokenRefused:
        return f"key set of {len(keys)}"
    raise AssertionError("a random signature was taken")


CHECKS = (check_signed, check_misspelt, check_keys)


if __name__ == "__main__":
    sys.exit(
        fuzz(__doc__, "tokens and key sets", lambda source: source.choice(CHECKS), lambda source, check: check(source))
    )
