"""Authorization codes at the token endpoint: good once, for whoever asked, for a minute."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest
from tests.unit.control.browsing import FORM, Browsing
from tests.unit.control.oauth.server import (
    ACCESS,
    CLUSTER,
    LIFE,
    REDIRECT,
    VERIFIER,
    Server,
    error,
    members,
)

from narrowgate.authenticators.access_credential import Port
from narrowgate.control.oauth.codes import REPLAYED
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import Client


def test_a_code_makes_a_sign_in_of_the_person_who_allowed_it(server: Server) -> None:
    browser = server.browser()
    answer = server.redeem(server.code_for(browser))
    got = members(answer)
    assert (got["token_type"], got["expires_in"]) == ("Bearer", ACCESS)
    assert answer.header("cache-control") == "no-store"
    who = server.opened(answer)
    sign_in = server.store.sign_ins.get(who.credential)
    assert (who.kind, who.name, who.groups, who.proven_by) == (Kind.PERSON, "alice", ("sre",), "oidc:corp")
    assert (sign_in.client, sign_in.source_ip, sign_in.user_agent) == (Client.CLI, "192.0.2.9", "cli/1")
    assert sign_in.claims == (("issuer", "https://idp"),)
    assert got["refresh_token"].startswith(f"ngr1_{sign_in.id}_")


def test_the_access_credential_is_for_what_was_named_and_nothing_else(server: Server) -> None:
    got = members(server.redeem(server.code_for(server.browser()), resource=CLUSTER))
    assert getattr(server.presented(got["access_token"], Port.KUBERNETES), "cluster", "") == "dev"
    assert "for the clusters' APIs" in getattr(server.presented(got["access_token"]), "reason", "")


def test_the_secret_is_kept_as_its_hash_alone(server: Server) -> None:
    got = server.signed_in()
    kept = b"".join(file.read_bytes() for file in server.folder.glob("gate.db*"))
    record = json.dumps([entry for entry, _ in server.journal.entries])
    for secret in (got["refresh_token"], got["access_token"]):
        assert secret.encode() not in kept
        assert secret not in record


def test_a_sign_in_ends_when_the_console_session_would(server: Server) -> None:
    browser = server.browser(life=LIFE / 4)
    got = members(server.redeem(server.code_for(browser)))
    sign_in = server.store.sign_ins.get(got["refresh_token"].split("_")[1])
    assert sign_in.expires_at == server.console_of(browser).expires_at


def test_a_code_used_twice_ends_what_was_made_from_it(server: Server) -> None:
    code = server.code_for(server.browser())
    got = members(server.redeem(code))
    assert error(server.redeem(code)) == "invalid_grant"
    sign_in = server.store.sign_ins.get(got["refresh_token"].split("_")[1])
    assert (sign_in.ended_because, sign_in.ended_at) == (REPLAYED, server.now)
    assert error(server.refresh(got["refresh_token"])) == "invalid_grant"


def test_a_code_used_again_hours_later_still_ends_it(server: Server) -> None:
    code = server.code_for(server.browser())
    got = members(server.redeem(code))
    server.now += LIFE / 2
    assert error(server.redeem(code)) == "invalid_grant"
    assert error(server.refresh(got["refresh_token"])) == "invalid_grant"


def test_of_many_who_bring_one_code_at_once_nobody_keeps_a_sign_in(server: Server) -> None:
    code = server.code_for(server.browser())
    form = {
        "grant_type": "authorization_code", "client_id": "narrowgate-cli",
        "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER,
    }  # fmt: skip

    async def all_at_once() -> list[int]:
        programs = [Browsing(server.app, address=f"192.0.2.{number}") for number in range(10, 18)]
        body = urlencode(form).encode()
        sent = [program.sent("POST", "/oauth/token", body, {"content-type": FORM}) for program in programs]
        return [answer.status for answer in await asyncio.gather(*sent)]

    statuses = asyncio.run(all_at_once())
    assert statuses.count(200) <= 1
    running = [one for one in server.store.sign_ins.listed(running_at=server.now) if one.client is Client.CLI]
    assert running == []


def test_a_code_lapses_after_a_minute(server: Server) -> None:
    code = server.code_for(server.browser())
    server.now += 61
    assert error(server.redeem(code)) == "invalid_grant"


@pytest.mark.parametrize("verifier", ["", "another-verifier-that-is-as-long-as-it-must-be-1", VERIFIER[:-1], "short"])
def test_without_its_verifier_a_code_is_worth_nothing_and_is_spoilt(server: Server, verifier: str) -> None:
    code = server.code_for(server.browser())
    assert error(server.redeem(code, code_verifier=verifier)) in ("invalid_grant", "invalid_request")
    if verifier:
        # Whoever tried had the code: it is worth nothing to anybody any more.
        assert error(server.redeem(code)) == "invalid_grant"
    assert [one for one in server.store.sign_ins.listed() if one.client is Client.CLI] == []


def test_the_challenge_is_not_the_verifier(server: Server) -> None:
    """A program that was made to send its verifier as the challenge, as with `plain`, gets nothing."""
    code = server.code_for(server.browser(), code_challenge="a" * 43)
    assert error(server.redeem(code, code_verifier="a" * 43)) == "invalid_grant"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"redirect_uri": "http://127.0.0.1:40124/callback"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_request"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_client"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"code": "ngc1_aaaaaaaaaaaaaaaa_x"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
    ],
)
def test_a_code_is_for_whoever_asked_for_it(server: Server, fields: dict[str, str], expected: str) -> None:
    code = server.code_for(server.browser())
    assert error(server.redeem(code, **fields)) == expected


def test_a_target_that_is_not_there_costs_nothing(server: Server) -> None:
    code = server.code_for(server.browser())
    assert error(server.redeem(code, resource=f"{CLUSTER}x")) == "invalid_target"
    assert members(server.redeem(code))["refresh_token"]


def test_who_signed_out_of_the_console_before_the_code_came_is_not_signed_in(server: Server) -> None:
    browser = server.browser()
    code = server.code_for(browser)
    server.store.sign_ins.end(server.console_of(browser).id, "signed out", by="person:alice", at=server.now)
    assert error(server.redeem(code)) == "access_denied"


def test_codes_of_one_kind_are_no_codes_of_another(server: Server) -> None:
    code = server.code_for(server.browser())
    device_code = server.device()["device_code"]
    secret = server.signed_in()["refresh_token"]
    assert error(server.redeem(device_code)) == "invalid_grant"
    assert error(server.redeem(secret)) == "invalid_grant"
    assert error(server.token("device", {"device_code": code})) == "invalid_grant"
    assert error(server.refresh(code)) == "invalid_grant"
