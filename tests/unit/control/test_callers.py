"""Who calls: proven by one proof, each time anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, SETTINGS, Api, detail, document, person
from tests.unit.control.browsing import ORIGIN, Answer

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.port import Answer as Proof
from narrowgate.authenticators.port import Presented, Unavailable
from narrowgate.control.api import ApiParts, api_routes
from narrowgate.control.callers import CSRF_HEADER, Callers
from narrowgate.core.identity import Identity, Kind
from narrowgate.store.port import RoleGrant

NEW = {"name": "bot", "owner": "person:olga", "purpose": "restarts pods", "cluster": "prod"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    api = Api(tmp_path)
    yield api
    api.store.close()


def test_whoever_proves_nothing_is_told_how_to_sign_in(api: Api) -> None:
    answer = api.call("GET", "/whoami", who=None)
    assert (answer.status, answer.header("www-authenticate")) == (401, 'Bearer realm="narrowgate"')
    assert f"narrowgate login`, or in a browser at {ORIGIN}/sign-in" in detail(answer)


def test_an_agents_credential_a_workload_and_a_person_are_told_who_they_are(api: Api) -> None:
    agent = document(api.call("GET", "/whoami", who=api.agent("bot").text))
    assert (agent["identity"], agent["owner"], agent["roles"], agent["clusters"]) == (
        "agent:bot", "person:olga", ["member"], ["dev"],
    )  # fmt: skip
    runner = Identity(
        kind=Kind.WORKLOAD, name="ci/runner", proven_by="sa:dev", credential="w", expires_at=time.time() + 60
    )
    workload = document(api.call("GET", "/whoami", who=runner))
    assert (workload["kind"], workload["roles"], workload["clusters"]) == ("ServiceAccount", ["member"], ["dev"])
    mia = document(api.by_cookie(PEOPLE["member"], "GET", "/whoami"))
    assert (mia["identity"], mia["provenBy"], mia["clusters"]) == ("person:mia", "oidc:corp", ["dev"])


def test_whoever_acts_for_another_asks_for_nothing_here(api: Api) -> None:
    ada = Identity(kind=Kind.PERSON, name="ada", proven_by="jwt", credential="c", expires_at=time.time() + 60)
    acting = Identity(
        kind=Kind.AGENT, name="bot", proven_by="jwt", credential="c", cluster="dev", on_behalf_of=(ada,),
        expires_at=time.time() + 60,
    )  # fmt: skip

    class Knows:
        async def authenticate(self, presented: Presented, now: float) -> Proof:
            del presented, now
            return acting

    callers = Callers(Knows, api.sessions, api.store, (), SETTINGS.url)
    parts = ApiParts(settings=SETTINGS, store=api.store, recorder=api.recorder, callers=callers, rulebook=api.rulebook)
    api.app.router.routes[:] = api_routes(parts)
    for method, target in (("GET", "/whoami"), ("GET", "/tasks"), ("GET", "/agents")):
        answer = api.call(method, target, who="a-token")
        assert answer.status == 403
        assert "acts for another" in detail(answer)


def test_a_credential_of_the_data_port_opens_nothing_here(api: Api) -> None:
    answer = api.call("GET", "/whoami", who=api.bearer(ROOT, Port.KUBERNETES, "dev"))
    assert (answer.status, "for the clusters' APIs" in detail(answer)) == (401, True)


@pytest.mark.parametrize(
    "value",
    [
        "Basic cm9vdDpyb290",
        "Bearer",
        "Bearer ",
        "bearer",
        "Token x",
        "x",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer ü",
    ],
)
def test_whatever_else_is_in_the_authorization_header_is_refused(api: Api, value: str) -> None:
    assert api.call("GET", "/whoami", who=None, headers={"Authorization": value}).status == 401


def test_the_scheme_is_read_in_any_case(api: Api) -> None:
    value = f"bEARER {api.bearer(ROOT)}"
    assert api.call("GET", "/whoami", who=None, headers={"Authorization": value}).status == 200


def test_two_proofs_at_once_are_refused_whoever_they_are(api: Api) -> None:
    cookie, _ = api.cookie(PEOPLE["member"])
    for who in (ROOT, PEOPLE["member"]):
        answer = api.call("GET", "/whoami", who=who, headers={"Cookie": cookie})
        assert (answer.status, "send one of them" in detail(answer)) == (400, True)


def test_a_cookie_that_is_no_session_proves_nothing(api: Api) -> None:
    cookie, _ = api.cookie(ROOT)
    for text in (f"{cookie[:-1]}", f"{cookie[:-2]}AA", f"{cookie}; {cookie}", "__Host-narrowgate-session="):
        assert api.call("GET", "/whoami", who=None, headers={"Cookie": text}).status == 401


def test_an_ended_session_is_over_at_the_next_call(api: Api) -> None:
    cookie, _ = api.cookie(ROOT)
    assert api.call("GET", "/whoami", who=None, headers={"Cookie": cookie}).status == 200
    api.store.sign_ins.end(api.store.sign_ins.listed("root")[0].id, "test", by="local:test", at=time.time())
    answer = api.call("GET", "/whoami", who=None, headers={"Cookie": cookie})
    assert (answer.status, "this console session is over" in detail(answer)) == (401, True)


def create(api: Api, headers: dict[str, str]) -> Answer:
    cookie, token = api.cookie(ROOT)
    usual = {"Cookie": cookie, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", CSRF_HEADER: token}
    return api.call("POST", "/agents", NEW, who=None, headers=usual | headers)


def test_a_page_of_ours_may_change_things_by_its_cookie(api: Api) -> None:
    assert create(api, {}).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {CSRF_HEADER: ""},
        {CSRF_HEADER: "0" * 64},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ORIGIN + ".evil.example"},
        {"Origin": "https://gate.example"},
        {"Origin": ORIGIN.replace("https", "http")},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "", "Sec-Fetch-Site": ""},
    ],
)
def test_another_site_changes_nothing_by_somebodys_cookie(api: Api, headers: dict[str, str]) -> None:
    answer = create(api, headers)
    assert (answer.status, document(answer)["type"].rpartition(":")[2]) == (403, "cross-site")
    assert api.store.agents() == ()


def test_the_token_of_another_session_does_not_fit(api: Api) -> None:
    _, others = api.cookie(ROOT)
    assert create(api, {CSRF_HEADER: others}).status == 403


def test_what_a_form_can_send_is_no_call(api: Api) -> None:
    # A cross-site form can choose among three content types; none of them is read even with everything else right.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"):
        assert create(api, {"Content-Type": kind}).status == 415
    assert api.store.agents() == ()


def test_an_issuer_that_does_not_answer_is_not_held_against_the_caller(api: Api) -> None:
    class Away:
        async def authenticate(self, presented: Presented, now: float) -> Proof:
            del presented, now
            return Unavailable("the issuer https://idp does not answer")

    callers = Callers(Away, api.sessions, api.store, (), SETTINGS.url)
    parts = ApiParts(settings=SETTINGS, store=api.store, recorder=api.recorder, callers=callers, rulebook=api.rulebook)
    api.app.router.routes[:] = api_routes(parts)
    answer = api.call("GET", "/whoami")
    assert (answer.status, detail(answer)) == (503, "the issuer https://idp does not answer")


def test_an_agent_that_is_called_like_an_admin_is_none(api: Api) -> None:
    api.store.roles.give(_grant("root"))
    credential = api.agent("root", groups=("admins",)).text
    assert document(api.call("GET", "/whoami", who=credential))["roles"] == ["member"]


def _grant(name: str) -> RoleGrant:
    return RoleGrant(person=name, role="admin", given_by="local:test", given_at=1.0)


def test_whoever_came_by_the_link_is_an_admin_by_how_they_came(api: Api) -> None:
    local = person("admin@local", proven_by="link")
    assert document(api.by_cookie(local, "GET", "/whoami"))["roles"] == ["admin", "member"]
    assert document(api.call("GET", "/whoami", who=person("admin@local")))["roles"] == ["member"]
