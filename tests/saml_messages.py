"""SAML messages for tests: an identity provider's key, its metadata, its responses, and forgeries of them.

Signed with libxmlsec, which knows nothing of the gate's own reader: whatever the two do not agree on shows.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from narrowgate.control.saml.metadata import ProviderMetadata, read_metadata
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.saml.response import Expected

ISSUER = "https://idp.example/metadata"
SIGN_IN_URL = "https://idp.example/sso"
GATE = "https://gate.example:8444"
ENTITY_ID = f"{GATE}/sign-in/saml/corp/metadata"
ACS = f"{GATE}/sign-in/saml/corp/acs"
REQUEST_ID = "_request-1"
NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z"""

PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
ASSERTION = "urn:oasis:names:tc:SAML:2.0:assertion"
METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"
SIGNATURE = "http://www.w3.org/2000/09/xmldsig#"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
NAMES = {"samlp": PROTOCOL, "saml": ASSERTION, "ds": SIGNATURE}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "idp", bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of that name; the same one all through a test run."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@cache
def certificate_of(key: Any, *, expired: bool = False) -> str:
    """A self-signed certificate, as metadata holds it (base64 of DER)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1 if expired else 36500))
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def pem_of(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def moment(seconds_from_now: float) -> str:
    return (datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds_from_now)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- metadata ---


def metadata_text(
    keys: Sequence[Any] = (),
    *,
    certificates: Sequence[str] = (),
    entity_id: str = ISSUER,
    url: str = SIGN_IN_URL,
    attributes: str = "",
    role_attributes: str = "",
    use: str = ' use="signing"',
) -> str:
    """The metadata of an identity provider; of the one with `rsa_key()` unless others are given."""
    texts = list(certificates) or [certificate_of(key) for key in keys or (rsa_key(),)]
    descriptors = "".join(
        f'<md:KeyDescriptor{use}><ds:KeyInfo xmlns:ds="{SIGNATURE}"><ds:X509Data>'
        f"<ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for text in texts
    )
    return (
        f'<md:EntityDescriptor xmlns:md="{METADATA}" entityID="{entity_id}"{attributes}>'
        f'<md:IDPSSODescriptor protocolSupportEnumeration="{PROTOCOL}"{role_attributes}>{descriptors}'
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="{url}/post"/>'
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{url}"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    )


def metadata_of(*keys: Any, **more: Any) -> ProviderMetadata:
    return read_metadata(metadata_text(keys, **more))


def a_provider(**more: Any) -> SAMLProvider:
    usual = {"name": "corp", "title": "Corp", "metadata": metadata_text()}
    return SAMLProvider(**usual | more)


def expected(*keys: Any, **provider: Any) -> Expected:
    """What the gate holds a response against, when it knows the provider by these keys."""
    return Expected(
        provider=a_provider(**provider),
        metadata=metadata_of(*keys),
        audience=ENTITY_ID,
        acs_url=ACS,
        request_id=REQUEST_ID,
    )


# --- responses ---


@dataclass(frozen=True)
class Message:
    """A response in its parts, as the provider would write it; a part is replaced to make it wrong."""

    issuer: str = ISSUER
    response_id: str = "_response-1"
    assertion_id: str = "_assertion-1"
    destination: str = f' Destination="{ACS}"'
    in_response_to: str = f' InResponseTo="{REQUEST_ID}"'
    issued: str = moment(0)
    version: str = "2.0"
    status: str = '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/>'
    name_id: str = f'<saml:NameID Format="{EMAIL}">alice@corp.example</saml:NameID>'
    recipient: str = f' Recipient="{ACS}"'
    confirmed_until: str = f' NotOnOrAfter="{moment(300)}"'
    confirmation_more: str = ""
    method: str = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    window: str = f' NotBefore="{moment(-5)}" NotOnOrAfter="{moment(300)}"'
    audience: str = f"<saml:AudienceRestriction><saml:Audience>{ENTITY_ID}</saml:Audience></saml:AudienceRestriction>"
    statement: str = (
        f'<saml:AuthnStatement AuthnInstant="{moment(-1)}"><saml:AuthnContext><saml:AuthnContextClassRef>'
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
        "</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
    )
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    namespaces: str = ""
    """More declarations on the response."""
    before_assertion: str = ""
    after_assertion: str = ""

    def assertion(self) -> str:
        return (
            f'<saml:Assertion xmlns:saml="{ASSERTION}" ID="{self.assertion_id}" Version="{self.version}" '
            f'IssueInstant="{self.issued}"><saml:Issuer>{self.issuer}</saml:Issuer>'
            f'<saml:Subject>{self.name_id}<saml:SubjectConfirmation Method="{self.method}">'
            f"<saml:SubjectConfirmationData{self.in_response_to}{self.recipient}{self.confirmed_until}"
            f"{self.confirmation_more}/></saml:SubjectConfirmation></saml:Subject>"
            f"<saml:Conditions{self.window}>{self.audience}</saml:Conditions>{self.statement}{self._attributes()}"
            "</saml:Assertion>"
        )

    def text(self) -> str:
        """The whole response, not signed."""
        return (
            f'<samlp:Response xmlns:samlp="{PROTOCOL}" xmlns:saml="{ASSERTION}"{self.namespaces} '
            f'ID="{self.response_id}" Version="{self.version}" IssueInstant="{self.issued}"'
            f"{self.destination}{self.in_response_to}><saml:Issuer>{self.issuer}</saml:Issuer>"
            f"<samlp:Status>{self.status}</samlp:Status>"
            f"{self.before_assertion}{self.assertion()}{self.after_assertion}</samlp:Response>"
        )

    def _attributes(self) -> str:
        if not self.attributes:
            return ""
        written = "".join(
            f"<saml:Attribute Name={quoteattr(name)}>"
            + "".join(
                '<saml:AttributeValue xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
                f'xmlns:xs="http://www.w3.org/2001/XMLSchema" xsi:type="xs:string">{escape(value)}'
                "</saml:AttributeValue>"
                for value in values
            )
            + "</saml:Attribute>"
            for name, values in self.attributes.items()
        )
        return f"<saml:AttributeStatement>{written}</saml:AttributeStatement>"


def message(**parts: Any) -> Message:
    return replace(Message(), **parts)


@dataclass(frozen=True)
class Signing:
    """How a signature is made."""

    key: Any = None
    method: Any = xmlsec.Transform.RSA_SHA256
    digest: Any = xmlsec.Transform.SHA256
    canonicalization: Any = xmlsec.Transform.EXCL_C14N
    transforms: Sequence[Any] = (xmlsec.Transform.ENVELOPED, xmlsec.Transform.EXCL_C14N)
    prefixes: str = ""
    """An InclusiveNamespaces list, on the last transform and on the canonicalization."""
    uri: str | None = None
    """Another reference than the id of the element."""
    secret: bytes = b""
    """For HMAC, in the place of the key."""


def sign(text: str | bytes, element_id: str, how: Signing | None = None) -> bytes:
    """`text` with an enveloped signature in the element that has this id, after its Issuer."""
    how = how or Signing()
    root = etree.fromstring(text)
    (target,) = root.xpath("//*[@ID=$id]", id=element_id)
    signature = xmlsec.template.create(target, how.canonicalization, how.method, ns="ds")
    target.insert(1 if len(target) and target[0].tag.endswith("Issuer") else 0, signature)
    reference = xmlsec.template.add_reference(
        signature, how.digest, uri=f"#{element_id}" if how.uri is None else how.uri
    )
    for transform in how.transforms:
        added = xmlsec.template.add_transform(reference, transform)
    if how.prefixes:
        xmlsec.template.transform_add_c14n_inclusive_namespaces(added, how.prefixes)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    if how.secret:
        context.key = xmlsec.Key.from_binary_data(xmlsec.KeyData.HMAC, how.secret)
    else:
        context.key = xmlsec.Key.from_memory(pem_of(how.key or rsa_key()), xmlsec.KeyFormat.PEM)
    context.sign(signature)
    return bytes(etree.tostring(root))


def signed_assertion(what: Message | None = None, how: Signing | None = None) -> bytes:
    """The response, its assertion signed by the provider."""
    what = what or Message()
    return sign(what.text(), what.assertion_id, how)


def signed_response(what: Message | None = None, how: Signing | None = None) -> bytes:
    """The response, signed as a whole."""
    what = what or Message()
    return sign(what.text(), what.response_id, how)


def signed_both(what: Message | None = None) -> bytes:
    """Assertion and response signed, as most providers do when they are asked to."""
    what = what or Message()
    return sign(signed_assertion(what), what.response_id)


def changed(response: bytes, change: Callable[[Any], None]) -> bytes:
    """The response after somebody on the way has changed its tree."""
    root = etree.fromstring(response)
    change(root)
    return bytes(etree.tostring(root))
