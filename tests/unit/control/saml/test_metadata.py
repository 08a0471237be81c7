"""Metadata: what is taken from a provider's file, and what the gate says of itself."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.saml_messages import (
    ACS,
    ENTITY_ID,
    ISSUER,
    NAMES,
    NOW,
    SIGN_IN_URL,
    certificate_of,
    ec_key,
    metadata_of,
    metadata_text,
    moment,
    rsa_key,
)

from narrowgate.control.saml.metadata import MOST_CERTIFICATES, check_valid, own_metadata, read_metadata
from narrowgate.control.saml.xml import SAMLRefused, read_xml

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def refusal(text: str) -> str:
    with pytest.raises(SAMLRefused) as refused:
        read_metadata(text)
    return str(refused.value)


def test_a_provider_is_read_from_its_metadata() -> None:
    told = read_metadata(metadata_text())
    assert told.entity_id == ISSUER
    assert told.sign_in_url == SIGN_IN_URL
    assert told.keys == (rsa_key().public_key(),)
    assert not told.wants_signed_requests
    assert told.valid_until is None


def test_comments_in_the_file_are_skipped() -> None:
    assert read_metadata("<!-- made by hand -->\n" + metadata_text()).entity_id == ISSUER


def test_every_signing_key_is_taken_and_no_other() -> None:
    assert metadata_of(rsa_key(), ec_key(), use="").keys == (rsa_key().public_key(), ec_key().public_key())
    other = metadata_text([rsa_key("enc")], use=' use="encryption"')
    descriptor = other[other.index("<md:KeyDescriptor") : other.index("<md:SingleSignOnService")]
    both = metadata_text().replace("<md:SingleSignOnService", descriptor + "<md:SingleSignOnService", 1)
    assert both.count("<md:KeyDescriptor") == 2
    assert read_metadata(both).keys == (rsa_key().public_key(),)


def test_an_expired_certificate_is_but_an_envelope() -> None:
    told = read_metadata(metadata_text(certificates=[certificate_of(rsa_key(), expired=True)]))
    assert told.keys == (rsa_key().public_key(),)


@pytest.mark.parametrize(("written", "wanted"), [("true", True), ("1", True), ("false", False), ("yes", False)])
def test_whether_requests_are_to_be_signed_is_read(written: str, wanted: bool) -> None:
    text = metadata_text(role_attributes=f' WantAuthnRequestsSigned="{written}"')
    assert read_metadata(text).wants_signed_requests is wanted


@pytest.mark.parametrize("where", ["attributes", "role_attributes"])
def test_metadata_is_worth_nothing_after_its_time(where: str) -> None:
    more: Any = {where: f' validUntil="{moment(0)}"'}
    told = read_metadata(metadata_text(**more))
    assert told.valid_until == NOW
    check_valid(told, NOW - 1)
    with pytest.raises(SAMLRefused, match=r"was good until 2027-01-15T08:00:00Z \(validUntil\); fetch it anew"):
        check_valid(told, NOW)


def test_the_earlier_of_two_ends_counts() -> None:
    text = metadata_text(attributes=f' validUntil="{moment(9)}"', role_attributes=f' validUntil="{moment(3)}"')
    assert read_metadata(text).valid_until == NOW + 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not XML (line 1: no element found)"),
        ("<html/>", "it is not the metadata of a SAML 2.0 identity provider: no EntityDescriptor"),
        (
            f'<EntitiesDescriptor xmlns="{NAMES["saml"].replace("assertion", "metadata")}"/>',
            "it describes several parties; give the EntityDescriptor of the identity provider alone",
        ),
        (metadata_text(entity_id=""), "its entityID is missing or longer than 1024 characters"),
        (
            metadata_text().replace("IDPSSODescriptor", "SPSSODescriptor"),
            "expected one IDPSSODescriptor for SAML 2.0 in it, found 0",
        ),
        (
            metadata_text().replace(NAMES["samlp"], "urn:oasis:names:tc:SAML:1.1:protocol"),
            "expected one IDPSSODescriptor for SAML 2.0 in it, found 0",
        ),
        (
            metadata_text().replace("HTTP-Redirect", "HTTP-Artifact"),
            "it has no SingleSignOnService with the HTTP-Redirect binding; switch it on there",
        ),
        (metadata_text(url="http://idp.example/sso"), "the address of its SingleSignOnService is not https"),
        (metadata_text(url="https:///sso"), "the address of its SingleSignOnService is not https"),
        (metadata_text(url="https://idp.example:99999/"), "the address of its SingleSignOnService is not https"),
        (metadata_text(url="https://idp.example/\n"), "the address of its SingleSignOnService is not https"),
        (metadata_text(url="javascript:alert(1)"), "the address of its SingleSignOnService is not https"),
        (metadata_text(use=' use="encryption"'), "it has no certificate for signing"),
        (metadata_text(certificates=["AAAA"]), "a certificate in it cannot be read"),
        (metadata_text(certificates=["%"]), "a certificate in it cannot be read"),
        (
            metadata_text([rsa_key()] * (MOST_CERTIFICATES + 1)),
            f"it has more than {MOST_CERTIFICATES} certificates for signing",
        ),
        (metadata_text(attributes=' validUntil="soon"'), "validUntil is not a time in UTC, like 2026-01-31T12:00:00Z"),
        ('<!DOCTYPE a [<!ENTITY x "y">]>' + metadata_text(), "it has a document type declaration"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused(text: str, why: str) -> None:
    assert refusal(text).startswith(why)


@pytest.mark.parametrize("key", [rsa_key("small", 1024), ec_key(ec.SECP192R1), ec_key(ec.SECP256K1)])
def test_weak_and_uncommon_keys_are_refused(key: Any) -> None:
    assert refusal(metadata_text([key])).startswith("a signing key in it is neither RSA with 2048 bits or more nor")


def test_a_key_that_no_saml_signature_is_made_with_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(other.public_key())
        .serial_number(1)
        .not_valid_before(DAY)
        .not_valid_after(DAY)
        .sign(other, None)
    )
    encoded = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
    assert refusal(metadata_text(certificates=[encoded])).startswith("a signing key in it is neither RSA")


def test_a_key_of_a_kind_that_nobody_knows_is_refused() -> None:
    der = base64.b64decode(certificate_of(rsa_key()))
    rsa_encryption = bytes.fromhex("06092a864886f70d010101")
    unknown = der.replace(rsa_encryption, rsa_encryption[:-1] + b"\x7f")
    assert unknown != der
    text = metadata_text(certificates=[base64.b64encode(unknown).decode()])
    assert refusal(text) == "a certificate in it cannot be read"


@pytest.mark.parametrize("signs", [True, False])
def test_the_gate_says_where_it_takes_responses_and_what_it_signs_with(signs: bool) -> None:
    certificate = x509.load_der_x509_certificate(base64.b64decode(certificate_of(rsa_key("gate"))))
    root = read_xml(own_metadata(ENTITY_ID, ACS, certificate, signs=signs).encode())
    (role,) = root.children()
    services = [child for child in role.children() if child.name == "AssertionConsumerService"]
    held = [element.text() for element in root.walk() if element.name == "X509Certificate"]
    assert root.attribute("entityID") == ENTITY_ID
    assert [service.attribute("Location") for service in services] == [ACS]
    assert services[0].attribute("Binding") == "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
    assert role.attribute("AuthnRequestsSigned") == str(signs).lower()
    assert role.attribute("WantAssertionsSigned") == "true"
    assert held == [certificate_of(rsa_key("gate"))]
    assert "encryption" not in own_metadata(ENTITY_ID, ACS, certificate, signs=signs)


def test_odd_letters_in_an_entity_id_stay_letters() -> None:
    certificate = x509.load_der_x509_certificate(base64.b64decode(certificate_of(rsa_key("gate"))))
    odd = "urn:gate?a=1&b=<\"'>"
    assert read_xml(own_metadata(odd, ACS, certificate, signs=False).encode()).attribute("entityID") == odd
