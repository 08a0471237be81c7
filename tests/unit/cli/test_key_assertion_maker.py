"""What an agent signs is what the gate reads."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from narrowgate.authenticators.key_assertion import KeyAssertionRefused, read_key_assertion, thumbprint
from narrowgate.cli.failure import Failed
from narrowgate.cli.key_assertion_maker import LIFE, make_key_assertion
from narrowgate.core.agent import AgentKey, AgentRecord

NOW = 1_700_000_000.75
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
NOT_ENCRYPTED = NoEncryption()


def written(form: PrivateFormat, encryption: KeySerializationEncryption = NOT_ENCRYPTED) -> bytes:
    return KEY.private_bytes(Encoding.PEM, form, encryption)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH], ids=["PKCS #8", "OpenSSH"])
def test_the_gate_reads_what_an_agent_signs(form: PrivateFormat) -> None:
    made = [make_key_assertion(written(form), "ci-bot", GATE, NOW) for _ in range(2)]
    read = [read_key_assertion(text, {"ci-bot": AGENT}, (GATE,), NOW) for text in made]
    assert [one.agent for one in read] == [AGENT, AGENT]
    assert read[0].jti != read[1].jti
    with pytest.raises(KeyAssertionRefused, match="has expired"):
        read_key_assertion(made[0], {"ci-bot": AGENT}, (GATE,), NOW + LIFE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n", "not a private key in PEM"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "not a private key"),
        (written(PrivateFormat.PKCS8, BestAvailableEncryption(b"x")), "passphrase"),
        (
            generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NOT_ENCRYPTED),
            "not an Ed25519 key",
        ),
    ],
)
def test_another_key_is_refused_in_words(content: bytes, says: str) -> None:
    with pytest.raises(Failed, match=says) as refused:
        make_key_assertion(content, "ci-bot", GATE, NOW)
    assert "the agent's key file" in str(refused.value)
