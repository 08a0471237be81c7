"""The control API of a gate without a provider: from the one-time link to an agent that is paused while it works."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from tests.e2e.api_caller import Caller, by_session, by_token, link_of
from tests.e2e.browser import browser, new_page
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Gate
from tests.e2e.signing_in import authority_of, control_url
from tests.e2e.wire import Connection

NEW = {"name": "made-by-api", "owner": "person:olga", "purpose": "tests", "cluster": "echo"}


@pytest.fixture(scope="module")
def alone(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("alone"), [echo.cluster("echo")])
    gate.agent("all", ALLOW_ALL_RULES, cluster="echo")
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def admin(alone: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Whoever came by the link, as a program that has their session."""
    with browser(tmp_path_factory.mktemp("home"), [authority_of(alone)]) as running:
        page = new_page(running)
        page.goto(link_of(alone))
        page.click("main button")
        page.wait_for_url(f"{control_url(alone)}/")
        assert page.inner_text("h1") == "admin@local"
        assert page.inner_text("#roles") == "admin, member"
        yield by_session(alone, page)


def test_without_a_provider_the_link_is_a_sign_in_for_an_hour(alone: Gate, admin: Caller) -> None:
    who = admin("GET", "/whoami").document
    assert (who["identity"], who["provenBy"], who["roles"]) == ("person:admin@local", "link", ["admin", "member"])
    ((sign_in,),) = (admin("GET", "/sign-ins").document["items"],)
    assert (sign_in["source"], sign_in["current"]) == ("link", True)
    lasts = _seconds(sign_in["expiresAt"]) - _seconds(sign_in["createdAt"])
    assert lasts <= 3601
    assert alone.command("roles", "list", "-o", "json").out.strip() == "[]"


def _seconds(moment: str) -> float:
    return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))


def test_an_agent_made_by_the_api_opens_its_cluster_until_it_is_paused(alone: Gate, admin: Caller) -> None:
    made = admin("POST", "/agents", NEW, Idempotency_Key='"once"')
    assert made.status == 201
    agent = alone.agent("all", cluster="echo")
    alone.allow("made-by-api", ALLOW_ALL_RULES, cluster="echo")
    bearer = {"Authorization": f"Bearer {made.document['credential']}"}

    def status() -> int:
        return agent.request("GET", "/version", bearer).status

    alone.wait_until(lambda: status() == 200, "the new agent is known")
    again = admin("POST", "/agents", NEW, Idempotency_Key='"once"')
    assert (again.status, again.headers["idempotency-replayed"], "credential" in again.document) == (201, "true", False)

    assert admin("POST", "/agents/made-by-api/pause", {"because": "test"}).status == 200
    alone.wait_until(lambda: status() == 401, "the paused agent is refused")
    assert admin("POST", "/agents/made-by-api/resume").status == 200
    alone.wait_until(lambda: status() == 200, "the agent goes on")
    assert admin("DELETE", "/agents/made-by-api").status == 204
    alone.wait_until(lambda: status() == 401, "the removed agent is refused")


def test_an_agents_credential_tells_who_it_is_and_administers_nothing(alone: Gate, admin: Caller) -> None:
    agent = by_token(alone, alone.agent("all", cluster="echo").token)
    who = agent("GET", "/whoami").document
    assert (who["identity"], who["owner"], who["roles"], who["clusters"]) == (
        "agent:all", "person:test", ["member"], ["echo"],
    )  # fmt: skip
    assert agent("POST", "/agents", NEW).status == 403
    assert agent("POST", "/agents/all/rotate").status == 404
    assert agent("GET", "/roles").status == 403
    assert admin("GET", "/clusters").document["items"] == [{"name": "echo", "mode": "credential"}]


def test_every_call_is_in_the_trail_which_holds_together(alone: Gate, admin: Caller) -> None:
    refused = by_token(alone, "ng1_wrong")("GET", "/roles")
    instance = refused.document["instance"]
    assert refused.status == 401
    event = alone.wait_for_event(instance.rpartition(":")[2])
    assert (event["requestURI"], event["responseStatus"]["code"]) == ("/api/v1/roles", 401)
    assert admin("POST", "/roles", {"person": "zoe", "role": "auditor"}).status == 201
    stages = [event["stage"] for event in alone.events("auditor/zoe")]
    assert stages[:2] == ["RequestReceived", "ResponseComplete"]
    verified = alone.command("audit", "verify")
    assert verified.code == 0, verified.text
    assert re.search(r"control-0", alone.command("audit", "verify", "-o", "json").out)


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        ("GET /api/v1/whoami HTTP/1.1\r\nHost: [\r\n", {400, 401}),
        ("GET /api/v1/whoami HTTP/1.1\r\n", {400}),
        ("GET /api/v1/whoami HTTP/1.1\r\nHost: a\r\nHost: b\r\n", {400}),
        ("GET /api/v1/whoami HTTP/1.1\r\nHost: a\r\nAUTH\r\nAUTH\r\n", {401}),
        ("GET /api/v1/whoami HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nAUTH\r\n", {401}),
        ("GET http://evil.example/api/v1/whoami HTTP/1.1\r\nHost: a\r\nAUTH\r\n", {400, 404}),
        ("GET /api/v1/../v1/whoami HTTP/1.1\r\nHost: a\r\nAUTH\r\n", {404}),
        ("GET /api/v1/%77hoami HTTP/1.1\r\nHost: a\r\nAUTH\r\n", {404}),
        ("GET //api/v1/whoami HTTP/1.1\r\nHost: a\r\nAUTH\r\n", {404}),
        ("POST /api/v1/agents HTTP/1.1\r\nHost: a\r\nAUTH\r\nContent-Length: 3\r\nContent-Length: 4\r\n", {400}),
        ("POST /api/v1/agents HTTP/1.1\r\nHost: a\r\nAUTH\r\nTransfer-Encoding: gzip, chunked\r\n", {400, 501}),
        ("GET /api/v1/whoami HTTP/1.1\r\nHost: a\r\nX-A: 1\n\tb\x00\r\n", {400}),
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_let_through_in_none(
    alone: Gate, head: str, statuses: set[int]
) -> None:
    agent = alone.agent("all", cluster="echo")
    head = head.replace("AUTH", f"Authorization: Bearer {agent.token}")
    with Connection("127.0.0.1", alone.control_port, authority_of(alone).read_text()) as connection:
        connection.send(f"{head}Connection: close\r\n\r\n".encode())
        answer = connection.response("GET")
    assert answer.status in statuses
    assert b"agent:all" not in answer.body


def test_the_document_of_the_api_and_the_metadata_are_public(alone: Gate) -> None:
    nobody = Caller(alone, {})
    described = nobody("GET", "/openapi.json")
    assert (described.status, described.document["openapi"]) == (200, "3.1.0")
    assert nobody("GET", "/whoami").status == 401
    assert nobody("GET", "/no-such-thing").headers["content-type"] == "application/problem+json"
