"""The key that signs the gate's SAML requests, with the certificate that carries it in the gate's metadata.

RSA, because many identity providers verify nothing else. The certificate is an envelope (saml-metadata-2.0-os, section
2.4.1.1): providers trust the key in it, so that it is made once and kept for as long as they hold the metadata.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from narrowgate.keys.secret_files import KeysUnusable, SecretFiles, read_if_present, write_whole

KEY_BITS = 2048
"""What every provider verifies (NIST SP 800-57: good until 2030 at least)."""

LIFETIME = timedelta(days=3652)
"""Ten years: another certificate means that somebody must carry new metadata to every provider."""

BACKDATED = timedelta(minutes=5)
"""Valid from a little earlier: providers' clocks are not all exact."""


class SAMLKey(msgspec.Struct, frozen=True, kw_only=True):
    """The pair, read or made."""

    private: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def load_or_make(cls, data_dir: Path, passphrase: str = "", now: datetime | None = None) -> Self:
        """The pair in `<data dir>/keys`, made where it is missing; the folder is there (`Keys.load_or_make`).

        Only the control process calls it, once. Raises KeysUnusable.
        """
        folder = data_dir / "keys"
        files = SecretFiles(passphrase)
        path = folder / "saml.key"
        private = files.read(path)
        if private is None:
            private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
            files.write(path, private)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise KeysUnusable(f"{path}: not an RSA key; restore it from a backup")
        certificate = _kept(folder / "saml.pem", private)
        if certificate is None:
            certificate = _made(private, now or datetime.now(UTC))
            write_whole(folder / "saml.pem", certificate.public_bytes(serialization.Encoding.PEM))
        return cls(private=private, certificate=certificate)


def _kept(path: Path, private: rsa.RSAPrivateKey) -> x509.Certificate | None:
    """The certificate on disk; None where there is none. Raises KeysUnusable where it is not this key's."""
    content = read_if_present(path)
    if content is None:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(content)
        belongs = certificate.public_key() == private.public_key()
    except ValueError:
        belongs = False
    if not belongs:
        raise KeysUnusable(f"{path}: not the certificate of saml.key beside it; restore both, or remove it")
    return certificate


def _made(private: rsa.RSAPrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "narrowgate SAML requests")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .sign(private, hashes.SHA256())
    )
