"""Calls about agents: made, changed, and made less by those who answer for them, never more."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document

from narrowgate.core.moment import moment_text

OWNER = PEOPLE["owner"]
NEW = {"name": "bot", "owner": "person:olga", "purpose": "restarts pods", "cluster": "prod"}
KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
KEY_ID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
"""The thumbprint of RFC 8037, appendix A.3."""


def test_a_new_agent_comes_back_with_a_credential_that_opens(api: Api) -> None:
    answer = api.call("POST", "/agents", NEW | {"labels": {"team": "web"}, "groups": ["bots", "bots"]})
    assert (answer.status, answer.header("location")) == (201, "/api/v1/agents/bot")
    made = document(answer)
    assert (made["groups"], made["labels"], made["state"]) == (["bots"], {"team": "web"}, "active")
    assert document(api.call("GET", "/whoami", who=made["credential"]))["identity"] == "agent:bot"
    assert api.store.changes()[0].by == "person:root"
    assert api.call("GET", "/agents/bot").header("etag") == answer.header("etag") != ""


def test_an_agent_may_prove_itself_by_a_key_alone(api: Api) -> None:
    made = document(api.call("POST", "/agents", NEW | {"credential": False, "keys": [KEY]}))
    assert "credential" not in made
    assert (made["credentialId"], [key["id"] for key in made["keys"]]) == ("", [KEY_ID])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "Bot"}, "lower case letters"),
        ({"name": "system:bot"}, "reserved for Kubernetes"),
        ({"name": ""}, "is empty"),
        ({"owner": "olga"}, "person:NAME or group:NAME"),
        ({"owner": "person:system:admin"}, "reserved for Kubernetes"),
        ({"purpose": ""}, "1 to 500 characters"),
        ({"purpose": "two\nlines"}, "1 to 500 characters"),
        ({"cluster": "staging"}, "registered are: dev, prod"),
        ({"cluster": ""}, "`cluster` is needed"),
        ({"groups": ["system:masters"]}, "reserved for Kubernetes"),
        ({"groups": ["g"] * 2 + [f"g{n}" for n in range(70)]}, "more than 64"),
        ({"lifetime": "10y"}, "lifetime"),
        ({"lifetime": "366d"}, "not between 1s and"),
        ({"lifetime": "0s"}, "not between 1s and"),
        ({"endsAt": "soon"}, "write it like"),
        ({"endsAt": "2020-01-01T00:00:00Z"}, "has passed"),
        ({"labels": {"a b": "c"}}, "label"),
        ({"certificateNames": ["bot"]}, "certificate name"),
        ({"keys": [KEY | {"x": "AAAA"}]}, "32 bytes"),
        ({"keys": [KEY | {"x": "1!qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}, "base64url"),
        ({"keys": [KEY | {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}, "unknown field `d`"),
        ({"keys": [KEY | {"crv": "X25519"}]}, "crv"),
        ({"credentialHash": "AAAA"}, "unknown field `credentialHash`"),
        ({"credential_hash": "AAAA"}, "unknown field `credential_hash`"),
        ({"createdAt": "2020-01-01T00:00:00Z"}, "unknown field `createdAt`"),
        ({"roles": ["admin"]}, "unknown field `roles`"),
        ({"paused": False}, "unknown field `paused`"),
        ({"name": 5}, "expected `str`"),
        ({"name": None}, "expected `str`"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_words(api: Api, change: dict[str, Any], sentence: str) -> None:
    answer = api.call("POST", "/agents", NEW | change)
    assert answer.status == 422
    assert sentence in detail(answer)
    assert api.store.agents() == ()


def test_a_name_is_taken_once(api: Api) -> None:
    assert api.call("POST", "/agents", NEW).status == 201
    again = api.call("POST", "/agents", NEW | {"purpose": "another"})
    assert (again.status, "already" in detail(again)) == (409, True)
    assert api.store.agent("bot").purpose == "restarts pods"


def test_an_owner_sees_their_own_agents_and_no_others(api: Api) -> None:
    api.agent("a-hers")
    api.agent("b-sre", owner="group:sre")
    api.agent("c-hers")
    listed = [item["name"] for item in document(api.call("GET", "/agents", who=OWNER))["items"]]
    assert listed == ["a-hers", "c-hers"]
    assert [item["name"] for item in document(api.call("GET", "/agents", who=PEOPLE["group-owner"]))["items"]] == [
        "b-sre"
    ]
    assert len(document(api.call("GET", "/agents", who=PEOPLE["auditor"]))["items"]) == 3
    hidden, absent = api.call("GET", "/agents/b-sre", who=OWNER), api.call("GET", "/agents/no-such", who=OWNER)
    assert (hidden.status, absent.status) == (404, 404)
    assert detail(hidden) == detail(absent).replace("no-such", "b-sre")


def test_an_agent_in_the_owning_group_answers_for_nobody(api: Api) -> None:
    credential = api.agent("bot", owner="group:sre", groups=("sre",)).text
    assert document(api.call("GET", "/agents", who=credential))["items"] == []
    for action in ("pause", "resume", "rotate"):
        assert api.call("POST", f"/agents/bot/{action}", who=credential).status == 404


def test_a_list_goes_on_behind_the_page_and_shows_everything_once(api: Api) -> None:
    for number in range(7):
        api.agent(f"bot-{number}")
    seen, token = [], ""
    while True:
        page = document(api.call("GET", f"/agents?limit=3&continue={token}", who=OWNER))
        seen += [item["name"] for item in page["items"]]
        token = page["metadata"]["continue"]
        if not token:
            break
    assert seen == [f"bot-{number}" for number in range(7)]


def test_a_patch_changes_what_it_names_and_nothing_else(api: Api) -> None:
    api.agent("bot", labels=(("a", "1"), ("b", "2")), groups=("x",))
    before = api.store.agent("bot")
    ends = moment_text(time.time() + 100)
    body = {"purpose": "other", "labels": {"a": None, "c": "3"}, "endsAt": ends, "certificateNames": ["cn:bot"]}
    changed = document(api.call("PATCH", "/agents/bot", body, headers={"Content-Type": "application/merge-patch+json"}))
    assert (changed["labels"], changed["endsAt"]) == ({"b": "2", "c": "3"}, ends)
    after = api.store.agent("bot")
    told = {"purpose": "other", "labels": (("b", "2"), ("c", "3")), "certificate_names": ("cn:bot",)}
    told |= {"handed_to": ("person:root",)}
    assert after == msgspec.structs.replace(before, **told, ends_at=after.ends_at)
    assert document(api.call("PATCH", "/agents/bot", {"endsAt": None}))["endsAt"] is None
    assert document(api.call("PATCH", "/agents/bot", {"groups": [], "cluster": "prod"}))["groups"] == []


@pytest.mark.parametrize(
    "field", ["name", "credentialId", "expiresAt", "createdAt", "keys", "paused", "state", "pausedBecause"]
)
def test_a_patch_cannot_reach_what_has_a_call_of_its_own_or_none(api: Api, field: str) -> None:
    api.agent("bot")
    before = api.store.agent("bot")
    answer = api.call("PATCH", "/agents/bot", {field: "x"})
    assert (answer.status, f"unknown field `{field}`" in detail(answer)) == (422, True)
    assert api.store.agent("bot") == before


def test_a_change_that_changes_nothing_is_no_change(api: Api) -> None:
    api.agent("bot")
    changes = len(api.store.changes())
    assert api.call("PATCH", "/agents/bot", {}).status == 200
    assert api.call("POST", "/agents/bot/resume").status == 200
    assert len(api.store.changes()) == changes


def test_a_paused_agent_is_let_in_nowhere_until_it_is_resumed(api: Api) -> None:
    credential = api.agent("bot").text
    paused = document(api.call("POST", "/agents/bot/pause", {"because": "odd at night"}, who=OWNER))
    assert (paused["state"], paused["pausedBecause"]) == ("paused", "odd at night")
    refused = api.call("GET", "/whoami", who=credential)
    assert (refused.status, "paused" in detail(refused), "odd at night" in refused.text) == (401, True, False)
    assert document(api.call("POST", "/agents/bot/resume", who=OWNER))["pausedBecause"] == ""
    assert api.call("GET", "/whoami", who=credential).status == 200


@pytest.mark.parametrize("because", ["x" * 201, "two\nlines", 5, None])
def test_a_reason_is_one_line(api: Api, because: object) -> None:
    api.agent("bot")
    assert api.call("POST", "/agents/bot/pause", {"because": because}).status == 422
    assert not api.store.agent("bot").paused


def test_a_rotated_credential_replaces_the_old_one(api: Api) -> None:
    old = api.agent("bot").text
    new = document(api.call("POST", "/agents/bot/rotate", {"lifetime": "90d"}))
    assert api.call("GET", "/whoami", who=old).status == 401
    assert api.call("GET", "/whoami", who=new["credential"]).status == 200
    assert api.store.agent("bot").expires_at > time.time() + 80 * 86_400


def test_the_old_credential_may_stay_good_for_a_while_and_no_longer_than_it_was(api: Api) -> None:
    old = api.agent("bot").text
    rotated = document(api.call("POST", "/agents/bot/rotate", {"keepOldFor": "10m"}, who=OWNER))
    assert rotated["oldCredential"]["expiresAt"] < rotated["expiresAt"]
    for credential in (old, rotated["credential"]):
        assert api.call("GET", "/whoami", who=credential).status == 200
    assert api.call("POST", "/agents/bot/rotate", who=OWNER).status == 200
    for credential in (old, rotated["credential"]):
        assert api.call("GET", "/whoami", who=credential).status == 401
    assert api.call("POST", "/agents/bot/rotate", {"keepOldFor": "25h"}).status == 422


def test_an_owner_rotates_without_gaining_time(api: Api) -> None:
    api.agent("bot")
    ends = api.store.agent("bot").expires_at
    assert api.call("POST", "/agents/bot/rotate", {"lifetime": "365d"}, who=OWNER).status == 200
    assert api.store.agent("bot").expires_at == ends
    assert api.call("POST", "/agents/bot/rotate", {"lifetime": "1m"}, who=OWNER).status == 200
    assert api.store.agent("bot").expires_at < ends


@pytest.mark.parametrize("record", [{"credential_id": "", "credential_hash": b""}, {"expires_at": 5.0}])
def test_an_owner_cannot_bring_a_credential_to_life(api: Api, record: dict[str, Any]) -> None:
    api.agent("bot", **record)
    answer = api.call("POST", "/agents/bot/rotate", who=OWNER)
    assert (answer.status, "only an admin" in detail(answer)) == (403, True)


def test_keys_are_added_once_and_removed(api: Api) -> None:
    api.agent("bot")
    assert [key["id"] for key in document(api.call("POST", "/agents/bot/keys", KEY))["keys"]] == [KEY_ID]
    assert api.call("POST", "/agents/bot/keys", KEY).status == 409
    assert api.call("DELETE", f"/agents/bot/keys/{KEY_ID[:-1]}").status == 404
    assert document(api.call("DELETE", f"/agents/bot/keys/{KEY_ID}"))["keys"] == []


def test_another_agents_key_is_refused(api: Api) -> None:
    api.agent("one")
    api.agent("two")
    assert api.call("POST", "/agents/one/keys", KEY).status == 200
    assert api.call("POST", "/agents/two/keys", KEY).status == 409


def test_a_change_made_from_what_was_seen_is_refused_when_it_is_not_that_any_more(api: Api) -> None:
    api.agent("bot")
    tag = api.call("GET", "/agents/bot").header("etag")
    assert api.call("POST", "/agents/bot/pause").status == 200
    for method, path, body in (
        ("PATCH", "/agents/bot", {"purpose": "x"}),
        ("POST", "/agents/bot/resume", None),
        ("POST", "/agents/bot/rotate", None),
        ("DELETE", "/agents/bot", None),
    ):
        answer = api.call(method, path, body, headers={"If-Match": tag})
        assert (answer.status, "read it again" in detail(answer)) == (412, True)
    assert api.store.agent("bot").paused
    fresh = api.call("GET", "/agents/bot").header("etag")
    assert api.call("DELETE", "/agents/bot", headers={"If-Match": f'"other", {fresh}'}).status == 204


@pytest.mark.parametrize("tag", ["abc", 'W/"abc"', "*", '"a" "b"', '"a",', '"a\x80"', ",".join(['"a"'] * 9)])
def test_an_if_match_that_holds_no_strong_tag_is_refused_not_ignored(api: Api, tag: str) -> None:
    api.agent("bot")
    assert api.call("DELETE", "/agents/bot", headers={"If-Match": tag}).status == 400
    assert api.call("POST", "/agents", NEW, headers={"If-Match": '"a"'}).status == 400
    assert [agent.name for agent in api.store.agents()] == ["bot"]


def test_a_removed_agent_is_gone_with_its_credential(api: Api) -> None:
    credential = api.agent("bot").text
    assert api.call("DELETE", "/agents/bot", who=OWNER).status == 204
    assert api.call("GET", "/whoami", who=credential).status == 401
    assert api.call("GET", "/agents/bot", who=ROOT).status == 404


def test_whoever_is_shown_a_credential_or_registers_a_key_is_kept_with_the_agent(api: Api) -> None:
    made = document(api.call("POST", "/agents", NEW))
    assert made["handedTo"] == ["person:root"]
    kept = document(api.call("POST", "/agents/bot/rotate", {"keepOldFor": "10m"}, who=OWNER))
    assert kept["handedTo"] == ["person:olga", "person:root"]
    # Nothing that the first of them had is good any more.
    assert document(api.call("POST", "/agents/bot/rotate", who=OWNER))["handedTo"] == ["person:olga"]
    assert document(api.call("POST", "/agents/bot/keys", KEY))["handedTo"] == ["person:olga", "person:root"]
    # The key may be the other's, and stays good.
    assert document(api.call("POST", "/agents/bot/rotate", who=OWNER))["handedTo"] == ["person:olga", "person:root"]


def test_a_certificate_name_is_registered_by_whoever_wrote_it(api: Api) -> None:
    api.agent("bot")
    for told, handed in (
        ({"purpose": "other"}, []),
        ({"certificateNames": []}, []),
        ({"certificateNames": ["cn:ci"]}, ["person:root"]),
    ):
        assert document(api.call("PATCH", "/agents/bot", told))["handedTo"] == handed
    bare = NEW | {"name": "other", "credential": False}
    assert document(api.call("POST", "/agents", bare))["handedTo"] == []
    by_key = NEW | {"name": "third", "credential": False, "keys": [KEY]}
    assert document(api.call("POST", "/agents", by_key))["handedTo"] == ["person:root"]


def test_nobody_is_shown_a_credential_whom_there_is_no_room_to_keep(api: Api) -> None:
    crowd = tuple(f"person:p{number}" for number in range(64))
    api.agent("bot", handed_to=crowd)
    refused = api.call("POST", "/agents/bot/rotate", {"keepOldFor": "10m"}, who=OWNER)
    assert (refused.status, "64 people were handed" in detail(refused)) == (422, True)
    assert api.store.agent("bot").handed_to == crowd
    assert document(api.call("POST", "/agents/bot/rotate", who=OWNER))["handedTo"] == ["person:olga"]
