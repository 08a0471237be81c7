"""The way to an OpenID provider and back: in one browser, once, within its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from starlette.applications import Starlette
from tests.unit.control.browsing import ORIGIN, Answer, Browsing
from tests.unit.control.gate_parts import a_store, parts_of
from tests.unit.control.journal import Journal
from tests.unit.control.openid import CLIENT_ID, OpenID, running_openid, with_claims

from narrowgate.authenticators.issuer_keys import IssuerKeys, Pace
from narrowgate.authenticators.jwt_issuer import ClaimMapping, JWTIssuer, OIDCLogin
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.control.console_sessions import COOKIE
from narrowgate.control.oidc_pending import COOKIE_PREFIX, MOST_PENDING, PENDING_SECONDS, OIDCPending, read_pending
from narrowgate.control.oidc_provider import OIDCProvider, Patience
from narrowgate.control.oidc_sign_in import ANSWER_LIMIT, oidc_sign_in_routes
from narrowgate.control.sign_in import Provider, SignInPages, sign_in_routes
from narrowgate.store.port import Store

CALLBACK = "/sign-in/oidc/corp/callback"


@dataclass
class Gate:
    """The sign-in routes of a gate that believes `openid`, by the names `corp` and `other`."""

    app: Starlette
    store: Store
    journal: Journal
    openid: OpenID

    def browser(self) -> Browsing:
        return Browsing(self.app)

    def begun(self, browser: Browsing, return_to: str = "/device?user_code=A") -> str:
        """Begin in this browser; the state of the answer that is to come."""
        answer = browser.get(f"/sign-in/oidc/corp?{urlencode({'return_to': return_to})}")
        assert answer.status == 303, answer.problem()
        parameters = parse_qs(urlsplit(answer.location).query)
        self.openid.nonce = parameters["nonce"][0]
        return parameters["state"][0]

    def people(self) -> list[str]:
        return [one.person for one in self.store.sign_ins.listed() if one.ended_at is None]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with running_openid(tmp_path / "openid") as openid, closing(a_store(tmp_path / "gate")) as store:
        journal = Journal()
        providers = [_provider(openid, name) for name in ("corp", "other")]
        listed = [Provider(source=one.source, title=one.title) for one in providers]
        pages = SignInPages(parts_of(store, journal), listed, {one.source: one.farewell for one in providers})
        routes = [*sign_in_routes(pages), *oidc_sign_in_routes(providers, pages, store)]
        yield Gate(Starlette(routes=routes), store, journal, openid)


def _provider(openid: OpenID, name: str) -> OIDCProvider:
    issuer = JWTIssuer(
        url=openid.issuer,
        certificate_authority=openid.ca,
        audiences=(CLIENT_ID,),
        username=ClaimMapping(claim="email"),
        groups=ClaimMapping(claim="groups"),
        algorithms=("ES256",),
        login=OIDCLogin(name=name, title=name.title(), client_id=CLIENT_ID),
    )
    return OIDCProvider(TokenVerifier(issuer, IssuerKeys(issuer, Pace(retry=0.0))), ORIGIN, Patience(keys=0.0))


def answered(browser: Browsing, **parameters: str) -> Answer:
    return browser.get(f"{CALLBACK}?{urlencode(parameters)}")


def test_there_and_back_is_a_session_and_the_page_one_came_for(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    answer = answered(browser, code="c", state=state)
    assert (answer.status, answer.location) == (303, "/device?user_code=A")
    assert list(browser.cookies) == [COOKIE], "the cookie of the way is gone, the session's is there"
    assert gate.people() == ["alice@corp.example"]
    assert gate.journal.stages() == [("RequestReceived", ""), ("ResponseComplete", "allow")]
    assert gate.journal.last["annotations"]["narrowgate.dev/chain"] == '["person:alice@corp.example"]'


def test_nothing_of_the_answer_s_query_is_recorded(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    answered(browser, code="the-secret-code", state=state)
    assert "the-secret-code" not in str(gate.journal.entries)
    assert state not in str(gate.journal.entries)


def test_the_cookie_of_the_way_is_as_hard_as_the_session_s(gate: Gate) -> None:
    (line,) = gate.browser().get("/sign-in/oidc/corp").cookies
    attributes = {part.strip().lower() for part in line.split(";")[1:]}
    assert line.startswith(COOKIE_PREFIX)
    assert {"secure", "httponly", "path=/", "samesite=lax", f"max-age={PENDING_SECONDS:.0f}"} <= attributes


def test_nothing_is_kept_for_whoever_only_begins(gate: Gate) -> None:
    for _ in range(20):
        gate.begun(gate.browser())
    assert gate.store.sign_ins.listed() == ()
    assert gate.journal.entries == []
    assert gate.store.changes() == ()


# --- answers that are not this browser's, not now, or not the first ---


def test_an_answer_in_another_browser_signs_nobody_in(gate: Gate) -> None:
    """Login CSRF: the attacker's own answer, opened in the victim's browser."""
    attacker, victim = gate.browser(), gate.browser()
    state = gate.begun(attacker)
    answer = answered(victim, code="c", state=state)
    assert answer.status == 400
    assert "was not begun in this browser" in answer.problem()
    assert (victim.cookies, gate.people()) == ({}, [])


def test_an_answer_in_a_browser_with_a_sign_in_of_its_own_under_way_signs_nobody_in(gate: Gate) -> None:
    attacker, victim = gate.browser(), gate.browser()
    state = gate.begun(attacker)
    gate.begun(victim)
    assert answered(victim, code="c", state=state).status == 400
    assert gate.people() == []


def test_a_cookie_under_the_name_of_another_state_does_not_help(gate: Gate) -> None:
    attacker, victim = gate.browser(), gate.browser()
    state = gate.begun(attacker)
    gate.begun(victim)
    (own,) = victim.cookies.values()
    victim.cookies = {COOKIE_PREFIX + state[:12]: own}
    assert answered(victim, code="c", state=state).status == 400
    assert gate.people() == []


def test_an_answer_counts_once(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    copy = Browsing(gate.app, dict(browser.cookies))
    assert answered(browser, code="c", state=state).status == 303
    again = answered(browser, code="c", state=state)
    assert (again.status, "begin again" in again.problem()) == (400, True)
    copied = answered(copy, code="c", state=state)
    assert (copied.status, copied.problem()) == (400, "This answer of Corp was used already; begin again.")
    assert len(gate.people()) == 1
    assert len(gate.openid.asked) == 1, "the provider is not asked again either"


def test_an_answer_that_comes_twice_at_the_same_moment_counts_once(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    target = f"{CALLBACK}?{urlencode({'code': 'c', 'state': state})}"

    async def both() -> list[int]:
        browsers = [Browsing(gate.app, dict(browser.cookies)) for _ in range(2)]
        answers = await asyncio.gather(*(one.sent("GET", target, b"", {}) for one in browsers))
        return sorted(answer.status for answer in answers)

    assert asyncio.run(both()) == [303, 400]
    assert len(gate.openid.asked) == 2, "neither was known when the other was asked about"
    assert len(gate.people()) == 1


def test_a_sign_in_that_took_too_long_is_over(gate: Gate) -> None:
    browser = gate.browser()
    late = OIDCPending.begin("corp", "/", time.time() - PENDING_SECONDS)
    browser.cookies = {late.cookie_name: late.cookie()}
    answer = answered(browser, code="c", state=late.state)
    assert (answer.status, answer.problem()) == (400, "This sign-in took longer than 10 minutes; begin again.")
    assert gate.openid.asked == []
    assert browser.cookies == {}


def test_an_answer_at_another_provider_s_door_signs_nobody_in(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    answer = browser.get(f"/sign-in/oidc/other/callback?{urlencode({'code': 'c', 'state': state})}")
    assert (answer.status, answer.problem()) == (400, "This sign-in was not begun with Other; begin again.")
    assert gate.openid.asked == []


def test_an_answer_that_names_another_issuer_signs_nobody_in(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    answer = answered(browser, code="c", state=state, iss="https://evil.example")
    assert (answer.status, "does not come from Corp" in answer.problem()) == (400, True)
    assert gate.openid.asked == []


def test_an_answer_that_names_the_right_issuer_is_taken(gate: Gate) -> None:
    browser = gate.browser()
    assert answered(browser, code="c", state=gate.begun(browser), iss=gate.openid.issuer).status == 303


@pytest.mark.parametrize(
    "query", ["", "code=c", "state=", "code=c&state=x", "code=c&state=%00", "state=%FF", "&&", "x"]
)
def test_an_answer_to_nothing_is_a_page(gate: Gate, query: str) -> None:
    answer = gate.browser().get(f"{CALLBACK}?{query}")
    assert answer.status == 400
    assert answer.problem().endswith("begin again.")


def test_parameters_that_come_twice_are_refused(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    answer = browser.get(f"{CALLBACK}?code=a&code=b&state={state}")
    assert (answer.status, '"code" comes twice' in answer.problem()) == (400, True)
    assert gate.openid.asked == []


def test_an_answer_that_is_too_long_is_refused(gate: Gate) -> None:
    browser = gate.browser()
    assert answered(browser, code="c" * ANSWER_LIMIT, state=gate.begun(browser)).status == 400


@pytest.mark.parametrize("name", ["evil", "Corp", "..", "corp%2F..", "a" * 3000])
def test_a_provider_that_is_not_configured_is_not_found(gate: Gate, name: str) -> None:
    assert gate.browser().get(f"/sign-in/oidc/{name}").status == 404
    assert gate.browser().get(f"/sign-in/oidc/{name}/callback?code=c&state=s").status == 404


# --- what the provider says instead of a code ---


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("access_denied", 403, "Signing in with Corp was cancelled, or not permitted there (no thanks)."),
        ("temporarily_unavailable", 503, "Corp cannot sign anybody in now (no thanks); try again later."),
        ("server_error", 503, "Corp cannot sign anybody in now (no thanks); try again later."),
        ("login_required", 403, "Corp wants to ask you something first (no thanks); begin again."),
        ("unheard_of", 403, "Corp refused the sign-in (no thanks); begin again."),
    ],
)
def test_a_refusal_of_the_provider_s_is_one_clear_sentence(gate: Gate, error: str, code: int, said: str) -> None:
    browser = gate.browser()
    answer = answered(browser, error=error, error_description="no thanks", state=gate.begun(browser))
    assert (answer.status, answer.problem()) == (code, said)
    assert 'href="/sign-in"' in answer.text
    assert browser.cookies == {}
    assert gate.people() == []


def test_a_refusal_is_recorded(gate: Gate) -> None:
    browser = gate.browser()
    answered(browser, error="access_denied", state=gate.begun(browser))
    last = gate.journal.last
    assert last["annotations"]["narrowgate.dev/decision"] == "deny"
    assert last["user"]["username"] == "system:anonymous"
    assert last["objectRef"]["resource"] == "signins"


def test_what_a_provider_says_is_shown_as_text_and_briefly(gate: Gate) -> None:
    browser = gate.browser()
    said = "<img src=x>\x1b[31m" + "long " * 200
    answer = answered(browser, error="access_denied", error_description=said, state=gate.begun(browser))
    assert "<img" not in answer.text
    assert "\x1b" not in answer.text
    assert len(answer.problem()) < 400


def test_a_refusal_in_another_browser_says_nothing_of_the_provider_s(gate: Gate) -> None:
    answer = answered(gate.browser(), error="access_denied", error_description="call +1 555 now", state="made-up")
    assert "555" not in answer.text


def test_a_token_for_somebody_else_signs_nobody_in(gate: Gate) -> None:
    browser = gate.browser()
    state = gate.begun(browser)
    with_claims(gate.openid, {"nonce": "of another sign-in"})
    answer = answered(browser, code="c", state=state)
    assert (answer.status, "is not the answer to this sign-in" in answer.problem()) == (403, True)
    assert gate.people() == []
    assert gate.journal.stages() == [("ResponseComplete", "deny")]


def test_a_provider_that_is_away_is_named_and_recorded(gate: Gate) -> None:
    gate.openid.metadata["issuer"] = "https://evil.example"
    answer = gate.browser().get("/sign-in/oidc/corp")
    assert answer.status == 503
    assert '"corp" does not answer as it should' in answer.problem()
    assert gate.journal.stages() == [("ResponseComplete", "error")]


# --- many at once, and journeys that lead elsewhere ---


def test_several_tabs_do_not_disturb_each_other(gate: Gate) -> None:
    browser = gate.browser()
    first = gate.begun(browser, "/first")
    nonce = gate.openid.nonce
    second = gate.begun(browser, "/second")
    assert answered(browser, code="c", state=second).location == "/second"
    gate.openid.nonce = nonce
    assert answered(browser, code="c", state=first).location == "/first"


def test_one_browser_holds_a_few_at_most(gate: Gate) -> None:
    browser = gate.browser()
    for _ in range(MOST_PENDING + 3):
        last = gate.begun(browser)
    assert len(browser.cookies) == MOST_PENDING
    assert answered(browser, code="c", state=last).status == 303


def test_cookies_with_odd_names_are_left_alone(gate: Gate) -> None:
    odd = {"cookie": f"{COOKIE_PREFIX}a(b)=1; {COOKIE_PREFIX}=2; {COOKIE_PREFIX}ABCDEFGHIJKL=spoilt"}
    answer = gate.browser().get("/sign-in/oidc/corp", odd)
    assert answer.status == 303
    cleared = [line for line in answer.cookies if "Max-Age=0" in line]
    assert [line.partition("=")[0] for line in cleared] == [f"{COOKIE_PREFIX}ABCDEFGHIJKL"]
    assert gate.browser().get(f"{CALLBACK}?state=a(b)", odd).status == 400


@pytest.mark.parametrize("elsewhere", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_nobody_is_led_elsewhere(gate: Gate, elsewhere: str) -> None:
    browser = gate.browser()
    assert answered(browser, code="c", state=gate.begun(browser, elsewhere)).location == "/"


def test_a_path_that_somebody_put_into_their_own_cookie_leads_nowhere_else(gate: Gate) -> None:
    browser = gate.browser()
    gate.begun(browser)
    (value,) = browser.cookies.values()
    pending = read_pending(value)
    assert pending is not None
    bent = OIDCPending(
        secret=pending.secret, provider="corp", return_to="//evil.example", started_at=pending.started_at
    )
    browser.cookies = {bent.cookie_name: bent.cookie()}
    assert answered(browser, code="c", state=bent.state).location == "/"


def test_signing_out_leads_to_the_provider_with_the_token_as_a_hint(gate: Gate) -> None:
    gate.openid.metadata["end_session_endpoint"] = f"{gate.openid.issuer}/logout"
    browser = gate.browser()
    answered(browser, code="c", state=gate.begun(browser))
    page = browser.post("/sign-out", {"csrf_token": browser.get("/").csrf_token()})
    assert page.status == 200
    assert f"{gate.openid.issuer}/logout?client_id=narrowgate" in page.text
    assert "id_token_hint=ey" in page.text
    assert gate.people() == []


def test_a_session_that_was_there_is_ended_by_the_new_one(gate: Gate) -> None:
    browser = gate.browser()
    answered(browser, code="c", state=gate.begun(browser))
    old = dict(browser.cookies)
    answered(browser, code="c", state=gate.begun(browser))
    assert browser.cookies[COOKIE] != old[COOKIE]
    assert len(gate.people()) == 1
    assert Browsing(gate.app, old).get("/").location == "/sign-in"
