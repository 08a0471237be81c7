"""A begun sign-in as the browser carries it."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from narrowgate.control.oidc_pending import (
    LONGEST_COOKIE,
    PENDING_SECONDS,
    OIDCPending,
    cookie_name,
    is_cookie_name,
    read_pending,
)
from narrowgate.control.sign_in import LONGEST_RETURN

NOW = 1_700_000_000.5


def a_pending(return_to: str = "/device") -> OIDCPending:
    return OIDCPending.begin("corp", return_to, NOW)


def test_a_cookie_holds_all_of_it() -> None:
    pending = a_pending()
    assert read_pending(pending.cookie()) == pending


def test_what_is_derived_differs_from_each_other_and_from_sign_in_to_sign_in() -> None:
    one, other = a_pending(), a_pending()
    derived = [text for pending in (one, other) for text in (pending.state, pending.nonce, pending.verifier)]
    assert len(set(derived)) == 6
    assert all(len(text) == 43 for text in derived)


def test_what_goes_to_the_provider_does_not_give_the_verifier_away() -> None:
    pending = a_pending()
    digest = hashlib.sha256(pending.verifier.encode()).digest()
    assert pending.challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_it_runs_for_ten_minutes() -> None:
    pending = a_pending()
    assert pending.runs(NOW)
    assert pending.runs(NOW + PENDING_SECONDS - 1)
    assert not pending.runs(NOW + PENDING_SECONDS)


def test_one_from_the_future_does_not_run() -> None:
    assert not OIDCPending.begin("corp", "/", NOW + 3600).runs(NOW)


def test_the_longest_path_still_fits_into_a_cookie() -> None:
    pending = a_pending("/" + "a" * (LONGEST_RETURN - 1))
    assert len(pending.cookie()) <= LONGEST_COOKIE
    assert len(pending.cookie_name) + len(pending.cookie()) < 4096
    assert read_pending(pending.cookie()) == pending


@pytest.mark.parametrize("value", ["", "x", "ä", "====", "e30", "A" * 5000, "bnVsbA", "eyJzZWNyZXQiOiIifQ"])
def test_what_is_no_cookie_of_ours_is_nothing(value: str) -> None:
    assert read_pending(value) is None


@pytest.mark.parametrize(
    "change", [{"secret": ""}, {"secret": "AAAA"}, {"more": 1}, {"started_at": "x"}, {"started_at": 1e400}]
)
def test_a_cookie_that_somebody_wrote_badly_is_nothing(change: dict[str, object]) -> None:
    padded = a_pending().cookie() + "=" * 3
    document = json.loads(base64.urlsafe_b64decode(padded))
    spoilt = base64.urlsafe_b64encode(json.dumps(document | change).encode()).decode().rstrip("=")
    assert read_pending(spoilt) is None


def test_its_cookie_is_found_by_the_state() -> None:
    pending = a_pending()
    assert cookie_name(pending.state) == pending.cookie_name
    assert is_cookie_name(pending.cookie_name)


@pytest.mark.parametrize("state", ["", "short", "a b c d e f g", "x;y=zzzzzzzzz", "ääääääääääää", "a\r\nb: cdefghij"])
def test_a_state_that_is_none_of_ours_names_no_cookie(state: str) -> None:
    assert not is_cookie_name(cookie_name(state))
