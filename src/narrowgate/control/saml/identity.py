"""Whom an assertion is about: the person's name and groups, as the configuration maps them.

What is read here was signed and checked before (`response`). Names are taken exactly as they stand: what would
have to be trimmed, folded or put together is refused (saml-core-2.0-os, sections 2.2, 2.4 and 2.7).
"""

from __future__ import annotations

import re

from narrowgate.control.saml.moment import instant_of
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.saml.xml import SAML, Element, SAMLRefused
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.names import groups_problem, name_problem

LONGEST_ID = 256
"""Characters of an assertion's ID; providers write some forty."""

TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"

GROUPS_LINK = "http://schemas.microsoft.com/claims/groups.link"
"""What Microsoft Entra sends in the place of more than 150 groups: an address to ask for them."""

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
"""An xs:ID in ASCII, as every provider writes it; it goes into the record."""


def person_of(assertion: Element, provider: SAMLProvider, issuer: str, now: float) -> Identity:
    """Who an assertion of `issuer` is about, once everything else about it has been checked. Raises SAMLRefused."""
    name_id = _name_id(assertion)
    subject = "" if name_id is None else name_id.text()
    if subject and (problem := name_problem(subject)):
        raise SAMLRefused(f"its NameID {problem}")
    used = assertion_id(assertion)
    claims = [("assertion", used), ("issuer", issuer)] + ([("subject", subject)] if subject else [])
    return Identity(
        kind=Kind.PERSON,
        name=_name(assertion, name_id, provider),
        groups=_groups(assertion, provider) if provider.groups else (),
        proven_by=provider.source,
        credential=used,
        claims=tuple(claims),
        expires_at=_session_end(assertion, now),
    )


def _name_id(assertion: Element) -> Element | None:
    subject = subject_of(assertion)
    if subject.named(SAML, "EncryptedID"):
        raise SAMLRefused("its NameID is encrypted, which this gate does not read; switch that off at the provider")
    found = subject.named(SAML, "NameID")
    if len(found) > 1:
        raise SAMLRefused("it names more than one subject (NameID)")
    return found[0] if found else None


def _name(assertion: Element, name_id: Element | None, provider: SAMLProvider) -> str:
    if provider.username != "NameID":
        values = _attribute_values(assertion, provider.username)
        if len(values) != 1:
            raise SAMLRefused(f'expected one value of the attribute "{provider.username}", found {len(values)}')
        told = values[0]
    elif name_id is None:
        raise SAMLRefused("it does not name its subject (NameID)")
    elif name_id.attribute("Format") == TRANSIENT:
        raise SAMLRefused(
            "its NameID is transient, another one for every sign-in; have the provider send a lasting one, or name an "
            "attribute as username"
        )
    else:
        told = name_id.text()
    if problem := name_problem(told):
        raise SAMLRefused(f"the user name in it {problem}")
    name = provider.username_prefix + told
    if problem := name_problem(name):
        raise SAMLRefused(f"the user name in it, with its prefix, {problem}")
    if name.startswith(provider.foreign_prefixes):
        raise SAMLRefused("the user name in it begins like those of another identity provider")
    return name


def _session_end(assertion: Element, now: float) -> float | None:
    """When the provider wants the sign-in to be over (SessionNotOnOrAfter); None where it does not say."""
    statements = assertion.named(SAML, "AuthnStatement")
    if not statements:
        raise SAMLRefused("it does not say that its subject signed in (AuthnStatement)")
    told = [text for one in statements if (text := one.attribute("SessionNotOnOrAfter")) is not None]
    if not told:
        return None
    end = min(instant_of(text, "SessionNotOnOrAfter") for text in told)
    if now >= end:
        raise SAMLRefused("the provider's own session is over already (SessionNotOnOrAfter); sign in again")
    return end


def subject_of(assertion: Element) -> Element:
    """Its one Subject. Raises SAMLRefused."""
    subjects = assertion.named(SAML, "Subject")
    if len(subjects) != 1:
        raise SAMLRefused("it does not say whom it is about (Subject)")
    return subjects[0]


def assertion_id(assertion: Element) -> str:
    """Its ID. Raises SAMLRefused where that is none."""
    told = assertion.attribute("ID") or ""
    if len(told) > LONGEST_ID or not _ID.fullmatch(told):
        raise SAMLRefused("its assertion's ID is not one")
    return told


def _groups(assertion: Element, provider: SAMLProvider) -> tuple[str, ...]:
    """The groups in the provider's attribute, each once, with the prefix before it."""
    if _attributes(assertion, GROUPS_LINK):
        raise SAMLRefused(
            "the provider holds the groups back because there are too many; have it send only those that are assigned "
            "to this application"
        )
    told = tuple(dict.fromkeys(_attribute_values(assertion, provider.groups)))
    groups = tuple(provider.groups_prefix + group for group in told)
    if problem := groups_problem(told) or groups_problem(groups):
        raise SAMLRefused(f"its groups cannot be used: {problem}")
    for group in groups:
        if group.startswith(provider.foreign_group_prefixes):
            raise SAMLRefused(f'the group "{group}" in it begins like those of another identity provider')
    return groups


def _attribute_values(assertion: Element, name: str) -> tuple[str, ...]:
    """The texts of the attribute of that name, in order; friendly names do not count."""
    return tuple(
        value.text() for attribute in _attributes(assertion, name) for value in attribute.named(SAML, "AttributeValue")
    )


def _attributes(assertion: Element, name: str) -> list[Element]:
    return [
        attribute
        for statement in assertion.named(SAML, "AttributeStatement")
        for attribute in statement.named(SAML, "Attribute")
        if attribute.attribute("Name") == name
    ]
