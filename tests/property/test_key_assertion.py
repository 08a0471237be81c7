"""Laws of agents' assertions: whatever is shown, it is refused in words or proves the agent that signed it."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.authenticators.base64url import to_base64url
from narrowgate.authenticators.key_assertion import KeyAssertionRefused, read_key_assertion, thumbprint
from narrowgate.core.agent import AgentKey, AgentRecord

NOW = 1_700_000_000.0
GATE = "https://gate.corp:8444"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
AGENT = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="restarts pods",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=0.0,
    keys=(AgentKey(id=thumbprint(PUBLIC), public=PUBLIC, added_at=0.0),),
)
HEADER = {"alg": "EdDSA", "typ": "JWT", "kid": AGENT.keys[0].id}
CLAIMS = {"iss": "ci-bot", "sub": "ci-bot", "aud": GATE, "iat": NOW, "exp": NOW + 60, "jti": "one"}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def signed(header: object, claims: object) -> str:
    begin = ".".join(to_base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{begin}.{to_base64url(KEY.sign(begin.encode()))}"


def is_proven(text: str, now: float = NOW) -> bool:
    read, words = None, "nothing"
    try:
        read = read_key_assertion(text, {"ci-bot": AGENT}, (GATE,), now)
    except KeyAssertionRefused as refused:
        words = str(refused)
    assert words.isprintable()
    assert read is None or (read.agent == AGENT and 0 < len(read.jti) <= 128)
    return read is not None


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="eyJ.-_A0=", max_size=60), st.floats())
def test_garbage_is_refused_in_words(text: str, now: float) -> None:
    assert not is_proven(text, now)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(HEADER)), st.sampled_from(sorted(CLAIMS)), values)
def test_a_member_of_any_other_sort_never_breaks_the_reader(in_header: str, in_claims: str, value: object) -> None:
    is_proven(signed(HEADER | {in_header: value}, CLAIMS))
    is_proven(signed(HEADER, CLAIMS | {in_claims: value}))


@settings(max_examples=100, deadline=None)
@given(values, values)
def test_what_is_signed_but_is_no_such_document_is_refused(header: object, claims: object) -> None:
    assert not is_proven(signed(header, claims))
    assert not is_proven(signed(HEADER, claims))


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=True))
def test_an_assertion_is_good_between_its_beginning_and_its_end_and_never_else(now: float) -> None:
    good = is_proven(signed(HEADER, CLAIMS), now)
    assert good == (NOW - 30 <= now < NOW + 60)


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=-400, max_value=400))
def test_near_its_bounds_too(offset: int) -> None:
    assert is_proven(signed(HEADER, CLAIMS), NOW + offset / 4) == (-30 <= offset / 4 < 60)
