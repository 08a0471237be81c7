"""Codes, and what was made from what."""

from __future__ import annotations

import pytest

from narrowgate.control.oauth.secret_texts import (
    USER_CODE_ALPHABET,
    is_challenge,
    is_verifier_of,
    new_user_code,
    shown_user_code,
    typed_user_code,
)

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_user_code_has_eight_letters_none_of_them_a_vowel() -> None:
    codes = {new_user_code() for _ in range(200)}
    assert len(codes) == 200
    assert {len(code) for code in codes} == {8}
    assert set("".join(codes)) <= set(USER_CODE_ALPHABET)
    assert set(USER_CODE_ALPHABET).isdisjoint("AEIOUY0123456789")
    assert len(set(USER_CODE_ALPHABET)) == 20


@pytest.mark.parametrize("typed", ["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "BCDF--GHJK", "b-c-d-f-g-h-j-k"])
def test_a_user_code_is_understood_however_it_is_typed(typed: str) -> None:
    assert typed_user_code(typed) == "BCDFGHJK"
    assert shown_user_code("BCDFGHJK") == "BCDF-GHJK"


@pytest.mark.parametrize(
    "typed", ["", "BCDF", "BCDF-GHJKL", "ACDF-GHJK", "BCDF_GHJK", "ＢCDFGHJK", "-" * 25 + "BCDFGHJK"]
)
def test_what_can_be_no_user_code_is_none(typed: str) -> None:
    assert typed_user_code(typed) == ""


def test_a_verifier_is_known_by_its_challenge() -> None:
    assert is_challenge(CHALLENGE)
    assert is_verifier_of(VERIFIER, CHALLENGE)


@pytest.mark.parametrize("verifier", ["", CHALLENGE, VERIFIER[:-1], VERIFIER + "a", VERIFIER + "=", "short", "é" * 43])
def test_another_verifier_is_not(verifier: str) -> None:
    assert not is_verifier_of(verifier, CHALLENGE)


def test_a_verifier_is_never_its_own_challenge() -> None:
    assert not is_verifier_of(VERIFIER, VERIFIER)


@pytest.mark.parametrize("challenge", ["", "a" * 42, "a" * 44, CHALLENGE + "=", CHALLENGE[:-1] + "+", CHALLENGE + "\n"])
def test_what_can_be_no_challenge_is_none(challenge: str) -> None:
    assert not is_challenge(challenge)
