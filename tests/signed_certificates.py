"""CAs and the client certificates that they sign, for tests of who they stand for: each may be spoilt in one way."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MADE_AT = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
ENDS_AT = 10_000.0
"""Unix seconds at which a certificate ends, unless it is said otherwise."""


def at(seconds: float) -> datetime.datetime:
    return MADE_AT + datetime.timedelta(seconds=seconds)


class Made:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    @property
    def pair(self) -> str:
        """Both in one PEM, as `load_cert_chain` takes them."""
        secret = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self.pem + secret.decode("ascii")


class Authority(Made):
    """A CA, its own root unless another one signs for it."""

    def __init__(self, name: str = "clients", *, parent: Authority | None = None, ends_at: float = 4e9) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if parent is None else parent.certificate.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(MADE_AT)
            .not_valid_after(at(ends_at))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        super().__init__(builder.sign(key if parent is None else parent.key, hashes.SHA256()), key)

    def client(self, *uris: str, names: tuple[str, ...] = (), **spoilt: Any) -> Made:
        """A client's certificate with these URIs and common names; `spoilt` says what is unusual about it.

        `not_before`, `not_after` (Unix seconds), `ca`, `purposes` (None: no extendedKeyUsage), `signing`, `dns`,
        `extension` (one more, critical).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at(spoilt.get("not_before", 0)))
            .not_valid_after(at(spoilt.get("not_after", ENDS_AT)))
            .add_extension(x509.BasicConstraints(ca=spoilt.get("ca", False), path_length=None), critical=True)
            .add_extension(_usage(signing=spoilt.get("signing", True)), critical=True)
        )
        others: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        others += [x509.DNSName(name) for name in spoilt.get("dns", ())]
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=not names)
        purposes = spoilt.get("purposes", (ExtendedKeyUsageOID.CLIENT_AUTH,))
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if "extension" in spoilt:
            builder = builder.add_extension(spoilt["extension"], critical=True)
        return Made(builder.sign(self.key, hashes.SHA256()), key)


def _usage(*, signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signing,
        content_commitment=False,
        key_encipherment=not signing,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
