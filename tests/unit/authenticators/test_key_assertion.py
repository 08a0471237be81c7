"""An agent's signed assertion: what proves it, and everything that does not."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.authenticators.base64url import from_base64url, to_base64url
from narrowgate.authenticators.key_assertion import (
    CLOCK_SKEW,
    MAX_LIFE,
    KeyAssertionRefused,
    read_key_assertion,
    thumbprint,
)
from narrowgate.core.agent import AgentKey, AgentRecord

NOW = 1_700_000_000.0
GATE = "https://gate.corp:8444"
AUDIENCES = (GATE, f"{GATE}/oauth/token")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def registered(key: Ed25519PrivateKey) -> AgentKey:
    public = key.public_key().public_bytes_raw()
    return AgentKey(id=thumbprint(public), public=public, added_at=0.0)


AGENT = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="restarts pods",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=0.0,
    keys=(registered(KEY),),
)
OTHER_AGENT = msgspec.structs.replace(AGENT, name="other", keys=(registered(OTHER_KEY),))
HEADER = {"alg": "EdDSA", "typ": "JWT", "kid": AGENT.keys[0].id}
CLAIMS = {"iss": "ci-bot", "sub": "ci-bot", "aud": GATE, "iat": NOW, "exp": NOW + 60, "jti": "one"}


def signed(header: bytes, claims: bytes, key: Ed25519PrivateKey = KEY) -> str:
    begin = f"{to_base64url(header)}.{to_base64url(claims)}"
    return f"{begin}.{to_base64url(key.sign(begin.encode()))}"


def assertion(key: Ed25519PrivateKey = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The good assertion with some members changed; a member of None is left out."""
    members = [{name: value for name, value in (HEADER | (header or {})).items() if value is not None}]
    members.append({name: value for name, value in (CLAIMS | claims).items() if value is not None})
    return signed(json.dumps(members[0]).encode(), json.dumps(members[1]).encode(), key)


def why_not(text: str, agent: AgentRecord = AGENT, now: float = NOW) -> str:
    with pytest.raises(KeyAssertionRefused) as refused:
        read_key_assertion(text, {agent.name: agent, "other": OTHER_AGENT}, AUDIENCES, now)
    return str(refused.value)


def test_an_agent_proves_itself_by_its_key() -> None:
    read = read_key_assertion(assertion(), {"ci-bot": AGENT}, AUDIENCES, NOW)
    assert (read.agent, read.key_id, read.jti, read.expires_at) == (AGENT, AGENT.keys[0].id, "one", NOW + 60)


@pytest.mark.parametrize(
    "text",
    [
        assertion(aud=f"{GATE}/oauth/token"),
        assertion(aud=[GATE]),
        assertion(header={"alg": "Ed25519"}),
        assertion(header={"typ": None}),
        assertion(header={"typ": "client-authentication+jwt"}),
        assertion(iat=None),
        assertion(iat=NOW + CLOCK_SKEW, nbf=NOW + CLOCK_SKEW, exp=NOW + MAX_LIFE + CLOCK_SKEW),
        assertion(exp=int(NOW) + 1),
        assertion(scope="whatever else"),
    ],
)
def test_what_the_rfcs_leave_open_is_taken(text: str) -> None:
    assert read_key_assertion(text, {"ci-bot": AGENT}, AUDIENCES, NOW).agent == AGENT


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    # RFC 8037, appendix A.3.
    public = from_base64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"aud": "https://other.corp"}, "aud must be https://gate.corp:8444 or"),
        ({"aud": None}, "aud must be"),
        ({"aud": []}, "aud must be"),
        ({"aud": [GATE, "https://other.corp"]}, "for this gate alone"),
        ({"aud": [[GATE]]}, "aud must be"),
        ({"aud": GATE + "/"}, "aud must be"),
        ({"aud": {"0": GATE}}, "aud must be"),
        ({"exp": NOW}, "has expired"),
        ({"exp": NOW - 3600}, "has expired"),
        ({"exp": NOW + MAX_LIFE + CLOCK_SKEW + 1}, "lives too long"),
        ({"exp": None}, "has no exp"),
        ({"exp": str(NOW + 60)}, "not a number"),
        ({"exp": True}, "not a number"),
        ({"exp": 10**400}, "not a number"),
        ({"nbf": NOW + CLOCK_SKEW + 1}, "not valid yet (nbf)"),
        ({"iat": NOW + CLOCK_SKEW + 1}, "not valid yet (iat)"),
        ({"iat": "yesterday"}, "not a number"),
        ({"jti": None}, "has no jti"),
        ({"jti": ""}, "has no jti"),
        ({"jti": 7}, "has no jti"),
        ({"jti": "x" * 129}, "has no jti"),
        ({"jti": "\ud800"}, "has no jti"),
        ({"jti": "a\nb"}, "has no jti"),
        ({"iss": "other"}, "iss and sub must both be"),
        ({"sub": "other"}, "iss and sub must both be"),
        ({"iss": None, "sub": None}, "iss and sub must both be"),
        ({"iss": ["ci-bot"], "sub": ["ci-bot"]}, "iss and sub must both be"),
    ],
)
def test_claims_that_are_not_as_they_must_be_are_refused(claims: dict[str, Any], says: str) -> None:
    assert says in why_not(assertion(**claims))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"alg": "none"}, "alg must be EdDSA"),
        ({"alg": "HS256"}, "alg must be EdDSA"),
        ({"alg": "eddsa"}, "alg must be EdDSA"),
        ({"alg": None}, "alg must be EdDSA"),
        ({"alg": ["EdDSA"]}, "alg must be EdDSA"),
        ({"typ": "at+jwt"}, "typ must be JWT"),
        ({"typ": 1}, "typ must be JWT"),
        ({"crit": ["exp"]}, "'crit'"),
        ({"b64": False}, "'b64'"),
        ({"jwk": {"kty": "OKP"}}, "'jwk'"),
        ({"jku": "https://evil.example/keys"}, "'jku'"),
        ({"x5c": ["MII"]}, "'x5c'"),
    ],
)
def test_a_header_chooses_nothing(header: dict[str, Any], says: str) -> None:
    assert says in why_not(assertion(header=header))


