"""What a client certificate proves: the one rule whose CA signed it, and the name that rule reads in it.

TLS has verified the certificate when the connection was made, but by any CA of all rules, and a connection outlives
certificates. So it is verified again here, by one rule's CA: signed by it directly, valid now, made for clients. A CA
in between must stand in the rule's file itself: what a client sends along is not kept when a TLS session is resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom
from narrowgate.core.certificate_name import COMMON_NAME, certificate_name_problem, spiffe_id_problem, trust_domain_of

MOST_REMEMBERED = 10_000
"""Certificates whose signature is not verified again, each with some 2 KB: one of each active client."""

LONGEST = 64 << 10
"""Bytes of a certificate; the usual one has one or two thousand, and OpenSSL takes a chain of 100 KB at most."""

LONGEST_ISSUER = 512
"""Characters of an issuer's name that go into the record with every request."""

KNOWN_CRITICAL = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
"""Critical extensions that are heeded here; whoever does not know one must refuse (RFC 5280, section 4.2)."""

WEAK_HASHES = (hashes.MD5, hashes.SHA1)
"""Collisions can be made: a signature of a harmless certificate may be one of another, too."""

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates that it cannot make sense of, sooner or later: it reads them bit by bit."""

_Extension = TypeVar("_Extension", x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)


class Proven(msgspec.Struct, frozen=True):
    """A certificate that is good while it lasts."""

    name: str
    """As agents' records have it: `spiffe://...` or `cn:...`."""
    not_before: float
    not_after: float
    """Unix seconds: the time in which both it and its CA are valid."""
    credential: str
    """Public id of this very certificate, made from its SHA-256."""
    claims: tuple[tuple[str, str], ...]
    """`issuer` and `serial`, for the record."""


class Unproven(msgspec.Struct, frozen=True):
    """A certificate that names nobody, whatever the time; the reason follows "this client certificate"."""

    reason: str


class _Authority(msgspec.Struct, frozen=True):
    rule: CertificateRule
    certificate: x509.Certificate


class CertificateNames:
    """The rules of a configuration, and what was found out by them. One per process: it outlives every snapshot."""

    def __init__(self, rules: Sequence[CertificateRule]) -> None:
        """The configuration has seen to it that each rule's PEM can be read and that no CA stands in two of them."""
        self._authorities = tuple(
            _Authority(rule, certificate)
            for rule in rules
            for certificate in x509.load_pem_x509_certificates(rule.certificate_authority.encode("ascii"))
        )
        self._known: dict[bytes, Proven | Unproven] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, der: bytes) -> Proven | Unproven:
        """What a certificate proves. The same bytes are verified once."""
        found = self._known.get(der)
        if found is None:
            found = self._read(der)
            if len(self._known) >= MOST_REMEMBERED:
                # The oldest goes: a dict keeps the order in which keys came.
                del self._known[next(iter(self._known))]
            self._known[der] = found
        return found

    def _read(self, der: bytes) -> Proven | Unproven:
        if len(der) > LONGEST:
            return Unproven(f"is larger than {LONGEST >> 10} KiB; use one of the usual size")
        try:
            certificate = x509.load_der_x509_certificate(der)
            problem = _usage_problem(certificate)
        except UNREADABLE:
            return Unproven("cannot be read; ask for another one")
        if problem:
            return Unproven(problem)
        signers = [each for each in self._authorities if _signed(certificate, each.certificate)]
        if not signers:
            return Unproven(
                "is not signed by a CA of clientCertificates itself; an intermediate CA must stand in its file"
            )
        if any(signer.rule is not signers[0].rule for signer in signers):
            return Unproven("could be of two entries of clientCertificates; the gate's operator must keep one of them")
        try:
            return _named(certificate, signers)
        except UNREADABLE:
            return Unproven("cannot be read; ask for another one")


