"""Client certificates for API servers that lie in Secrets with their keys (X.509: beside the values of `core`).

Whether an API server takes one is its `--client-ca-file`'s to say, which nobody outside sees. Mostly that is the CA of
its own certificate, which is known here; names that begin with `system:` are an API server's words in any case.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from narrowgate.cli.gate_address import certificates_in
from narrowgate.core.roads import Kind, Road

LARGEST: Final = 64 << 10
"""Bytes of one value: thirty certificates."""

_SYSTEM: Final = "system:"
_USES: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


def client_certificates(secret: Mapping[str, Any], authority: bytes, now: datetime) -> Iterator[Road]:
    """Certificates of a Secret that holds a private key too, and that an API server with this CA (PEM) may take."""
    data = secret.get("data")
    values = {key: _decoded(value) for key, value in data.items()} if isinstance(data, dict) else {}
    if not any("PRIVATE KEY-----" in text for text in values.values()):
        return
    authorities = [found for pem in certificates_in(authority.decode("ascii", "replace")) if (found := _read(pem))]
    for key, text in values.items():
        # The first is the holder's own; those behind it led to its issuer.
        certificate = next((found for pem in certificates_in(text)[:1] if (found := _read(pem))), None)
        if certificate is None or certificate.not_valid_after_utc < now or not _is_for_clients(certificate):
            continue
        name, groups = _subject(certificate)
        by_cluster = any(_is_signed(certificate, one) for one in authorities)
        if by_cluster or any(one.startswith(_SYSTEM) for one in (name, *groups)):
            said = f" of {', '.join(groups)}" if groups else ""
            yield Road(
                kind=Kind.CREDENTIALS,
                where=f"secret {_name(secret)}, {key}",
                found=f"holds a client certificate of {name}{said} with its key"
                + (", signed by the cluster's CA" if by_cluster else ""),
                to_do="delete it; certificates cannot be revoked: take the rights of that name and those groups away",
            )


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        # Without the extension it is for everything (RFC 5280, section 4.2.1.12).
        return True
    return not _USES.isdisjoint(found)


def _is_signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(certificate: x509.Certificate) -> tuple[str, list[str]]:
    """Name and groups as an API server reads them: CN and O (k8s.io/apiserver/pkg/authentication/request/x509)."""
    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return (names[0] if names else "nobody"), groups


def _read(pem: str) -> x509.Certificate | None:
    """None where it is no certificate, or names nobody that can be read: its names are read only when asked for."""
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
        _subject(found)
    except ValueError:
        return None
    return found


def _name(secret: Mapping[str, Any]) -> str:
    metadata = secret.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""


def _decoded(value: Any) -> str:
    try:
        return base64.b64decode(str(value)[: 2 * LARGEST], validate=True)[:LARGEST].decode("ascii", "replace")
    except (binascii.Error, ValueError):
        return ""
