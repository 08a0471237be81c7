"""Health and metrics as their readers see them: probes, scrapers and people with curl."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Counter

from narrowgate.control.health import health_app, serve_health
from narrowgate.control.serving import AddressTaken, listening

Answer = tuple[int, str]


def ask(path: str, conditions: Mapping[str, str | None], *, accept: str = "*/*") -> Answer:
    """Give one GET to the application, as an ASGI server would."""
    registry = CollectorRegistry()
    Counter("narrowgate_requests", "Requests.", registry=registry).inc(3)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, object]) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"accept", accept.encode())],
    }
    asyncio.run(health_app(lambda: conditions, registry)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)  # type: ignore[misc]
    return sent[0]["status"], body.decode()  # type: ignore[return-value]


def test_healthz_says_ok_whatever_the_conditions_are() -> None:
    assert ask("/healthz", {"store": "gone"}) == (200, "ok\n")


def test_readyz_is_200_when_every_condition_is_well() -> None:
    assert ask("/readyz", {"trail": None, "store": None}) == (200, "trail: ok\nstore: ok\nready\n")


def test_readyz_names_what_is_wrong() -> None:
    status, body = ask("/readyz", {"trail": "disk full, on /data: make room", "store": None})
    assert status == 503
    assert body == "trail: disk full, on /data: make room\nstore: ok\nnot ready\n"


def test_a_gate_that_reports_on_nothing_is_not_ready() -> None:
    assert ask("/readyz", {}) == (503, "not ready\n")


def test_readyz_answers_in_json_when_asked() -> None:
    status, body = ask("/readyz", {"store": "gone"}, accept="application/json")
    assert status == 503
    assert json.loads(body) == {"ready": False, "conditions": {"store": "gone"}}


def test_metrics_come_in_the_text_form_of_prometheus() -> None:
    status, body = ask("/metrics", {})
    assert status == 200
    assert "narrowgate_requests_total 3.0" in body


def test_a_taken_port_is_named_before_anything_is_served() -> None:
    with listening("127.0.0.1", 0, "listen.health") as first:
        port = first.getsockname()[1]
        with pytest.raises(AddressTaken, match=rf"cannot listen on 127.0.0.1:{port} .*: stop what listens there"):
            asyncio.run(serve_health("127.0.0.1", port, dict, CollectorRegistry()))


def test_who_comes_before_a_port_is_served_waits_for_that() -> None:
    with (
        listening("127.0.0.1", 0, "listen.control") as first,
        socket.create_connection(first.getsockname(), timeout=10) as early,
    ):
        served, _ = first.accept()
        with served:
            served.sendall(b"at last")
            assert early.recv(100) == b"at last"


def test_it_serves_until_cancelled_and_then_lets_the_port_go() -> None:
    with listening("127.0.0.1", 0, "listen.health") as probe:
        port = probe.getsockname()[1]

    async def scenario() -> bytes:
        async with asyncio.timeout(10):
            serving = asyncio.ensure_future(
                serve_health("127.0.0.1", port, lambda: {"store": None}, CollectorRegistry())
            )
            try:
                return await _first_answer(port)
            finally:
                serving.cancel()
                await asyncio.wait([serving])

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 200 OK")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


async def _first_answer(port: int) -> bytes:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer
