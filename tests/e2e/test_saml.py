"""People sign in with SAML at a real provider, in a real browser, to which provider and gate are different sites."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.e2e.dex import ALICE, BOB, CAROL, Person
from tests.e2e.echo import Echo
from tests.e2e.saml_gate import SAMLGate, saml_gate
from tests.e2e.saml_idp import sign_in_at_saml
from tests.e2e.signing_in import session_cookie

ROLES = [{"role": "approver", "groups": ["corp:sre"]}, {"role": "auditor", "people": ["strict:bob@corp.example"]}]

ENTRIES = {
    "corp": {},
    "strict": {"username": "NameID", "groups": "", "groupsPrefix": ""},
    "old": {},
}
PROVIDER_SETTINGS = {
    "strict": {
        "wantSignedRequests": True,
        "signatureMethod": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    },
    "old": {"signatureMethod": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"},
}


@pytest.fixture(scope="module")
def signing_in(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SAMLGate]:
    """A gate with three providers and a browser, for all tests of this file."""
    folder = tmp_path_factory.mktemp("saml")
    with saml_gate(folder, [echo.cluster("echo")], ENTRIES, PROVIDER_SETTINGS, {"roles": ROLES}) as running:
        yield running


@pytest.mark.parametrize(
    ("who", "groups", "roles"),
    [
        (ALICE, "corp:sre, corp:developers", "approver, member"),
        (BOB, "corp:developers", "member"),
        (CAROL, "none", "member"),
    ],
)
def test_whoever_signs_in_sees_their_name_groups_and_roles(
    signing_in: SAMLGate, who: Person, groups: str, roles: str
) -> None:
    page = signing_in.signed_in(who)
    assert page.inner_text("h1") == f"corp:{who.name}"
    assert page.inner_text("#groups") == groups
    assert page.inner_text("#roles") == roles
    assert "Corp" in page.inner_text("main")


def test_people_choose_among_the_providers_and_come_back_to_where_they_wanted(signing_in: SAMLGate) -> None:
    page = signing_in.page()
    page.goto(f"{signing_in.url}/sign-in?{urlencode({'return_to': '/signed-out?x=1'})}")
    page.click("main >> text=Corp")
    assert page.url.startswith(signing_in.providers["corp"].origin)
    sign_in_at_saml(page, ALICE)
    page.wait_for_url(f"{signing_in.url}/signed-out?x=1")
    assert session_cookie(page)


def test_a_provider_that_wants_signed_requests_gets_them(signing_in: SAMLGate) -> None:
    page = signing_in.signed_in(BOB, provider="strict")
    assert page.inner_text("h1") == "strict:bob@corp.example"
    assert page.inner_text("#roles") == "auditor, member"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{signing_in.url}/sign-in/saml/strict")
    (request,) = [url for url in asked if "SAMLRequest=" in url]
    # The provider is as strict as it says: the same request, changed by whoever carries it, goes nowhere.
    answer = page.goto(request.replace("RelayState=", "RelayState=x"))
    assert answer is not None
    assert answer.status == 403
    assert "no key in the service provider's metadata made the request's signature" in page.content()


def test_a_provider_that_still_signs_with_sha_1_is_told_what_to_do(signing_in: SAMLGate) -> None:
    page = signing_in.page()
    page.goto(f"{signing_in.url}/sign-in/saml/old")
    sign_in_at_saml(page, ALICE)
    page.wait_for_url("**/acs")
    told = page.inner_text("[role=alert]")
    assert "rsa-sha1" in told
    assert "sign with RSA or ECDSA and SHA-256, SHA-384 or SHA-512" in told
    assert session_cookie(page) == {}


def test_a_provider_changes_its_key_without_anybodys_restart(signing_in: SAMLGate) -> None:
    signing_in.signed_in(ALICE)
    signing_in.providers["corp"].next_key()
    page = signing_in.signed_in(ALICE)
    assert page.inner_text("h1") == "corp:alice"


def test_the_sign_in_is_in_the_trail_with_its_assertion_and_no_secret_is(signing_in: SAMLGate) -> None:
    page = signing_in.signed_in(CAROL)
    event = signing_in.gate.wait_for_event("person:corp:carol")
    assert (event["verb"], event["objectRef"]["resource"]) == ("create", "signins")
    assert event["annotations"]["narrowgate.dev/decision"] == "allow"
    assert event["user"]["extra"]["narrowgate.dev/proven-by"] == ["saml:corp"]
    assert event["user"]["extra"]["narrowgate.dev/issuer"] == [signing_in.providers["corp"].entity_id]
    assert event["user"]["extra"]["narrowgate.dev/assertion"][0].startswith("id-")
    assert event["requestURI"] == "/sign-in/saml/corp/acs"
    written = signing_in.gate.journal_text()
    for cookie in page.context.cookies(signing_in.url):
        assert cookie["value"] not in written


def test_the_cookies_are_as_hard_as_their_ways_allow(signing_in: SAMLGate) -> None:
    page = signing_in.signed_in(ALICE)
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies(signing_in.url)}
    session, binding = cookies["__Host-narrowgate-session"], cookies["__Host-narrowgate-saml"]
    assert (session["secure"], session["httpOnly"], session["sameSite"]) == (True, True, "Lax")
    assert (binding["secure"], binding["httpOnly"], binding["sameSite"]) == (True, True, "None")
    page.context.clear_cookies(name="__Host-narrowgate-session")
    page.goto(f"{signing_in.url}/")
    assert page.url == f"{signing_in.url}/sign-in", "the cookie of the way there opens nothing"


def test_two_tabs_that_begin_at_once_both_arrive(signing_in: SAMLGate) -> None:
    context = signing_in.browser.new_context()
    first, second = context.new_page(), context.new_page()
    first.goto(f"{signing_in.url}/sign-in/saml/corp?return_to=/")
    second.goto(f"{signing_in.url}/sign-in/saml/corp?return_to=/signed-out")
    sign_in_at_saml(second, ALICE)
    second.wait_for_url(f"{signing_in.url}/signed-out")
    sign_in_at_saml(first, ALICE)
    first.wait_for_url(f"{signing_in.url}/")
    assert first.inner_text("h1") == "corp:alice"


def test_signing_out_ends_the_session_here(signing_in: SAMLGate) -> None:
    page = signing_in.signed_in(ALICE)
    old = session_cookie(page)
    page.click("text=Sign out")
    page.wait_for_url(f"{signing_in.url}/signed-out")
    assert session_cookie(page) == {}
    page.context.add_cookies([old])  # type: ignore[list-item]
    page.goto(f"{signing_in.url}/")
    assert page.url == f"{signing_in.url}/sign-in"
