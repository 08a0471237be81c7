"""Console sessions: one secret each, in a cookie nobody else can set or read, and never valid again after its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.unit.control.browsing import ORIGIN, Answer, Browsing
from tests.unit.control.gate_parts import ALICE, BOB, SETTINGS, a_store

from narrowgate.control.console_sessions import COOKIE, ConsoleSessions, CrossSite, hash_of, origin_of
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import Store

KEEPSAKE = "an ID token"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(a_store(tmp_path)) as store:
        yield store


def app_of(store: Store, who: Identity = ALICE) -> Starlette:
    """Sign in, look, look at what was kept, sign out: the least that a console does."""
    sessions = ConsoleSessions(store, SETTINGS)

    async def start(request: Request) -> Response:
        response = PlainTextResponse("")
        sign_in = await sessions.start(request, who, response, keepsake=KEEPSAKE)
        response.body = sign_in.id.encode()
        response.headers["content-length"] = str(len(response.body))
        return response

    async def current(request: Request) -> Response:
        sign_in = await sessions.current(request)
        return PlainTextResponse("nobody" if sign_in is None else sign_in.id)

    async def keepsake(request: Request) -> Response:
        sign_in = await sessions.current(request)
        return PlainTextResponse("nobody" if sign_in is None else await sessions.keepsake(request, sign_in))

    async def end(request: Request) -> Response:
        response = PlainTextResponse("")
        await sessions.end(request, response, "signed out")
        return response

    endpoints: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/start": start, "/current": current, "/keepsake": keepsake, "/end": end
    }  # fmt: skip
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in endpoints.items()])


def started(browser: Browsing, store: Store) -> SignIn:
    return store.sign_ins.get(browser.get("/start").text)


def test_a_browser_without_a_cookie_is_nobody(store: Store) -> None:
    assert Browsing(app_of(store)).get("/current").text == "nobody"


def test_who_signed_in_is_found_by_the_cookie(store: Store) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    assert browser.get("/current").text == sign_in.id
    assert (sign_in.person, sign_in.groups, sign_in.source) == ("alice", ("sre",), "oidc:corp")
    assert (sign_in.client, sign_in.source_ip) == (Client.CONSOLE, "192.0.2.7")
    assert sign_in.expires_at == sign_in.created_at + SETTINGS.sign_in_seconds


def test_the_cookie_is_out_of_reach_of_scripts_other_hosts_and_plain_http(store: Store) -> None:
    (line,) = Browsing(app_of(store)).get("/start").cookies
    name_and_value, *attributes = [part.strip().lower() for part in line.split(";")]
    assert name_and_value.startswith("__host-narrowgate-session=ngs1_")
    assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(attributes)
    assert not any(attribute.startswith("domain") for attribute in attributes)


def test_the_store_has_no_secret(store: Store, tmp_path: Path) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    secret = browser.cookies[COOKIE]
    assert sign_in.secret_hash == hash_of(secret)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in written
    assert KEEPSAKE.encode() not in written


def test_what_was_kept_comes_back_with_the_cookie_alone(store: Store) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    assert browser.get("/keepsake").text == KEEPSAKE
    other = Browsing(app_of(store))
    started(other, store)
    stranger = Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={other.cookies[COOKIE]}".encode())]})
    assert asyncio.run(ConsoleSessions(store, SETTINGS).keepsake(stranger, sign_in)) == ""


def test_what_was_kept_goes_with_the_session(store: Store) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    secret = browser.cookies[COOKIE]
    browser.get("/end")
    request = Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={secret}".encode())]})
    assert asyncio.run(ConsoleSessions(store, SETTINGS).keepsake(request, sign_in)) == ""


def test_a_cookie_that_was_there_before_is_never_taken_over(store: Store) -> None:
    attacker = Browsing(app_of(store))
    theirs = started(attacker, store)
    victim = Browsing(app_of(store, BOB), dict(attacker.cookies))
    mine = started(victim, store)
    assert mine.id != theirs.id
    assert mine.secret_hash != theirs.secret_hash
    assert attacker.get("/current").text == "nobody", "what the victim's browser held is over, too"
    assert victim.get("/current").text == mine.id


def test_a_secret_somebody_made_up_is_not_taken_over_either(store: Store) -> None:
    made_up = "ngs1_" + "A" * 43
    browser = Browsing(app_of(store), {COOKIE: made_up})
    sign_in = started(browser, store)
    assert browser.cookies[COOKIE] != made_up
    assert sign_in.secret_hash != hash_of(made_up)
    assert Browsing(app_of(store), {COOKIE: made_up}).get("/current").text == "nobody"


def test_after_the_end_the_cookie_is_gone_and_a_copy_of_it_is_worth_nothing(store: Store) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    copy = Browsing(app_of(store), dict(browser.cookies))
    browser.get("/end")
    assert COOKIE not in browser.cookies
    assert copy.get("/current").text == "nobody"
    assert store.sign_ins.get(sign_in.id).ended_because == "signed out"


def test_a_session_that_was_ended_elsewhere_is_over(store: Store) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    store.sign_ins.end(sign_in.id, "ended by person:root", by="person:root", at=1.0)
    assert browser.get("/current").text == "nobody"


def test_a_session_ends_by_the_clock(store: Store) -> None:
    browser = Browsing(app_of(store, msgspec.structs.replace(ALICE, expires_at=1.0)))
    assert started(browser, store).expires_at == 1.0
    assert browser.get("/current").text == "nobody"


def test_a_session_never_outlives_the_configured_time(store: Store) -> None:
    browser = Browsing(app_of(store, msgspec.structs.replace(ALICE, expires_at=9e9)))
    sign_in = started(browser, store)
    assert sign_in.expires_at == sign_in.created_at + SETTINGS.sign_in_seconds


def _kept(store: Store, client: Client, secret: str, *, previous: str = "") -> SignIn:
    sign_in = SignIn(
        id="abc",
        person="alice",
        source="oidc:corp",
        client=client,
        secret_hash=hash_of(secret),
        previous_hash=hash_of(previous) if previous else b"",
        renewed_at=1.0,
        created_at=1.0,
        expires_at=9e9,
    )
    store.sign_ins.add(sign_in, by="person:alice", at=1.0)
    return sign_in


def test_a_sign_in_of_the_command_line_is_no_console_session(store: Store) -> None:
    secret = "ngs1_" + "B" * 43
    _kept(store, Client.CLI, secret)
    browser = Browsing(app_of(store), {COOKIE: secret})
    assert browser.get("/current").text == "nobody"
    browser.get("/end")
    assert store.sign_ins.get("abc").ended_at is None, "a cookie ends console sessions alone"


def test_the_secret_before_the_current_one_opens_nothing(store: Store) -> None:
    current, previous = "ngs1_" + "C" * 43, "ngs1_" + "D" * 43
    _kept(store, Client.CONSOLE, current, previous=previous)
    assert Browsing(app_of(store), {COOKIE: current}).get("/current").text == "abc"
    assert Browsing(app_of(store), {COOKIE: previous}).get("/current").text == "nobody"


@pytest.mark.parametrize(
    "value", ["", "ngs1_", "x" * 48, "ngs1_" + "A" * 44, "ngs1_" + "A" * 100_000, "ngs1_" + "ä" * 43]
)
def test_a_cookie_of_another_shape_is_nobody_s(store: Store, value: str) -> None:
    assert Browsing(app_of(store)).get("/current", {"cookie": f"{COOKIE}={value}"}).text == "nobody"


def test_two_cookies_of_that_name_are_none(store: Store) -> None:
    browser = Browsing(app_of(store))
    sign_in = started(browser, store)
    good = browser.cookies[COOKIE]
    both = browser.get("/current", {"cookie": f"{COOKIE}={good}; {COOKIE}={good}"})
    assert both.text == "nobody"
    assert browser.get("/current", {"cookie": f"other=1; {COOKIE}={good}"}).text == sign_in.id


def test_only_people_sign_in(store: Store) -> None:
    with pytest.raises(ValueError, match="only people"):
        Browsing(app_of(store, msgspec.structs.replace(ALICE, kind=Kind.AGENT))).get("/start")


# --- forms of other sites ---


def checked(store: Store, sign_in: SignIn, token: str, headers: dict[str, str]) -> str:
    """What the check says of a form with this token; empty where nothing is wrong."""
    request = Request({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
    try:
        ConsoleSessions(store, SETTINGS).check_csrf(request, {"csrf_token": token}, sign_in)
    except CrossSite as error:
        return str(error)
    return ""


OURS = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}


def test_a_form_of_ours_passes(store: Store) -> None:
    sign_in = _kept(store, Client.CONSOLE, "x")
    token = ConsoleSessions(store, SETTINGS).csrf_token(sign_in)
    assert checked(store, sign_in, token, OURS) == ""
    assert checked(store, sign_in, token, {"origin": ORIGIN}) == ""
    assert checked(store, sign_in, token, {"sec-fetch-site": "same-origin"}) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "https://gate.example"},
        {"origin": "http://gate.example:8444"},
        {"origin": f"{ORIGIN}.evil.example"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
        {"origin": "https://evil.example", "host": "evil.example", "x-forwarded-host": "evil.example"},
    ],
)
def test_a_form_of_another_page_is_refused_even_with_the_token(store: Store, headers: dict[str, str]) -> None:
    sign_in = _kept(store, Client.CONSOLE, "x")
    assert checked(store, sign_in, ConsoleSessions(store, SETTINGS).csrf_token(sign_in), headers) != ""


def test_a_token_of_another_session_or_none_is_refused(store: Store) -> None:
    sign_in = _kept(store, Client.CONSOLE, "x")
    sessions = ConsoleSessions(store, SETTINGS)
    other = sessions.csrf_token(msgspec.structs.replace(sign_in, secret_hash=hash_of("y")))
    namesake = sessions.csrf_token(msgspec.structs.replace(sign_in, id="abd"))
    for token in ("", "ä", other, namesake, sessions.csrf_token(sign_in)[:-1], sessions.csrf_token(sign_in).upper()):
        assert "another session" in checked(store, sign_in, token, OURS)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://gate.corp:8444", "https://gate.corp:8444"),
        ("https://Gate.Corp:443/", "https://gate.corp"),
        ("https://[::1]:8444", "https://[::1]:8444"),
    ],
)
def test_origins_are_written_as_browsers_write_them(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_an_answer_has_what_a_browser_needs(store: Store) -> None:
    answer = Browsing(app_of(store)).get("/start")
    assert isinstance(answer, Answer)
    assert f"Max-Age={SETTINGS.sign_in_seconds:.0f}" in answer.cookies[0]
