"""The server that waits for the browser: what it takes, from whom, and what it ignores."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from narrowgate.cli.loopback_redirect import DONE_PAGE, MOST_CONNECTIONS, LoopbackRedirect

ISSUER = "https://gate.corp:8444"
RIGHT = {"code": "c", "state": "the-state", "iss": ISSUER}


@pytest.fixture
def redirect() -> Iterator[LoopbackRedirect]:
    with LoopbackRedirect("the-state", ISSUER) as found:
        yield found


def bring(
    redirect: LoopbackRedirect, query: dict[str, str] | str, path: str = "/callback", host: str = ""
) -> tuple[int, str]:
    address = urlsplit(redirect.uri)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    text = query if isinstance(query, str) else urlencode(query)
    connection.request("GET", f"{path}?{text}", headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    connection.close()
    return answer.status, body


def test_the_code_is_taken_and_the_person_is_told_that_it_is_done(redirect: LoopbackRedirect) -> None:
    status, page = bring(redirect, RIGHT)
    assert status == 200
    assert DONE_PAGE in page
    assert redirect.wait(5) == ("c", "", "")


def test_a_refusal_is_taken_with_its_words(redirect: LoopbackRedirect) -> None:
    assert (
        bring(redirect, {"error": "access_denied", "error_description": "no", "state": "the-state", "iss": ISSUER})[0]
        == 200
    )
    assert redirect.wait(5) == ("", "access_denied", "no")


@pytest.mark.parametrize(
    "query",
    [
        {**RIGHT, "state": "another"},
        {**RIGHT, "state": ""},
        {"code": "c", "iss": ISSUER},
        {"code": "c", "state": "the-state"},
        {**RIGHT, "iss": "https://other.corp"},
        {**RIGHT, "error": "x"},
        {"state": "the-state", "iss": ISSUER},
        urlencode(RIGHT) + "&code=d",
        urlencode(RIGHT) + "&state=the-state",
        urlencode({**RIGHT, "state": "the-stäte"}),
        "&".join(f"a{number}=1" for number in range(20)),
        "x" * 5000,
    ],
)
def test_an_answer_that_is_not_ours_is_ignored_and_ends_nothing(
    redirect: LoopbackRedirect, query: dict[str, str] | str
) -> None:
    status, _ = bring(redirect, query)
    assert status in (400, 404)
    assert redirect.wait(0) is None
    assert bring(redirect, RIGHT)[0] == 200
    assert redirect.wait(5) == ("c", "", "")


def test_another_path_or_another_name_of_this_machine_has_nothing(redirect: LoopbackRedirect) -> None:
    assert bring(redirect, RIGHT, path="/")[0] == 404
    assert bring(redirect, RIGHT, path="/callback/x")[0] == 404
    assert bring(redirect, RIGHT, host="evil.example")[0] == 404
    assert redirect.wait(0) is None


def test_the_first_answer_counts(redirect: LoopbackRedirect) -> None:
    assert bring(redirect, RIGHT)[0] == 200
    assert bring(redirect, {**RIGHT, "code": "d"})[0] == 400
    assert redirect.wait(5) == ("c", "", "")


def test_a_connection_that_says_nothing_keeps_nobody_waiting(redirect: LoopbackRedirect) -> None:
    address = urlsplit(redirect.uri)
    with socket.create_connection((address.hostname, address.port)):
        assert bring(redirect, RIGHT)[0] == 200


def test_too_many_connections_are_hung_up_on_and_the_answer_comes_through_afterwards(
    redirect: LoopbackRedirect,
) -> None:
    address = urlsplit(redirect.uri)
    held = [socket.create_connection((address.hostname, address.port)) for _ in range(MOST_CONNECTIONS)]
    with socket.create_connection((address.hostname, address.port), timeout=10) as one_more:
        assert one_more.recv(1) == b""
    for connection in held:
        connection.close()
    deadline = time.monotonic() + 10
    while redirect.wait(0) is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            bring(redirect, RIGHT)
    assert redirect.wait(0) == ("c", "", "")


def test_other_methods_bring_nothing(redirect: LoopbackRedirect) -> None:
    address = urlsplit(redirect.uri)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    connection.request("POST", f"/callback?{urlencode(RIGHT)}")
    assert connection.getresponse().status == 501
    connection.close()
    assert redirect.wait(0) is None


def test_waiting_ends_by_itself_and_afterwards_nobody_listens() -> None:
    with LoopbackRedirect("s", ISSUER) as redirect:
        assert redirect.wait(0.01) is None
        address = urlsplit(redirect.uri)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("Thread-") and "serve" in str(thread)
    ]
