"""Laws of what the authorization server reads from strangers, whatever they send."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from hypothesis import assume, example, given
from hypothesis import strategies as st

from narrowgate.authenticators.base64url import to_base64url
from narrowgate.authenticators.secret_form import SecretForm
from narrowgate.control.oauth.answers import Refused, described
from narrowgate.control.oauth.authorization_requests import NotOurClient, redirect_uri_of
from narrowgate.control.oauth.secret_texts import is_challenge, is_verifier_of, shown_user_code, typed_user_code
from narrowgate.control.oauth.targets import target_of
from narrowgate.control.oauth.throttle import Throttle

URL = "https://gate.example:8444"

pieces = st.sampled_from(
    ["http://", "https://", "127.0.0.1", "[::1]", "localhost", "evil.example", ":", "80", "65535", "65536", "/callback",
     "/", "?", "#", "@", "\\", "..", "%2e", "\t", "\n", "x", "０"]
)  # fmt: skip
addresses = st.lists(pieces, max_size=8).map("".join) | st.text(max_size=60)


@given(addresses)
@example("http://127.0.0.1:80/callback")
@example("http://[::1]:65535/callback")
@example("http://127.0.0.1:80/callback\n")
def test_answers_go_to_this_machine_however_an_address_is_written(address: str) -> None:
    try:
        taken = redirect_uri_of({"client_id": "narrowgate-cli", "redirect_uri": address})
    except NotOurClient:
        return
    read = urlsplit(taken)
    assert taken == address
    assert (read.scheme, read.hostname in ("127.0.0.1", "::1"), read.path) == ("http", True, "/callback")
    assert (read.username, read.password, read.query, read.fragment) == (None, None, "", "")
    assert read.port is not None
    assert 0 < read.port < 65536


@given(st.sampled_from([URL, f"{URL}/clusters/"]), st.text(max_size=300))
@example(f"{URL}/clusters/", "dev")
@example(URL, ".evil.example/clusters/dev")
def test_what_a_credential_is_for_is_ours_and_one_thing(begin: str, end: str) -> None:
    try:
        target = target_of({"resource": begin + end}, URL)
    except Refused:
        return
    named = f"{URL}/clusters/{target.cluster}" if target.cluster else URL
    assert (begin + end).removesuffix("/") == named or begin + end == named
    assert "/" not in target.cluster


@given(st.text(max_size=50))
def test_a_typed_code_is_read_as_one_code_or_none(typed: str) -> None:
    code = typed_user_code(typed)
    assert code == "" or typed_user_code(shown_user_code(code)) == code


@given(st.text(alphabet="abcXYZ019-._~", min_size=43, max_size=128), st.text(max_size=128))
def test_no_other_text_is_the_verifier(verifier: str, other: str) -> None:
    challenge = to_base64url(hashlib.sha256(verifier.encode()).digest())
    assert is_challenge(challenge)
    assert is_verifier_of(verifier, challenge)
    assume(other != verifier)
    assert not is_verifier_of(other, challenge)


@given(st.text(max_size=200))
def test_a_description_holds_what_rfc_6749_lets_it(text: str) -> None:
    assert all(" " <= letter <= "~" and letter not in '"\\' for letter in described(text))
    assert len(described(text)) == len(text)


@given(st.text(max_size=120))
def test_no_text_is_a_secret_of_two_sorts(text: str) -> None:
    forms = [SecretForm(prefix, 16) for prefix in ("ngr1_", "ngc1_", "ngd1_")]
    made = forms[0].new("abcdefghijklmnop")
    assert [form.problem(made) == "" for form in forms] == [True, False, False]
    assert sum(form.problem(text) == "" for form in forms) <= 1


@given(st.integers(1, 5), st.lists(st.floats(0, 30), max_size=60))
def test_nobody_passes_more_often_than_a_throttle_lets_them(burst: int, pauses: list[float]) -> None:
    throttle, now, passed = Throttle(burst, 10.0), 0.0, []
    for pause in pauses:
        now += pause
        if not throttle.wait("a", now):
            throttle.count("a", now)
            passed.append(now)
    for number, begin in enumerate(passed):
        for count, end in enumerate(passed[number:], 1):
            assert count <= burst + (end - begin) / 10.0 + 1e-6
