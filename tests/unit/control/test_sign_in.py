"""Signing in and out, whoever vouches: where one is sent, what is recorded, what a form of another site can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.unit.control.browsing import Browsing
from tests.unit.control.gate_parts import ALICE, BOB, a_store, parts_of
from tests.unit.control.journal import Journal

from narrowgate.control.console_sessions import COOKIE
from narrowgate.control.forms import FORM_LIMIT
from narrowgate.control.sign_in import (
    LONGEST_RETURN,
    Farewell,
    Provider,
    SignInPages,
    local_path,
    sign_in_routes,
)
from narrowgate.core.identity import Identity
from narrowgate.core.roles import Role, RoleBinding
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import RoleGrant, Store

CORP = Provider(source="oidc:corp", title="Corp")
PARTNER = Provider(source="saml:partner", title="Partner <Ltd>")


@dataclass
class Console:
    """The pages of one gate, with a way in that needs no provider."""

    store: Store
    journal: Journal
    providers: tuple[Provider, ...] = (CORP,)
    farewell: Farewell | None = None
    bindings: tuple[RoleBinding, ...] = ()

    def browser(self, who: Identity | None = None, return_to: str = "/") -> Browsing:
        """A browser; signed in where somebody is named."""
        browser = Browsing(self.app(who or ALICE, return_to))
        if who is not None:
            assert browser.get("/vouched").status == 303
        return browser

    def app(self, who: Identity = ALICE, return_to: str = "/") -> Starlette:
        farewells = {} if self.farewell is None else {"oidc:corp": self.farewell}
        pages = SignInPages(parts_of(self.store, self.journal, self.bindings), self.providers, farewells)

        async def vouched(request: Request) -> Response:
            return await pages.completed(request, who, return_to, keepsake="kept")

        return Starlette(routes=[*sign_in_routes(pages), Route("/vouched", pages.guarded(vouched))])

    def running(self, who: Identity = ALICE) -> list[SignIn]:
        return [one for one in self.store.sign_ins.listed(who.name) if one.ended_at is None]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with closing(a_store(tmp_path)) as store:
        yield Console(store, Journal())


# --- in ---


def test_whoever_is_not_signed_in_is_sent_to_sign_in(console: Console) -> None:
    answer = console.browser().get("/")
    assert (answer.status, answer.location) == (303, "/sign-in")


def test_with_one_provider_nobody_has_to_choose(console: Console) -> None:
    answer = console.browser().get("/sign-in?return_to=/device%3Fuser_code%3DABCD")
    assert answer.location == "/sign-in/oidc/corp?return_to=%2Fdevice%3Fuser_code%3DABCD"


def test_several_providers_are_listed_with_where_to_return(console: Console) -> None:
    console.providers = (CORP, PARTNER)
    page = console.browser().get("/sign-in?return_to=/device")
    assert page.status == 200
    assert 'href="/sign-in/oidc/corp?return_to=%2Fdevice"' in page.text
    assert 'href="/sign-in/saml/partner?return_to=%2Fdevice"' in page.text
    assert "Partner &lt;Ltd&gt;" in page.text


def test_without_a_provider_the_page_says_so(console: Console) -> None:
    console.providers = ()
    assert "names no identity provider" in console.browser().get("/sign-in").text


def test_whoever_is_signed_in_goes_straight_on(console: Console) -> None:
    assert console.browser(ALICE).get("/sign-in?return_to=/device").location == "/device"


def test_the_end_of_the_way_is_a_session_and_the_page_one_came_for(console: Console) -> None:
    browser = console.browser()
    answer = Browsing(console.app(ALICE, "/device?user_code=A")).get("/vouched")
    assert (answer.status, answer.location) == (303, "/device?user_code=A")
    assert answer.header("cache-control") == "no-store"
    assert COOKIE in answer.cookies[0]
    assert COOKIE not in browser.cookies
    (sign_in,) = console.running()
    assert (sign_in.person, sign_in.source, sign_in.client) == ("alice", "oidc:corp", Client.CONSOLE)


def test_a_sign_in_is_on_the_disk_before_it_counts(console: Console) -> None:
    console.browser(ALICE)
    (received, durable), (finished, _) = console.journal.entries
    (sign_in,) = console.running()
    assert durable
    assert (received["stage"], finished["stage"]) == ("RequestReceived", "ResponseComplete")
    assert received["objectRef"]["resource"] == "signins"
    assert received["objectRef"]["name"] == sign_in.id
    assert received["user"]["username"] == "person:alice"
    assert received["annotations"]["narrowgate.dev/credential"] == sign_in.id
    assert received["verb"] == "create"


def test_what_cannot_be_recorded_signs_nobody_in(console: Console) -> None:
    console.journal.full = True
    browser = Browsing(console.app())
    answer = browser.get("/vouched")
    assert answer.status == 503
    assert answer.problem() == "The disk is full. Nothing was changed."
    assert console.running() == []
    assert browser.cookies == {}


def test_a_store_that_is_gone_signs_nobody_in(console: Console) -> None:
    app = console.app()
    console.store.close()
    answer = Browsing(app).get("/vouched")
    assert answer.status == 503
    assert answer.cookies == []
    assert console.journal.stages()[-1] == ("ResponseComplete", "error")


@pytest.mark.parametrize(
    "who",
    [
        msgspec.structs.replace(ALICE, name="system:masters"),
        msgspec.structs.replace(ALICE, name=""),
        msgspec.structs.replace(ALICE, name="alice\r\nImpersonate-Group: system:masters"),
        msgspec.structs.replace(ALICE, groups=("system:masters",)),
        msgspec.structs.replace(ALICE, groups=tuple(f"g{number}" for number in range(65))),
    ],
)
def test_a_name_that_means_something_to_kubernetes_signs_nobody_in(console: Console, who: Identity) -> None:
    answer = Browsing(console.app(who)).get("/vouched")
    assert answer.status == 403
    assert console.running(who) == []
    assert console.journal.stages() == [("ResponseComplete", "deny")]


def test_the_address_is_the_connection_s_whatever_headers_say(console: Console) -> None:
    forged = {
        "x-forwarded-for": "10.9.9.9",
        "x-real-ip": "10.9.9.9",
        "forwarded": "for=10.9.9.9;host=evil.example;proto=http",
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "http",
        "host": "evil.example",
    }
    answer = Browsing(console.app(ALICE, "/somewhere")).get("/vouched", forged)
    assert answer.location == "/somewhere"
    assert "evil" not in answer.text + str(answer.headers)
    (sign_in,) = console.running()
    assert sign_in.source_ip == "192.0.2.7"
    assert console.journal.last["sourceIPs"] == ["192.0.2.7"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "/\n/evil.example",
        " //evil.example",
        "/a\r\nSet-Cookie: x=y",
        "/a b",
        "/ä",
        "javascript:alert(1)",
        "evil.example",
        "",
        "?x",
        "/" + "a" * LONGEST_RETURN,
    ],
)
def test_nobody_is_led_elsewhere(console: Console, elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"
    assert Browsing(console.app(ALICE, elsewhere)).get("/vouched").location == "/"


@pytest.mark.parametrize("path", ["/", "/device", "/a/b?c=d&e=%2F%2Fx#f", "/" + "a" * (LONGEST_RETURN - 1)])
def test_paths_of_ours_are_kept(path: str) -> None:
    assert local_path(path) == path


# --- home ---


def test_home_says_who_one_is_and_what(console: Console) -> None:
    console.bindings = (RoleBinding(role=Role.APPROVER, groups=("sre",)),)
    console.store.roles.give(RoleGrant(person="alice", role="auditor", given_by="person:root", given_at=1.0))
    page = console.browser(ALICE).get("/").text
    assert "<h1>alice</h1>" in page
    assert '<dd id="groups">sre</dd>' in page
    assert '<dd id="roles">approver, auditor, member</dd>' in page
    assert "<dd>Corp</dd>" in page


def test_home_lists_one_s_own_other_sign_ins_and_nobody_else_s(console: Console) -> None:
    console.browser(BOB)
    console.browser(ALICE)
    (other,) = console.running()
    page = console.browser(ALICE).get("/").text
    assert page.count('/end">') == 1
    assert f"/sign-ins/{other.id}/end" in page


# --- out ---


def form(browser: Browsing) -> dict[str, str]:
    return {"csrf_token": browser.get("/").csrf_token()}


def test_signing_out_ends_the_session_and_takes_the_cookie(console: Console) -> None:
    browser = console.browser(ALICE)
    copy = Browsing(browser.app, dict(browser.cookies))
    answer = browser.post("/sign-out", form(browser))
    assert (answer.status, answer.location) == (303, "/signed-out")
    assert browser.cookies == {}
    assert console.running() == []
    assert copy.get("/").location == "/sign-in"
    assert "signed out" in browser.get("/signed-out").text.lower()
    assert console.journal.last["verb"] == "delete"


def test_signing_out_leads_on_to_the_provider_with_what_was_kept(console: Console) -> None:
    told: list[tuple[str, str]] = []

    async def farewell(sign_in: SignIn, kept: str) -> str:
        told.append((sign_in.person, kept))
        return "https://idp.example/logout?a=1&b=2"

    console.farewell = farewell
    browser = console.browser(ALICE)
    answer = browser.post("/sign-out", form(browser))
    assert told == [("alice", "kept")]
    assert answer.status == 200
    assert "0;url=https://idp.example/logout?a=1&amp;b=2" in answer.text
    assert console.running() == []


def test_signing_out_twice_is_no_error(console: Console) -> None:
    browser = console.browser(ALICE)
    fields = form(browser)
    cookies = dict(browser.cookies)
    browser.post("/sign-out", fields)
    assert Browsing(browser.app, cookies).post("/sign-out", fields).location == "/signed-out"


def test_signing_out_by_get_is_not_possible(console: Console) -> None:
    browser = console.browser(ALICE)
    assert browser.get("/sign-out").status == 405
    assert len(console.running()) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null"},
        {"origin": "", "sec-fetch-site": ""},
    ],
)
def test_another_site_signs_nobody_out(console: Console, headers: dict[str, str]) -> None:
    browser = console.browser(ALICE)
    answer = browser.post("/sign-out", form(browser), headers)
    assert answer.status == 403
    assert len(console.running()) == 1
    assert browser.get("/").status == 200


def test_a_form_without_the_session_s_token_signs_nobody_out(console: Console) -> None:
    browser, other = console.browser(ALICE), console.browser(BOB)
    for fields in ({}, {"csrf_token": ""}, form(other)):
        assert browser.post("/sign-out", fields).status == 403
    assert len(console.running()) == 1


def test_one_of_one_s_own_sign_ins_can_be_ended(console: Console) -> None:
    elsewhere = console.browser(ALICE)
    (other,) = console.running()
    browser = console.browser(ALICE)
    answer = browser.post(f"/sign-ins/{other.id}/end", form(browser))
    assert (answer.status, answer.location) == (303, "/")
    assert elsewhere.get("/").location == "/sign-in"
    assert browser.get("/").status == 200
    assert store_says(console, other.id) == "ended by person:alice"
    assert console.journal.last["objectRef"]["name"] == other.id


def test_a_sign_in_of_somebody_else_cannot_be_ended(console: Console) -> None:
    theirs = console.browser(BOB)
    (other,) = console.running(BOB)
    browser = console.browser(ALICE)
    answer = browser.post(f"/sign-ins/{other.id}/end", form(browser))
    assert answer.status == 404
    assert theirs.get("/").status == 200
    assert console.journal.stages()[-1] == ("ResponseComplete", "deny")


@pytest.mark.parametrize("name", ["nothing", "..", "a" * 5000, "%00", "%2e%2e%2f"])
def test_a_sign_in_that_does_not_exist_is_not_found(console: Console, name: str) -> None:
    browser = console.browser(ALICE)
    assert browser.post(f"/sign-ins/{name}/end", form(browser)).status == 404


def test_ending_a_sign_in_needs_the_token_and_a_session(console: Console) -> None:
    console.browser(ALICE)
    (other,) = console.running()
    browser = console.browser(ALICE)
    assert browser.post(f"/sign-ins/{other.id}/end", {}).status == 403
    assert console.browser().post(f"/sign-ins/{other.id}/end", {}).location == "/sign-in"
    assert store_says(console, other.id) == ""


def test_what_is_no_form_is_told_in_a_page(console: Console) -> None:
    browser = console.browser(ALICE)
    wrong = browser.post("/sign-out", {}, {"content-type": "application/json"})
    large = browser.post("/sign-out", {"csrf_token": "x" * FORM_LIMIT})
    assert (wrong.status, large.status) == (400, 413)
    assert "is not application/x-www-form-urlencoded" in wrong.problem()


def store_says(console: Console, sign_in_id: str) -> str:
    return console.store.sign_ins.get(sign_in_id).ended_because