def by_hmac() -> str:
    """Algorithm confusion: the public key as the secret of an HMAC, under the name of the right algorithm."""
    begin = assertion().rpartition(".")[0]
    return f"{begin}.{to_base64url(hmac.digest(AGENT.keys[0].public, begin.encode(), hashlib.sha256))}"


def with_signature(signature: bytes) -> str:
    return f"{assertion().rpartition('.')[0]}.{to_base64url(signature)}"


GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def malleated() -> str:
    """The same signature with the order of the group added to S: RFC 8032, section 5.1.7, wants it refused."""
    begin, _, signature = assertion().rpartition(".")
    raw = from_base64url(signature)
    bigger = int.from_bytes(raw[32:], "little") + GROUP_ORDER
    return f"{begin}.{to_base64url(raw[:32] + bigger.to_bytes(32, 'little'))}"


@pytest.mark.parametrize(
    "text",
    [
        assertion(OTHER_KEY),
        assertion(OTHER_KEY, header={"kid": OTHER_AGENT.keys[0].id}),
        assertion(header={"kid": None}),
        assertion(header={"kid": 7}),
        assertion(iss="nobody", sub="nobody"),
        assertion(iss="other", sub="other"),
        by_hmac(),
        with_signature(b""),
        with_signature(bytes(64)),
        malleated(),
    ],
    ids=["foreign key", "another's key", "no kid", "odd kid", "unknown", "another", "hmac", "empty", "zeros", "S + L"],
)
def test_who_cannot_sign_hears_the_same_whatever_they_guess(text: str) -> None:
    assert why_not(text) == why_not(assertion(OTHER_KEY))


def test_a_key_that_was_removed_proves_nothing() -> None:
    assert "not signed by a key that is registered" in why_not(assertion(), msgspec.structs.replace(AGENT, keys=()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paused": True}, 'agent "ci-bot" is paused; ask its owner (person:alice)'),
        ({"ends_at": NOW}, 'agent "ci-bot" ended on 2023-11-14 22:13 UTC; ask its owner'),
        ({"groups": ("system:masters",)}, 'group "system:masters" begins'),
    ],
)
def test_an_agent_that_is_paused_or_over_is_told_so(change: dict[str, Any], says: str) -> None:
    assert says in why_not(assertion(), msgspec.structs.replace(AGENT, **change))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a signed JWT"),
        ("a.b", "not a signed JWT"),
        (assertion() + ".x", "not a signed JWT"),
        (assertion() + "=", "not base64url"),
        (assertion() + "\n", "not base64url"),
        (" " + assertion(), "not base64url"),
        ("é.é.é", "not base64url"),
        (signed(b"{}", b"x" * 4096), "longer than 4096"),
        (signed(b"[]", b"{}"), "not a JSON object"),
        (signed(b'{"alg":"none","alg":"EdDSA"}', b"{}"), "a member twice"),
        (signed(json.dumps(HEADER).encode(), b'{"sub":"ci-bot","sub":"other"}'), "a member twice"),
        (signed(json.dumps(HEADER).encode(), b'{"exp":NaN}'), "not JSON"),
    ],
)
def test_what_is_not_such_an_assertion_is_refused(text: str, says: str) -> None:
    assert says in why_not(text)


def test_no_letter_of_an_assertion_can_be_changed() -> None:
    text = assertion()
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert why_not(changed)
