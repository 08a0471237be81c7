"""People sign in at their company's provider in a real browser, see who they are, and sign out."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.e2e.browser import sign_in_at_dex
from tests.e2e.dex import ALICE, BOB, CAROL, Person
from tests.e2e.echo import Echo
from tests.e2e.other_site import other_site
from tests.e2e.signing_in import SignInGate, session_cookie, sign_in_gate

ROLES = [{"role": "approver", "groups": ["corp:sre"]}, {"role": "auditor", "people": ["bob@corp.example"]}]


@pytest.fixture(scope="module")
def signing_in(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    """A gate with its Dex and a browser, for all tests of this file."""
    folder = tmp_path_factory.mktemp("sign-in")
    with sign_in_gate(folder, [echo.cluster("echo")], {"roles": ROLES}) as running:
        yield running


@pytest.mark.parametrize(
    ("who", "groups", "roles"),
    [
        (ALICE, "corp:sre, corp:developers", "approver, member"),
        (BOB, "corp:developers", "auditor, member"),
        (CAROL, "none", "member"),
    ],
)
def test_whoever_signs_in_sees_their_name_groups_and_roles(
    signing_in: SignInGate, who: Person, groups: str, roles: str
) -> None:
    page = signing_in.signed_in(who)
    assert page.inner_text("h1") == who.email
    assert page.inner_text("#groups") == groups
    assert page.inner_text("#roles") == roles
    assert "Corp" in page.inner_text("main")


def test_the_sign_in_is_in_the_trail_and_no_secret_is(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(CAROL)
    secret = session_cookie(page)["value"]
    event = signing_in.gate.wait_for_event("person:carol@corp.example")
    assert event["verb"] == "create"
    assert event["objectRef"]["resource"] == "signins"
    assert event["annotations"]["narrowgate.dev/decision"] == "allow"
    assert event["user"]["extra"]["narrowgate.dev/proven-by"] == ["oidc:corp"]
    assert event["user"]["extra"]["narrowgate.dev/issuer"] == [signing_in.dex.issuer]
    assert event["requestURI"] == "/sign-in/oidc/corp/callback"
    assert secret not in signing_in.gate.journal_text()


def test_after_signing_in_one_is_where_one_wanted_to_be(signing_in: SignInGate) -> None:
    page = signing_in.page()
    page.goto(f"{signing_in.url}/sign-in?{urlencode({'return_to': '/signed-out'})}")
    sign_in_at_dex(page, ALICE)
    page.wait_for_url(f"{signing_in.url}/signed-out")
    assert session_cookie(page)


def test_the_cookie_is_hard_and_out_of_reach_of_scripts(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    cookie = session_cookie(page)
    assert cookie["name"].startswith("__Host-")
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    assert cookie["domain"] == "127.0.0.1", "this host alone: a cookie for others would begin with a dot"
    assert page.evaluate("document.cookie") == ""
    assert [one["name"] for one in page.context.cookies() if "oidc" in one.get("name", "")] == []


def test_pages_load_without_a_complaint_of_the_browser(signing_in: SignInGate) -> None:
    page = signing_in.page()
    complaints: list[tuple[str, str]] = []
    page.on("console", lambda message: complaints.append((message.location["url"], message.text)))
    page.on("pageerror", lambda error: complaints.append((page.url, str(error))))
    signing_in.signed_in(BOB, page)
    page.click("text=Sign out")
    page.wait_for_url(f"{signing_in.url}/signed-out")
    assert [complaint for complaint in complaints if not complaint[0].startswith(signing_in.dex.origin)] == []
    assert page.evaluate("getComputedStyle(document.querySelector('.button')).borderRadius") != "0px", (
        "it has our style"
    )


def test_no_script_runs_on_our_pages_even_if_one_got_in(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    page.evaluate(
        """() => { const script = document.createElement('script');
                   script.textContent = 'window.got_in = true'; document.body.append(script); }"""
    )
    assert page.evaluate("window.got_in") is None


def test_signing_out_ends_it_here_and_at_the_provider(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    old = page.context.cookies(signing_in.url)
    page.click("text=Sign out")
    page.wait_for_url(f"{signing_in.url}/signed-out")
    assert session_cookie(page) == {}
    page.go_back()
    assert "corp:sre" not in page.content(), "the page of before is not shown again from the browser's memory"
    page.context.add_cookies(old)  # type: ignore[arg-type]
    page.goto(f"{signing_in.url}/")
    # A session that was still there at Dex would lead straight back in; a form says that there is none.
    assert page.url.startswith(signing_in.dex.origin)
    assert page.is_visible("#password")


def test_a_provider_that_knows_the_browser_asks_for_no_password_again(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    first = session_cookie(page)["value"]
    # A page in between leads on by itself, on a slow machine before it counts as loaded.
    page.goto(f"{signing_in.url}/sign-in/oidc/corp", wait_until="commit")
    page.wait_for_url(f"{signing_in.url}/")
    assert page.inner_text("h1") == ALICE.email
    assert session_cookie(page)["value"] != first, "another sign-in, another secret"


def test_a_sign_in_elsewhere_can_be_ended_from_here(signing_in: SignInGate) -> None:
    elsewhere = signing_in.signed_in(BOB)
    page = signing_in.signed_in(BOB)
    assert page.locator("#sign-ins tbody tr").count() >= 1
    while page.locator("#sign-ins tbody tr").count():
        page.locator("#sign-ins tbody tr button").first.click()
        page.wait_for_url(f"{signing_in.url}/")
    assert page.inner_text("h1") == BOB.email, "the one that one sits at goes on"
    # Dex would sign the other browser in again by itself.
    elsewhere.context.clear_cookies(name="dex_session")
    elsewhere.goto(f"{signing_in.url}/")
    assert elsewhere.url.startswith(signing_in.dex.origin)


def test_two_tabs_that_begin_at_once_both_arrive(signing_in: SignInGate) -> None:
    context = signing_in.browser.new_context()
    first, second = context.new_page(), context.new_page()
    first.goto(f"{signing_in.url}/sign-in?return_to=/")
    second.goto(f"{signing_in.url}/sign-in?return_to=/signed-out")
    sign_in_at_dex(second, ALICE)
    second.wait_for_url(f"{signing_in.url}/signed-out")
    sign_in_at_dex(first, ALICE)
    first.wait_for_url(f"{signing_in.url}/")
    assert first.inner_text("h1") == ALICE.email


def test_a_page_leads_a_browser_to_a_program_on_its_own_machine(
    signing_in: SignInGate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The end of `narrowgate login`: a POST to us that ends at http://127.0.0.1, which `form-action` would stop."""
    with other_site(tmp_path_factory.mktemp("program"), https=False) as program:
        query = urlencode(
            {
                "response_type": "code",
                "client_id": "narrowgate-cli",
                "redirect_uri": f"{program.origin}/callback",
                "code_challenge": "A" * 43,
                "code_challenge_method": "S256",
                "state": secrets.token_urlsafe(32),
            }
        )
        page = signing_in.page()
        page.goto(f"{signing_in.url}/oauth/authorize?{query}")
        sign_in_at_dex(page, ALICE)
        page.wait_for_url(f"{signing_in.url}/oauth/authorize?**")
        page.locator("main button").first.click()
        page.wait_for_url(f"{program.origin}/callback?**")
        (target,) = [target for target in program.asked if target.startswith("/callback")]
        assert "code=" in target
        assert "error=" not in target
