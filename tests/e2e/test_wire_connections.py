"""A connection over its life: used again, pipelined, limited, slow, strange, and broken by the upstream.

Raw bytes at a running gate in front of an upstream that remembers what reached it.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Gate
from tests.e2e.wire import ConnectionEnded, Response

# What the strict gate of this file gives a caller, seconds; the configuration's own defaults are ten times that.
STRICT_SECONDS = 1.0
# How long a test waits for the gate to lose patience: a bound for a gate that never does, not a measurement.
PATIENCE_SECONDS = 90.0
TARGET = "/api/v1/namespaces/d/configmaps"
MEBIBYTE = 1 << 20
CONFIG_MAP = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"MARK"},"data":{}}'


# --- connections that are used again ---


def test_pipelined_requests_are_answered_in_their_order(caller: Agent, echo: Echo, marker: str) -> None:
    targets = [f"{TARGET}/{marker}-{number}" for number in range(10)]

    with caller.connect() as connection:
        connection.send(b"".join(caller.bytes_of("GET", target) for target in targets))
        answers = [connection.response().json()["target"] for _ in targets]

    assert answers == targets
    assert [request.target for request in echo.with_marker(marker)] == targets


def test_a_refusal_among_pipelined_requests_is_answered_in_its_place(caller: Agent, marker: str) -> None:
    good, unknown = f"{TARGET}/{marker}", f"/api/v1/namespaces/d/nonsense/{marker}"

    with caller.connect() as connection:
        connection.send(b"".join(caller.bytes_of("GET", target) for target in (good, unknown, good)))
        statuses = [connection.response().status for _ in range(3)]

    assert statuses == [200, 403, 200]


def test_a_connection_goes_on_after_a_refusal_whose_body_nobody_read(caller: Agent, echo: Echo, marker: str) -> None:
    body = b"x" * 100_000

    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", "/api/v1/namespaces/d/nonsense", {}, body))
        refusal = connection.response("POST")
        again = refusal.header("connection").lower() != "close"
        if again:
            connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}"))
            answer = connection.response()
        else:
            assert connection.ended()

    assert refusal.status == 403
    if again:
        assert answer.status == 200
        assert len(echo.with_marker(marker)) == 1


def test_a_connection_goes_on_after_a_refused_credential(caller: Agent, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}", {"Authorization": "Bearer nobody"}))
        refused = connection.response()
        connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}"))
        answer = connection.response()

    assert (refused.status, answer.status) == (401, 200)


def test_a_caller_that_asks_for_the_end_of_the_connection_gets_it(caller: Agent, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}", {"Connection": "close"}))
        answer = connection.response()

        assert answer.status == 200
        assert connection.ended()


def test_a_head_request_has_the_headers_and_no_body(caller: Agent, echo: Echo, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("HEAD", f"{TARGET}/{marker}"))
        head = connection.response("HEAD")
        connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}"))
        following = connection.response()

    assert (head.status, head.body) == (200, b"")
    assert int(head.header("content-length")) > 0
    # Were there a body behind the head, it would have been read as this answer.
    assert following.json()["method"] == "GET"
    assert [request.method for request in echo.with_marker(marker)] == ["HEAD", "GET"]


def test_expect_100_continue_is_answered_before_the_body_is_sent(caller: Agent, echo: Echo, marker: str) -> None:
    body = CONFIG_MAP.replace(b"MARK", marker.encode())
    headers = {"Expect": "100-continue", "Content-Length": str(len(body)), "Content-Type": "application/json"}

    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", TARGET, headers))
        interim, _ = connection.head()
        connection.send(body)
        answer = connection.response("POST")

    assert interim == 100
    assert answer.status == 200
    assert [request.body for request in echo.with_marker(marker)] == [body]


def test_a_refusal_needs_no_body_from_a_caller_that_waits_for_100(caller: Agent) -> None:
    headers = {"Expect": "100-continue", "Content-Length": "1000", "Content-Type": "application/json"}

    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", "/api/v1/namespaces/d/nonsense", headers))
        status, _ = connection.head()

    assert status == 403


def test_an_expectation_nobody_can_meet_is_refused(caller: Agent, echo: Echo, marker: str) -> None:
    answer = caller.request("GET", f"{TARGET}/{marker}", {"Expect": "a-miracle"})

    assert answer.status in (400, 417)
    assert echo.with_marker(marker) == []


# --- limits ---


def test_a_body_of_three_mebibytes_passes(caller: Agent, echo: Echo, marker: str) -> None:
    filling = "x" * (3 * MEBIBYTE - 200)
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": marker}, "data": {"a": filling}}
    body = json.dumps(document).encode()

    answer = caller.request("POST", TARGET, {"Content-Type": "application/json"}, body)

    assert answer.status == 200
    assert [len(request.body) for request in echo.with_marker(marker)] == [len(body)]


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_above_three_mebibytes_is_refused(chunked: bool, caller: Agent, echo: Echo, marker: str) -> None:
    body = CONFIG_MAP.replace(b"MARK", marker.encode()) + b" " * (3 * MEBIBYTE)
    headers = {"Content-Type": "application/json", **({"Transfer-Encoding": "chunked"} if chunked else {})}
    sent = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n" if chunked else body

    with caller.connect() as connection:
        # A body goes with its length unless the headers say that it comes in chunks.
        connection.send_quietly(caller.bytes_of("POST", TARGET, headers, sent))
        answer = connection.response("POST")

    assert answer.status == 413
    assert answer.kube_status()["reason"] == "RequestEntityTooLarge"
    assert echo.with_marker(marker) == []


def test_a_body_whose_announced_length_is_absurd_is_refused_before_it_comes(caller: Agent) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(1 << 40)}

    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", TARGET, headers) + b"{")
        answer = connection.response("POST")

    assert answer.status == 413


def test_headers_beyond_the_limit_are_refused(caller: Agent, echo: Echo, marker: str) -> None:
    with caller.connect() as connection:
        connection.send_quietly(caller.bytes_of("GET", f"{TARGET}/{marker}", {"X-Long": "x" * MEBIBYTE}))
        answer = connection.response()

        assert answer.status == 431
        assert connection.ended()
    assert echo.with_marker(marker) == []


def test_too_many_headers_are_refused(caller: Agent, echo: Echo, marker: str) -> None:
    many = {f"X-{number}": "x" for number in range(2000)}

    with caller.connect() as connection:
        connection.send_quietly(caller.bytes_of("GET", f"{TARGET}/{marker}", many))
        answer = connection.response()

    assert answer.status == 431
    assert echo.with_marker(marker) == []


def test_headers_without_end_are_refused(caller: Agent) -> None:
    with caller.connect() as connection:
        for _ in range(64):
            connection.send_quietly(b"X-More: " + b"x" * 32768 + b"\r\n")
        answer = connection.response()

    assert answer.status in (400, 431)


def test_a_target_beyond_the_limit_is_refused(caller: Agent, echo: Echo, marker: str) -> None:
    with caller.connect() as connection:
        connection.send_quietly(caller.bytes_of("GET", f"{TARGET}/{marker}?x={'y' * MEBIBYTE}"))
        answer = connection.response()

    assert answer.status in (414, 431)
    assert echo.with_marker(marker) == []


# --- slow, silent and strange callers ---


@pytest.fixture(scope="module")
def strict(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """A caller at a gate that has little patience."""
    limits = {
        "headerTimeout": f"{STRICT_SECONDS:.0f}s",
        "bodyTimeout": f"{STRICT_SECONDS:.0f}s",
        "idleTimeout": f"{STRICT_SECONDS:.0f}s",
    }
    gate = Gate(tmp_path_factory.mktemp("strict-gate"), [echo.cluster("echo")], {"limits": limits})
    agent = gate.agent("all", ALLOW_ALL_RULES, cluster="echo")
    gate.start()
    yield agent
    gate.stop()


def ends(agent: Agent, first: bytes, every: Callable[[], bytes] = lambda: b"") -> bytes:
    """What the gate says before it ends a connection on which `first` was sent and then little by little more."""
    with agent.connect(seconds=PATIENCE_SECONDS) as connection:
        connection.send(first)
        connection.socket.settimeout(0.3)
        deadline = time.monotonic() + PATIENCE_SECONDS
        said = b""
        while time.monotonic() < deadline:
            try:
                data = connection.receive()
            except TimeoutError:
                connection.send_quietly(every())
                continue
            if not data:
                return said
            said += data
    raise AssertionError(f"the gate still listens after {PATIENCE_SECONDS:.0f} s; it said {said!r}")


def test_a_caller_that_never_finishes_its_headers_is_ended(strict: Agent, echo: Echo, marker: str) -> None:
    said = ends(strict, f"GET {TARGET}/{marker} HTTP/1.1\r\nHost: g\r\n".encode())

    assert not said or said.startswith(b"HTTP/1.1 408")
    assert echo.with_marker(marker) == []


def test_a_caller_that_drips_its_headers_is_ended(strict: Agent, echo: Echo, marker: str) -> None:
    said = ends(strict, f"GET {TARGET}/{marker} HTTP/1.1\r\nHost: g\r\n".encode(), lambda: b"X-Drip: x\r\n")

    assert not said or said.startswith(b"HTTP/1.1 408")
    assert echo.with_marker(marker) == []


def test_a_caller_that_never_finishes_its_body_is_ended(strict: Agent, echo: Echo, marker: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "100"}
    said = ends(strict, strict.bytes_of("POST", f"{TARGET}?x={marker}", headers) + b"{")

    assert not said or said.startswith(b"HTTP/1.1 408")
    assert echo.with_marker(marker) == []


def test_a_connection_that_asks_for_nothing_is_ended(strict: Agent) -> None:
    assert ends(strict, b"") == b""


def test_a_caller_that_shakes_no_hands_does_not_hold_others_up(strict: Agent, marker: str) -> None:
    with socket.create_connection((strict.host, strict.port)):
        answer = strict.request("GET", f"{TARGET}/{marker}")

    assert answer.status == 200


def test_an_answer_may_be_read_slowly(strict: Agent, marker: str) -> None:
    # Timeouts are for callers that owe something; one that waits between two requests for less than that is served.
    with strict.connect() as connection:
        connection.send(strict.bytes_of("GET", f"{TARGET}/{marker}"))
        time.sleep(2 * STRICT_SECONDS)
        answer = connection.response()

    assert answer.status == 200


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"SSH-2.0-x\r\n", bytes(range(256))])
def test_garbage_instead_of_tls_ends_that_connection_alone(garbage: bytes, caller: Agent, marker: str) -> None:
    with socket.create_connection((caller.host, caller.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(garbage)
        said = b""
        while data := _received(connection):
            said += data

    # At most a TLS alert (RFC 8446 6): never an answer in plain text.
    assert b"HTTP/" not in said
    assert caller.request("GET", f"{TARGET}/{marker}").status == 200


def test_the_gate_offers_http_1_1_alone(caller: Agent) -> None:
    with caller.connect(alpn=("h2", "http/1.1")) as connection:
        assert connection.socket.selected_alpn_protocol() == "http/1.1"


def test_a_caller_without_alpn_is_served(caller: Agent, marker: str) -> None:
    with caller.connect(alpn=()) as connection:
        connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}"))

        assert connection.response().status == 200


def test_old_tls_is_refused(caller: Agent) -> None:
    context = ssl.create_default_context(cadata=caller.ca)
    # OpenSSL's own default would refuse before the gate could.
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((caller.host, caller.port), timeout=PATIENCE_SECONDS) as raw,
        pytest.raises((ssl.SSLError, ConnectionResetError), match=r"(?i)protocol|version|reset"),
    ):
        context.wrap_socket(raw, server_hostname=caller.host)


# --- answers that break ---


def test_half_an_answer_never_looks_like_a_whole_one(caller: Agent) -> None:
    for name in ("half", "half-chunked"):
        with caller.connect() as connection:
            connection.send(caller.bytes_of("GET", f"{TARGET}/{name}"))
            with pytest.raises(ConnectionEnded):
                connection.response()


def test_an_answer_that_is_not_http_is_a_bad_gateway(caller: Agent) -> None:
    assert_gateway_failure(caller.request("GET", f"{TARGET}/garbage"))


def test_an_upstream_that_hangs_up_is_a_bad_gateway(caller: Agent, echo: Echo) -> None:
    before = len(echo.received)

    assert_gateway_failure(caller.request("GET", f"{TARGET}/hang-up"))
    # A GET may be repeated once, on a connection that was used before; never more.
    assert 1 <= len([request for request in echo.received[before:] if "hang-up" in request.target]) <= 2


def test_a_write_is_never_sent_twice(caller: Agent, echo: Echo, marker: str) -> None:
    body = CONFIG_MAP.replace(b"MARK", b"hang-up")

    # Connections that were used before are the tempting ones.
    assert caller.request("GET", f"{TARGET}/{marker}").status == 200
    assert_gateway_failure(
        caller.request("PUT", f"{TARGET}/hang-up?x={marker}", {"Content-Type": "application/json"}, body)
    )
    assert [request.method for request in echo.with_marker(marker)] == ["GET", "PUT"]


def assert_gateway_failure(answer: Response) -> None:
    assert answer.status in (502, 503)
    assert "the-credential" not in answer.message
    assert answer.kube_status()["status"] == "Failure"


def test_an_answer_that_comes_before_the_body_was_read_is_passed_on(caller: Agent, echo: Echo) -> None:
    target = "/api/v1/namespaces/d/services/early/proxy/upload"
    body = b"x" * (8 * MEBIBYTE)

    with caller.connect() as connection:
        connection.send_quietly(caller.bytes_of("POST", target, {}, body))
        answer = connection.response("POST")

    assert answer.status == 413
    assert b"heard enough" in answer.body


def test_interim_answers_do_not_confuse_the_final_one(caller: Agent) -> None:
    answer = caller.request("GET", f"{TARGET}/interim")

    assert answer.status == 200
    assert answer.json()["after"] == "interim"


def test_an_answer_in_chunks_stays_whole_and_the_connection_goes_on(caller: Agent, marker: str) -> None:
    with caller.connect() as connection:
        connection.send(caller.bytes_of("GET", f"{TARGET}/chunked"))
        chunked = connection.response()
        connection.send(caller.bytes_of("GET", f"{TARGET}/{marker}"))
        following = connection.response()

    assert chunked.body == b'{"kind":"Echo"}'
    assert following.status == 200


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""
