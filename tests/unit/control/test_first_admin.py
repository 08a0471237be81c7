"""The one-time link: single use, few attempts, worth nothing once there is an admin, and no way in for another site."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.unit.control.browsing import ORIGIN, Answer, Browsing
from tests.unit.control.gate_parts import ALICE, BOB, a_store, parts_of
from tests.unit.control.journal import Journal

from narrowgate.control.first_admin import (
    ATTEMPTS,
    BECOME_PATH,
    LINK_SECONDS,
    LOCAL_SECONDS,
    PATH,
    SCRIPT_PATH,
    AdminThere,
    first_admin_routes,
    new_first_admin_link,
)
from narrowgate.control.sign_in import SignInPages, sign_in_routes
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import LOCAL_ADMIN, Role, RoleBinding
from narrowgate.store.port import RoleGrant, Store


class Bootstrap:
    """A gate that has no admin yet, and browsers at it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.journal = Journal()
        self.bindings: tuple[RoleBinding, ...] = ()
        self.providers = True

    def link(self, now: float | None = None) -> str:
        """The code of a new link."""
        link = new_first_admin_link(
            self.store, ORIGIN, admins_bound=False, by="local:root", now=time.time() if now is None else now
        )
        return link.partition("#")[2]

    def browser(self, who: Identity | None = ALICE) -> Browsing:
        pages = SignInPages(parts_of(self.store, self.journal, self.bindings), ())

        async def vouched(request: Request) -> Response:
            return await pages.completed(request, who or ALICE, "/")

        routes = first_admin_routes(parts_of(self.store, self.journal, self.bindings), pages, providers=self.providers)
        browser = Browsing(Starlette(routes=[*routes, *sign_in_routes(pages), Route("/vouched", vouched)]))
        if who is not None:
            assert browser.get("/vouched").status == 303
        return browser

    def become(self, browser: Browsing, code: str, **headers: str) -> Answer:
        form = {"csrf_token": browser.get(PATH).csrf_token(), "code": code}
        return browser.post(BECOME_PATH, form, {name.replace("_", "-"): value for name, value in headers.items()})

    def given(self) -> list[tuple[str, str, str]]:
        return [(grant.person, grant.role, grant.given_by) for grant in self.store.roles.listed()]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Bootstrap]:
    with closing(a_store(tmp_path)) as store:
        yield Bootstrap(store)


def test_whoever_is_signed_in_and_has_the_code_is_an_admin_by_name(gate: Bootstrap) -> None:
    code = gate.link()
    answer = gate.become(gate.browser(), code)
    assert (answer.status, answer.location) == (303, "/")
    assert gate.given() == [("alice", "admin", "local:root")]
    received, finished = [entry for entry, _ in gate.journal.entries][-2:]
    assert (received["stage"], finished["stage"]) == ("RequestReceived", "ResponseComplete")
    assert finished["objectRef"]["name"] == "admin/alice"
    assert finished["annotations"]["narrowgate.dev/because"] == "the one-time link of the host"
    assert code not in str(gate.journal.entries)


def test_a_link_is_worth_one_admin(gate: Bootstrap) -> None:
    code = gate.link()
    assert gate.become(gate.browser(), code).status == 303
    for who in (BOB, ALICE):
        answer = gate.become(gate.browser(who), code)
        assert answer.status == 403
    gate.store.roles.take("alice", "admin", by="local:root", at=time.time())
    answer = gate.become(gate.browser(BOB), code)
    assert (answer.status, "was used" in answer.problem()) == (403, True)
    assert gate.given() == []


def test_a_new_link_voids_the_one_before(gate: Bootstrap) -> None:
    old, new = gate.link(), gate.link()
    assert "the newest link" in gate.become(gate.browser(), old).problem()
    assert gate.become(gate.browser(), new).status == 303


def test_a_link_ends_within_the_hour(gate: Bootstrap) -> None:
    code = gate.link(time.time() - LINK_SECONDS - 1)
    assert "has expired" in gate.become(gate.browser(), code).problem()
    assert gate.given() == []


def test_a_link_bears_few_wrong_codes(gate: Bootstrap) -> None:
    wrong, right = gate.link(), gate.link()
    browser = gate.browser()
    for _ in range(ATTEMPTS):
        assert "the newest link" in gate.become(browser, wrong).problem()
    assert "tried too often" in gate.become(browser, right).problem()
    assert gate.given() == []


