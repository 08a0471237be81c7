"""Laws of tokens: whoever is vouched for may be, whatever they say; and nothing verifies but a published key."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.oidc_issuer import AUDIENCE, FAR, Issuer, ec_key, signed, verifier_of

from narrowgate.authenticators.issuer_keys import ProviderMetadata, read_metadata
from narrowgate.authenticators.jwks import KeySet, KeySetInvalid, TokenRefused, verified
from narrowgate.authenticators.jwt_issuer import KNOWN_ALGORITHMS, ClaimMapping, ExtraMapping
from narrowgate.authenticators.jwt_issuers import JWTIssuers
from narrowgate.authenticators.port import NotMine, Presented, Rejected
from narrowgate.core.identity import Identity
from narrowgate.core.names import MOST_GROUPS, valid_name

NOW = 1_800_000_000.0
ISSUER = Issuer()
STRANGER = ec_key("first")
VERIFIERS = (
    verifier_of(ISSUER),
    verifier_of(
        ISSUER,
        username=ClaimMapping(expression="claims.sub"),
        groups=ClaimMapping(expression="claims.?groups.orValue([])"),
        uid=ClaimMapping(expression="claims.?oid.orValue('none')"),
        extra=(ExtraMapping(key="corp.example/team", value_expression="claims.?team.orValue('')"),),
    ),
)
NAMES = st.text(max_size=20) | st.sampled_from(["system:masters", "ＳＹＳＴＥＭ:x", "a\0b", "a\nb", "alice", " x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "iss",
        "aud",
        "sub",
        "exp",
        "nbf",
        "iat",
        "groups",
        "oid",
        "team",
        "azp",
        "email_verified",
        "_claim_names",
        "hasgroups",
    ]
)
USUAL = {"iss": ISSUER.url, "aud": AUDIENCE, "sub": "alice", "exp": FAR, "groups": ["sre"]}


@settings(max_examples=200, deadline=None)
@given(changed=st.dictionaries(MEMBERS, JSON, max_size=3), which=st.sampled_from(VERIFIERS))
@example(changed={"exp": NOW}, which=VERIFIERS[0])
@example(changed={"sub": "a\0b"}, which=VERIFIERS[1])
@example(changed={"oid": "a\0b"}, which=VERIFIERS[1])
def test_whoever_a_signed_token_stands_for_may_be_vouched_for(changed: dict[str, Any], which: Any) -> None:
    claims = {**USUAL, **changed}
    answer = asyncio.run(JWTIssuers([which], []).authenticate(Presented(signed(claims, ISSUER.keys[0])), NOW))
    if not isinstance(answer, Identity):
        assert isinstance(answer, Rejected) or claims["iss"] != ISSUER.url
        return
    assert valid_name(answer.name)
    assert all(valid_name(group) for group in answer.groups)
    assert len(answer.groups) <= MOST_GROUPS
    assert answer.name == claims["sub"]
    told = claims["groups"]
    assert list(answer.groups) == list(dict.fromkeys([told] if isinstance(told, str) else told or []))
    assert answer.expires_at == claims["exp"] > NOW
    assert all(value.isprintable() for _, value in answer.claims)
    assert claims["iss"] == ISSUER.url
    assert claims["aud"] == AUDIENCE or AUDIENCE in claims["aud"]


@settings(max_examples=200, deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "jwk", "jku", "x5c", "crit", "b64"]), JSON, max_size=4
    ),
    claims=st.dictionaries(MEMBERS, JSON, max_size=3),
)
def test_what_a_stranger_signs_opens_nothing(header: dict[str, Any], claims: dict[str, Any]) -> None:
    token = signed({**USUAL, **claims}, STRANGER, header=header)
    assert isinstance(
        asyncio.run(JWTIssuers(VERIFIERS[:1], []).authenticate(Presented(token), NOW)), Rejected | NotMine
    )


@settings(max_examples=150, deadline=None)
@given(cut=st.data())
def test_no_cut_or_splice_of_two_good_tokens_is_a_good_one(cut: st.DataObject) -> None:
    one, other = signed(USUAL, ISSUER.keys[0]), signed({**USUAL, "sub": "bob"}, ISSUER.keys[0])
    at, back = cut.draw(st.integers(0, len(one))), cut.draw(st.integers(0, len(other)))
    spliced = one[:at] + other[back:]
    if spliced in (one, other):
        return
    keys = KeySet.of(ISSUER.published())
    try:
        claims = verified(spliced, keys, KNOWN_ALGORITHMS)
    except TokenRefused:
        return
    raise AssertionError(f"{spliced} was taken for {claims}")


PUBLIC = ISSUER.keys[0].as_dict(private=False)
KEYS = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d", "k"]),
    JSON | st.sampled_from([*PUBLIC.values(), "RSA", "OKP", "oct", "Ed25519", "sig", "AQAB"]),
)


@settings(max_examples=200, deadline=None)
@given(keys=st.lists(KEYS | JSON | KEYS.map(lambda changed: {**PUBLIC, **changed}), max_size=4))
def test_whatever_is_published_gives_public_keys_of_known_kinds_or_none(keys: list[Any]) -> None:
    found = KeySet.of(json.dumps({"keys": keys}).encode())
    assert len(found) + len(found.ignored) <= 2 * len(keys)
    for key in found.keys:
        assert not key.key.is_private
        assert (key.type, key.curve) in {
            ("RSA", ""),
            ("EC", "P-256"),
            ("EC", "P-384"),
            ("EC", "P-521"),
            ("OKP", "Ed25519"),
        }


@settings(max_examples=150, deadline=None)
@given(document=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_key_set_and_no_metadata_is_said_to_be_none(document: bytes) -> None:
    for read in (KeySet.of, lambda content: read_metadata(content, ISSUER.url)):
        try:
            found = read(document)
        except (KeySetInvalid, ValueError):
            continue
        assert isinstance(found, KeySet)


@settings(max_examples=150, deadline=None)
@given(
    changed=st.dictionaries(
        st.sampled_from(["issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "end_session_endpoint"]),
        JSON | st.sampled_from(["http://x/", "https://x/", "https://x:y/", "HTTPS://x/", "https:///x", "javascript:x"]),
    )
)
def test_addresses_that_are_taken_from_metadata_are_https(changed: dict[str, Any]) -> None:
    document = json.dumps({**ISSUER.metadata, **changed}).encode()
    try:
        found = read_metadata(document, ISSUER.url)
    except ValueError:
        return
    assert isinstance(found, ProviderMetadata)
    assert found.issuer == ISSUER.url
    for address in (found.authorization_endpoint, found.token_endpoint, found.end_session_endpoint):
        assert not address or address.lower().startswith("https://")
    assert found.jwks_uri.lower().startswith("https://")
