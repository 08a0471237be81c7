"""Which client certificates stand for registered agents, as configured."""

from __future__ import annotations

import enum

import msgspec


class NameFrom(enum.Enum):
    """Where in a certificate the name is."""

    SPIFFE = "spiffe"
    """The one URI in its subjectAltName, a SPIFFE ID (spiffe.io, X509-SVID, section 2)."""
    COMMON_NAME = "commonName"


class CertificateRule(msgspec.Struct, frozen=True, kw_only=True):
    """One CA whose client certificates are taken; `AgentRecord.certificate_names` says for whom."""

    certificate_authority: str
    """PEM."""
    name_from: NameFrom
    trust_domain: str = ""
    """For SPIFFE IDs: the one trust domain that this CA speaks for. Never empty there."""
