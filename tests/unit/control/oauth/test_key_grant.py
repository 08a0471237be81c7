"""Agents that sign with a registered key."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import msgspec
import pytest
from tests.unit.control.browsing import FORM, Browsing
from tests.unit.control.oauth.server import CLUSTER, URL, Server, error, members

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.port import Rejected
from narrowgate.control.issuing import new_id
from narrowgate.core.identity import Kind


def test_an_agent_gets_a_credential_for_its_cluster(server: Server) -> None:
    key = server.key_agent()
    answer = server.with_key(server.assertion(key), resource=CLUSTER)
    assert "refresh_token" not in members(answer)
    who = server.opened(answer, Port.KUBERNETES)
    assert (who.kind, who.name, who.owner, who.groups) == (Kind.AGENT, "ci-bot", "person:alice", ("bots",))
    assert (who.cluster, who.proven_by) == ("dev", "agent-key")


def test_the_token_endpoint_is_an_audience_too(server: Server) -> None:
    key = server.key_agent()
    assert members(server.with_key(server.assertion(key, aud=f"{URL}/oauth/token")))["access_token"]


def test_it_opens_no_other_cluster(server: Server) -> None:
    key = server.key_agent()
    answer = server.with_key(server.assertion(key), resource=CLUSTER.replace("dev", "prod"))
    assert error(answer) == "invalid_target"


def test_an_assertion_counts_once(server: Server) -> None:
    shown = server.assertion(server.key_agent())
    members(server.with_key(shown))
    again = server.with_key(shown)
    assert (again.status, error(again)) == (401, "invalid_client")
    server.app = server.new_app()
    assert error(server.with_key(shown)) == "invalid_client"


def test_of_many_who_show_one_assertion_at_once_one_gets_a_credential(server: Server) -> None:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    shown = server.assertion(server.key_agent())
    form = {"grant_type": "client_credentials", "client_assertion_type": kind, "client_assertion": shown}
    body = urlencode(form).encode()

    async def all_at_once() -> list[int]:
        programs = [Browsing(server.app) for _ in range(6)]
        sent = [program.sent("POST", "/oauth/token", body, {"content-type": FORM}) for program in programs]
        return [answer.status for answer in await asyncio.gather(*sent)]

    assert sorted(asyncio.run(all_at_once())) == [200] + [401] * 5


def test_two_agents_may_choose_one_id(server: Server) -> None:
    first, second, jti = server.key_agent(), server.key_agent("other"), new_id()
    members(server.with_key(server.assertion(first, jti=jti)))
    assert members(server.with_key(server.assertion(second, "other", jti=jti)))["access_token"]


def test_removing_the_key_ends_what_rests_on_it(server: Server) -> None:
    key = server.key_agent()
    credential = members(server.with_key(server.assertion(key)))["access_token"]
    server.agents["ci-bot"] = msgspec.structs.replace(server.agents["ci-bot"], keys=())
    answer = server.presented(credential)
    assert isinstance(answer, Rejected)
    assert "key" in answer.reason


def test_pausing_the_agent_ends_it(server: Server) -> None:
    key = server.key_agent()
    credential = members(server.with_key(server.assertion(key)))["access_token"]
    server.agents["ci-bot"] = msgspec.structs.replace(server.agents["ci-bot"], paused=True)
    assert isinstance(server.presented(credential), Rejected)
    assert error(server.with_key(server.assertion(key))) == "invalid_client"


def test_it_is_good_no_longer_than_the_agent(server: Server) -> None:
    key = server.key_agent(ends_at=server.now + 50)
    assert members(server.with_key(server.assertion(key)))["expires_in"] <= 50


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other-gate.example:8444"},
        {"aud": [URL, "https://other.example"]},
        {"exp": 1_000_000_000},
        {"exp": 4_000_000_000},
        {"jti": ""},
        {"sub": "other"},
        {"iss": "other"},
    ],
)
def test_an_assertion_for_something_else_is_refused(server: Server, changed: dict[str, object]) -> None:
    refused = server.with_key(server.assertion(server.key_agent(), **changed))
    assert (refused.status, error(refused)) == (401, "invalid_client")
    assert refused.header("www-authenticate")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"client_assertion_type": ""}, "invalid_client"),
        ({"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, "invalid_client"),
        ({"client_assertion": ""}, "invalid_request"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_id": "narrowgate-cli"}, "invalid_client"),
        ({"scope": "all"}, "invalid_scope"),
    ],
)
def test_only_a_signed_assertion_proves_an_agent(server: Server, fields: dict[str, str], expected: str) -> None:
    assert error(server.with_key(server.assertion(server.key_agent()), **fields)) == expected


def test_the_key_of_another_agent_proves_nothing(server: Server) -> None:
    server.key_agent()
    other = server.key_agent("other")
    assert error(server.with_key(server.assertion(other, "ci-bot"))) == "invalid_client"


def test_a_full_disk_means_no_credential(server: Server) -> None:
    shown = server.assertion(server.key_agent())
    server.journal.full = True
    assert server.with_key(shown).status == 503
    server.journal.full = False
    assert members(server.with_key(shown))["access_token"]
