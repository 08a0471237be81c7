"""The page on which a person lets a program on another device sign in."""

from __future__ import annotations

import pytest
from tests.unit.control.browsing import Browsing
from tests.unit.control.oauth.server import Server, error

from narrowgate.control.oauth.device_page import BURST, SECONDS_EACH


def test_without_a_code_the_page_asks_for_one(server: Server) -> None:
    page = server.browser().get("/device")
    assert page.status == 200
    assert 'name="user_code"' in page.text


def test_whoever_is_not_signed_in_is_sent_there_with_the_code(server: Server) -> None:
    answer = Browsing(server.app).get("/device?user_code=BCDF-GHJK")
    assert (answer.status, answer.location) == (303, "/sign-in?return_to=%2Fdevice%3Fuser_code%3DBCDF-GHJK")


def test_the_page_says_what_asks_from_where_and_as_whom(server: Server) -> None:
    got = server.post(
        "/oauth/device_authorization", {"client_id": "narrowgate-cli"}, address="203.0.113.5", agent="<b>cli</b>"
    )
    user_code = got.text.partition('"user_code":"')[2][:9]
    page = server.browser().get(f"/device?user_code={user_code.lower()}")
    assert page.status == 200
    for shown in (user_code, "203.0.113.5", "another address than yours", "&lt;b&gt;cli&lt;/b&gt;", "alice"):
        assert shown in page.text


def test_looking_at_the_page_decides_nothing(server: Server) -> None:
    got = server.device()
    server.browser().get(f"/device?user_code={got['user_code']}")
    assert error(server.poll(got["device_code"])) == "authorization_pending"


def test_a_yes_by_get_is_none(server: Server) -> None:
    got = server.device()
    browser = server.browser()
    token = browser.get(f"/device?user_code={got['user_code']}").csrf_token()
    browser.get(f"/device?user_code={got['user_code']}&decision=allow&csrf_token={token}")
    assert error(server.poll(got["device_code"])) == "authorization_pending"


def test_a_request_is_answered_once(server: Server) -> None:
    got = server.device()
    browser, other = server.browser(), server.browser("bob")
    token = browser.get(f"/device?user_code={got['user_code']}").csrf_token()
    assert server.answer_device(other, got["user_code"], "deny").status == 200
    late = browser.post("/device", {"user_code": got["user_code"], "decision": "allow", "csrf_token": token})
    assert late.status == 400
    assert error(server.poll(got["device_code"])) == "access_denied"


def test_a_yes_is_recorded_before_it_counts(server: Server) -> None:
    got = server.device()
    server.journal.entries.clear()
    server.answer_device(server.browser(), got["user_code"])
    (received, durable), (finished, _) = server.journal.entries
    assert (received["stage"], durable, received["user"]["username"]) == ("RequestReceived", True, "person:alice")
    assert received["objectRef"]["resource"] == "authorizations"
    assert finished["annotations"]["narrowgate.dev/decision"] == "allow"


def test_the_yes_and_the_sign_in_that_comes_of_it_have_one_name(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    said = server.journal.last["objectRef"]["name"]
    assert server.opened(server.poll(got["device_code"])).credential == said


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "", "sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_a_form_from_another_site_does_nothing(server: Server, headers: dict[str, str]) -> None:
    got = server.device()
    browser = server.browser()
    token = browser.get(f"/device?user_code={got['user_code']}").csrf_token()
    form = {"user_code": got["user_code"], "decision": "allow", "csrf_token": token}
    assert browser.post("/device", form, headers).status == 403
    assert error(server.poll(got["device_code"])) == "authorization_pending"


def test_a_form_with_another_sessions_token_does_nothing(server: Server) -> None:
    got = server.device()
    stolen = server.browser("bob").get(f"/device?user_code={got['user_code']}").csrf_token()
    form = {"user_code": got["user_code"], "decision": "allow", "csrf_token": stolen}
    assert server.browser().post("/device", form).status == 403
    assert error(server.poll(got["device_code"])) == "authorization_pending"


def test_an_ended_session_says_yes_no_more(server: Server) -> None:
    got = server.device()
    browser = server.browser()
    token = browser.get(f"/device?user_code={got['user_code']}").csrf_token()
    server.store.sign_ins.end(server.console_of(browser).id, "signed out", by="person:alice", at=server.now)
    form = {"user_code": got["user_code"], "decision": "allow", "csrf_token": token}
    assert browser.post("/device", form).status == 403
    assert error(server.poll(got["device_code"])) == "authorization_pending"


def test_whoever_guesses_codes_is_stopped_whatever_browser_they_use(server: Server) -> None:
    got = server.device()
    tried = [server.browser().get("/device?user_code=BCDF-GHJK").status for _ in range(BURST + 1)]
    assert tried == [400] * BURST + [429]
    assert server.browser().get(f"/device?user_code={got['user_code']}").status == 429
    assert server.browser("bob").get(f"/device?user_code={got['user_code']}").status == 200
    server.now += SECONDS_EACH + 1
    assert server.browser().get(f"/device?user_code={got['user_code']}").status == 200


def test_guesses_are_recorded_with_who_guessed(server: Server) -> None:
    server.browser().get("/device?user_code=BCDF-GHJK")
    assert server.journal.last["user"]["username"] == "person:alice"
    assert server.journal.last["annotations"]["narrowgate.dev/decision"] == "deny"


@pytest.mark.parametrize("code", ["%00", "A" * 3000, "%F0%9F%98%80", "<script>alert(1)</script>", "%27%20OR%201=1--"])
def test_what_is_no_code_is_told_so(server: Server, code: str) -> None:
    page = server.browser().get(f"/device?user_code={code}")
    assert page.status == 400
    assert "not waiting" in page.problem()
    assert "<script>" not in page.text


def test_a_code_that_comes_twice_is_refused(server: Server) -> None:
    got = server.device()
    assert server.browser().get(f"/device?user_code={got['user_code']}&user_code=BCDF-GHJK").status == 400


def test_a_full_disk_means_no_yes(server: Server) -> None:
    got = server.device()
    browser = server.browser()
    token = browser.get(f"/device?user_code={got['user_code']}").csrf_token()
    server.journal.full = True
    form = {"user_code": got["user_code"], "decision": "allow", "csrf_token": token}
    assert browser.post("/device", form).status == 503
    server.journal.full = False
    assert error(server.poll(got["device_code"])) == "authorization_pending"
    assert server.answer_device(browser, got["user_code"]).status == 200
