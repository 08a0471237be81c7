"""The page on which a person lets a program on their machine sign in."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tests.unit.control.browsing import Browsing
from tests.unit.control.oauth.server import (
    REDIRECT,
    URL,
    Server,
    authorization,
    authorize_target,
    redirected,
)


def no_code(server: Server) -> bool:
    return ("ResponseComplete", "authorizations", "allow", 200) not in server.recorded()


def test_whoever_is_signed_in_is_asked_and_told_what_asks(server: Server) -> None:
    page = server.browser().get(authorize_target())
    assert page.status == 200
    assert "the Narrowgate command line" in page.text
    assert "<strong>alice</strong>" in page.text
    assert REDIRECT in page.text
    assert no_code(server)


def test_whoever_is_not_is_sent_to_sign_in_and_comes_back(server: Server) -> None:
    answer = Browsing(server.app).get(authorize_target())
    assert answer.status == 303
    path, _, query = answer.location.partition("?")
    assert path == "/sign-in"
    assert parse_qs(query)["return_to"] == [authorize_target()]


@pytest.mark.parametrize("trick", ["//evil.example", "/\\evil.example", "%0d%0aSet-Cookie:x=1", "https://evil.example"])
def test_the_way_back_is_always_a_path_of_ours(server: Server, trick: str) -> None:
    answer = Browsing(server.app).get(f"{authorize_target()}&return_to={trick}")
    assert answer.location.startswith("/sign-in?return_to=%2Foauth%2Fauthorize")
    back = unquote(answer.location.partition("return_to=")[2])
    assert urlsplit(back).netloc == ""
    assert "\r" not in answer.location
    assert "&" not in answer.location


def test_a_yes_leads_to_the_program_with_a_code_its_state_and_our_name(server: Server) -> None:
    answer = server.said_yes(server.browser())
    assert answer.status == 200
    assert f'content="0;url={REDIRECT}?code=ngc1_' in answer.text
    got = redirected(answer)
    assert (got["state"], got["iss"]) == ("the-state", URL)


def test_a_yes_is_recorded_before_the_code_is_made(server: Server) -> None:
    server.said_yes(server.browser())
    (received, durable), (finished, _) = server.journal.entries
    assert (received["stage"], durable, received["user"]["username"]) == ("RequestReceived", True, "person:alice")
    assert received["objectRef"]["resource"] == "authorizations"
    assert (finished["auditID"], finished["annotations"]["narrowgate.dev/decision"]) == (received["auditID"], "allow")


def test_the_record_holds_neither_code_nor_state(server: Server) -> None:
    code = server.code_for(server.browser())
    assert code not in str(server.journal.entries)
    assert "the-state" not in str(server.journal.entries)


def test_a_no_is_told_to_the_program(server: Server) -> None:
    browser = server.browser()
    page = browser.get(authorize_target())
    answer = browser.post("/oauth/authorize", {**authorization(), "csrf_token": page.csrf_token(), "decision": "deny"})
    assert redirected(answer)["error"] == "access_denied"
    assert no_code(server)


def test_a_form_without_a_decision_is_a_no(server: Server) -> None:
    browser = server.browser()
    page = browser.get(authorize_target())
    answer = browser.post("/oauth/authorize", {**authorization(), "csrf_token": page.csrf_token()})
    assert redirected(answer)["error"] == "access_denied"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "", "sec-fetch-site": "cross-site"},
        {"origin": "", "sec-fetch-site": ""},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_from_another_site_does_nothing(server: Server, headers: dict[str, str]) -> None:
    browser = server.browser()
    page = browser.get(authorize_target())
    form = {**authorization(), "csrf_token": page.csrf_token(), "decision": "allow"}
    answer = browser.post("/oauth/authorize", form, headers)
    assert answer.status == 403
    assert no_code(server)
    assert server.recorded()[-1] == ("ResponseComplete", "authorizations", "deny", 403)


def test_a_form_without_its_token_or_with_somebody_elses_does_nothing(server: Server) -> None:
    browser, other = server.browser(), server.browser("bob")
    stolen = other.get(authorize_target()).csrf_token()
    for token in ("", stolen, "0" * 64):
        form = {**authorization(), "csrf_token": token, "decision": "allow"}
        assert browser.post("/oauth/authorize", form).status == 403
    assert no_code(server)


def test_a_form_of_nobody_does_nothing(server: Server) -> None:
    form = {**authorization(), "csrf_token": "0" * 64, "decision": "allow"}
    assert Browsing(server.app).post("/oauth/authorize", form).status == 403
    assert no_code(server)


def test_what_the_form_says_is_checked_again(server: Server) -> None:
    browser = server.browser()
    token = browser.get(authorize_target()).csrf_token()
    for changed in (
        {"redirect_uri": "http://evil.example/callback"},
        {"code_challenge_method": "plain"},
        {"state": ""},
    ):
        form = {**authorization(**changed), "csrf_token": token, "decision": "allow"}
        answer = browser.post("/oauth/authorize", form)
        assert (answer.status, answer.location) == (400, "")
    assert no_code(server)


def test_whoever_is_not_on_this_machine_gets_no_answer(server: Server) -> None:
    for changed in ({"redirect_uri": "http://evil.example/callback"}, {"client_id": "other"}):
        answer = server.browser().get(authorize_target(**changed))
        assert (answer.status, answer.location) == (400, "")
        assert "evil.example" not in answer.text


def test_a_program_that_asks_wrongly_is_told_so(server: Server) -> None:
    answer = server.browser().get(authorize_target(code_challenge_method="plain"))
    assert answer.status == 303
    assert answer.location.startswith(REDIRECT)
    assert redirected(answer)["error"] == "invalid_request"
    assert redirected(answer)["iss"] == URL


def test_a_parameter_that_comes_twice_is_refused(server: Server) -> None:
    answer = server.browser().get(f"{authorize_target()}&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcallback")
    assert (answer.status, answer.location) == (400, "")


def test_a_page_cannot_be_framed_and_loads_nothing(server: Server) -> None:
    policy = server.browser().get(authorize_target()).header("content-security-policy")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_what_a_program_says_of_itself_is_shown_as_text(server: Server) -> None:
    page = server.browser().get(authorize_target(state='"><script>alert(1)</script>'))
    assert "<script>" not in page.text


def test_a_full_disk_means_no_code(server: Server) -> None:
    browser = server.browser()
    page = browser.get(authorize_target())
    server.journal.full = True
    answer = browser.post("/oauth/authorize", {**authorization(), "csrf_token": page.csrf_token(), "decision": "allow"})
    assert answer.status == 503
    assert "ngc1_" not in answer.text


def test_a_store_that_is_gone_means_no_code(server: Server) -> None:
    browser = server.browser()
    page = browser.get(authorize_target())
    server.store.close()
    answer = browser.post("/oauth/authorize", {**authorization(), "csrf_token": page.csrf_token(), "decision": "allow"})
    assert answer.status == 503
    assert "ngc1_" not in answer.text


def test_no_page_of_ours_gives_anybody_a_session(server: Server) -> None:
    """A cookie that somebody else put there is neither taken over nor renewed: sign-in alone makes sessions."""
    planted = Browsing(server.app, {"__Host-narrowgate-session": "ngs1_" + "A" * 43})
    for browser in (planted, server.browser()):
        for target in (authorize_target(), "/device", "/device?user_code=BCDF-GHJK"):
            assert browser.get(target).cookies == []
    assert planted.get(authorize_target()).location.startswith("/sign-in?")