def _named(certificate: x509.Certificate, signers: Sequence[_Authority]) -> Proven | Unproven:
    """The name that a rule reads in a certificate that its CA signed."""
    rule = signers[0].rule
    try:
        name = _spiffe_id(certificate, rule) if rule.name_from is NameFrom.SPIFFE else _common_name(certificate)
    except _NoName as error:
        return Unproven(str(error))
    # Of several certificates of one CA (its key certified anew) any that is valid will do.
    authority = max((signer.certificate for signer in signers), key=lambda each: each.not_valid_after_utc)
    return Proven(
        name,
        _seconds(certificate.not_valid_before_utc, authority.not_valid_before_utc, latest=True),
        _seconds(certificate.not_valid_after_utc, authority.not_valid_after_utc, latest=False),
        f"cert-{hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()[:20]}",
        (("issuer", _printable(certificate.issuer)), ("serial", f"{certificate.serial_number:x}")),
    )


class _NoName(Exception):
    """There is not exactly one good name; the text follows "this client certificate"."""


def _spiffe_id(certificate: x509.Certificate, rule: CertificateRule) -> str:
    # X509-SVID, section 2: exactly one URI, which is the ID. Which other names are beside it does not matter.
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    if len(uris) != 1:
        raise _NoName(
            f"has {len(uris) or 'no'} URIs in its subjectAltName, and a SPIFFE ID is the only one; ask for such"
        )
    if problem := spiffe_id_problem(uris[0]):
        raise _NoName(f"has a SPIFFE ID that {problem}; ask for one that is written as spiffe.io says")
    if trust_domain_of(uris[0]) != rule.trust_domain:
        raise _NoName(
            f'is of another trust domain than "{rule.trust_domain}", which its CA speaks for; give that a CA of its own'
        )
    return uris[0]


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise _NoName(f"has {len(names) or 'no'} common names, and must have one; ask for such")
    name = COMMON_NAME + names[0].value
    if problem := certificate_name_problem(name):
        raise _NoName(f"has a common name that {problem}; ask for another one")
    return name


def _usage_problem(certificate: x509.Certificate) -> str:
    """Why a certificate is not one to prove a client by; follows "this client certificate". Raises ValueError."""
    # RFC 5280, section 4.1.2.2; the library only warns of it, and will refuse it one day.
    if certificate.serial_number <= 0:
        return "has a serial number that is not positive; ask for another one"
    extensions = certificate.extensions
    unknown = [one.oid.dotted_string for one in extensions if one.critical and one.oid not in KNOWN_CRITICAL]
    if unknown:
        return f"has the critical extension {unknown[0]}, which is not known here; ask for one without it"
    constraints = _extension(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        return "is a CA's own; use one that the CA made for a client"
    usage = _extension(extensions, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        return "is not made for signing (keyUsage digitalSignature); ask for one that is"
    purposes = _extension(extensions, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        return "is not made for clients (extendedKeyUsage clientAuth); ask for one that is"
    if isinstance(certificate.signature_hash_algorithm, WEAK_HASHES):
        return "is signed with a hash that is broken; ask for one with SHA-256"
    return ""


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def authority_problem(certificate: x509.Certificate) -> str:
    """Why a certificate cannot be a CA of a rule; empty when it can. Worded to follow "the certificate"."""
    try:
        constraints = _extension(certificate.extensions, x509.BasicConstraints)
        usage = _extension(certificate.extensions, x509.KeyUsage)
    except UNREADABLE:
        return "has extensions that cannot be read"
    if constraints is None or not constraints.ca:
        return "is not a CA's (basicConstraints CA:TRUE)"
    if usage is not None and not usage.key_cert_sign:
        return "is of a CA that may not sign certificates (keyUsage keyCertSign)"
    return ""


def _extension(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _seconds(one: datetime, other: datetime, *, latest: bool) -> float:
    return (max if latest else min)(one, other).timestamp()


def _printable(name: x509.Name) -> str:
    text = name.rfc4514_string()
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:LONGEST_ISSUER]


def trusted(rules: Iterable[CertificateRule]) -> str:
    """The CAs of all rules, PEM: what TLS verifies client certificates by."""
    return "\n".join(rule.certificate_authority for rule in rules)
