"""`authentication.saml`: what an entry means, and what each mistake in it is answered with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from tests.saml_messages import ISSUER, metadata_text

from narrowgate.authenticators.jwt_issuer import ClaimMapping, JWTIssuer
from narrowgate.config import ConfigError, parse_config
from narrowgate.config.document import Document
from narrowgate.config.saml import SAMLEntry, read_saml_providers
from narrowgate.control.saml.metadata import read_metadata
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.core.identity import Kind

OKTA = JWTIssuer(
    url="https://issuer.example", audiences=("gate",), username=ClaimMapping(claim="email", prefix="okta:")
)
OKTA_GROUPS = msgspec.structs.replace(OKTA, groups=ClaimMapping(claim="groups", prefix="okta:"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "idp.xml").write_text(metadata_text())
    return tmp_path


def read(folder: Path, *entries: Mapping[str, Any], issuers: Sequence[JWTIssuer] = ()) -> tuple[SAMLProvider, ...]:
    """The providers of a configuration with these entries."""
    text = yaml.safe_dump({"authentication": {"saml": list(entries)}}, sort_keys=False)
    document = Document(text, "narrowgate.yaml")
    written = [msgspec.convert(entry, SAMLEntry) for entry in entries]
    return read_saml_providers(document, ("authentication", "saml"), written, folder, issuers)


def refusal(folder: Path, *entries: Mapping[str, Any], issuers: Sequence[JWTIssuer] = ()) -> str:
    with pytest.raises(ConfigError) as refused:
        read(folder, *entries, issuers=issuers)
    return str(refused.value)


def entry(**more: Any) -> dict[str, Any]:
    return {"name": "corp", "metadata": "idp.xml", **more}


def test_name_and_metadata_are_enough(folder: Path) -> None:
    (provider,) = read(folder, entry())
    assert provider == SAMLProvider(
        name="corp", title="corp", metadata=metadata_text(), where="narrowgate.yaml:3: authentication.saml[0]"
    )
    assert provider.source == "saml:corp"
    assert read_metadata(provider.metadata).entity_id == ISSUER


def test_every_key_is_taken_through_the_whole_configuration(folder: Path) -> None:
    keys = entry(
        title="Corp SSO",
        username="uid",
        usernamePrefix="corp:",
        groups="memberOf",
        groupsPrefix="c:",
        entityID="urn:gate",
    )
    head = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"
    text = head + yaml.safe_dump({"authentication": {"saml": [keys]}}, sort_keys=False)
    (provider,) = parse_config(text, folder / "narrowgate.yaml").authentication.saml
    told = (provider.title, provider.username, provider.username_prefix, provider.groups, provider.groups_prefix)
    assert told == ("Corp SSO", "uid", "corp:", "memberOf", "c:")
    assert provider.entity_id == "urn:gate"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"name": "Corp"}, '3: authentication.saml[0].name: "Corp" is no name; use up to 63 lower case letters'),
        ({"name": "a/b"}, 'saml[0].name: "a/b" is no name'),
        ({"title": "x" * 65}, "saml[0].title: longer than 64 characters, or not printable"),
        ({"username": ""}, "saml[0].username: expected an attribute's name"),
        ({"groups": "a\nb"}, "saml[0].groups: expected an attribute's name"),
        ({"groups": "x" * 257}, "saml[0].groups: expected an attribute's name"),
        ({"usernamePrefix": "system:"}, 'saml[0].usernamePrefix: "system:" cannot begin a name: it begins with'),
        ({"groupsPrefix": "c:"}, "saml[0].groupsPrefix: goes with groups only; add that, or remove this"),
        ({"groups": "g", "groupsPrefix": " "}, 'saml[0].groupsPrefix: " " cannot begin a name: it begins or ends with'),
        ({"entityID": "a b"}, "saml[0].entityID: expected an address of up to 1024 characters, no spaces"),
        ({"metadata": ""}, "saml[0].metadata: expected the path of the identity provider's metadata file; write it"),
        ({"metadata": "absent.xml"}, "absent.xml: the identity provider's metadata does not exist; make it"),
    ],
)
def test_mistakes_are_told_with_their_place(folder: Path, more: dict[str, Any], why: str) -> None:
    assert why in refusal(folder, entry(**more))


def test_an_unknown_key_is_told_of(folder: Path) -> None:
    text = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\nauthentication:\n  saml:\n  - {name: corp, metdata: x}\n"
    with pytest.raises(ConfigError, match=r'saml\[0\].metdata: unknown key, did you mean "metadata"'):
        parse_config(text, folder / "narrowgate.yaml")


def test_metadata_that_cannot_be_used_is_told_of_at_start(folder: Path) -> None:
    (folder / "idp.xml").write_text("<html/>")
    told = refusal(folder, entry())
    assert told.endswith(
        "idp.xml cannot be used: it is not the metadata of a SAML 2.0 identity provider: no EntityDescriptor"
    )
    (folder / "idp.xml").write_text(metadata_text(attributes=' validUntil="2020-01-01T00:00:00Z"'))
    assert "was good until 2020-01-01T00:00:00Z (validUntil); fetch it anew" in refusal(folder, entry())


def test_names_are_given_once(folder: Path) -> None:
    told = refusal(folder, entry(usernamePrefix="a:"), entry(usernamePrefix="b:"))
    assert 'saml[1].name: "corp" is already saml[0]; give each its own name' in told


# --- who may name whom ---


def test_two_providers_with_one_prefix_are_refused(folder: Path) -> None:
    told = refusal(folder, entry(), entry(name="partner"))
    assert (
        'saml[1].usernamePrefix: "" is also the prefix of saml[0], so that somebody of the one could be taken' in told
    )
    assert len(read(folder, entry(usernamePrefix="a:"), entry(name="partner", usernamePrefix="b:"))) == 2


def test_a_provider_and_a_jwt_issuer_with_one_prefix_are_refused(folder: Path) -> None:
    told = refusal(folder, entry(usernamePrefix="okta:"), issuers=[OKTA])
    assert 'saml[0].usernamePrefix: "okta:" is also the prefix of the JWT issuer "https://issuer.example"' in told


def test_issuers_that_vouch_for_no_people_are_no_obstacle(folder: Path) -> None:
    ci = msgspec.structs.replace(OKTA, subject=Kind.AGENT)
    mapped = msgspec.structs.replace(OKTA, username=ClaimMapping(expression="'okta:' + claims.email"))
    (provider,) = read(folder, entry(usernamePrefix="okta:"), issuers=[ci, mapped])
    assert provider.foreign_prefixes == ()


def test_a_provider_knows_the_prefixes_that_its_own_could_grow_into(folder: Path) -> None:
    first, second = read(folder, entry(), entry(name="partner", usernamePrefix="p:"), issuers=[OKTA])
    assert first.foreign_prefixes == ("okta:", "p:")
    assert second.foreign_prefixes == ()


def test_the_same_holds_for_groups_where_there_are_any(folder: Path) -> None:
    first = entry(usernamePrefix="a:", groups="memberOf")
    second = entry(name="partner", usernamePrefix="b:", groups="memberOf")
    assert 'saml[1].groupsPrefix: "" is also the prefix of saml[0]' in refusal(folder, first, second)
    told = refusal(folder, first | {"groupsPrefix": "okta:"}, issuers=[OKTA_GROUPS])
    assert 'saml[0].groupsPrefix: "okta:" is also the prefix of the JWT issuer' in told
    one, two = read(folder, first, second | {"groupsPrefix": "p:"}, issuers=[OKTA_GROUPS])
    assert (one.foreign_group_prefixes, two.foreign_group_prefixes) == (("okta:", "p:"), ())
    without = entry(name="partner", usernamePrefix="b:")
    assert len(read(folder, first, without, entry(name="third", usernamePrefix="c:"))) == 3


def test_an_issuer_knows_the_groups_of_a_saml_provider_too(folder: Path) -> None:
    issuer = {
        "issuer": {"url": "https://issuer.example", "audiences": ["gate"]},
        "claimMappings": {
            "username": {"claim": "email", "prefix": ""},
            "groups": {"claim": "groups", "prefix": ""},
        },
    }
    saml = entry(usernamePrefix="corp:", groups="memberOf", groupsPrefix="c:")
    head = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"
    text = head + yaml.safe_dump({"authentication": {"jwt": [issuer], "saml": [saml]}}, sort_keys=False)
    (read_issuer,) = parse_config(text, folder / "narrowgate.yaml").authentication.jwt
    assert (read_issuer.foreign_prefixes, read_issuer.foreign_group_prefixes) == (("corp:",), ("c:",))
