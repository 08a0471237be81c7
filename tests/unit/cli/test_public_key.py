"""A public key out of whatever file people have it in, and never a private one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from narrowgate.authenticators.base64url import to_base64url
from narrowgate.cli.failure import Failed
from narrowgate.cli.public_key import read_public_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
OTHER = generate_private_key(SECP256R1())
JWK = {"kty": "OKP", "crv": "Ed25519", "x": to_base64url(PUBLIC), "use": "sig", "kid": "whatever"}


def file(folder: Path, content: bytes) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" alice@host\n",
        json.dumps(JWK).encode(),
        b"\n " + json.dumps(JWK, indent=2).encode() + b"\n",
    ],
    ids=["PEM", "OpenSSH", "OpenSSH with a comment", "JWK", "JWK of several lines"],
)
def test_the_same_key_is_read_from_every_form(tmp_path: Path, content: bytes) -> None:
    assert read_public_key(file(tmp_path, content)) == PUBLIC


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a public key"),
        (b"hello\n", "not a public key"),
        (b"\xff\xfe\x00", "not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "this is the private half"),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), "this is the private half"),
        (json.dumps(JWK | {"d": "AAAA"}).encode(), "this is the private half"),
        (OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "not an Ed25519 key"),
        (OTHER.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "not an Ed25519 key"),
        (json.dumps(JWK | {"crv": "X25519"}).encode(), "not an Ed25519 key"),
        (json.dumps(JWK | {"x": "AA=="}).encode(), "not base64url"),
        (json.dumps(JWK | {"x": "AAAA"}).encode(), "has 32 bytes, this one 3"),
        (json.dumps(JWK | {"x": to_base64url(bytes(32))}).encode(), "small order"),
        (b'{"kty":"OKP","kty":"OKP"}', "a member twice"),
        (b"{", "is not JSON"),
        (b"x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_every_other_file_is_refused_by_its_name(tmp_path: Path, content: bytes, says: str) -> None:
    path = file(tmp_path, content)
    with pytest.raises(Failed, match=says) as refused:
        read_public_key(path)
    assert str(path) in str(refused.value)
