"""Whom an assertion names, and which names are refused rather than mended."""

from __future__ import annotations

from typing import Any

import pytest
from tests.saml_messages import (
    EMAIL,
    ISSUER,
    NOW,
    Message,
    expected,
    message,
    moment,
    sign,
    signed_assertion,
    signed_response,
)

from narrowgate.control.saml.identity import GROUPS_LINK, LONGEST_ID, TRANSIENT
from narrowgate.control.saml.response import proven
from narrowgate.control.saml.xml import SAMLRefused
from narrowgate.core.identity import Identity
from narrowgate.core.names import LONGEST_NAME, MOST_GROUPS

UID = "urn:oid:0.9.2342.19200300.100.1.1"


def person(what: Message, **provider: Any) -> Identity:
    return proven(signed_assertion(what), expected(**provider), NOW).who


def refusal(what: Message, **provider: Any) -> str:
    with pytest.raises(SAMLRefused) as refused:
        person(what, **provider)
    return str(refused.value)


def named(text: str) -> Message:
    return message(name_id=f'<saml:NameID Format="{EMAIL}">{text}</saml:NameID>')


# --- the name ---


def test_the_name_is_the_name_id_with_the_prefix_before_it() -> None:
    assert person(message(), username_prefix="corp:").name == "corp:alice@corp.example"


def test_the_name_can_come_from_an_attribute() -> None:
    who = person(message(attributes={UID: ["alice"]}), username=UID, username_prefix="corp:")
    assert who.name == "corp:alice"
    assert who.claims == (("assertion", "_assertion-1"), ("issuer", ISSUER), ("subject", "alice@corp.example"))


def test_a_subject_without_a_name_id_will_do_where_an_attribute_names_it() -> None:
    who = person(message(name_id="", attributes={UID: ["alice"]}), username=UID)
    assert (who.name, who.claims) == ("alice", (("assertion", "_assertion-1"), ("issuer", ISSUER)))


@pytest.mark.parametrize("values", [[], ["alice", "mallory"], ["alice", "alice"]])
def test_the_attribute_must_hold_exactly_one_name(values: list[str]) -> None:
    attributes = {UID: values} if values else {}
    told = refusal(message(attributes=attributes), username=UID)
    assert told == f'expected one value of the attribute "{UID}", found {len(values)}'


def test_a_friendly_name_is_not_an_attributes_name() -> None:
    text = signed_text(message(attributes={"x": ["mallory"]}), 'Name="x"', f'Name="x" FriendlyName="{UID}"')
    with pytest.raises(SAMLRefused, match="expected one value"):
        proven(text, expected(username=UID), NOW)


def test_a_name_that_would_have_to_be_put_together_is_refused() -> None:
    assert refusal(named("alice<b/>@corp.example")) == '"NameID" holds elements where only text belongs'
    split = "<saml:NameID>alice</saml:NameID><saml:NameID>@corp.example</saml:NameID>"
    assert refusal(message(name_id=split)) == "it names more than one subject (NameID)"


def test_character_data_sections_and_references_are_part_of_the_whole_name() -> None:
    assert person(named("al<![CDATA[ic]]>&#101;@corp.example")).name == "alice@corp.example"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "the user name in it is empty"),
        ("system:masters", 'its NameID begins with "system:", which is reserved for Kubernetes itself'),
        ("ｓystem:admin", 'its NameID begins with "system:", which is reserved for Kubernetes itself'),
        ("alice&#10;", "its NameID holds a control or invisible character"),
        ("ali&#x200b;ce", "its NameID holds a control or invisible character"),
        (" alice", "its NameID begins or ends with a space"),
        ("a" * (LONGEST_NAME + 1), f"its NameID is longer than {LONGEST_NAME} characters"),
    ],
)
def test_names_that_nobody_may_have_are_refused(name: str, why: str) -> None:
    assert refusal(named(name)) == why


def test_the_same_holds_for_names_from_attributes_and_with_the_prefix() -> None:
    told = refusal(message(attributes={UID: ["system:admin"]}), username=UID)
    assert told == 'the user name in it begins with "system:", which is reserved for Kubernetes itself'
    told = refusal(message(attributes={UID: ["m:x"]}), username=UID, username_prefix="syste")
    assert told == (
        'the user name in it, with its prefix, begins with "system:", which is reserved for Kubernetes itself'
    )


