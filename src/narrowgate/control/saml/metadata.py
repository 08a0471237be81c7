"""SAML metadata both ways: what an identity provider's file says, and the document that tells providers of the gate.

The file is believed because the configuration names it: a signature in it is not looked at, and neither are the dates
of the certificates, which are but envelopes for keys (SAML V2.0 Metadata Interoperability Profile 1.0, section 2.6.1).
`validUntil` is held to: after it the file is worth nothing (saml-metadata-2.0-os, section 2.3.2).
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from narrowgate.control.saml.moment import instant_of
from narrowgate.control.saml.signature import PublicKey
from narrowgate.control.saml.xml import METADATA, PROTOCOL, SIGNATURE, Element, SAMLRefused, read_xml
from narrowgate.core.moment import moment_text

LARGEST_METADATA = 1 << 20
"""Bytes; one provider's file has under 20 KB, and the largest file that the configuration reads has as many."""

MOST_CERTIFICATES = 16
"""Signing certificates of one provider; two while it changes them."""

LONGEST_ENTITY_ID = 1024
"""Characters (saml-core-2.0-os, section 8.3.6)."""

SMALLEST_RSA = 2048
"""Bits (NIST SP 800-131A: less is disallowed for signatures)."""

CURVES = ("secp256r1", "secp384r1", "secp521r1")

REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate needs to know of an identity provider."""

    entity_id: str
    sign_in_url: str
    """Where a browser is sent, by the HTTP-Redirect binding."""
    keys: tuple[PublicKey, ...]
    """What it signs with; several while it changes them."""
    wants_signed_requests: bool
    valid_until: float | None
    """Unix seconds; None: for ever."""


def read_metadata(text: str) -> ProviderMetadata:
    """The one identity provider that this metadata describes, valid or not any more. Raises SAMLRefused."""
    root = read_xml(text.encode(), most_bytes=LARGEST_METADATA, skip_comments=True)
    if root.is_named(METADATA, "EntitiesDescriptor"):
        raise SAMLRefused("it describes several parties; give the EntityDescriptor of the identity provider alone")
    if not root.is_named(METADATA, "EntityDescriptor"):
        raise SAMLRefused("it is not the metadata of a SAML 2.0 identity provider: no EntityDescriptor")
    entity_id = root.attribute("entityID") or ""
    if not entity_id or len(entity_id) > LONGEST_ENTITY_ID:
        raise SAMLRefused(f"its entityID is missing or longer than {LONGEST_ENTITY_ID} characters")
    role = _role(root)
    return ProviderMetadata(
        entity_id=entity_id,
        sign_in_url=_sign_in_url(role),
        keys=_keys(role),
        wants_signed_requests=role.attribute("WantAuthnRequestsSigned") in ("true", "1"),
        valid_until=_valid_until(root, role),
    )


def check_valid(metadata: ProviderMetadata, now: float) -> None:
    """Raise SAMLRefused where the metadata is out of date."""
    if metadata.valid_until is not None and now >= metadata.valid_until:
        until = moment_text(metadata.valid_until)
        raise SAMLRefused(f"the identity provider's metadata was good until {until} (validUntil); fetch it anew")


def own_metadata(entity_id: str, acs_url: str, certificate: x509.Certificate, *, signs: bool) -> str:
    """The gate as a service provider; `certificate` carries the key that signs its requests, where it `signs` them.

    There is no key for encryption in it: an encrypted assertion is refused.
    """
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<md:EntityDescriptor xmlns:md="{METADATA}" entityID={quoteattr(entity_id)}>\n'
        f'  <md:SPSSODescriptor protocolSupportEnumeration="{PROTOCOL}"'
        f' AuthnRequestsSigned="{"true" if signs else "false"}" WantAssertionsSigned="true">\n'
        f"{_key_descriptor(certificate)}"
        f'    <md:AssertionConsumerService Binding="{POST}" Location={quoteattr(acs_url)}'
        ' index="0" isDefault="true"/>\n'
        "  </md:SPSSODescriptor>\n"
        "</md:EntityDescriptor>\n"
    )


def _key_descriptor(certificate: x509.Certificate) -> str:
    encoded = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    return (
        f'    <md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{SIGNATURE}"><ds:X509Data>'
        f"<ds:X509Certificate>{escape(encoded)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>\n"
    )


def _role(root: Element) -> Element:
    roles = [
        role
        for role in root.named(METADATA, "IDPSSODescriptor")
        if PROTOCOL in (role.attribute("protocolSupportEnumeration") or "").split()
    ]
    if len(roles) != 1:
        raise SAMLRefused(f"expected one IDPSSODescriptor for SAML 2.0 in it, found {len(roles)}")
    return roles[0]


def _sign_in_url(role: Element) -> str:
    services = role.named(METADATA, "SingleSignOnService")
    urls = [one.attribute("Location") or "" for one in services if one.attribute("Binding") == REDIRECT]
    if not urls:
        raise SAMLRefused("it has no SingleSignOnService with the HTTP-Redirect binding; switch it on there")
    try:
        parts = urlsplit(urls[0])
        usable = parts.scheme == "https" and parts.hostname and not parts.fragment and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not all("!" <= character <= "~" for character in urls[0]):
        raise SAMLRefused("the address of its SingleSignOnService is not https")
    return urls[0]


def _keys(role: Element) -> tuple[PublicKey, ...]:
    descriptors = [
        one for one in role.named(METADATA, "KeyDescriptor") if one.attribute("use") in (None, "", "signing")
    ]
    certificates = [
        element.text()
        for descriptor in descriptors
        for element in descriptor.walk()
        if element.is_named(SIGNATURE, "X509Certificate")
    ]
    if not certificates:
        raise SAMLRefused("it has no certificate for signing")
    if len(certificates) > MOST_CERTIFICATES:
        raise SAMLRefused(f"it has more than {MOST_CERTIFICATES} certificates for signing")
    return tuple(_key(text) for text in certificates)


def _key(text: str) -> PublicKey:
    try:
        # cryptography reads the key only when it is asked for: one that it does not know ends there.
        key = x509.load_der_x509_certificate(base64.b64decode("".join(text.split()), validate=True)).public_key()
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise SAMLRefused("a certificate in it cannot be read") from None
    match key:
        case rsa.RSAPublicKey() if key.key_size >= SMALLEST_RSA:
            return key
        case ec.EllipticCurvePublicKey() if key.curve.name in CURVES:
            return key
        case _:
            raise SAMLRefused(
                f"a signing key in it is neither RSA with {SMALLEST_RSA} bits or more nor one on the curves P-256, "
                "P-384 and P-521"
            )


def _valid_until(root: Element, role: Element) -> float | None:
    told = [text for one in (root, role) if (text := one.attribute("validUntil"))]
    return min((instant_of(text, "validUntil") for text in told), default=None)
