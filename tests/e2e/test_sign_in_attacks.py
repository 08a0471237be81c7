"""What others may try on a person's sign-in, in a real browser and with raw requests: nothing comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page
from tests.e2e.browser import SESSION_COOKIE, intercepting, sign_in_at_dex
from tests.e2e.dex import ALICE, BOB, CAROL, Person
from tests.e2e.echo import Echo
from tests.e2e.other_site import OtherSite, other_site
from tests.e2e.signing_in import SignInGate, session_cookie, sign_in_gate


@dataclass(frozen=True)
class Scene:
    """A gate, and two sites of somebody else's."""

    signing_in: SignInGate
    other_port: OtherSite
    """The same site to browsers, on another port: SameSite does not keep cookies from it."""
    other_host: OtherSite

    def site(self, name: str) -> OtherSite:
        return {"other_port": self.other_port, "other_host": self.other_host}[name]


@pytest.fixture(scope="module")
def scene(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("sign-in-attacks")
    with ExitStack() as stack:
        other_port = stack.enter_context(other_site(folder / "port", https=True))
        other_host = stack.enter_context(other_site(folder / "host", https=True, host="localhost"))
        # The browser trusts their certificates, too: nothing but our rules stands in their way.
        trusted = [other_port.ca, other_host.ca]
        signing_in = stack.enter_context(sign_in_gate(folder, [echo.cluster("echo")], trusted=trusted))
        yield Scene(signing_in, other_port, other_host)


@pytest.fixture(scope="module")
def signing_in(scene: Scene) -> SignInGate:
    return scene.signing_in


@pytest.fixture
def page(signing_in: SignInGate) -> Page:
    return signing_in.page()


def callback_of(signing_in: SignInGate, page: Page, who: Person) -> str:
    """Sign in at Dex and stop before the answer reaches the gate: its address."""
    caught: list[str] = []

    def catch(address: str) -> bool:
        caught.append(address)
        return False

    with intercepting(page, "*/sign-in/oidc/corp/callback?*", catch):
        page.goto(f"{signing_in.url}/")
        sign_in_at_dex(page, who)
        page.wait_for_url("**/callback?**")
    return caught[0]


def problem_on(page: Page) -> str:
    return page.inner_text("[role=alert]")


# --- session fixation ---


def test_a_session_that_somebody_planted_is_not_the_one_a_person_signs_in_to(signing_in: SignInGate) -> None:
    attacker = signing_in.signed_in(BOB)
    planted = session_cookie(attacker)
    victim = signing_in.page()
    victim.context.add_cookies([planted])  # type: ignore[list-item]
    victim.goto(f"{signing_in.url}/sign-in/oidc/corp")
    sign_in_at_dex(victim, ALICE)
    victim.wait_for_url(f"{signing_in.url}/")
    assert victim.inner_text("h1") == ALICE.email
    assert session_cookie(victim)["value"] != planted["value"]
    attacker.context.clear_cookies(name="dex_session")
    attacker.goto(f"{signing_in.url}/")
    assert attacker.url.startswith(signing_in.dex.origin), "the planted session is over, nobody's"


def test_a_secret_that_somebody_made_up_never_becomes_a_session(signing_in: SignInGate) -> None:
    made_up = "ngs1_" + "A" * 43
    victim = signing_in.page()
    cookie = {"name": SESSION_COOKIE, "value": made_up, "url": signing_in.url, "secure": True}
    victim.context.add_cookies([cookie])  # type: ignore[list-item]
    signing_in.signed_in(CAROL, victim)
    assert session_cookie(victim)["value"] != made_up
    answer = signing_in.raw("GET", "/", {"Cookie": f"{SESSION_COOKIE}={made_up}"})
    assert (answer.status, answer.location) == (303, "/sign-in")


def test_what_another_port_of_this_host_plants_is_nobody_s_session(scene: Scene, page: Page) -> None:
    """Cookies know hosts, not ports (RFC 6265, section 8.5): even `__Host-` does not keep a neighbour from writing."""
    planted = "ngs1_" + "B" * 43
    scene.other_port.pages["/plant"] = (
        f"<!doctype html><script>document.cookie = '{SESSION_COOKIE}={planted}; Secure; Path=/'</script>"
    )
    page.goto(f"{scene.other_port.origin}/plant")
    assert session_cookie(page)["value"] == planted
    scene.signing_in.signed_in(ALICE, page)
    assert session_cookie(page)["value"] != planted
    answer = scene.signing_in.raw("GET", "/", {"Cookie": f"{SESSION_COOKIE}={planted}"})
    assert (answer.status, answer.location) == (303, "/sign-in")


# --- forms and frames of other sites ---


@pytest.mark.parametrize("site", ["other_port", "other_host"])
def test_another_site_cannot_sign_somebody_out(scene: Scene, page: Page, site: str) -> None:
    signing_in = scene.signing_in
    signing_in.signed_in(ALICE, page)
    before = session_cookie(page)["value"]
    page.goto(scene.site(site).form("/attack", f"{signing_in.url}/sign-out", {"csrf_token": "guessed"}))
    page.wait_for_url(f"{signing_in.url}/**")
    # From another host the cookie does not come along, and there is nothing to end; from another port it does.
    if site == "other_port":
        assert "sent from another page" in problem_on(page)
    page.goto(f"{signing_in.url}/")
    assert page.inner_text("h1") == ALICE.email
    assert session_cookie(page)["value"] == before


def test_another_site_cannot_end_a_sign_in_even_with_its_token(scene: Scene, page: Page) -> None:
    signing_in = scene.signing_in
    signing_in.signed_in(ALICE)
    signing_in.signed_in(ALICE, page)
    row = page.locator("#sign-ins tbody tr form").first
    action = row.get_attribute("action") or ""
    token = row.locator("input[name=csrf_token]").get_attribute("value") or ""
    page.goto(scene.other_port.form("/attack", f"{signing_in.url}{action}", {"csrf_token": token}))
    page.wait_for_url(f"{signing_in.url}/**")
    assert "sent from another page" in problem_on(page)
    page.goto(f"{signing_in.url}/")
    assert page.locator(f'form[action="{action}"]').count() == 1


@pytest.mark.parametrize("path", ["/", "/sign-in", "/signed-out", "/device"])
def test_no_page_of_ours_can_be_framed(scene: Scene, page: Page, path: str) -> None:
    signing_in = scene.signing_in
    signing_in.signed_in(ALICE, page)
    scene.other_port.pages["/frame"] = f'<!doctype html><iframe src="{signing_in.url}{path}"></iframe>'
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{scene.other_port.origin}/frame", wait_until="networkidle")
    framed = [frame for frame in page.frames if frame != page.main_frame]
    assert all("Narrowgate" not in frame.content() for frame in framed)
    assert any("frame-ancestors" in text or "X-Frame-Options" in text for text in refused)


def test_another_site_s_script_cannot_read_a_page_of_ours(scene: Scene, page: Page) -> None:
    signing_in = scene.signing_in
    signing_in.signed_in(ALICE, page)
    page.goto(f"{scene.other_port.origin}/")
    read = page.evaluate(
        """async (url) => { try { return await (await fetch(url, {credentials: 'include'})).text() }
                            catch (error) { return 'refused' } }""",
        f"{signing_in.url}/",
    )
    assert read == "refused"


# --- answers of the provider that are not this browser's, or not the first ---


def test_the_attacker_s_own_answer_signs_the_victim_in_to_nothing(signing_in: SignInGate) -> None:
    answer = callback_of(signing_in, signing_in.page(), BOB)
    victim = signing_in.page()
    victim.goto(answer)
    assert "was not begun in this browser" in problem_on(victim)
    assert session_cookie(victim) == {}
    victim.click("text=Go on")
    assert victim.url.startswith(signing_in.dex.origin), "the way on begins a sign-in of the victim's own"


def test_an_answer_can_be_used_once(signing_in: SignInGate) -> None:
    page = signing_in.page()
    answer = callback_of(signing_in, page, ALICE)
    cookies = page.context.cookies(signing_in.url)
    page.goto(answer)
    page.wait_for_url(f"{signing_in.url}/")
    copy = signing_in.page()
    copy.context.add_cookies(cookies)  # type: ignore[arg-type]
    copy.goto(answer)
    assert problem_on(copy) == "This answer of Corp was used already; begin again."
    assert session_cookie(copy) == {}


def test_a_code_of_one_sign_in_is_worth_nothing_in_another(signing_in: SignInGate) -> None:
    """Code injection: the victim's code under the attacker's own state. PKCE stops it at Dex, the nonce here."""
    stolen = parse_qs(urlsplit(callback_of(signing_in, signing_in.page(), ALICE)).query)["code"][0]
    attacker = signing_in.page()
    own = parse_qs(urlsplit(callback_of(signing_in, attacker, BOB)).query)["state"][0]
    attacker.goto(f"{signing_in.url}/sign-in/oidc/corp/callback?{urlencode({'code': stolen, 'state': own})}")
    assert "did not take back the code" in problem_on(attacker)
    assert session_cookie(attacker) == {}


def test_cancelling_is_a_page_with_a_way_on(signing_in: SignInGate) -> None:
    page = signing_in.page()
    state = parse_qs(urlsplit(callback_of(signing_in, page, ALICE)).query)["state"][0]
    query = urlencode({"error": "access_denied", "error_description": "the user said no", "state": state})
    page.goto(f"{signing_in.url}/sign-in/oidc/corp/callback?{query}")
    assert problem_on(page) == "Signing in with Corp was cancelled, or not permitted there (the user said no)."
    assert page.is_visible("text=Go on")


# --- forged headers, and addresses that lead elsewhere ---

FORGED = {
    "X-Forwarded-For": "10.9.9.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "80",
    "X-Forwarded-User": "admin",
    "X-Remote-User": "admin",
    "X-Real-IP": "10.9.9.9",
    "X-Original-URL": "/api/v1/agents",
    "Forwarded": 'for=10.9.9.9;host="evil.example";proto=http',
    "Impersonate-User": "admin",
}


def test_forged_headers_and_hosts_change_nothing(signing_in: SignInGate) -> None:
    for host in ("evil.example", f"evil.example:{signing_in.gate.control_port}"):
        begun = signing_in.raw("GET", "/sign-in/oidc/corp", {**FORGED, "Host": host})
        parameters = parse_qs(urlsplit(begun.location).query)
        assert (begun.status, begun.location.startswith(f"{signing_in.dex.issuer}/auth?")) == (303, True)
        assert parameters["redirect_uri"] == [f"{signing_in.url}/sign-in/oidc/corp/callback"]
        home = signing_in.raw("GET", "/", {**FORGED, "Host": host})
        assert (home.status, home.location, "evil" in home.text) == (303, "/sign-in", False)
        metadata = signing_in.raw("GET", "/.well-known/oauth-authorization-server", {**FORGED, "Host": host})
        assert "evil" not in metadata.text
        assert json.loads(metadata.text)["issuer"] == signing_in.url


@pytest.mark.parametrize(
    "path", ["/sign-in/", "/sign-in/oidc/corp/", "/signed-out/", "//sign-in", "/nothing", "/device/"]
)
def test_no_redirect_leads_where_a_forged_host_says(signing_in: SignInGate, path: str) -> None:
    answer = signing_in.raw("GET", path, {**FORGED, "Host": "evil.example"})
    assert (answer.status, answer.location) == (404, "")
    assert "evil" not in answer.text


def test_a_forged_address_is_not_the_one_that_is_recorded(signing_in: SignInGate) -> None:
    page = signing_in.page()
    page.set_extra_http_headers({"X-Forwarded-For": "10.9.9.9", "X-Real-IP": "10.9.9.9", "Forwarded": "for=10.9.9.9"})
    signing_in.signed_in(CAROL, page)
    page.set_extra_http_headers({})
    event = signing_in.gate.wait_for_event("person:carol@corp.example")
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert "10.9.9.9" not in signing_in.gate.journal_text()


def test_a_form_under_a_forged_host_is_not_taken_for_our_own(signing_in: SignInGate) -> None:
    page = signing_in.signed_in(ALICE)
    token = page.locator("input[name=csrf_token]").first.get_attribute("value") or ""
    headers = {
        "Host": "evil.example",
        "Origin": "https://evil.example",
        "Cookie": f"{SESSION_COOKIE}={session_cookie(page)['value']}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = signing_in.raw("POST", "/sign-out", headers, urlencode({"csrf_token": token}))
    assert answer.status == 403
    assert "sent from another page" in answer.text
    page.goto(f"{signing_in.url}/")
    assert page.inner_text("h1") == ALICE.email


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "\\\\evil.example",
        "javascript:1",
    ],
)
def test_after_signing_in_nobody_is_led_elsewhere(signing_in: SignInGate, elsewhere: str) -> None:
    page = signing_in.page()
    page.goto(f"{signing_in.url}/sign-in?{urlencode({'return_to': elsewhere})}")
    sign_in_at_dex(page, ALICE)
    page.wait_for_url(f"{signing_in.url}/")
    page.goto(f"{signing_in.url}/sign-in?{urlencode({'return_to': elsewhere})}")
    assert page.url == f"{signing_in.url}/", "nor when signed in already"
