from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.unit.trail.recorded import KEY
from tests.unit.trail.sealed import SIGNER, STRANGER

from narrowgate.trail.signing import NoSuchKey, Signer, Verifier

LINE = b'{"a":1}\n'
OTHER = ec.generate_private_key(ec.SECP256R1())


def test_a_signature_holds_for_its_line_its_purpose_and_its_key_only() -> None:
    signed = SIGNER.journal_line(LINE)
    assert SIGNER.verifier.signed_journal_line(signed)
    assert not SIGNER.verifier.signed_checkpoint(signed)
    assert not STRANGER.verifier.signed_journal_line(signed)
    assert not SIGNER.verifier.signed_journal_line(signed.replace(b"1", b"2", 1))
    assert not SIGNER.verifier.signed_journal_line(LINE)
    assert SIGNER.verifier.signed_checkpoint(SIGNER.checkpoint(LINE))


def test_either_half_of_the_key_verifies() -> None:
    public = OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert Verifier.from_pem(KEY).key == Signer.from_pem(KEY).verifier.key == SIGNER.verifier.key
    with pytest.raises(NoSuchKey, match="not an Ed25519 key"):
        Verifier.from_pem(public)


@pytest.mark.parametrize("pem", [b"", b"hello", OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())])
def test_what_is_no_private_key_for_the_trail_is_refused(pem: bytes) -> None:
    with pytest.raises(NoSuchKey, match="restore the trail's key"):
        Signer.from_pem(pem)
