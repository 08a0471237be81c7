"""What a call brings along is read strictly."""

from __future__ import annotations

import json

import pytest
from tests.unit.control.api.calling import Api, detail

from narrowgate.control.api.reading import BODY_LIMIT

NEW = {"name": "bot", "owner": "person:olga", "purpose": "restarts pods", "cluster": "prod"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"", 415),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b"\xff\xfe", 400),
        (b'{"name":"a","name":"b","owner":"person:o","purpose":"p","cluster":"dev"}', 400),
        (b'{"name":"a","owner":"person:o","purpose":"p","cluster":"dev","labels":{"x":"1","x":"2"}}', 400),
        (b'{"name":"a\\ud800","owner":"person:o","purpose":"p","cluster":"dev"}', 400),
        (b'{"name":NaN}', 400),
        (json.dumps(NEW).encode() + b"{}", 400),
        (b"[" * 5_000, 400),
        (b'{"name":' + b"9" * 5_000 + b"}", 400),
    ],
)
def test_a_body_that_two_readers_could_read_differently_is_refused(api: Api, body: bytes, status: int) -> None:
    answer = api.call("POST", "/agents", body)
    assert (answer.status, bool(detail(answer))) == (status, True)
    assert api.store.agents() == ()


def test_a_body_beyond_the_limit_is_not_read_to_its_end(api: Api) -> None:
    answer = api.call("POST", "/agents", b" " * (BODY_LIMIT + 1))
    assert (answer.status, str(BODY_LIMIT) in detail(answer)) == (413, True)
    assert api.call("POST", "/agents", json.dumps(NEW).encode().ljust(BODY_LIMIT)).status == 201


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/json; charset=utf-16", "application/json5", "application/merge-patch+json", "json"],
)
def test_a_body_of_another_kind_is_refused(api: Api, kind: str) -> None:
    assert api.call("POST", "/agents", NEW, headers={"Content-Type": kind}).status == 415


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_is_known_however_it_is_spelt(api: Api, kind: str) -> None:
    assert api.call("POST", "/agents", NEW, headers={"Content-Type": kind}).status == 201


def test_a_compressed_body_is_refused(api: Api) -> None:
    assert api.call("POST", "/agents", NEW, headers={"Content-Encoding": "gzip"}).status == 415


def test_a_call_without_a_body_takes_none(api: Api) -> None:
    api.agent("bot")
    assert "takes no body" in detail(api.call("POST", "/agents/bot/resume", {"paused": False}))
    assert "takes no body" in detail(api.call("GET", "/agents", {"limit": 5}))
    assert "takes no body" in detail(api.call("DELETE", "/agents/bot", {}))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=5&limit=6", 400),
        ("limit", 400),
        ("&", 400),
        ("limit=%ff", 400),
        ("a=1&" * 20 + "a=1", 400),
        ("limit=" + "1" * 5_000, 400),
        ("limit=0", 422),
        ("limit=501", 422),
        ("limit=-1", 422),
        ("limit=ten", 422),
        ("limit=", 422),
        ("page=2", 422),
        ("Limit=5", 422),
        ("access_token=x", 422),
    ],
)
def test_a_query_that_is_not_known_to_the_letter_is_refused(api: Api, query: str, status: int) -> None:
    answer = api.call("GET", f"/agents?{query}")
    assert (answer.status, bool(detail(answer))) == (status, True)


def test_calls_without_parameters_take_none(api: Api) -> None:
    answer = api.call("GET", "/whoami?as=person:root")
    assert (answer.status, "unknown field `as`" in detail(answer)) == (422, True)


@pytest.mark.parametrize("host", ["[", "a b", "", "evil.example", "gate.example:99999999"])
def test_the_host_header_means_nothing(api: Api, host: str) -> None:
    assert api.call("GET", "/agents?limit=5", headers={"Host": host}).status == 200
