"""Calls about sign-ins: everybody's own; all of them for an admin."""

from __future__ import annotations

import time

from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document, person

from narrowgate.authenticators.access_credential import Port
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sign_in import Client, SignIn

MIA = PEOPLE["member"]


def sign_in(api: Api, who: str, number: int, **other: object) -> str:
    now = time.time()
    made = SignIn(
        id=f"{who}-{number}",
        person=who,
        source="oidc:corp",
        client=Client.CLI,
        secret_hash=f"{who}-{number}".encode().ljust(32),
        renewed_at=now,
        created_at=now - number,
        expires_at=now + 600,
        **other,  # type: ignore[arg-type]
    )
    api.store.sign_ins.add(made, by=f"person:{who}", at=now)
    return made.id


def test_people_see_their_own_sign_ins_newest_first_and_which_is_this_one(api: Api) -> None:
    for number in range(3):
        sign_in(api, "mia", number)
    sign_in(api, "zoe", 0)
    items = document(api.by_cookie(MIA, "GET", "/sign-ins"))["items"]
    assert [(item["person"], item["current"]) for item in items] == [("mia", True), *([("mia", False)] * 3)]
    assert [item["id"] for item in items[1:]] == ["mia-0", "mia-1", "mia-2"]
    assert "secret" not in str(items).lower()


def test_an_admin_sees_everybodys_and_may_ask_for_one(api: Api) -> None:
    for who in ("mia", "zoe"):
        sign_in(api, who, 1)
    assert {item["person"] for item in document(api.call("GET", "/sign-ins"))["items"]} == {"mia", "zoe"}
    assert {item["person"] for item in document(api.call("GET", "/sign-ins?person=zoe"))["items"]} == {"zoe"}
    refused = api.call("GET", "/sign-ins?person=zoe", who=MIA)
    assert (refused.status, "only an admin" in detail(refused)) == (403, True)
    assert api.call("GET", "/sign-ins?person=mia", who=MIA).status == 200


def test_pages_show_every_sign_in_once_even_those_of_one_moment(api: Api) -> None:
    for number in (1, 1.0, 2, 3, 4):
        sign_in(api, "mia" if isinstance(number, int) else "zoe", number)  # type: ignore[arg-type]
    seen, token = [], ""
    while True:
        page = document(api.call("GET", f"/sign-ins?limit=2&continue={token}"))
        seen += [item["id"] for item in page["items"]]
        if not (token := page["metadata"]["continue"]):
            break
    assert sorted(seen) == ["mia-1", "mia-2", "mia-3", "mia-4", "zoe-1.0"]


def test_only_those_that_run_where_that_is_asked(api: Api) -> None:
    for number in range(2):
        sign_in(api, "mia", number)
    assert api.call("DELETE", "/sign-ins/mia-1", who=MIA).status == 204
    running = document(api.call("GET", "/sign-ins?running=true", who=MIA))["items"]
    assert [item["id"] for item in running] == ["mia-0"]
    every = document(api.call("GET", "/sign-ins?running=false", who=MIA))["items"]
    assert [(item["id"], item["endedBecause"]) for item in every][1] == ("mia-1", "ended by person:mia")


def test_one_ends_ones_own_and_an_admin_anybodys_and_ending_twice_is_once(api: Api) -> None:
    for number in range(2):
        sign_in(api, "mia", number)
    other = api.call("DELETE", "/sign-ins/mia-0", who=PEOPLE["auditor"])
    assert (other.status, "it is not yours" in detail(other)) == (404, True)
    assert api.call("DELETE", "/sign-ins/mia-0", who=MIA).status == 204
    assert api.call("DELETE", "/sign-ins/mia-1", who=ROOT).status == 204
    ended = [change.by for change in api.store.changes() if change.action == "signin.ended"]
    assert api.call("DELETE", "/sign-ins/mia-1", who=MIA).status == 204
    assert ended == ["person:root", "person:mia"]
    assert api.store.sign_ins.get("mia-1").ended_because == "ended by person:root"


def test_an_agent_or_workload_of_the_same_name_has_no_sign_ins(api: Api) -> None:
    sign_in(api, "mia", 0)
    agent = api.agent("mia").text
    workload = Identity(kind=Kind.WORKLOAD, name="mia", proven_by="sa:dev", credential="w")
    for who in (agent, workload):
        assert document(api.call("GET", "/sign-ins", who=who))["items"] == []
        assert document(api.call("GET", "/sign-ins?person=mia", who=who))["items"] == []
        assert api.call("DELETE", "/sign-ins/mia-0", who=who).status == 404
    assert api.store.sign_ins.get("mia-0").ended_at is None


def test_whoever_ends_the_sign_in_they_came_by_is_out(api: Api) -> None:
    made = sign_in(api, "zed", 0)
    credential = api.issuer.for_sign_in(api.store.sign_ins.get(made), Port.CONTROL, "", time.time()).text
    assert document(api.call("GET", "/sign-ins", who=credential))["items"][0]["current"] is True
    assert api.call("DELETE", f"/sign-ins/{made}", who=credential).status == 204
    assert api.call("GET", "/whoami", who=credential).status == 401
    assert api.call("GET", "/whoami", who=person("zed")).status == 200
