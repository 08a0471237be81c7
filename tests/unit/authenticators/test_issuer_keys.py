"""An issuer's keys, from a real HTTPS server: fetched when needed, kept fresh, worth nothing when old."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from tests.oidc_issuer import AUDIENCE, Answer, Issuer, ec_key, run

from narrowgate.authenticators.issuer_keys import (
    DISCOVERY_PATH,
    MAX_KEYS_BYTES,
    MAX_METADATA_BYTES,
    IssuerKeys,
    IssuerUnreachable,
    Pace,
    read_metadata,
)
from narrowgate.authenticators.jwks import KeySet
from narrowgate.authenticators.jwt_issuer import ClaimMapping, JWTIssuer

URL = "https://issuer.example/realm"
FETCH = [DISCOVERY_PATH, "/keys"]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


PACE = Pace(max_age=300, refresh=60, retry=10, fetch=5)


def configured(issuer: Issuer, **changed: Any) -> JWTIssuer:
    usual = JWTIssuer(
        url=issuer.url,
        certificate_authority=issuer.ca,
        audiences=(AUDIENCE,),
        username=ClaimMapping(claim="sub"),
    )
    return msgspec.structs.replace(usual, **changed)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


def unreachable(keys: IssuerKeys) -> str:
    with pytest.raises(IssuerUnreachable) as caught:
        run(keys.current())
    return caught.value.reason


def test_metadata_and_keys_are_fetched_once_and_then_in_memory(issuer: Issuer, clock: Clock) -> None:
    async def work() -> None:
        keys = IssuerKeys(configured(issuer), PACE, clock)
        first = await keys.current()
        assert [key.id for key in first.keys] == ["first"]
        assert await keys.current() is first
        assert (await keys.metadata()).authorization_endpoint == f"{issuer.url}/authorize"

    run(work())
    assert issuer.asked == FETCH


def test_many_who_need_the_keys_at_once_ask_for_them_once(issuer: Issuer, clock: Clock) -> None:
    async def work() -> None:
        keys = IssuerKeys(configured(issuer), PACE, clock)
        found = await asyncio.gather(*(keys.current() for _ in range(50)))
        assert len({id(one) for one in found}) == 1

    run(work())
    assert issuer.asked == FETCH


def test_discovery_may_be_elsewhere_but_names_the_issuer_all_the_same(issuer: Issuer, clock: Clock) -> None:
    elsewhere = f"{issuer.url}/elsewhere"
    issuer.answers["/elsewhere"] = Answer(content=json.dumps(issuer.metadata).encode())
    assert len(run(IssuerKeys(configured(issuer, discovery_url=elsewhere), PACE, clock).current())) == 1
    other = configured(issuer, url=URL, discovery_url=elsewhere)
    assert f'expected "{URL}"' in unreachable(IssuerKeys(other, PACE, clock))


class TestRotation:
    def test_a_new_key_is_fetched_when_a_token_names_it(self, issuer: Issuer, clock: Clock) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            old = await keys.current()
            generation = keys.generation
            issuer.keys = [ec_key("second"), *issuer.keys]
            clock.now += PACE.retry
            newer = await keys.newer(old)
            assert newer is not None
            assert [key.id for key in newer.keys] == ["second", "first"]
            assert keys.generation > generation
            # Whoever saw the old ones a moment ago gets these without another fetch.
            assert await keys.newer(old) is newer

        run(work())
        assert issuer.asked == FETCH * 2

    def test_unknown_keys_do_not_become_a_flood_on_the_issuer(self, issuer: Issuer, clock: Clock) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            old = await keys.current()
            for _ in range(100):
                assert await keys.newer(old) is None
                clock.now += PACE.retry / 50

        run(work())
        # At once, and after 10 s.
        assert issuer.asked == FETCH * 2

    def test_the_same_keys_are_no_newer_ones(self, issuer: Issuer, clock: Clock) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            old = await keys.current()
            generation = keys.generation
            clock.now += PACE.retry
            assert await keys.newer(old) is None
            assert keys.generation == generation

        run(work())

    def test_keys_are_followed_while_nobody_asks(self, issuer: Issuer) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), Pace(refresh=0.01))
            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                following = tasks.create_task(keys.follow())
                await until(lambda: keys.generation == 1)
                issuer.keys = [ec_key("second")]
                await until(lambda: keys.generation == 2)
                following.cancel()
            assert [key.id for key in (await keys.current()).keys] == ["second"]

        run(work())


class TestAway:
    """The identity provider goes away, and comes back."""

    def test_keys_in_memory_count_for_a_while_and_then_no_more(self, issuer: Issuer, clock: Clock) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            held = await keys.current()
            issuer.down()
            clock.now += PACE.max_age
            assert await keys.current() is held
            clock.now += 0.001
            with pytest.raises(IssuerUnreachable, match="nobody new comes in"):
                await keys.current()
            with pytest.raises(IssuerUnreachable, match=issuer.url):
                await keys.metadata()
            issuer.up()
            clock.now += PACE.retry
            assert (await keys.current()).fingerprint == held.fingerprint
            # Nothing that was verified before has to be verified again.
            assert keys.generation == 1
            assert keys.trouble == ""

        run(work())

    def test_one_that_does_not_answer_is_not_asked_by_everybody(self, issuer: Issuer, clock: Clock) -> None:
        issuer.answers[DISCOVERY_PATH] = Answer(503)

        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            failures = await asyncio.gather(*(keys.current() for _ in range(20)), return_exceptions=True)
            assert {type(failure) for failure in failures} == {IssuerUnreachable}

        run(work())
        assert issuer.asked == [DISCOVERY_PATH]

    def test_one_that_is_slow_is_not_asked_by_one_after_the_other(self, issuer: Issuer) -> None:
        # It says that there is more than there is, so that each fetch takes as long as it may.
        issuer.answers[DISCOVERY_PATH] = Answer(200, b"{}", {"Content-Length": "3"})

        async def work() -> None:
            keys = IssuerKeys(configured(issuer), Pace(fetch=1.0, retry=1.0))
            failures = await asyncio.gather(*(keys.current() for _ in range(20)), return_exceptions=True)
            assert {type(failure) for failure in failures} == {IssuerUnreachable}

        run(work())
        assert issuer.asked == [DISCOVERY_PATH]

    def test_an_unknown_key_of_one_that_is_away_is_no_reason_to_say_the_token_is_bad(
        self, issuer: Issuer, clock: Clock
    ) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            held = await keys.current()
            issuer.down()
            clock.now += PACE.retry
            with pytest.raises(IssuerUnreachable):
                await keys.newer(held)
            with pytest.raises(IssuerUnreachable):
                await keys.newer(held)

        run(work())

    def test_one_that_never_answered_is_asked_again_later(self, issuer: Issuer, clock: Clock) -> None:
        issuer.down()

        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            with pytest.raises(IssuerUnreachable):
                await keys.current()
            issuer.up()
            clock.now += PACE.retry
            assert len(await keys.current()) == 1

        run(work())


class TestWhatIsNotTaken:
    def test_another_certificate_authority_is_not_believed(self, issuer: Issuer, clock: Clock) -> None:
        stranger = Issuer()
        for authority in (stranger.ca, ""):
            keys = IssuerKeys(configured(issuer, certificate_authority=authority), PACE, clock)
            assert "CERTIFICATE_VERIFY_FAILED" in unreachable(keys)
        assert issuer.asked == []

    def test_a_certificate_for_another_name_is_not_believed(self, issuer: Issuer, clock: Clock) -> None:
        address = issuer.url.replace("127.0.0.1", "localhost")
        keys = IssuerKeys(configured(issuer, discovery_url=f"{address}{DISCOVERY_PATH}"), PACE, clock)
        assert "CERTIFICATE_VERIFY_FAILED" in unreachable(keys)
        assert issuer.asked == []

    @pytest.mark.parametrize("path", FETCH)
    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (Answer(302, headers={"Location": "/keys"}), "answers 302"),
            (Answer(404), "answers 404"),
            (Answer(204), "answers 204"),
            (Answer(200, b"<html>"), "not JSON"),
            (Answer(200, b"[]"), "object"),
            (Answer(200, b'{"issuer": "x", "issuer": "x", "keys": [], "keys": []}'), "twice"),
            (Answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}), "not JSON"),
            (Answer(200, b" " * (max(MAX_KEYS_BYTES, MAX_METADATA_BYTES) + 1)), "more than"),
        ],
        ids=["redirect", "not found", "no content", "a page", "a list", "a member twice", "compressed", "huge"],
    )
    def test_an_answer_that_is_not_what_was_asked_for(
        self, issuer: Issuer, clock: Clock, path: str, answer: Answer, says: str
    ) -> None:
        issuer.answers[path] = answer
        keys = IssuerKeys(configured(issuer), PACE, clock)
        assert says in unreachable(keys)
        assert issuer.asked == FETCH[: FETCH.index(path) + 1]

    def test_what_it_says_acts_on_no_terminal(self, issuer: Issuer, clock: Clock) -> None:
        issuer.answers[DISCOVERY_PATH] = Answer(200, b'{"issuer": "\\u001b[2J\\n"}')
        assert unreachable(IssuerKeys(configured(issuer), PACE, clock)).isprintable()

    def test_an_answer_that_never_comes(self, issuer: Issuer, clock: Clock) -> None:
        # It says that there is more than there is.
        issuer.answers["/keys"] = Answer(200, b"{}", {"Content-Length": "3"})
        keys = IssuerKeys(configured(issuer), msgspec.structs.replace(PACE, fetch=0.3), clock)
        assert unreachable(keys)

    def test_a_set_without_keys_is_an_answer_nothing_is_good_any_more(self, issuer: Issuer, clock: Clock) -> None:
        async def work() -> None:
            keys = IssuerKeys(configured(issuer), PACE, clock)
            old = await keys.current()
            issuer.answers["/keys"] = Answer(200, b'{"keys": []}')
            clock.now += PACE.retry
            newer = await keys.newer(old)
            assert newer is not None
            assert len(newer) == 0

        run(work())


USUAL = {"issuer": URL, "jwks_uri": f"{URL}/keys"}


class TestMetadata:
    def test_what_is_not_said_is_empty(self) -> None:
        metadata = read_metadata(json.dumps(USUAL).encode(), URL)
        assert (metadata.issuer, metadata.jwks_uri) == (URL, f"{URL}/keys")
        assert metadata.authorization_endpoint == metadata.token_endpoint == metadata.end_session_endpoint == ""
        assert metadata.token_endpoint_auth_methods == ("client_secret_basic",)
        assert not metadata.names_itself_in_answers

    @pytest.mark.parametrize("said", [URL + "/", URL.upper(), "http" + URL[5:], "", None, [URL], URL + "\u200b"])
    def test_the_issuer_is_the_configured_one_to_the_letter(self, said: object) -> None:
        with pytest.raises(ValueError, match="expected"):
            read_metadata(json.dumps({**USUAL, "issuer": said}).encode(), URL)

    @pytest.mark.parametrize(
        "address",
        [
            "http://issuer.example/keys",
            "file:///etc/passwd",
            "//issuer.example/keys",
            "/keys",
            "https://",
            "https://user@issuer.example/keys",
            "https://issuer.example/keys#x",
            "https://[issuer/keys",
            "https://issuer.example/\nkeys",
            None,
            1,
        ],
    )
    @pytest.mark.parametrize("member", ["jwks_uri", "authorization_endpoint", "token_endpoint", "end_session_endpoint"])
    def test_every_address_is_https(self, member: str, address: object) -> None:
        with pytest.raises(ValueError, match=f"{member} that is no https address"):
            read_metadata(json.dumps({**USUAL, member: address}).encode(), URL)

    def test_keys_must_be_somewhere(self) -> None:
        with pytest.raises(ValueError, match="no jwks_uri"):
            read_metadata(json.dumps({"issuer": URL}).encode(), URL)

    def test_a_message_shows_nothing_that_acts_on_a_terminal(self) -> None:
        with pytest.raises(ValueError, match="expected") as caught:
            read_metadata(json.dumps({"issuer": "\x1b[2J" + "x" * 1000}).encode(), URL)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


def test_keys_can_be_held_without_a_server(clock: Clock) -> None:
    issuer = Issuer()
    keys = IssuerKeys(configured(issuer), PACE, clock)
    keys.hold(read_metadata(json.dumps(issuer.metadata).encode(), issuer.url), KeySet.of(issuer.published()))
    assert [key.id for key in run(keys.current()).keys] == ["first"]
