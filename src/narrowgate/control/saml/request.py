"""The request that sends a browser to an identity provider: an AuthnRequest by the HTTP-Redirect binding.

saml-profiles-2.0-os, section 4.1.4.1; saml-bindings-2.0-os, section 3.4.
"""

from __future__ import annotations

import base64
import secrets
import zlib
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from narrowgate.control.saml.metadata import POST, ProviderMetadata
from narrowgate.control.saml.signature import RSA_SHA256
from narrowgate.control.saml.xml import PROTOCOL, SAML
from narrowgate.core.moment import moment_text
from narrowgate.keys.saml_key import SAMLKey

_ID_BYTES = 20
"""160 random bits: what saml-core-2.0-os, section 1.3.4, asks for."""

_RAW_DEFLATE = -15
"""zlib's largest window, without its header and checksum (RFC 1951, as the binding wants it)."""


class ServiceProvider(msgspec.Struct, frozen=True, kw_only=True):
    """The gate, as one identity provider knows it."""

    entity_id: str
    acs_url: str
    """Where the provider has the browser post its response."""
    key: SAMLKey


def new_request_id() -> str:
    """An ID for a request: an xs:ID, which must not begin with a digit."""
    return "_" + secrets.token_hex(_ID_BYTES)


def redirect_url(gate: ServiceProvider, idp: ProviderMetadata, request_id: str, relay_state: str, now: float) -> str:
    """Where to send the browser, with the request in the address; signed where the provider wants that."""
    compressor = zlib.compressobj(wbits=_RAW_DEFLATE)
    message = compressor.compress(_request(gate, idp, request_id, now).encode()) + compressor.flush()
    query = urlencode({"SAMLRequest": base64.b64encode(message).decode(), "RelayState": relay_state})
    if idp.wants_signed_requests:
        # Signed is the query as it is sent, in this very order (section 3.4.4.1).
        query += "&" + urlencode({"SigAlg": RSA_SHA256})
        signature = gate.key.private.sign(query.encode(), padding.PKCS1v15(), hashes.SHA256())
        query += "&" + urlencode({"Signature": base64.b64encode(signature).decode()})
    return f"{idp.sign_in_url}{'&' if '?' in idp.sign_in_url else '?'}{query}"


def _request(gate: ServiceProvider, idp: ProviderMetadata, request_id: str, now: float) -> str:
    return (
        f'<samlp:AuthnRequest xmlns:samlp="{PROTOCOL}" xmlns:saml="{SAML}" ID="{request_id}" Version="2.0"'
        f' IssueInstant="{moment_text(now)}" Destination={quoteattr(idp.sign_in_url)} ProtocolBinding="{POST}"'
        f" AssertionConsumerServiceURL={quoteattr(gate.acs_url)}>"
        f"<saml:Issuer>{escape(gate.entity_id)}</saml:Issuer>"
        '<samlp:NameIDPolicy AllowCreate="true"/>'
        "</samlp:AuthnRequest>"
    )
