"""When a connection stops being HTTP: only for exec, attach and port-forward, only after the server's own 101.

Raw bytes at a running gate in front of an upstream that switches, refuses, redirects or switches unasked, as the name
of the requested pod says (CVE-2018-1002105, CVE-2020-8559, CVE-2022-3172).
"""

from __future__ import annotations

import os
import time

import pytest
from tests.e2e.echo import ELSEWHERE, Echo
from tests.e2e.gate import Agent, Gate
from tests.e2e.wire import Connection, Response

PODS = "/api/v1/namespaces/d/pods"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
}
TUNNEL = {**WEBSOCKET, "Sec-WebSocket-Protocol": "SPDY/3.1+portforward.k8s.io"}
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
FORWARD = {**SPDY, "X-Stream-Protocol-Version": "portforward.k8s.io"}
LARGE = 4 << 20
SETTLE_SECONDS = 90.0

SWITCHES = (
    ("GET", "exec", WEBSOCKET),
    ("GET", "attach", WEBSOCKET),
    ("GET", "portforward", TUNNEL),
    ("POST", "exec", SPDY),
    ("POST", "attach", SPDY),
    ("POST", "portforward", FORWARD),
    ("GET", "exec", SPDY),
    ("GET", "exec", {**WEBSOCKET, "Sec-WebSocket-Protocol": "v4.channel.k8s.io, v5.channel.k8s.io"}),
    ("GET", "exec", {**WEBSOCKET, "Sec-WebSocket-Protocol": "base64.channel.k8s.io"}),
    ("GET", "exec", {**WEBSOCKET, "Sec-WebSocket-Protocol": "channel.k8s.io"}),
    ("GET", "exec", {**WEBSOCKET, "Connection": "keep-alive, Upgrade"}),
    ("GET", "exec", {**WEBSOCKET, "Upgrade": "WebSocket"}),
    ("POST", "exec", {**SPDY, "Upgrade": "spdy/3.1"}),
    # The empty body that some clients announce.
    ("POST", "exec", {**SPDY, "Content-Length": "0"}),
)


def opened(
    connection: Connection, agent: Agent, method: str, target: str, headers: dict[str, str]
) -> tuple[int, dict[str, str]]:
    connection.send(agent.bytes_of(method, target, headers))
    status, found = connection.head()
    return status, dict(found)


@pytest.mark.parametrize(("method", "subresource", "headers"), SWITCHES)
def test_exec_attach_and_portforward_switch_in_both_protocols(
    method: str, subresource: str, headers: dict[str, str], caller: Agent, echo: Echo, marker: str
) -> None:
    target = f"{PODS}/switch/{subresource}?command={marker}"

    with caller.connect() as connection:
        status, answer = opened(connection, caller, method, target, headers)
        connection.send(b"\x00raw bytes \xff")
        echoed = connection.take(12)

    assert status == 101
    assert answer["upgrade"].lower() == headers["Upgrade"].lower()
    assert echoed == b"\x00raw bytes \xff"
    (request,) = echo.with_marker(marker)
    assert request.method == method


