"""The order of a call: permitted, on the disk, done, recorded, answered; and what happens when a part of that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.control.api.calling import BINDINGS, PEOPLE, ROOT, SETTINGS, Api, detail, document
from tests.unit.control.browsing import Answer
from tests.unit.control.journal import Journal

from narrowgate.control.api import ApiParts, api_routes
from narrowgate.control.callers import Callers
from narrowgate.control.recorder import Recorder

NEW = {"name": "bot", "owner": "person:olga", "purpose": "restarts pods", "cluster": "prod"}


def annotations(entry: dict[str, Any]) -> dict[str, str]:
    return {name.removeprefix("narrowgate.dev/"): text for name, text in entry["annotations"].items()}


def test_a_change_is_on_the_disk_before_it_is_done_and_its_end_is_recorded(api: Api) -> None:
    assert api.call("POST", "/agents", NEW).status == 201
    (received, durable), (finished, _) = api.memory.entries
    assert (received["stage"], durable, finished["stage"]) == ("RequestReceived", True, "ResponseComplete")
    for entry in (received, finished):
        assert (entry["verb"], entry["user"]["username"]) == ("create", "person:root")
        assert (entry["objectRef"]["resource"], entry["objectRef"]["name"]) == ("agents", "bot")
    assert annotations(finished)["because"] == "role admin"
    assert finished["responseStatus"]["code"] == 201
    assert received["auditID"] == finished["auditID"]


def test_a_read_is_one_entry(api: Api) -> None:
    assert api.call("GET", "/agents", who=PEOPLE["owner"]).status == 200
    ((entry, durable),) = api.memory.entries
    assert (entry["verb"], durable, annotations(entry)["because"]) == (
        "list",
        False,
        "role member, for what is their own",
    )


@pytest.mark.parametrize(
    ("method", "target", "body", "who", "code", "decision"),
    [
        ("POST", "/agents", NEW, None, 401, "deny"),
        ("POST", "/agents", NEW, PEOPLE["member"], 403, "deny"),
        ("DELETE", "/agents/other", None, PEOPLE["member"], 404, "deny"),
        ("POST", "/agents", b"{", ROOT, 400, "malformed"),
        ("PUT", "/agents", None, ROOT, 405, "malformed"),
        ("GET", "/nowhere", None, ROOT, 404, "deny"),
        ("POST", "/roles", {"person": "root", "role": "auditor"}, ROOT, 403, "deny"),
    ],
)
def test_what_is_refused_is_recorded_with_the_reason(
    api: Api, method: str, target: str, body: object, who: Any, code: int, decision: str
) -> None:
    answer = api.call(method, target, body, who=who)
    entry = api.entries()[-1]
    assert (answer.status, entry["responseStatus"]["code"], annotations(entry)["decision"]) == (code, code, decision)
    assert annotations(entry)["reason"] == detail(answer)
    assert document(answer)["instance"].endswith(entry["auditID"])


def test_what_a_call_acts_on_is_named(api: Api) -> None:
    api.agent("bot")
    api.call("POST", "/agents/bot/pause", who=PEOPLE["member"])
    api.call("POST", "/roles", {"person": "zoe", "role": "auditor"})
    api.call("DELETE", "/roles/auditor/people/zoe")
    named = [(entry["verb"], entry["objectRef"]["resource"], entry["objectRef"]["name"]) for entry in api.entries()]
    assert set(named) == {
        ("pause", "agents", "bot"), ("create", "roles", "auditor/zoe"), ("delete", "roles", "auditor/zoe"),
    }  # fmt: skip


def test_no_credential_is_in_the_record(api: Api) -> None:
    made = document(api.call("POST", "/agents", NEW))
    api.call("GET", f"/agents?limit={made['credential']}")
    api.call("GET", f"/agents/{made['credential']}")
    assert made["credential"] not in str(api.entries())


class Failing(Journal):
    """A journal that cannot be written from the n-th entry on."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    async def record(self, entry: bytes, durable: bool) -> None:
        self.full = len(self.entries) >= self.good
        await super().record(entry, durable)


def with_journal(api: Api, journal: Journal) -> Api:
    callers = Callers(api.authenticator, api.sessions, api.store, BINDINGS, SETTINGS.url)
    parts = ApiParts(
        settings=SETTINGS, store=api.store, recorder=Recorder(journal), callers=callers, rulebook=api.rulebook
    )
    api.app.router.routes[:] = api_routes(parts)
    return api


def trouble(answer: Answer) -> str:
    return str(document(answer)["type"].rpartition(":")[2])


