"""Agents' signed assertions: nothing but KeyAssertionRefused may come out, and nothing is taken that was not signed so.

    python tests/fuzz/fuzz_key_assertion.py --seconds 60 [--seed 7]

Half of the time what is signed is spoilt (and then signed), half of the time what was signed is. Prints the seed, so
that a failure can be had again, and how much was taken and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fuzz.driver import fuzz

from narrowgate.authenticators.base64url import from_base64url, to_base64url
from narrowgate.authenticators.key_assertion import KeyAssertionRefused, read_key_assertion, thumbprint
from narrowgate.core.agent import AgentKey, AgentRecord

NOW = 1_700_000_000.0
GATE = "https://gate.corp:8444"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
AGENT = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="restarts pods",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=0.0,
    keys=(AgentKey(id=thumbprint(PUBLIC), public=PUBLIC, added_at=0.0),),
)
HEADER = {"alg": "EdDSA", "typ": "JWT", "kid": AGENT.keys[0].id}
CLAIMS = {"iss": "ci-bot", "sub": "ci-bot", "aud": GATE, "iat": int(NOW), "exp": int(NOW) + 60, "jti": "one"}
# fmt: off
PIECES = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN", b"1e999", b"-1",
    b'"sub":"other",', b'"alg":"none",', b'"exp":9999999999,', b'"crit":["exp"],', b'"jwk":{},', b"\xff", b"\x00",
    b" ", b"9" * 400, b"[" * 500, b'{"a":' * 300,
)
# fmt: on
LETTERS = "ABCxyz019-_.=+/ \n\u00e9"


def spoilt(source: random.Random, document: dict[str, object]) -> bytes:
    """A document as JSON, mostly with something odd in it."""
    raw = bytearray(json.dumps(document).encode())
    for _ in range(source.choice((0, 0, 1, 1, 2))):
        at = source.randint(0, len(raw))
        raw[at:at] = source.choice(PIECES)
    for _ in range(source.choice((0, 0, 0, 1, 3))):
        raw[source.randrange(len(raw))] = source.randrange(256)
    return bytes(raw)


def make(source: random.Random) -> tuple[str, bool]:
    """An assertion, and whether it was left as it was signed."""
    begin = f"{to_base64url(spoilt(source, HEADER))}.{to_base64url(spoilt(source, CLAIMS))}"
    text = f"{begin}.{to_base64url(KEY.sign(begin.encode()))}"
    if source.random() < 0.5:
        return text, True
    at = source.randrange(len(text))
    letter = source.choice([letter for letter in LETTERS if letter != text[at]])
    changed = source.choice(
        (text[:at] + text[at + 1 :], text[:at] + letter + text[at + 1 :], text[:at] + letter + text[at:])
    )
    return changed, changed == text


def check(text: str, *, as_signed: bool) -> str:
    """Show one assertion; what became of it, for the count."""
    try:
        read = read_key_assertion(text, {"ci-bot": AGENT}, (GATE,), NOW)
    except KeyAssertionRefused as refusal:
        return str(refusal).partition(":")[0][:40]
    if not as_signed:
        raise AssertionError("it is not what was signed")
    told = json.loads(from_base64url(text.split(".")[1]))
    if (told["sub"], told["iss"], told["aud"]) != ("ci-bot", "ci-bot", GATE):
        raise AssertionError(f"it says something else: {told}")
    if (told["jti"], told["exp"]) != (read.jti, read.expires_at) or not NOW < told["exp"] <= NOW + 330:
        raise AssertionError(f"it was read in another way: {read}")
    return "taken"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "assertions", make, lambda _, made: check(made[0], as_signed=made[1])))
