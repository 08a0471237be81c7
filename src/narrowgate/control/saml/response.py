"""What an identity provider's response proves: the checks of SAML's web browser SSO profile, and an identity.

saml-profiles-2.0-os, section 4.1.4; saml-core-2.0-os, section 2. Everything that becomes part of the identity is read
from what `signature.signed` returned. Only answers to requests of ours are taken: never one that nobody asked for
(IdP-initiated). Encrypted assertions are refused, since the gate's metadata holds no key to encrypt to.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from narrowgate.control.saml.identity import assertion_id, person_of, subject_of
from narrowgate.control.saml.metadata import ProviderMetadata, check_valid
from narrowgate.control.saml.moment import instant_of
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.saml.signature import signature_of, signed
from narrowgate.control.saml.xml import PROTOCOL, SAML, SIGNATURE, XML, Element, SAMLRefused, read_xml
from narrowgate.core.identity import Identity

CLOCK_SKEW = 30.0
"""Seconds by which the provider's clock may differ from ours."""

SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
ENTITY = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"

_ID_ATTRIBUTES = frozenset({("", "ID"), ("", "Id"), ("", "id"), (XML, "id")})
"""What any XML software might take for an element's id."""

_STATUS_WORDS = {
    "AuthnFailed": "it could not authenticate you",
    "NoAuthnContext": "it could not authenticate you in the way that was asked for",
    "NoPassive": "it would have had to ask you something",
    "RequestDenied": "it will not answer this gate's requests",
    "RequestUnsupported": "it does not support this gate's requests",
    "InvalidNameIDPolicy": "it cannot name you as was asked",
    "UnknownPrincipal": "it does not know you",
    "Requester": "it takes the gate's request for a wrong one",
    "Responder": "it could not do its work",
    "VersionMismatch": "it speaks another version of SAML",
}
"""saml-core-2.0-os, section 3.2.2.2, in words. Nobody has signed the code: words of ours only."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a response is held against."""

    provider: SAMLProvider
    metadata: ProviderMetadata
    audience: str
    """The gate's entity ID, as this provider knows it."""
    acs_url: str
    request_id: str


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What a response proves, if its assertion was not used before."""

    who: Identity
    assertion_id: str
    usable_until: float
    """Unix seconds, skew included; after it the assertion would be refused for its age."""


def proven(response: bytes, expected: Expected, now: float) -> Proven:
    """Who signed in. Raises SAMLRefused, for whatever is not exactly as it must be."""
    check_valid(expected.metadata, now)
    root = read_xml(response)
    _check_shape(root)
    root, assertion = _vouched(root, expected)
    _check_response(root, expected, now)
    _check_status(root)
    if assertion is None:
        raise SAMLRefused("it is without an assertion")
    _check_issuer(assertion, expected, required=True)
    _check_version(assertion, now)
    ends = [_conditions_end(assertion, expected, now), _confirmation_end(assertion, expected, now)]
    return Proven(
        who=person_of(assertion, expected.provider, expected.metadata.entity_id, now),
        assertion_id=assertion_id(assertion),
        usable_until=min(ends) + CLOCK_SKEW,
    )


def _check_shape(root: Element) -> None:
    """One response, at most one assertion in it, signatures in their places, no id twice: else nothing is read."""
    if not root.is_named(PROTOCOL, "Response"):
        raise SAMLRefused("it is not a SAML 2.0 response")
    everything = list(root.walk())
    names = Counter((element.namespace, element.name) for element in everything)
    if names[SAML, "EncryptedAssertion"]:
        raise SAMLRefused(
            "its assertion is encrypted, which this gate does not read; switch encryption off for it at the provider "
            "(the response travels over TLS)"
        )
    assertions = root.named(SAML, "Assertion")
    if names[PROTOCOL, "Response"] != 1 or len(assertions) > 1 or names[SAML, "Assertion"] != len(assertions):
        raise SAMLRefused("it holds more than one response or assertion, or one in a place where none belongs")
    placed = sum(len(element.named(SIGNATURE, "Signature")) for element in (root, *assertions))
    if names[SIGNATURE, "Signature"] != placed:
        raise SAMLRefused("it holds a signature in a place where none belongs")
    ids = Counter(
        one.value for element in everything for one in element.attributes if (one.namespace, one.name) in _ID_ATTRIBUTES
    )
    if any(count > 1 for count in ids.values()):
        raise SAMLRefused("it holds the same id twice")


def _vouched(root: Element, expected: Expected) -> tuple[Element, Element | None]:
    """The response and its assertion as far as they are signed: every signature there is must hold.

    The assertion returned is one that was signed, alone or with the response around it; None where there is none.
    """
    keys = expected.metadata.keys
    written = root.named(SAML, "Assertion")
    assertion: Element | None = None
    if written and (signature := signature_of(written[0])) is not None:
        assertion = signed(written[0], signature, keys)
    if (signature := signature_of(root)) is not None:
        root = signed(root, signature, keys)
        if assertion is None:
            assertion = next(iter(root.named(SAML, "Assertion")), None)
    elif written and assertion is None:
        raise SAMLRefused("neither it nor its assertion is signed")
    return root, assertion


def _check_response(root: Element, expected: Expected, now: float) -> None:
    _check_version(root, now)
    _check_issuer(root, expected, required=False)
    if root.attribute("Destination") != expected.acs_url:
        raise SAMLRefused("it was made for another address (Destination)")
    if root.attribute("InResponseTo") != expected.request_id:
        raise SAMLRefused("it does not answer the request that this browser was sent with (InResponseTo)")


def _check_version(element: Element, now: float) -> None:
    if element.attribute("Version") != "2.0":
        raise SAMLRefused("it is not SAML 2.0")
    if instant_of(element.attribute("IssueInstant") or "", "IssueInstant") > now + CLOCK_SKEW:
        raise SAMLRefused("it was issued in the future (IssueInstant); compare the clocks of provider and gate")


def _check_issuer(element: Element, expected: Expected, *, required: bool) -> None:
    issuers = element.named(SAML, "Issuer")
    if not issuers and not required:
        return
    if len(issuers) != 1 or issuers[0].attribute("Format") not in (None, ENTITY):
        raise SAMLRefused("it does not say who issued it (Issuer)")
    if issuers[0].text() != expected.metadata.entity_id:
        raise SAMLRefused("it comes from another issuer than the one in the metadata (Issuer)")


def _check_status(root: Element) -> None:
    status = root.named(PROTOCOL, "Status")
    codes = status[0].named(PROTOCOL, "StatusCode") if len(status) == 1 else ()
    if len(codes) != 1:
        raise SAMLRefused("it does not say how signing in went (Status)")
    if codes[0].attribute("Value") == SUCCESS:
        return
    inner = codes[0].named(PROTOCOL, "StatusCode")
    told = [(code.attribute("Value") or "").rpartition(":")[2] for code in (*inner, *codes)]
    words = next((_STATUS_WORDS[word] for word in told if word in _STATUS_WORDS), "it does not say why")
    raise SAMLRefused(f"the identity provider did not sign you in: {words}")


def _conditions_end(assertion: Element, expected: Expected, now: float) -> float:
    """When the conditions cease to hold (saml-core-2.0-os, section 2.5); one that we do not know is not met."""
    conditions = assertion.named(SAML, "Conditions")
    if len(conditions) != 1:
        raise SAMLRefused("it does not say for whom and for how long it is (Conditions)")
    end = _window_end(conditions[0], now, "Conditions")
    audiences = conditions[0].named(SAML, "AudienceRestriction")
    if not audiences:
        raise SAMLRefused("it does not say for whom it is (AudienceRestriction)")
    for restriction in audiences:
        if expected.audience not in [audience.text() for audience in restriction.named(SAML, "Audience")]:
            raise SAMLRefused(f'it is for another party: "{expected.audience}" is not among its audiences')
    known = {"AudienceRestriction", "OneTimeUse", "ProxyRestriction"}
    for child in conditions[0].children():
        if child.namespace != SAML or child.name not in known:
            raise SAMLRefused("it has a condition that this gate does not know")
    return end


def _window_end(element: Element, now: float, what: str) -> float:
    """NotOnOrAfter, which there must be; NotBefore may be missing."""
    start, end = element.attribute("NotBefore"), element.attribute("NotOnOrAfter")
    if start is not None and now < instant_of(start, "NotBefore") - CLOCK_SKEW:
        raise SAMLRefused(f"it is not valid yet ({what}); compare the clocks of provider and gate")
    if end is None:
        raise SAMLRefused(f"it does not say until when it is valid ({what})")
    until = instant_of(end, "NotOnOrAfter")
    if now >= until + CLOCK_SKEW:
        raise SAMLRefused(f"it is not valid any more ({what}); sign in again")
    return until


def _confirmation_end(assertion: Element, expected: Expected, now: float) -> float:
    """When whoever bears the assertion ceases to be its subject (saml-profiles-2.0-os, section 4.1.4.2)."""
    refusal = SAMLRefused("it is not for whoever bears it (SubjectConfirmation)")
    for confirmation in subject_of(assertion).named(SAML, "SubjectConfirmation"):
        data = confirmation.named(SAML, "SubjectConfirmationData")
        if confirmation.attribute("Method") != BEARER or len(data) != 1:
            continue
        try:
            return _bearer_end(data[0], expected, now)
        except SAMLRefused as refused:
            refusal = refused
    raise refusal


def _bearer_end(data: Element, expected: Expected, now: float) -> float:
    if data.attribute("Recipient") != expected.acs_url:
        raise SAMLRefused("its assertion was made for another address (Recipient)")
    if data.attribute("InResponseTo") != expected.request_id:
        raise SAMLRefused("its assertion does not answer the request that this browser was sent with (InResponseTo)")
    return _window_end(data, now, "SubjectConfirmationData")
