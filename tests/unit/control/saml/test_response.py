"""What a response must be to prove anything: each check by a message that is wrong in that one thing alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.saml_messages import (
    ACS,
    ENTITY_ID,
    GATE,
    ISSUER,
    NAMES,
    NOW,
    REQUEST_ID,
    Message,
    changed,
    expected,
    message,
    moment,
    rsa_key,
    sign,
    signed_assertion,
    signed_both,
    signed_response,
)

from narrowgate.control.saml.response import CLOCK_SKEW, proven
from narrowgate.control.saml.xml import MOST_BYTES, SAMLRefused
from narrowgate.core.identity import Identity, Kind

OTHER_GATE = "https://other.example/sign-in/saml/corp/acs"


def refusal(response: bytes, now: float = NOW, **provider: Any) -> str:
    with pytest.raises(SAMLRefused) as refused:
        proven(response, expected(**provider), now)
    return str(refused.value)


def refusal_of(what: Message, now: float = NOW) -> str:
    """Why a response that is properly signed is refused, and that it is, wherever the signature stands."""
    told = {refusal(make(what), now) for make in (signed_assertion, signed_response, signed_both)}
    assert len(told) == 1, told
    return told.pop()


# --- what passes ---


@pytest.mark.parametrize("make", [signed_assertion, signed_response, signed_both])
def test_a_signed_answer_to_our_request_proves_a_person(make: Any) -> None:
    told = proven(make(), expected(), NOW)
    assert told.who == Identity(
        kind=Kind.PERSON,
        name="alice@corp.example",
        proven_by="saml:corp",
        credential="_assertion-1",
        claims=(("assertion", "_assertion-1"), ("issuer", ISSUER), ("subject", "alice@corp.example")),
    )
    assert told.assertion_id == "_assertion-1"
    assert told.usable_until == NOW + 300 + CLOCK_SKEW


def test_a_response_without_an_issuer_of_its_own_will_do_when_the_assertion_has_one() -> None:
    text = message().text().replace(f"<saml:Issuer>{ISSUER}</saml:Issuer><samlp:Status>", "<samlp:Status>")
    assert proven(sign(text, "_assertion-1"), expected(), NOW).who.name == "alice@corp.example"


def test_one_good_confirmation_among_several_is_enough() -> None:
    other = (
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"/>'
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<saml:SubjectConfirmationData Recipient="{OTHER_GATE}"/></saml:SubjectConfirmation>'
    )
    what = message(name_id=Message().name_id + other)
    assert proven(signed_assertion(what), expected(), NOW).who.name == "alice@corp.example"


@pytest.mark.parametrize("condition", ["<saml:OneTimeUse/>", '<saml:ProxyRestriction Count="0"/>'])
def test_conditions_that_are_kept_anyway_are_accepted(condition: str) -> None:
    what = message(audience=Message().audience + condition)
    assert proven(signed_assertion(what), expected(), NOW).who.name == "alice@corp.example"


def test_one_of_several_audiences_will_do() -> None:
    audience = (
        "<saml:AudienceRestriction><saml:Audience>https://other.example</saml:Audience>"
        f"<saml:Audience>{ENTITY_ID}</saml:Audience></saml:AudienceRestriction>"
    )
    assert proven(signed_assertion(message(audience=audience)), expected(), NOW).who.name == "alice@corp.example"


# --- signatures ---


def test_a_response_that_nobody_signed_is_refused() -> None:
    assert refusal(message().text().encode()) == "neither it nor its assertion is signed"


def test_a_broken_signature_beside_a_good_one_is_refused() -> None:
    def tamper(root: Any) -> None:
        root.find("samlp:Status", NAMES).append(root.makeelement("more"))

    assert refusal(changed(signed_both(), tamper)) == "it was changed after it was signed"


def test_a_signed_response_around_a_tampered_assertion_is_refused() -> None:
    def tamper(root: Any) -> None:
        root.find(".//saml:NameID", NAMES).text = "mallory@corp.example"

    for make in (signed_assertion, signed_response, signed_both):
        assert refusal(changed(make(), tamper)) == "it was changed after it was signed"


def test_another_providers_key_proves_nothing() -> None:
    with pytest.raises(SAMLRefused, match="no signing key in the identity provider's metadata made its signature"):
        proven(signed_assertion(), expected(rsa_key("other")), NOW)


# --- the shape ---


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"", "it is not XML (line 1: no element found)"),
        (b"hello", "it is not XML (line 1: syntax error)"),
        (b"<Response/>", "it is not a SAML 2.0 response"),
        (b"<Response xmlns='urn:oasis:names:tc:SAML:1.0:protocol'/>", "it is not a SAML 2.0 response"),
        (b" " * (MOST_BYTES + 1), f"it is larger than {MOST_BYTES} bytes"),
        (
            b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><a>&b;</a>',
            "it has a document type declaration, which SAML messages never have",
        ),
        (
            b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
            "it has a document type declaration, which SAML messages never have",
        ),
    ],
)
def test_what_is_no_response_is_refused_before_anything_is_looked_at(response: bytes, why: str) -> None:
    assert refusal(response) == why


def test_an_encrypted_assertion_is_refused_in_words() -> None:
    text = message(after_assertion="<saml:EncryptedAssertion/>").text()
    assert refusal(sign(text, "_response-1")).startswith("its assertion is encrypted, which this gate does not read")


def test_several_assertions_are_refused() -> None:
    second = message(assertion_id="_assertion-2", name_id="<saml:NameID>mallory</saml:NameID>").assertion()
    text = message(after_assertion=second).text()
    for signed in (
        sign(text, "_response-1"),
        sign(text, "_assertion-1"),
        sign(sign(text, "_assertion-1"), "_assertion-2"),
    ):
        assert refusal(signed).startswith("it holds more than one response or assertion")


def test_a_response_without_an_assertion_is_refused() -> None:
    text = message().text().replace(message().assertion(), "")
    assert refusal(sign(text, "_response-1")) == "it is without an assertion"
    assert refusal(text.encode()) == "it is without an assertion"


@pytest.mark.parametrize("attribute", ["ID", "Id", "id", "xml:id"])
def test_an_id_that_stands_twice_is_refused(attribute: str) -> None:
    text = message(before_assertion=f'<x {attribute}="_assertion-1"/>').text()
    signed = sign(text.replace(f' {attribute}="_assertion-1"/>', ' held="_assertion-1"/>'), "_assertion-1")
    forged = signed.replace(b"held=", f"{attribute}=".encode())
    assert refusal(forged) == "it holds the same id twice"


def test_a_comment_anywhere_is_refused() -> None:
    split = signed_assertion().replace(b"alice@corp", b"alice<!---->@corp")
    assert refusal(split) == "it has a comment, which could hide part of a name"


def test_a_processing_instruction_anywhere_is_refused() -> None:
    split = signed_assertion().replace(b"alice@corp", b"alice<?x?>@corp")
    assert refusal(split) == "it has a processing instruction, which SAML messages never have"


# --- what it says ---


def test_the_status_is_told_in_our_words() -> None:
    failed = (
        '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder">'
        '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"/></samlp:StatusCode>'
        "<samlp:StatusMessage>call 555-1234 with your password</samlp:StatusMessage>"
    )
    why = "the identity provider did not sign you in: it could not authenticate you"
    assert refusal_of(message(status=failed)) == why
    # A provider that fails signs nothing, and needs no assertion.
    text = message(status=failed).text().replace(message().assertion(), "")
    assert refusal(text.encode()) == why


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("", "it does not say how signing in went (Status)"),
        (
            '<samlp:StatusCode Value="urn:x:Nonsense"/>',
            "the identity provider did not sign you in: it does not say why",
        ),
        ("<samlp:StatusCode/>", "the identity provider did not sign you in: it does not say why"),
        (Message().status * 2, "it does not say how signing in went (Status)"),
    ],
)
def test_without_a_status_of_success_nobody_is_signed_in(status: str, why: str) -> None:
    assert refusal_of(message(status=status)) == why


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (message(issuer="https://other.example"), "it comes from another issuer than the one in the metadata (Issuer)"),
        (message(issuer=f" {ISSUER}"), "it comes from another issuer than the one in the metadata (Issuer)"),
        (message(destination=""), "it was made for another address (Destination)"),
        (message(destination=f' Destination="{OTHER_GATE}"'), "it was made for another address (Destination)"),
        (message(destination=f' Destination="{ACS}/"'), "it was made for another address (Destination)"),
        (
            message(in_response_to=""),
            "it does not answer the request that this browser was sent with (InResponseTo)",
        ),
        (
            message(in_response_to=' InResponseTo="_request-2"'),
            "it does not answer the request that this browser was sent with (InResponseTo)",
        ),
        (message(version="1.1"), "it is not SAML 2.0"),
        (message(recipient=""), "its assertion was made for another address (Recipient)"),
        (message(recipient=f' Recipient="{OTHER_GATE}"'), "its assertion was made for another address (Recipient)"),
        (message(method="urn:x"), "it is not for whoever bears it (SubjectConfirmation)"),
        (message(audience=""), "it does not say for whom it is (AudienceRestriction)"),
        (
            message(audience="<saml:AudienceRestriction/>"),
            f'it is for another party: "{ENTITY_ID}" is not among its audiences',
        ),
        (
            message(audience=Message().audience.replace(ENTITY_ID, GATE)),
            f'it is for another party: "{ENTITY_ID}" is not among its audiences',
        ),
        (
            message(audience=Message().audience + Message().audience.replace(ENTITY_ID, GATE)),
            f'it is for another party: "{ENTITY_ID}" is not among its audiences',
        ),
        (message(audience=Message().audience + "<saml:Condition/>"), "it has a condition that this gate does not know"),
        (message(audience=Message().audience + "<OneTimeUse/>"), "it has a condition that this gate does not know"),
        (message(statement=""), "it does not say that its subject signed in (AuthnStatement)"),
    ],
)
def test_a_signed_response_that_is_wrong_in_one_thing_is_refused(what: Message, why: str) -> None:
    assert refusal_of(what) == why


def test_what_the_assertion_alone_says_is_held_against_the_request_too() -> None:
    """The response around a signed assertion is not signed: whoever forges it must not get further."""
    text = message().text()
    confirmed = f'<saml:SubjectConfirmationData InResponseTo="{REQUEST_ID}"'
    stale = text.replace(confirmed, '<saml:SubjectConfirmationData InResponseTo="_request-0"')
    assert refusal(sign(stale, "_assertion-1")) == (
        "its assertion does not answer the request that this browser was sent with (InResponseTo)"
    )
    swapped = text.replace(message().assertion(), message(issuer="https://evil.example").assertion())
    assert (
        refusal(sign(swapped, "_assertion-1")) == "it comes from another issuer than the one in the metadata (Issuer)"
    )


# --- time ---


@pytest.mark.parametrize("moved", [0.0, CLOCK_SKEW - 1])
def test_the_clocks_may_differ_a_little(moved: float) -> None:
    what = message(issued=moment(moved), window=f' NotBefore="{moment(moved)}" NotOnOrAfter="{moment(300)}"')
    assert proven(signed_assertion(what), expected(), NOW).who.name == "alice@corp.example"
    late = message(window=f' NotOnOrAfter="{moment(-moved)}"', confirmed_until=f' NotOnOrAfter="{moment(-moved)}"')
    assert proven(signed_assertion(late), expected(), NOW).who.name == "alice@corp.example"


BEYOND = CLOCK_SKEW + 1


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (
            message(window=f' NotBefore="{moment(BEYOND)}" NotOnOrAfter="{moment(300)}"'),
            "it is not valid yet (Conditions); compare the clocks of provider and gate",
        ),
        (
            message(window=f' NotOnOrAfter="{moment(-BEYOND)}"'),
            "it is not valid any more (Conditions); sign in again",
        ),
        (
            message(confirmed_until=f' NotOnOrAfter="{moment(-BEYOND)}"'),
            "it is not valid any more (SubjectConfirmationData); sign in again",
        ),
        (
            message(confirmation_more=f' NotBefore="{moment(BEYOND)}"'),
            "it is not valid yet (SubjectConfirmationData); compare the clocks of provider and gate",
        ),
        (message(confirmed_until=""), "it does not say until when it is valid (SubjectConfirmationData)"),
        (message(window=""), "it does not say until when it is valid (Conditions)"),
        (
            message(issued=moment(BEYOND)),
            "it was issued in the future (IssueInstant); compare the clocks of provider and gate",
        ),
        (message(issued=""), "IssueInstant is not a time in UTC, like 2026-01-31T12:00:00Z"),
        (
            message(window=' NotOnOrAfter="2099-01-01T00:00:00+02:00"'),
            "NotOnOrAfter is not a time in UTC, like 2026-01-31T12:00:00Z",
        ),
    ],
)
def test_beyond_that_a_response_is_refused(what: Message, why: str) -> None:
    assert refusal_of(what) == why


def test_what_a_provider_signed_is_refused_once_its_metadata_is_out_of_date() -> None:
    against = expected()
    against = msgspec.structs.replace(against, metadata=msgspec.structs.replace(against.metadata, valid_until=NOW))
    with pytest.raises(SAMLRefused, match="metadata was good until 2027-01-15T08:00:00Z"):
        proven(signed_assertion(), against, NOW)