def test_bytes_sent_along_with_the_request_reach_the_stream_in_order(caller: Agent, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", f"{PODS}/switch/exec?command={marker}", SPDY) + b"early")
        status, _ = connection.head()
        connection.send(b" later")
        echoed = connection.take(11)

    assert (status, echoed) == (101, b"early later")


def test_megabytes_pass_a_switched_connection_both_ways_unchanged(caller: Agent, marker: str) -> None:
    data = os.urandom(LARGE)

    with caller.connect() as connection:
        opened(connection, caller, "POST", f"{PODS}/switch/exec?command={marker}", SPDY)
        back = b""
        for position in range(0, LARGE, 1 << 16):
            connection.send(data[position : position + (1 << 16)])
            back += connection.take(1 << 16)

    assert back == data


# --- who may not switch ---

NOT_SWITCHED = (
    f"{PODS}?watch=1&x=MARK",
    f"{PODS}/MARK/log?follow=true",
    f"{PODS}/MARK",
    f"{PODS}?x=MARK",
    "/api/v1/namespaces/d/configmaps/MARK",
    "/api/v1/nodes/MARK/proxy/exec/d/p/c",
    "/version?MARK",
)


@pytest.mark.parametrize("target", NOT_SWITCHED)
@pytest.mark.parametrize("headers", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
def test_nothing_else_is_upgraded(target: str, headers: dict[str, str], caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", target.replace("MARK", marker), headers)

    # Refused, or served as the plain request that it also is; never switched.
    assert answer.status in (200, 400, 403)
    for request in echo.with_marker(marker):
        assert not request.names() & {"upgrade", "sec-websocket-key"}
        assert request.values("connection") in ([], ["keep-alive"], ["Keep-Alive"])


@pytest.mark.parametrize("path", ["?watch=1&x=MARK", "/MARK/log?follow=true"])
def test_a_watch_and_a_log_that_would_leave_http_are_refused(path: str, caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"{PODS}{path.replace('MARK', marker)}", WEBSOCKET)

    assert answer.status == 400
    assert "upgrade" in answer.message
    assert echo.with_marker(marker) == []


UNKNOWN_PROTOCOLS = (
    {**WEBSOCKET, "Upgrade": "h2c"},
    {**WEBSOCKET, "Upgrade": "TLS/1.2"},
    {**WEBSOCKET, "Upgrade": "SPDY/2"},
    {**WEBSOCKET, "Upgrade": "websocket, h2c"},
    {**WEBSOCKET, "Sec-WebSocket-Protocol": "chat"},
    {**WEBSOCKET, "Sec-WebSocket-Protocol": "v5.channel.k8s.io, chat"},
    {**SPDY, "X-Stream-Protocol-Version": "v99.channel.k8s.io"},
)


@pytest.mark.parametrize("headers", UNKNOWN_PROTOCOLS, ids=lambda headers: " ".join(headers.values())[8:70])
def test_a_protocol_the_gate_does_not_know_is_refused(
    headers: dict[str, str], caller: Agent, echo: Echo, marker: str
) -> None:
    answer = caller.request("GET", f"{PODS}/switch/exec?command={marker}", headers)

    assert answer.status in (400, 403)
    assert answer.message
    assert echo.with_marker(marker) == []


def test_exec_without_an_upgrade_never_switches(caller: Agent, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", f"{PODS}/unasked-switch/exec?command={marker}"))
        answer = connection.response("POST")
        ended = answer.header("connection") == "close" or answer.status == 400

    assert answer.status in (400, 502)
    assert b"unasked" not in answer.body
    assert ended or answer.status == 502


def test_an_upgrade_with_a_body_is_refused(caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("POST", f"{PODS}/switch/exec?command={marker}", SPDY, b"hello")

    assert answer.status == 400
    assert echo.with_marker(marker) == []


def test_a_101_nobody_asked_for_is_a_bad_gateway(caller: Agent) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("GET", "/api/v1/namespaces/d/configmaps/unasked-switch"))
        answer = connection.response()

    assert answer.status == 502
    assert b"unasked" not in answer.body


def test_a_refused_upgrade_stays_http_and_the_next_request_is_judged(caller: Agent, echo: Echo, marker: str) -> None:
    # CVE-2018-1002105: after an upgrade that the backend refused, the proxy went on passing raw bytes to it.
    smuggled = f"GET /api/v1/namespaces/d/nonsense/{marker} HTTP/1.1\r\nHost: g\r\n\r\n".encode()

    with caller.connect() as connection:
        connection.send(caller.bytes_of("GET", f"{PODS}/refuse/exec?command=sh", WEBSOCKET))
        refused = connection.response()
        connection.send_quietly(smuggled)
        following: Response | None = None
        if refused.header("connection").lower() != "close":
            following = connection.response()

    assert refused.status == 403
    assert b"the echo refuses" in refused.body
    if following is not None:
        # It carries no credential, so it is nobody's request.
        assert following.status == 401
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (f"{PODS}/redirect/exec?command=sh", WEBSOCKET),
        (f"{PODS}/redirect/exec?command=sh", SPDY),
        ("/api/v1/namespaces/d/configmaps/redirect", {}),
    ],
)
def test_a_redirect_is_never_followed(target: str, headers: dict[str, str], caller: Agent, echo: Echo) -> None:
    before = len(echo.received)

    answer = caller.request("GET", target, headers)

    # Passed on as what it is, or refused; the gate itself goes nowhere with its credential.
    assert answer.status in (302, 502)
    if answer.status == 302:
        assert answer.header("location") in ("", ELSEWHERE)
    assert len(echo.received) == before + 1


# --- the record, and the end ---


def test_a_switched_connection_is_in_the_journal_from_its_beginning_to_its_end(
    echo_gate: Gate, caller: Agent, marker: str
) -> None:
    with caller.connect() as connection:
        opened(connection, caller, "GET", f"{PODS}/switch/exec?command={marker}", WEBSOCKET)
        echo_gate.wait_until(lambda: bool(echo_gate.events(marker)), "the entry of a running exec")
        stages = [event["stage"] for event in echo_gate.events(marker)]
        assert "RequestReceived" in stages
        assert "ResponseComplete" not in stages

    event = echo_gate.wait_for_event(marker)
    assert event["responseStatus"]["code"] == 101
    assert event["verb"] == "create"
    assert event["objectRef"]["subresource"] == "exec"


def test_the_upstream_is_released_when_the_caller_goes(caller: Agent, echo: Echo, marker: str) -> None:
    before = len(echo.ended)
    with caller.connect() as connection:
        opened(connection, caller, "GET", f"{PODS}/switch/exec?command={marker}", WEBSOCKET)
        connection.send(b"x")
        assert connection.take(1) == b"x"

    deadline = time.monotonic() + SETTLE_SECONDS
    while len(echo.ended) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(echo.ended) > before


def test_a_switched_connection_ends_when_the_upstream_ends_it(caller: Agent) -> None:
    with caller.connect() as connection:
        opened(connection, caller, "GET", f"{PODS}/switch/exec?command=sh", WEBSOCKET)
        connection.send(b"good-bye")

        assert connection.take(8) == b"good-bye"
        assert connection.ended()