def test_a_code_that_is_cut_short_costs_no_attempt(gate: Bootstrap) -> None:
    code = gate.link()
    browser = gate.browser()
    for text in [code[:-1], code + "x", "", "ngf1_", code.upper(), f"{code[:-1]}!", "ä" * 20] * ATTEMPTS:
        assert "copy the whole link again" in gate.become(browser, text).problem()
    assert gate.become(browser, f"  {code}\n").status == 303


def test_whoever_is_not_signed_in_is_led_to_sign_in_and_becomes_nothing(gate: Bootstrap) -> None:
    code = gate.link()
    stranger = gate.browser(None)
    page = stranger.get(PATH)
    assert f"/sign-in?return_to={PATH}" in page.text
    assert 'name="code"' not in page.text
    answer = stranger.post(BECOME_PATH, {"code": code})
    assert (answer.status, answer.location) == (303, f"/sign-in?return_to={PATH}")
    assert gate.given() == []
    assert gate.become(gate.browser(), code).status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"origin": "", "sec_fetch_site": ""},
    ],
)
@pytest.mark.parametrize("providers", [True, False])
def test_another_site_makes_nobody_an_admin(gate: Bootstrap, headers: dict[str, str], providers: bool) -> None:
    gate.providers = providers
    code = gate.link()
    browser = gate.browser(ALICE if providers else None)
    assert gate.become(browser, code, **headers).status == 403
    assert (gate.given(), gate.store.sign_ins.listed(LOCAL_ADMIN)) == ([], ())


def test_a_form_without_this_sessions_token_is_refused(gate: Bootstrap) -> None:
    code = gate.link()
    others = gate.browser(BOB).get(PATH).csrf_token()
    for token in ("", "0" * 64, others):
        assert gate.browser().post(BECOME_PATH, {"csrf_token": token, "code": code}).status == 403
    assert gate.given() == []


def test_without_a_provider_the_link_signs_its_holder_in_for_an_hour(gate: Bootstrap) -> None:
    gate.providers = False
    browser = gate.browser(None)
    answer = gate.become(browser, gate.link())
    assert (answer.status, answer.location) == (303, "/")
    (sign_in,) = gate.store.sign_ins.listed()
    assert (sign_in.person, sign_in.source) == (LOCAL_ADMIN, "link")
    assert sign_in.expires_at - sign_in.created_at <= LOCAL_SECONDS
    assert gate.given() == []
    home = browser.get("/")
    assert (home.status, "admin, member" in home.text) == (200, True)
    # Nobody is an admin by name yet, so that the host may print another link when the hour is over.
    assert gate.link()


def test_nobody_with_a_name_of_the_links_own_or_of_an_agents_becomes_an_admin(gate: Bootstrap) -> None:
    code = gate.link()
    impostor = Identity(kind=Kind.PERSON, name=LOCAL_ADMIN, proven_by="oidc:corp", credential="t")
    answer = gate.become(gate.browser(impostor), code)
    assert (answer.status, "and nothing else" in answer.problem()) == (403, True)
    assert gate.become(gate.browser(), code).status == 303


@pytest.mark.parametrize("by_name", [True, False])
def test_once_there_is_an_admin_there_is_neither_link_nor_page(gate: Bootstrap, by_name: bool) -> None:
    code = gate.link()
    if by_name:
        grant = RoleGrant(person="zoe", role="admin", given_by="local:root", given_at=1.0)
        gate.store.roles.give(grant)
    else:
        gate.bindings = (RoleBinding(role=Role.ADMIN, groups=("admins",)),)
    browser = gate.browser()
    assert browser.get(PATH).status == 403
    assert "an admin already" in gate.become(browser, code).problem() or not browser.get(PATH).csrf_token()
    assert "alice" not in [person for person, _, _ in gate.given()]
    with pytest.raises(AdminThere, match="narrowgate roles give"):
        new_first_admin_link(gate.store, ORIGIN, admins_bound=not by_name, by="local:root", now=time.time())


def test_the_page_runs_our_script_and_no_other(gate: Bootstrap) -> None:
    page = gate.browser().get(PATH)
    policy = page.header("content-security-policy")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.text.count("<script") == 1
    script = gate.browser().get(SCRIPT_PATH)
    assert (script.status, script.header("content-type").partition(";")[0]) == (200, "text/javascript")


def test_what_cannot_be_recorded_makes_nobody_an_admin(gate: Bootstrap) -> None:
    code = gate.link()
    browser = gate.browser()
    token = browser.get(PATH).csrf_token()
    gate.journal.full = True
    answer = browser.post(BECOME_PATH, {"csrf_token": token, "code": code})
    assert (answer.status, gate.given()) == (503, [])
    gate.journal.full = False
    assert browser.post(BECOME_PATH, {"csrf_token": token, "code": code}).status == 303
