"""The record of a running gate can be searched while it is written: by the API of the gate, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.api_caller import Caller, by_session, by_token, link_of
from tests.e2e.browser import browser, new_page
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Gate
from tests.e2e.signing_in import authority_of, control_url


@pytest.fixture(scope="module")
def searched(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = Gate(tmp_path_factory.mktemp("searched"), [echo.cluster("echo")])
    gate.agent("all", ALLOW_ALL_RULES, cluster="echo")
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def admin(searched: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with browser(tmp_path_factory.mktemp("home"), [authority_of(searched)]) as running:
        page = new_page(running)
        page.goto(link_of(searched))
        page.click("main button")
        page.wait_for_url(f"{control_url(searched)}/")
        yield by_session(searched, page)


def test_what_was_done_is_found_soon_after_and_shown_in_full(searched: Gate, admin: Caller) -> None:
    agent = searched.agent("all", cluster="echo")
    assert agent.request("GET", "/api/v1/namespaces/shop/pods/web-1").status == 200

    def found() -> list[str]:
        answer = admin("GET", "/records?who=agent:all&object=pods/web-1&namespace=shop")
        assert answer.status == 200
        return [entry["auditId"] for entry in answer.document["items"] if entry["finishedAt"]]

    searched.wait_until(lambda: len(found()) == 1, "the request can be found")
    (audit_id,) = found()
    shown = admin("GET", f"/records/{audit_id}").document
    assert [event["stage"] for event in shown["events"]] == ["RequestReceived", "ResponseComplete"]
    assert {event["auditID"] for event in shown["events"]} == {audit_id}
    on_the_command_line = searched.command("audit", "show", audit_id, "-o", "json")
    assert json.loads(on_the_command_line.out) == shown


def test_the_record_says_who_searched_it_and_the_search_finds_that(searched: Gate, admin: Caller) -> None:
    admin("GET", "/records?who=somebody-sought")
    done = searched.command("audit", "search", "--resource", "records.narrowgate.dev", "--verb", "list", "-o", "json")
    assert {entry["user"] for entry in json.loads(done.out)} == {"person:admin@local"}
    # What was looked for is the searcher's own business.
    assert "somebody-sought" not in done.out


def test_an_agent_may_not_search(searched: Gate) -> None:
    agent = searched.agent("all", cluster="echo")
    answer = by_token(searched, agent.token)("GET", "/records")
    assert (answer.status, "only people" in answer.document["detail"]) == (403, True)


def test_a_gate_goes_on_when_its_index_is_deleted(searched: Gate, admin: Caller) -> None:
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (searched.data_dir / "trail" / name).unlink(missing_ok=True)

    def found() -> bool:
        answer = admin("GET", "/records?who=agent:all")
        return answer.status == 200 and len(answer.document["items"]) > 0

    searched.wait_until(found, "the index was made anew")
    assert searched.command("audit", "verify").code == 0
