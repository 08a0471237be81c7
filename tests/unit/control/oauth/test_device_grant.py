"""The program's side of signing in without a browser."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlencode

import pytest
from tests.unit.control.browsing import FORM, Browsing
from tests.unit.control.oauth.server import CLUSTER, GRANTS, URL, Server, error, members

from narrowgate.authenticators.access_credential import Port
from narrowgate.control.oauth.device_grant import BURST, BURST_OF_ALL
from narrowgate.core.sign_in import Client


def test_a_program_gets_its_codes_and_where_to_send_the_person(server: Server) -> None:
    got = server.device()
    assert re.fullmatch(r"ngd1_[a-z2-7]{16}_[-\w]{49}", got["device_code"])
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", got["user_code"])
    assert got["verification_uri"] == f"{URL}/device"
    assert got["verification_uri_complete"] == f"{URL}/device?user_code={got['user_code']}"
    assert (got["expires_in"], got["interval"]) == (600, 5)


def test_while_nobody_answers_the_program_goes_on_asking(server: Server) -> None:
    got = server.device()
    assert [error(server.poll(got["device_code"])) for _ in range(5)] == ["authorization_pending"] * 5


def test_a_yes_signs_the_program_in_as_the_person(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    answer = server.poll(got["device_code"])
    assert server.opened(answer).name == "alice"
    assert members(answer)["refresh_token"].startswith("ngr1_")


def test_the_credential_is_for_the_cluster_that_the_poll_names(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    answer = server.poll(got["device_code"], resource=CLUSTER)
    assert server.opened(answer, Port.KUBERNETES).cluster == "dev"


def test_a_no_ends_it(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"], "deny")
    assert error(server.poll(got["device_code"])) == "access_denied"


def test_whoever_polls_too_fast_is_slowed_down(server: Server) -> None:
    got = server.device()
    form = {"device_code": got["device_code"]}
    assert error(server.token("device", form)) == "slow_down"
    server.now += 5
    assert error(server.token("device", form)) == "slow_down"
    server.now += 20
    assert error(server.token("device", form)) == "authorization_pending"


def test_polling_too_fast_does_not_lose_the_answer(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    assert error(server.token("device", {"device_code": got["device_code"]})) == "slow_down"
    server.now += 60
    assert members(server.token("device", {"device_code": got["device_code"]}))["access_token"]


def test_a_poll_a_little_early_is_on_time(server: Server) -> None:
    got = server.device()
    server.now += 4.2
    assert error(server.token("device", {"device_code": got["device_code"]})) == "authorization_pending"


def test_a_device_code_is_good_once(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    members(server.poll(got["device_code"]))
    assert error(server.poll(got["device_code"])) == "expired_token"


def test_of_many_who_bring_one_device_code_at_once_one_is_signed_in(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    server.now += 5
    body = urlencode(
        {"grant_type": GRANTS["device"], "client_id": "narrowgate-cli", "device_code": got["device_code"]}
    ).encode()

    async def all_at_once() -> list[int]:
        programs = [Browsing(server.app) for _ in range(8)]
        sent = [program.sent("POST", "/oauth/token", body, {"content-type": FORM}) for program in programs]
        return [answer.status for answer in await asyncio.gather(*sent)]

    assert asyncio.run(all_at_once()).count(200) == 1
    assert len([one for one in server.store.sign_ins.listed() if one.client is Client.CLI]) == 1


def test_after_ten_minutes_both_codes_are_worth_nothing(server: Server) -> None:
    got = server.device()
    server.now += 601
    page = server.browser().get(f"/device?user_code={got['user_code']}")
    assert (page.status, "not waiting" in page.problem()) == (400, True)
    assert error(server.poll(got["device_code"])) == "expired_token"


def test_a_yes_from_a_session_that_ended_since_is_none(server: Server) -> None:
    got = server.device()
    browser = server.browser()
    server.answer_device(browser, got["user_code"])
    server.store.sign_ins.end(server.console_of(browser).id, "signed out", by="person:alice", at=server.now)
    assert error(server.poll(got["device_code"])) == "access_denied"


def test_the_user_code_is_not_the_device_code(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    assert error(server.poll(got["user_code"])) == "invalid_grant"


def test_neither_code_is_kept_or_recorded_in_the_clear(server: Server) -> None:
    got = server.device()
    server.answer_device(server.browser(), got["user_code"])
    kept = b"".join(file.read_bytes() for file in server.folder.glob("gate.db*"))
    for code in (got["device_code"], got["user_code"], got["user_code"].replace("-", "")):
        assert code.encode() not in kept
        assert code not in str(server.journal.entries)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"client_id": "other"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"scope": "all"}, "invalid_scope"),
        ({"resource": URL}, "invalid_target"),
    ],
)
def test_only_our_program_asks_and_only_for_a_sign_in(server: Server, fields: dict[str, str], expected: str) -> None:
    answer = server.post("/oauth/device_authorization", {"client_id": "narrowgate-cli", **fields})
    assert error(answer) == expected


def test_one_address_cannot_fill_the_store(server: Server) -> None:
    form = {"client_id": "narrowgate-cli"}
    answers = [server.post("/oauth/device_authorization", form) for _ in range(BURST + 1)]
    assert [answer.status for answer in answers] == [200] * BURST + [429]
    assert int(answers[-1].header("retry-after")) >= 1
    assert server.post("/oauth/device_authorization", form, address="192.0.2.77").status == 200


def test_many_addresses_together_cannot_either(server: Server) -> None:
    form = {"client_id": "narrowgate-cli"}
    statuses = [
        server.post("/oauth/device_authorization", form, address=f"198.51.{number}.1").status
        for number in range(BURST_OF_ALL + 1)
    ]
    assert statuses[-1] == 429
    assert set(statuses[:-1]) == {200}


def test_waiting_polls_leave_no_entries(server: Server) -> None:
    got = server.device()
    before = len(server.journal.entries)
    for _ in range(3):
        server.poll(got["device_code"])
    assert len(server.journal.entries) == before
