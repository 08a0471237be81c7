"""Renewing a sign-in: a new secret each time, and an end to it where an old one is used again."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.unit.control.browsing import FORM, Browsing
from tests.unit.control.oauth.server import ACCESS, CLUSTER, LIFE, Server, error, members

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.secret_form import secret_hash
from narrowgate.control.console_sessions import COOKIE
from narrowgate.control.oauth.renewals import BURST, GRACE_SECONDS, USED_TWICE
from narrowgate.core.sign_in import SignIn


def secret_of(got: dict[str, Any]) -> str:
    secret: str = got["refresh_token"]
    return secret


def sign_in_of(server: Server, secret: str) -> SignIn:
    return server.store.sign_ins.get(secret.split("_")[1])


def renewed(server: Server, secret: str, **fields: str) -> str:
    return secret_of(members(server.refresh(secret, **fields)))


def test_a_secret_is_renewed_for_another_and_an_access_credential(server: Server) -> None:
    first = secret_of(server.signed_in())
    answer = server.refresh(first)
    second = secret_of(members(answer))
    assert second != first
    assert server.opened(answer).name == "alice"
    assert sign_in_of(server, second).secret_hash == secret_hash(second)


def test_each_renewal_may_name_another_cluster(server: Server) -> None:
    secret = secret_of(server.signed_in())
    for cluster in ("dev", "prod"):
        answer = server.refresh(secret, resource=CLUSTER.replace("dev", cluster))
        assert server.opened(answer, Port.KUBERNETES).cluster == cluster
        secret = secret_of(members(answer))


def test_no_renewal_goes_beyond_the_end_of_the_sign_in(server: Server) -> None:
    secret = secret_of(server.signed_in())
    end = sign_in_of(server, secret).expires_at
    server.now = end - ACCESS / 2
    answer = server.refresh(secret)
    assert members(answer)["expires_in"] <= ACCESS / 2
    assert server.opened(answer).expires_at == end
    server.now = end
    refused = server.refresh(secret_of(members(answer)))
    assert error(refused) == "invalid_grant"
    assert "narrowgate login" in refused.text


def test_a_lost_answer_loses_nothing(server: Server) -> None:
    first = secret_of(server.signed_in())
    for _ in range(3):
        server.now += GRACE_SECONDS / 4
        latest = renewed(server, first)
    server.now += LIFE / 4
    assert renewed(server, latest)


def test_an_old_secret_used_after_its_minute_ends_the_sign_in(server: Server) -> None:
    first = secret_of(server.signed_in())
    second = renewed(server, first)
    server.now += GRACE_SECONDS + 1
    assert error(server.refresh(first)) == "invalid_grant"
    assert sign_in_of(server, first).ended_because == USED_TWICE
    assert error(server.refresh(second)) == "invalid_grant"


def test_a_thief_who_renews_again_and_again_is_found_out_all_the_same(server: Server) -> None:
    stolen = secret_of(server.signed_in())
    thiefs = stolen
    for _ in range(5):
        thiefs = renewed(server, thiefs)
    server.now += GRACE_SECONDS + 1
    assert error(server.refresh(stolen)) == "invalid_grant"
    assert sign_in_of(server, stolen).ended_because == USED_TWICE
    assert error(server.refresh(thiefs)) == "invalid_grant"


def test_a_thief_within_the_minute_is_found_out_by_the_next_renewal(server: Server) -> None:
    stolen = secret_of(server.signed_in())
    own = renewed(server, stolen)
    renewed(server, stolen)
    server.now += GRACE_SECONDS + 1
    assert error(server.refresh(own)) == "invalid_grant"
    assert sign_in_of(server, stolen).ended_because == USED_TWICE


def test_the_end_is_recorded_with_whose_it_was_and_why(server: Server) -> None:
    first = secret_of(server.signed_in())
    renewed(server, first)
    server.now += GRACE_SECONDS + 1
    server.refresh(first)
    entry = server.journal.last
    assert (entry["user"]["username"], entry["objectRef"]["name"]) == ("person:alice", first.split("_")[1])
    assert "somebody has a copy" in entry["annotations"]["narrowgate.dev/reason"]
    change = server.store.changes(1)[0]
    assert (change.action, change.by, change.subject) == ("signin.ended", "narrowgate", first.split("_")[1])


def test_ending_it_reaches_the_data_plane(server: Server) -> None:
    first = secret_of(server.signed_in())
    renewed(server, first)
    stamp = server.store.change_stamp()
    server.now += GRACE_SECONDS + 1
    server.refresh(first)
    assert server.store.change_stamp() != stamp
    assert server.store.sign_ins.ended_since(server.now - 1) == {first.split("_")[1]}


def test_of_many_renewals_at_once_the_last_secret_goes_on(server: Server) -> None:
    secret = secret_of(server.signed_in())
    form = {"grant_type": "refresh_token", "client_id": "narrowgate-cli", "refresh_token": secret}
    body = urlencode(form).encode()

    async def all_at_once() -> list[tuple[int, str]]:
        programs = [Browsing(server.app) for _ in range(4)]
        sent = [program.sent("POST", "/oauth/token", body, {"content-type": FORM}) for program in programs]
        return [(answer.status, answer.text) for answer in await asyncio.gather(*sent)]

    answers = asyncio.run(all_at_once())
    assert {status for status, _ in answers} <= {200, 503}
    current = sign_in_of(server, secret).secret_hash
    secrets = [text.partition('"refresh_token":"')[2].partition('"')[0] for status, text in answers if status == 200]
    assert len(secrets) == len(set(secrets))
    assert [secret_hash(one) for one in secrets].count(current) == 1
    assert sign_in_of(server, secret).ended_at is None


def test_an_ended_sign_in_is_renewed_no_more_and_says_why(server: Server) -> None:
    secret = secret_of(server.signed_in())
    server.store.sign_ins.end(secret.split("_")[1], "ended by person:bob", by="person:bob", at=server.now)
    refused = server.refresh(secret)
    assert error(refused) == "invalid_grant"
    assert "ended by person:bob" in refused.text


def test_a_target_that_is_not_there_does_not_use_the_secret_up(server: Server) -> None:
    secret = secret_of(server.signed_in())
    refused = server.refresh(secret, resource=f"{CLUSTER}x")
    assert error(refused) == "invalid_target"
    assert sign_in_of(server, secret).secret_hash == secret_hash(secret)


def test_a_full_disk_does_not_use_the_secret_up(server: Server) -> None:
    secret = secret_of(server.signed_in())
    server.journal.full = True
    refused = server.refresh(secret)
    assert (refused.status, error(refused)) == (503, "temporarily_unavailable")
    assert sign_in_of(server, secret).secret_hash == secret_hash(secret)
    server.journal.full = False
    assert renewed(server, secret)


@pytest.mark.parametrize("fields", [{"client_id": "other"}, {"client_id": ""}, {"client_secret": "x"}])
def test_another_client_renews_nothing(server: Server, fields: dict[str, str]) -> None:
    secret = secret_of(server.signed_in())
    assert error(server.refresh(secret, **fields)) == "invalid_client"


def test_a_browsers_cookie_renews_nothing(server: Server) -> None:
    browser = server.browser()
    assert error(server.refresh(browser.cookies[COOKIE])) == "invalid_grant"
    assert server.console_of(browser).ended_at is None


def test_a_secret_is_no_cookie(server: Server) -> None:
    secret = secret_of(server.signed_in())
    browser = Browsing(server.app, {COOKIE: secret[:48]})
    assert browser.get("/device").status == 303


def test_a_guess_with_a_known_id_ends_nothing(server: Server) -> None:
    secret = secret_of(server.signed_in())
    other = secret_of(server.signed_in(server.browser("bob")))
    guess = secret[: secret.rindex("_", 0, 24) + 1] + other[len("ngr1_") + 17 :]
    assert error(server.refresh(guess)) == "invalid_grant"
    assert error(server.refresh(secret[:-1] + ("A" if secret[-1] != "A" else "B"))) == "invalid_grant"
    assert sign_in_of(server, secret).ended_at is None
    assert renewed(server, secret)


def test_whoever_renews_without_end_is_held_back(server: Server) -> None:
    secret = secret_of(server.signed_in())
    for _ in range(BURST):
        secret = renewed(server, secret)
    held = server.refresh(secret)
    assert (held.status, error(held)) == (429, "temporarily_unavailable")
    server.now += 11
    assert renewed(server, secret)


def test_a_new_process_goes_on_where_the_old_one_was(server: Server) -> None:
    first = secret_of(server.signed_in())
    second = renewed(server, first)
    server.app = server.new_app()
    assert renewed(server, second)
    server.now += GRACE_SECONDS + 1
    assert error(server.refresh(first)) == "invalid_grant"
    assert sign_in_of(server, first).ended_because == USED_TWICE
