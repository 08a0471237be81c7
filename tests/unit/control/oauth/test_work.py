"""How every call to the authorization server goes, whatever it asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from tests.unit.control.browsing import Answer, Browsing
from tests.unit.control.journal import Journal
from tests.unit.control.oauth.server import CLUSTER, GRANTS, URL, Server, error, members

from narrowgate.control.forms import FORM_LIMIT
from narrowgate.control.oauth.answers import described
from narrowgate.control.oauth.routes import BURST

ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/device_authorization")


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"client_id=narrowgate-cli&client_id=narrowgate-cli", {}),
        (b"client_id=narrowgate-cli&%63lient_id=other", {}),
        (b"%ff=%ff", {}),
        (b"no-form-at-all", {}),
        (b"a=1&" * 100, {}),
        (b'{"client_id":"narrowgate-cli"}', {"content-type": "application/json"}),
        (b"client_id=narrowgate-cli", {"content-type": "multipart/form-data; boundary=x"}),
        (b"client_id=narrowgate-cli", {"content-type": ""}),
        (b"", {}),
    ],
)
def test_what_cannot_be_read_in_one_way_only_is_refused(
    server: Server, path: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = server.raw(path, body, headers=headers)
    assert answer.status in (400, 401)
    assert error(answer) in ("invalid_request", "invalid_client")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_body_without_end_is_not_read_to_its_end(server: Server, path: str) -> None:
    answer = server.raw(path, b"client_id=" + b"x" * FORM_LIMIT)
    assert (answer.status, error(answer)) == (413, "invalid_request")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_only_post_is_taken(server: Server, path: str) -> None:
    assert Browsing(server.app).get(f"{path}?client_id=narrowgate-cli").status == 405


def test_parameters_in_the_address_are_not_looked_at(server: Server) -> None:
    secret = server.signed_in()["refresh_token"]
    query = urlencode({"grant_type": "refresh_token", "client_id": "narrowgate-cli", "refresh_token": secret})
    assert error(server.raw(f"/oauth/token?{query}", b"")) == "invalid_request"


@pytest.mark.parametrize("header", ["Basic bmFycm93Z2F0ZS1jbGk6", "Bearer x"])
def test_a_second_way_to_say_who_one_is_is_refused(server: Server, header: str) -> None:
    secret = server.signed_in()["refresh_token"]
    body = urlencode({"grant_type": "refresh_token", "client_id": "narrowgate-cli", "refresh_token": secret}).encode()
    answer = server.raw("/oauth/token", body, headers={"authorization": header})
    assert (answer.status, error(answer)) == (401, "invalid_client")
    assert members(server.refresh(secret))["access_token"]


@pytest.mark.parametrize(
    "grant_type", ["password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer", "x" * 999]
)
def test_other_grants_are_refused_by_name(server: Server, grant_type: str) -> None:
    answer = server.token(grant_type)
    assert error(answer) == "unsupported_grant_type"
    assert GRANTS["device"] in answer.text


def flooded(server: Server) -> None:
    for _ in range(BURST):
        assert server.refresh("ngr1_wrong").status == 400


def test_a_flood_of_refused_calls_does_not_fill_the_record(server: Server) -> None:
    flooded(server)
    before = len(server.journal.entries)
    held = server.refresh("ngr1_wrong")
    assert (held.status, error(held)) == (429, "temporarily_unavailable")
    assert int(held.header("retry-after")) >= 1
    assert len(server.journal.entries) == before
    server.now += 2
    assert server.refresh("ngr1_wrong").status == 400
    assert len(server.journal.entries) == before + 1


def test_a_flood_from_one_address_signs_nobody_out_who_shares_it(server: Server) -> None:
    secret = server.signed_in()["refresh_token"]
    flooded(server)
    assert members(server.refresh(secret))["access_token"]


class Filling(Journal):
    """A journal on a disk with room for so many entries."""

    room: int = 0

    async def record(self, entry: bytes, durable: bool) -> None:
        self.full = len(self.entries) >= self.room
        await super().record(entry, durable)


@pytest.mark.parametrize("room", [0, 1])
def test_wherever_the_disk_fills_nothing_is_given_out_that_is_not_recorded(server: Server, room: int) -> None:
    code, device = server.code_for(server.browser()), server.device()
    server.answer_device(server.browser(), device["user_code"])
    secret, shown = server.signed_in()["refresh_token"], server.assertion(server.key_agent())
    calls: list[Callable[[], Answer]] = [
        lambda: server.redeem(code),
        lambda: server.poll(device["device_code"]),
        lambda: server.refresh(secret),
        lambda: server.exchange(server.id_token(), resource=CLUSTER),
        lambda: server.with_key(shown),
        lambda: server.post("/oauth/device_authorization", {"client_id": "narrowgate-cli"}),
    ]
    for call in calls:
        server.journal = Filling()
        server.journal.room = room
        server.app = server.new_app()
        answer = call()
        assert (answer.status, error(answer)) == (503, "temporarily_unavailable")
        assert set(json.loads(answer.text)) == {"error", "error_description"}


def test_a_disk_that_was_full_for_a_moment_costs_nobody_their_sign_in(server: Server) -> None:
    secret = server.signed_in()["refresh_token"]
    server.journal = Filling()
    server.journal.room = 1
    server.app = server.new_app()
    assert server.refresh(secret).status == 503
    server.journal.room = 1000
    assert members(server.refresh(secret))["access_token"]


def test_a_device_that_polls_is_never_held_back_for_it(server: Server) -> None:
    got = server.device()
    for _ in range(BURST + 5):
        assert error(server.poll(got["device_code"])) == "authorization_pending"


def test_refusals_are_recorded_with_their_reason(server: Server) -> None:
    server.token("password")
    entry, _ = server.journal.entries[-1]
    assert (entry["stage"], entry["responseStatus"]["code"]) == ("ResponseComplete", 400)
    assert entry["user"]["username"] == "system:anonymous"
    assert "grant_type" in entry["annotations"]["narrowgate.dev/reason"]


def test_a_store_that_is_gone_is_said_so_and_recorded(server: Server) -> None:
    secret = server.signed_in()["refresh_token"]
    server.store.close()
    answer = server.refresh(secret)
    assert (answer.status, error(answer)) == (503, "temporarily_unavailable")
    assert str(server.folder) not in answer.text
    assert server.recorded()[-1] == ("ResponseComplete", "accesscredentials", "error", 503)


def test_descriptions_hold_only_what_they_may() -> None:
    assert described('a "b" \\ é\n') == "a 'b' / ??"


def test_the_error_names_the_issuer_url_that_was_meant(server: Server) -> None:
    answer = server.exchange(server.id_token(), resource="https://elsewhere.example")
    assert f"{URL}/clusters/NAME" in answer.text
