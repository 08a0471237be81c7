"""Signing out from the command line."""

from __future__ import annotations

from tests.unit.control.browsing import Answer
from tests.unit.control.oauth.server import Server, error, members

from narrowgate.control.console_sessions import COOKIE
from narrowgate.control.oauth.addresses import CLIENT_ID
from narrowgate.control.oauth.renewals import GRACE_SECONDS


def revoked(server: Server, token: str, **fields: str) -> Answer:
    return server.post("/oauth/revoke", {"token": token, "client_id": CLIENT_ID, **fields})


def test_the_secret_ends_its_sign_in(server: Server) -> None:
    got = server.signed_in()
    who = server.presented(got["access_token"])
    assert members(revoked(server, got["refresh_token"], token_type_hint="refresh_token")) == {}
    sign_in = server.store.sign_ins.get(got["refresh_token"].split("_")[1])
    assert (sign_in.ended_because, getattr(who, "credential", "")) == ("signed out", sign_in.id)
    assert error(server.refresh(got["refresh_token"])) == "invalid_grant"


def test_it_is_recorded_before_it_is_done(server: Server) -> None:
    got = server.signed_in()
    server.journal.entries.clear()
    revoked(server, got["refresh_token"])
    (received, durable), (finished, _) = server.journal.entries
    assert (received["stage"], durable, received["verb"]) == ("RequestReceived", True, "delete")
    assert received["objectRef"]["resource"] == "signins"
    assert (finished["user"]["username"], finished["responseStatus"]["code"]) == ("person:alice", 200)


def test_a_replaced_secret_ends_it_as_well(server: Server) -> None:
    first = server.signed_in()["refresh_token"]
    latest = members(server.refresh(members(server.refresh(first))["refresh_token"]))["refresh_token"]
    server.now += GRACE_SECONDS + 1
    revoked(server, first)
    assert error(server.refresh(latest)) == "invalid_grant"


def test_what_is_unknown_is_worth_nothing_already(server: Server) -> None:
    got = server.signed_in()
    for token in ("x", got["refresh_token"][:-1] + "A", "ngr1_aaaaaaaaaaaaaaaa_x"):
        assert members(revoked(server, token)) == {}
    revoked(server, got["refresh_token"])
    assert members(revoked(server, got["refresh_token"])) == {}


def test_an_access_credential_cannot_be_revoked_by_itself(server: Server) -> None:
    assert error(revoked(server, server.signed_in()["access_token"])) == "unsupported_token_type"


def test_a_browsers_cookie_is_not_revoked_here(server: Server) -> None:
    browser = server.browser()
    revoked(server, browser.cookies[COOKIE])
    assert server.console_of(browser).ended_at is None


def test_only_our_client_revokes(server: Server) -> None:
    got = server.signed_in()
    assert error(revoked(server, got["refresh_token"], client_id="other")) == "invalid_client"
    assert members(server.refresh(got["refresh_token"]))["access_token"]


def test_a_full_disk_ends_nothing(server: Server) -> None:
    got = server.signed_in()
    server.journal.full = True
    assert revoked(server, got["refresh_token"]).status == 503
    server.journal.full = False
    assert members(server.refresh(got["refresh_token"]))["access_token"]
