"""The request that a browser carries to the provider."""

from __future__ import annotations

import base64
import zlib
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from tests.saml_messages import ACS, ENTITY_ID, NOW, SIGN_IN_URL, certificate_of, metadata_of, rsa_key

from narrowgate.control.saml.request import ServiceProvider, new_request_id, redirect_url
from narrowgate.control.saml.xml import PROTOCOL, SAML, Element, read_xml
from narrowgate.keys.saml_key import SAMLKey

GATE = ServiceProvider(
    entity_id=ENTITY_ID,
    acs_url=ACS,
    key=SAMLKey(
        private=rsa_key("gate"),
        certificate=x509.load_der_x509_certificate(base64.b64decode(certificate_of(rsa_key("gate")))),
    ),
)
WANTS = ' WantAuthnRequestsSigned="true"'


def request_in(url: str) -> Element:
    (encoded,) = parse_qs(urlsplit(url).query)["SAMLRequest"]
    return read_xml(zlib.decompress(base64.b64decode(encoded, validate=True), wbits=-15))


def test_the_browser_is_sent_to_the_provider_with_a_request_of_ours() -> None:
    url = redirect_url(GATE, metadata_of(), "_id", "state", NOW)
    request = request_in(url)
    (issuer,) = request.named(SAML, "Issuer")
    assert url.startswith(f"{SIGN_IN_URL}?SAMLRequest=")
    assert parse_qs(urlsplit(url).query)["RelayState"] == ["state"]
    assert request.is_named(PROTOCOL, "AuthnRequest")
    assert request.attribute("ID") == "_id"
    assert request.attribute("IssueInstant") == "2027-01-15T08:00:00Z"
    assert request.attribute("Destination") == SIGN_IN_URL
    assert request.attribute("AssertionConsumerServiceURL") == ACS
    assert issuer.text() == ENTITY_ID


def test_an_address_with_a_query_keeps_it() -> None:
    url = redirect_url(GATE, metadata_of(url="https://idp.example/sso?tenant=1"), "_id", "state", NOW)
    assert url.startswith("https://idp.example/sso?tenant=1&SAMLRequest=")
    assert request_in(url).attribute("Destination") == "https://idp.example/sso?tenant=1"


def test_it_is_signed_where_the_provider_wants_that_and_only_there() -> None:
    plain = redirect_url(GATE, metadata_of(), "_id", "state", NOW)
    assert "Signature" not in plain
    signed = redirect_url(GATE, metadata_of(role_attributes=WANTS), "_id", "a state&more", NOW)
    query, _, _ = urlsplit(signed).query.partition("&Signature=")
    (value,) = parse_qs(urlsplit(signed).query)["Signature"]
    signature = base64.b64decode(value, validate=True)
    assert [part.partition("=")[0] for part in query.split("&")] == ["SAMLRequest", "RelayState", "SigAlg"]
    public = rsa_key("gate").public_key()
    public.verify(signature, query.encode(), padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(signature, query.replace("state", "other").encode(), padding.PKCS1v15(), hashes.SHA256())


def test_odd_letters_in_names_and_addresses_stay_letters() -> None:
    odd = "urn:gate?a=1&b=<\"'>"
    gate = ServiceProvider(entity_id=odd, acs_url=ACS + "?a=1&b=2", key=GATE.key)
    request = request_in(redirect_url(gate, metadata_of(), "_id", "state", NOW))
    assert request.named(SAML, "Issuer")[0].text() == odd
    assert request.attribute("AssertionConsumerServiceURL") == ACS + "?a=1&b=2"


def test_request_ids_never_meet() -> None:
    made = {new_request_id() for _ in range(100)}
    assert len(made) == 100
    assert all(one.startswith("_") and len(one) == 41 for one in made)
