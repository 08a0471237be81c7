"""The form of access credentials: one spelling, one key, nothing in it that a bearer could choose."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.authenticators.access_credential import (
    CONTEXT,
    MAX_CHARACTERS,
    PREFIX,
    AccessClaims,
    AccessSigner,
    NotGenuine,
    Port,
    read_access_credential,
)
from narrowgate.core.identity import Kind

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
CLAIMS = AccessClaims(
    id="abc",
    port=Port.KUBERNETES,
    kind=Kind.PERSON,
    name="corp:älice",
    groups=("sre",),
    proven_by="oidc:corp",
    claims=(("issuer", "https://idp"),),
    cluster="prod",
    issued_at=1_000.5,
    expires_at=4_600.5,
)


def read(text: str) -> AccessClaims:
    return read_access_credential(text, KEY.public_key())


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def signed(payload: str, key: Ed25519PrivateKey = KEY, context: bytes = CONTEXT) -> str:
    return f"{PREFIX}{payload}.{encoded(key.sign(context + payload.encode()))}"


def test_what_was_signed_is_read_back() -> None:
    assert read(AccessSigner(KEY).sign(CLAIMS)) == CLAIMS


def test_every_other_byte_is_noticed() -> None:
    text = AccessSigner(KEY).sign(CLAIMS)
    for at in range(len(PREFIX), len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(NotGenuine):
            read(changed)


@pytest.mark.parametrize("cut", [0, 1, 10, 100])
def test_a_cut_one_is_refused(cut: int) -> None:
    text = AccessSigner(KEY).sign(CLAIMS)
    with pytest.raises(NotGenuine):
        read(text[: len(PREFIX) + cut])


def test_there_is_one_spelling() -> None:
    text = AccessSigner(KEY).sign(CLAIMS)
    for other in (text + "=", text.replace("_", "/"), text + " ", text.upper(), text + ".", text.replace(".", "..")):
        if other != text:
            with pytest.raises(NotGenuine):
                read(other)


def test_another_gates_key_and_another_purpose_are_refused() -> None:
    payload = encoded(msgspec.json.encode(CLAIMS))
    assert read(signed(payload)) == CLAIMS
    for text in (signed(payload, OTHER), signed(payload, context=b""), signed(payload, context=b"x" + CONTEXT)):
        with pytest.raises(NotGenuine, match="was not made by this gate"):
            read(text)


@pytest.mark.parametrize(
    "change",
    [
        {"port": "both"},
        {"kind": "Root"},
        {"expires_at": "tomorrow"},
        {"expires_at": None},
        {"admin": True},
        {"name": 3},
    ],
)
def test_signed_claims_of_another_shape_are_refused(change: dict[str, object]) -> None:
    claims = json.loads(msgspec.json.encode(CLAIMS)) | change
    with pytest.raises(NotGenuine):
        read(signed(encoded(json.dumps(claims).encode())))


def test_a_number_that_is_none_is_refused() -> None:
    text = msgspec.json.encode(CLAIMS).replace(b"4600.5", b"1e999")
    with pytest.raises(NotGenuine):
        read(signed(encoded(text)))


def test_foreign_text_is_refused_without_a_look() -> None:
    for text in ("", "ng1_x", "eyJhbGciOiJub25lIn0.e30.", PREFIX, PREFIX + "ü.ü", PREFIX + "A" * MAX_CHARACTERS):
        with pytest.raises(NotGenuine):
            read(text)


def test_one_that_no_request_could_carry_is_not_made() -> None:
    crowd = msgspec.structs.replace(CLAIMS, groups=tuple(f"{number:03}" + "g" * 250 for number in range(64)))
    with pytest.raises(ValueError, match="too many groups"):
        AccessSigner(KEY).sign(crowd)