def test_a_transient_name_id_names_nobody() -> None:
    transient = f'<saml:NameID Format="{TRANSIENT}">_a1b2</saml:NameID>'
    assert refusal(message(name_id=transient)).startswith("its NameID is transient, another one for every sign-in")
    assert person(message(name_id=transient, attributes={UID: ["alice"]}), username=UID).name == "alice"


def test_an_encrypted_name_id_is_refused_in_words() -> None:
    told = refusal(message(name_id="<saml:EncryptedID/>"))
    assert told.startswith("its NameID is encrypted, which this gate does not read")


def test_a_subject_without_any_name_is_refused() -> None:
    assert refusal(message(name_id="")) == "it does not name its subject (NameID)"


def test_no_name_may_begin_like_those_of_another_source() -> None:
    told = refusal(named("partner:bob"), foreign_prefixes=("partner:",))
    assert told == "the user name in it begins like those of another identity provider"
    assert person(named("bob"), foreign_prefixes=("partner:",)).name == "bob"


def test_several_subjects_are_refused() -> None:
    text = signed_text(message(), "</saml:Subject>", "</saml:Subject><saml:Subject/>")
    with pytest.raises(SAMLRefused, match="it does not say whom it is about"):
        proven(text, expected(), NOW)


@pytest.mark.parametrize("bad", ["a b", "ä", "a" * (LONGEST_ID + 1), "1a"])
def test_an_assertion_id_goes_into_the_record_only_when_it_is_one(bad: str) -> None:
    with pytest.raises(SAMLRefused, match="its assertion's ID is not one"):
        proven(signed_response(message(assertion_id=bad)), expected(), NOW)


# --- groups ---


def test_groups_come_from_the_attribute_each_once_with_the_prefix() -> None:
    what = message(attributes={"groups": ["sre", "developers", "sre"], "other": ["admins"]})
    assert person(what, groups="groups", groups_prefix="corp:").groups == ("corp:sre", "corp:developers")


def test_without_the_attribute_or_without_the_setting_there_are_no_groups() -> None:
    what = message(attributes={"groups": ["sre"]})
    assert person(what).groups == ()
    assert person(what, groups="memberOf").groups == ()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["system:masters"], 'group "system:masters" begins with "system:", which is reserved for Kubernetes itself'),
        ([""], 'group "" is empty'),
        (["a\nb"], 'group "a\nb" holds a control or invisible character'),
        ([f"g{number}" for number in range(MOST_GROUPS + 1)], f"{MOST_GROUPS + 1} groups are more than {MOST_GROUPS}"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "corp:"])
def test_groups_that_cannot_be_used_refuse_the_sign_in(values: list[str], why: str, prefix: str) -> None:
    told = refusal(message(attributes={"groups": values}), groups="groups", groups_prefix=prefix)
    assert told == f"its groups cannot be used: {why}"


def test_no_group_may_begin_like_those_of_another_source() -> None:
    what = message(attributes={"groups": ["sre", "partner:sre"]})
    told = refusal(what, groups="groups", foreign_group_prefixes=("partner:",))
    assert told == 'the group "partner:sre" in it begins like those of another identity provider'
    assert person(what, groups="groups", groups_prefix="corp:").groups == ("corp:sre", "corp:partner:sre")


def test_groups_that_a_provider_holds_back_are_told_of() -> None:
    what = message(attributes={GROUPS_LINK: ["https://graph.example/groups"]})
    assert refusal(what, groups="groups").startswith("the provider holds the groups back because there are too many")
    assert person(what).groups == ()


# --- the end ---


def test_a_sign_in_ends_no_later_than_the_providers_session() -> None:
    def ending(text: str) -> Message:
        return message(
            statement=Message().statement.replace("AuthnInstant", f'SessionNotOnOrAfter="{text}" AuthnInstant')
        )

    assert person(message()).expires_at is None
    assert person(ending(moment(900))).expires_at == NOW + 900
    assert refusal(ending(moment(0))).startswith("the provider's own session is over already")
    assert refusal(ending("tomorrow")) == "SessionNotOnOrAfter is not a time in UTC, like 2026-01-31T12:00:00Z"


def signed_text(what: Message, old: str, new: str) -> bytes:
    """A response changed in its text, then signed."""
    text = what.text()
    assert old in text
    return sign(text.replace(old, new), what.assertion_id)
