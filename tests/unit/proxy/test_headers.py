"""The header allow-list: nothing that is not named reaches the API server, and upgrades are the ones that are known."""

from __future__ import annotations

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.headers import upgrade_of, upstream_headers
from narrowgate.wire.http1 import RequestHead, read_request_head


def info(subresource: str = "", verb: str = "get", resource: str = "pods", group: str = "") -> RequestInfo:
    return RequestInfo(
        is_resource_request=True, path="/x", verb=verb, api_prefix="api", api_group=group, api_version="v1",
        resource=resource, subresource=subresource, namespace="ci", name="p",
    )  # fmt: skip


def head(*lines: str, method: str = "GET") -> RequestHead:
    written = "\r\n".join([f"{method} /x HTTP/1.1", "Host: gate", *lines, "", ""])
    return read_request_head(written.encode("latin-1"))


PASSED = ["Accept: a/b", "Accept: c/d", "User-Agent: kubectl", "Content-Type: a/b", 'If-None-Match: "1"',
          "If-Modified-Since: now", "Accept-Encoding: gzip"]  # fmt: skip
PASSED_TO_SERVERS_BEHIND = ["Cookie: a", "Range: bytes=0-1", "Origin: o", "Referer: r", "Cache-Control: no-cache"]
NEVER_PASSED = ["Authorization: Bearer x", "X-Remote-User: root", "X-Remote-Extra-A: b", "X-Forwarded-For: 1.2.3.4",
                "X-Forwarded-Host: h", "Forwarded: for=x", "Proxy-Authorization: Basic x", "TE: trailers", "Via: x",
                "Keep-Alive: 5", "Trailer: X", "Audit-ID: mine", "X-Real-IP: 1.2.3.4", "Expect: 100-continue",
                "Connection: close", "Accept-Charset: x", "Sec-WebSocket-Key: x", "Kubectl-Command: get",
                "X-Made-Up: 1"]  # fmt: skip


def names_of(*lines: str, of: RequestInfo, upgrade: str = "") -> list[str]:
    return [name.decode() for name, _ in upstream_headers(head(*lines), of, upgrade)]


def test_what_is_listed_passes_in_its_order_and_as_often_as_it_came() -> None:
    pairs = upstream_headers(head(*PASSED), info(), "")
    assert [f"{name.decode()}: {value.decode()}" for name, value in pairs] == [
        line.partition(":")[0].lower() + ":" + line.partition(":")[2] for line in PASSED
    ]


@pytest.mark.parametrize("of", [info(), info("proxy"), info("exec"), info(verb="watch"), info("log")], ids=str)
def test_nothing_else_passes_whatever_is_asked_for(of: RequestInfo) -> None:
    assert names_of(*NEVER_PASSED, of=of) == []


def test_a_server_behind_a_proxy_gets_what_web_servers_need_and_the_api_server_does_not() -> None:
    assert names_of(*PASSED_TO_SERVERS_BEHIND, of=info("proxy")) == [
        line.partition(":")[0].lower() for line in PASSED_TO_SERVERS_BEHIND
    ]
    assert names_of(*PASSED_TO_SERVERS_BEHIND, of=info()) == []


def test_the_names_that_a_connection_header_lists_change_nothing() -> None:
    assert names_of("Connection: accept, user-agent", "Accept: a/b", "User-Agent: u", of=info()) == [
        "accept",
        "user-agent",
    ]


def test_a_watch_is_never_compressed() -> None:
    assert names_of("Accept-Encoding: gzip", of=info(verb="watch")) == []


WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13")


def test_an_upgrade_is_written_anew_with_what_it_negotiates_by() -> None:
    lines = (*WEBSOCKET, "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io", "Sec-WebSocket-Extensions: x")
    pairs = dict(upstream_headers(head(*lines), info("exec"), "websocket"))
    assert pairs == {
        b"sec-websocket-key": b"k",
        b"sec-websocket-version": b"13",
        b"sec-websocket-protocol": b"v5.channel.k8s.io, v4.channel.k8s.io",
        b"connection": b"Upgrade",
        b"upgrade": b"websocket",
    }


def test_a_token_in_disguise_is_taken_out_of_the_subprotocols() -> None:
    lines = (
        *WEBSOCKET,
        "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io",
        "Sec-WebSocket-Protocol: channel.k8s.io",
    )
    pairs = dict(upstream_headers(head(*lines), info("exec"), "websocket"))
    assert pairs[b"sec-websocket-protocol"] == b"v4.channel.k8s.io, channel.k8s.io"


@pytest.mark.parametrize(
    "line",
    [
        "Sec-WebSocket-Protocol: v6.channel.k8s.io",
        "Sec-WebSocket-Protocol: v4.channel.k8s.io, chat",
        "Sec-WebSocket-Protocol: ",
        "X-Stream-Protocol-Version: v6.channel.k8s.io",
        "X-Stream-Protocol-Version: SPDY/3.1+portforward.k8s.io",
    ],
)
def test_a_subprotocol_that_is_not_known_is_refused(line: str) -> None:
    with pytest.raises(Malformed, match="does not know"):
        upstream_headers(head(*WEBSOCKET, line), info("exec"), "websocket")


@pytest.mark.parametrize(
    ("lines", "method", "of", "upgrade"),
    [
        ((), "GET", info("exec"), ""),
        (WEBSOCKET, "GET", info("exec"), "websocket"),
        (WEBSOCKET, "GET", info("attach"), "websocket"),
        (WEBSOCKET, "GET", info("portforward"), "websocket"),
        (("Connection: Upgrade", "Upgrade: SPDY/3.1"), "POST", info("exec"), "spdy/3.1"),
        (("Connection: Upgrade", "Upgrade: SPDY/3.1"), "GET", info("exec"), "spdy/3.1"),
        (("Upgrade: SPDY/3.1",), "POST", info("exec"), ""),
    ],
)
def test_the_streams_into_pods_may_switch(lines: tuple[str, ...], method: str, of: RequestInfo, upgrade: str) -> None:
    assert upgrade_of(head(*lines, method=method), of) == upgrade


@pytest.mark.parametrize(
    ("lines", "method", "of"),
    [
        (WEBSOCKET, "GET", info()),
        (WEBSOCKET, "GET", info("log")),
        (WEBSOCKET, "GET", info("proxy")),
        (WEBSOCKET, "GET", info(verb="watch")),
        (WEBSOCKET, "GET", info("exec", resource="services")),
        (WEBSOCKET, "GET", info("exec", group="apps")),
        (WEBSOCKET, "POST", info("exec")),
        ((*WEBSOCKET, "Content-Length: 1"), "GET", info("exec")),
        (("Connection: Upgrade", "Upgrade: h2c"), "GET", info("exec")),
        (("Connection: Upgrade", "Upgrade: websocket, SPDY/3.1"), "GET", info("exec")),
    ],
)
def test_every_other_switch_is_refused(lines: tuple[str, ...], method: str, of: RequestInfo) -> None:
    with pytest.raises(Malformed) as refusal:
        upgrade_of(head(*lines, method=method), of)
    assert refusal.value.code == 400
