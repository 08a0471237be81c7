"""A sign-in ends by itself: at the configured time the browser is nobody's again, whatever its cookie says."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.e2e.dex import ALICE
from tests.e2e.echo import Echo
from tests.e2e.signing_in import SignInGate, session_cookie, sign_in_gate

LIFETIME_SECONDS = 30
"""Long enough to sign in on a busy machine, short enough to be waited for."""


@pytest.fixture(scope="module")
def signing_in(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    rules = {"signIn": {"lifetime": f"{LIFETIME_SECONDS}s", "accessLifetime": f"{LIFETIME_SECONDS}s"}}
    folder = tmp_path_factory.mktemp("sign-in-expiry")
    with sign_in_gate(folder, [echo.cluster("echo")], {"authentication": rules}) as running:
        yield running


def test_a_sign_in_is_over_at_its_time_and_begins_anew_with_another_secret(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    cookie = session_cookie(page)
    ends_by = time.time() + LIFETIME_SECONDS
    assert cookie["expires"] <= ends_by + 1, "the browser lets go of it by then"
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    assert signing_in.raw("GET", "/", headers).status == 200
    signing_in.gate.wait_until(lambda: signing_in.raw("GET", "/", headers).status != 200, "the sign-in is over")
    assert signing_in.raw("GET", "/", headers).location == "/sign-in"
    # Dex still knows the browser: no password is asked for, and the session is another one.
    # A page in between leads on by itself, on a slow machine before it counts as loaded.
    page.goto(f"{signing_in.url}/", wait_until="commit")
    page.wait_for_url(f"{signing_in.url}/")
    assert page.inner_text("h1") == ALICE.email
    assert session_cookie(page)["value"] != cookie["value"]