def test_what_cannot_be_recorded_is_not_done(api: Api) -> None:
    answer = with_journal(api, Failing(0)).call("POST", "/agents", NEW)
    assert (answer.status, trouble(answer), answer.header("retry-after")) == (503, "unrecorded", "5")
    assert "nothing was done" in detail(answer)
    assert api.store.agents() == ()


def test_it_may_be_tried_again_under_its_key(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    assert with_journal(api, Failing(0)).call("POST", "/agents", NEW, headers=key).status == 503
    assert with_journal(api, Journal()).call("POST", "/agents", NEW, headers=key).status == 201


def test_what_was_done_and_could_not_be_recorded_to_its_end_is_said_to_be_done(api: Api) -> None:
    answer = with_journal(api, Failing(1)).call("POST", "/agents", NEW)
    assert (answer.status, "this was done" in detail(answer)) == (503, True)
    assert [agent.name for agent in api.store.agents()] == ["bot"]
    assert "ng1_" not in answer.text


def test_an_answer_that_cannot_be_recorded_is_not_given(api: Api) -> None:
    api.agent("bot")
    answer = with_journal(api, Failing(0)).call("GET", "/agents")
    assert (answer.status, trouble(answer), "bot" in answer.text) == (503, "unrecorded", False)
    refused = with_journal(api, Failing(0)).call("GET", "/roles", who=PEOPLE["member"])
    assert (refused.status, trouble(refused)) == (503, "unrecorded")


def test_a_store_that_is_away_is_said_to_be_and_nothing_of_it_told(api: Api) -> None:
    credential = api.bearer(PEOPLE["admin"])
    known = api.authenticator()
    api.store.close()
    callers = Callers(lambda: known, api.sessions, api.store, BINDINGS, SETTINGS.url)
    parts = ApiParts(settings=SETTINGS, store=api.store, recorder=api.recorder, callers=callers, rulebook=api.rulebook)
    api.app.router.routes[:] = api_routes(parts)
    answer = api.call("GET", "/agents", who=credential)
    assert (answer.status, trouble(answer)) == (503, "unavailable")
    assert str(api.folder) not in answer.text


def test_a_fault_of_ours_is_one_document_and_tells_nothing(api: Api) -> None:
    def broken() -> Any:
        raise RuntimeError("secret path")

    callers = Callers(api.authenticator, api.sessions, api.store, BINDINGS, SETTINGS.url)
    parts = ApiParts(settings=SETTINGS, store=api.store, recorder=api.recorder, callers=callers, rulebook=broken)
    api.app.router.routes[:] = api_routes(parts)
    answer = api.call("GET", "/whoami", who=PEOPLE["member"])
    assert (answer.status, trouble(answer), "secret" in answer.text) == (500, "fault", False)
    assert annotations(api.entries()[-1])["decision"] == "error"


def test_no_answer_is_kept_by_anybody(api: Api) -> None:
    api.agent("bot")
    for answer in (
        api.call("GET", "/agents"),
        api.call("GET", "/roles", who=PEOPLE["member"]),
        api.call("DELETE", "/agents/bot"),
        api.call("GET", "/openapi.json", who=None),
        api.call("GET", "/.well-known/narrowgate", who=None),
    ):
        assert (answer.header("cache-control"), answer.header("x-content-type-options")) == ("no-store", "nosniff")


def test_two_changes_of_one_agent_at_once_both_count(api: Api) -> None:
    # The second is made from the record as the first left it, whichever that is: a pause is never undone.
    api.agent("bot")

    async def both() -> list[int]:
        calls = [api.called("POST", "/agents/bot/pause")]
        calls += [api.called("PATCH", "/agents/bot", {"purpose": f"purpose {n}"}) for n in range(4)]
        return [answer.status for answer in await asyncio.gather(*calls)]

    for _ in range(5):
        api.call("POST", "/agents/bot/resume")
        assert set(asyncio.run(both())) <= {200, 409}
        assert api.store.agent("bot").paused


def test_the_end_of_an_entry_names_the_task_that_was_made(api: Api) -> None:
    credential = api.agent("hers").text
    wish = {"purpose": "tests", "allow": ["get pods -n ci"]}
    made = document(api.call("POST", "/tasks", wish, who=credential))["id"]
    begun, ended = api.entries()[-2:]
    assert (begun["stage"], begun["objectRef"].get("name", "")) == ("RequestReceived", "")
    assert (ended["stage"], ended["objectRef"]["name"]) == ("ResponseComplete", made)
    api.call("GET", "/tasks", who=credential)
    assert "name" not in api.entries()[-1]["objectRef"]
