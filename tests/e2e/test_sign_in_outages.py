"""The identity provider goes away, comes back, and changes its keys: who is signed in stays so, and no restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page
from tests.e2e.browser import intercepting, sign_in_at_dex
from tests.e2e.dex import ALICE, BOB, CAROL
from tests.e2e.echo import Echo
from tests.e2e.signing_in import SignInGate, session_cookie, sign_in_gate


@pytest.fixture(scope="module")
def signing_in(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    folder = tmp_path_factory.mktemp("sign-in-outages")
    with sign_in_gate(folder, [echo.cluster("echo")]) as running:
        yield running


@pytest.fixture
def away(signing_in: SignInGate) -> Iterator[None]:
    """Dex is gone for this test, and back after it."""
    signing_in.dex.stop()
    yield
    signing_in.dex.start()


def problem_on(page: Page) -> str:
    return page.inner_text("[role=alert]")


def signs_in(signing_in: SignInGate) -> bool:
    page = signing_in.signed_in(BOB)
    return page.inner_text("h1") == BOB.email


def test_keys_rotate_without_a_restart(signing_in: SignInGate) -> None:
    assert signs_in(signing_in)
    signing_in.dex.rotate_keys()
    assert signs_in(signing_in)


def test_keys_that_are_forgotten_at_once_need_no_restart_either(signing_in: SignInGate) -> None:
    assert signs_in(signing_in)
    signing_in.dex.rotate_keys(forget_old=True)
    assert signs_in(signing_in)


def test_who_is_signed_in_stays_so_and_nobody_new_comes_in(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    signing_in.dex.stop()
    try:
        page.reload()
        assert page.inner_text("h1") == ALICE.email
        newcomer = signing_in.page()
        # A provider that answered a moment ago is believed to answer for some seconds.
        signing_in.gate.wait_until(lambda: _is_told(signing_in, newcomer), "the page says who is away")
        assert problem_on(newcomer).startswith("Corp cannot be reached (connection refused)")
        assert "who is signed in stays so until that expires, nobody new comes in" in problem_on(newcomer)
        assert session_cookie(newcomer) == {}
    finally:
        signing_in.dex.start()
    # New keys, too: this Dex keeps nothing.
    newcomer.click("text=Go on")
    sign_in_at_dex(newcomer, BOB)
    newcomer.wait_for_url(f"{signing_in.url}/")
    assert newcomer.inner_text("h1") == BOB.email
    page.reload()
    assert page.inner_text("h1") == ALICE.email


def _is_told(signing_in: SignInGate, page: Page) -> bool:
    if signing_in.raw("GET", "/sign-in/oidc/corp").status != 503:
        return False
    page.goto(f"{signing_in.url}/sign-in")
    return True


def test_a_provider_that_does_not_answer_is_named_in_time(signing_in: SignInGate) -> None:
    newcomer = signing_in.page()
    signing_in.dex.hold()
    try:
        signing_in.gate.wait_until(lambda: _is_told(signing_in, newcomer), "the page says who does not answer")
        assert problem_on(newcomer).startswith("Corp cannot be reached (no answer within 5 s)")
    finally:
        signing_in.dex.go_on()
    assert signs_in(signing_in)


def test_a_provider_that_goes_away_on_the_way_back_is_named(signing_in: SignInGate) -> None:
    page = signing_in.page()

    def late(_: str) -> bool:
        signing_in.dex.stop()
        return True

    try:
        with intercepting(page, "*/sign-in/oidc/corp/callback?*", late):
            page.goto(f"{signing_in.url}/")
            sign_in_at_dex(page, ALICE)
            page.wait_for_selector("[role=alert]")
        assert problem_on(page).startswith("Corp cannot be reached (connection refused)")
        assert session_cookie(page) == {}
    finally:
        signing_in.dex.start()
    assert signs_in(signing_in)


def test_signing_out_works_without_the_provider(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(CAROL)
    signing_in.dex.stop()
    try:
        signing_in.gate.wait_until(lambda: _is_told(signing_in, signing_in.page()), "the gate knows who is away")
        kept = page.context.cookies(signing_in.url)
        page.click("text=Sign out")
        page.wait_for_url(f"{signing_in.url}/signed-out")
        assert session_cookie(page) == {}
        cookies = "; ".join(f"{cookie.get('name')}={cookie.get('value')}" for cookie in kept)
        answer = signing_in.raw("GET", "/", {"Cookie": cookies})
        assert (answer.status, answer.location) == (303, "/sign-in")
    finally:
        signing_in.dex.start()


def test_what_failed_is_in_the_trail_with_its_reason(signing_in: SignInGate, away: None) -> None:
    page = signing_in.page()
    signing_in.gate.wait_until(lambda: _is_told(signing_in, page), "the page says who is away")
    event = signing_in.gate.wait_for_event("Corp cannot be reached")
    assert event["annotations"]["narrowgate.dev/decision"] == "error"
    assert event["user"]["username"] == "system:anonymous"
