"""A call that is sent again under its key is done once, for one caller and one request."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document, person

from narrowgate.control.api.idempotency import KEPT_SECONDS, IdempotencyKey, Replays
from narrowgate.control.problems import Problem, Trouble
from narrowgate.store.port import RoleGrant

NEW = {"name": "bot", "owner": "person:olga", "purpose": "restarts pods", "cluster": "prod"}
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


def test_the_same_call_again_is_answered_as_the_first_and_done_once(api: Api) -> None:
    first = api.call("POST", "/roles", {"person": "zoe", "role": "auditor"}, headers=KEY)
    changes = len(api.store.changes())
    second = api.call("POST", "/roles", {"person": "zoe", "role": "auditor"}, headers=KEY)
    assert (second.status, second.text) == (first.status, first.text)
    assert (first.header("idempotency-replayed"), second.header("idempotency-replayed")) == ("", "true")
    assert len(api.store.changes()) == changes


def test_a_credential_that_was_shown_once_is_not_shown_again_nor_kept(api: Api) -> None:
    first = document(api.call("POST", "/agents", NEW, headers=KEY))
    second = api.call("POST", "/agents", NEW, headers=KEY)
    assert second.status == 201
    assert document(second) == {name: value for name, value in first.items() if name != "credential"}
    assert second.header("location") == "/api/v1/agents/bot"
    raw = b"".join(path.read_bytes() for path in _files(api))
    assert first["credential"].encode() not in raw
    assert first["credential"][len("ng1_") + 11 :].encode() not in raw


def _files(api: Api) -> list[Path]:
    return [path for path in api.folder.rglob("*") if path.is_file()]


def test_quotes_around_the_key_are_not_part_of_it(api: Api) -> None:
    assert api.call("POST", "/agents", NEW, headers=KEY).status == 201
    bare = {"Idempotency-Key": KEY["Idempotency-Key"].strip('"')}
    assert api.call("POST", "/agents", NEW, headers=bare).header("idempotency-replayed") == "true"


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/agents", NEW | {"purpose": "another"}),
        ("POST", "/roles", {"person": "zoe", "role": "auditor"}),
        ("DELETE", "/agents/bot", None),
    ],
)
def test_a_key_belongs_to_one_request(api: Api, method: str, target: str, body: object) -> None:
    assert api.call("POST", "/agents", NEW, headers=KEY).status == 201
    other = api.call(method, target, body, headers=KEY)
    assert (other.status, document(other)["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")
    assert [agent.name for agent in api.store.agents()] == ["bot"]


def test_a_key_belongs_to_one_caller(api: Api) -> None:
    body = {"lifetime": "1m"}
    api.agent("bot")
    mine = document(api.call("POST", "/agents/bot/rotate", body, who=PEOPLE["owner"], headers=KEY))
    for other in (ROOT, person("olga2", "admins"), person("olga", "admins", proven_by="saml:corp")):
        theirs = api.call("POST", "/agents/bot/rotate", body, who=other, headers=KEY)
        assert theirs.header("idempotency-replayed") == ""
        assert document(theirs)["credentialId"] != mine["credentialId"]


def test_whoever_lost_the_right_gets_no_old_answer(api: Api) -> None:
    api.store.roles.give(RoleGrant(person="zed", role="admin", given_by="local:test", given_at=time.time()))
    zed = person("zed")
    assert api.call("POST", "/agents", NEW, who=zed, headers=KEY).status == 201
    api.store.roles.take("zed", "admin", by="local:test", at=time.time())
    assert api.call("POST", "/agents", NEW, who=zed, headers=KEY).status == 403


def test_a_call_that_was_refused_may_be_made_again_under_its_key(api: Api) -> None:
    api.agent("bot")
    assert api.call("POST", "/agents", NEW, headers=KEY).status == 409
    api.store.remove_agent("bot", by="local:test", at=time.time())
    assert api.call("POST", "/agents", NEW, headers=KEY).status == 201


def test_of_many_at_once_one_is_done_and_the_others_are_told(api: Api) -> None:
    async def many() -> list[int]:
        calls = (api.called("POST", "/agents", NEW, headers=KEY) for _ in range(8))
        return [answer.status for answer in await asyncio.gather(*calls)]

    statuses = asyncio.run(many())
    # Who came while the first was under way is refused; who came after it is answered as the first.
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert len([change for change in api.store.changes() if change.action == "agent.added"]) == 1


@pytest.mark.parametrize("key", ["", '""', "two words", '"a', 'a"', "ü", "x" * 256, '"a\\"b"', "a,b" * 100])
def test_what_is_no_key_is_refused_and_nothing_done(api: Api, key: str) -> None:
    answer = api.call("POST", "/agents", NEW, headers={"Idempotency-Key": key or " "})
    assert answer.status == 400
    assert api.store.agents() == ()


def test_a_call_that_changes_nothing_takes_no_key(api: Api) -> None:
    assert "takes no Idempotency-Key" in detail(api.call("GET", "/agents", headers=KEY))
    files = {"files": [{"name": "a.yaml", "text": ""}]}
    assert api.call("POST", "/policies/check", files, who=PEOPLE["policy-author"], headers=KEY).status == 400


def test_a_call_that_broke_off_is_not_made_again_by_itself(api: Api) -> None:
    replays = Replays(api.store.once)
    key = IdempotencyKey("scope", "digest")
    assert replays.begin(key, 100.0) is None
    with pytest.raises(Problem, match="broke off") as refused:
        replays.begin(key, 100.0 + KEPT_SECONDS - 1)
    assert refused.value.trouble is Trouble.CONFLICT
    assert replays.begin(key, 101.0 + KEPT_SECONDS) is None


def test_an_answer_is_kept_for_a_day(api: Api) -> None:
    replays = Replays(api.store.once)
    key = IdempotencyKey("scope", "digest")
    assert replays.begin(key, 100.0) is None
    replays.done(key, 201, {"ETag": '"a"'}, b"{}", 101.0)
    kept = replays.begin(key, 99.0 + KEPT_SECONDS)
    assert kept is not None
    assert (kept.status, kept.headers, json.loads(kept.body)) == (201, {"ETag": '"a"'}, {})
    assert replays.begin(key, 101.0 + KEPT_SECONDS) is None
