"""Where one request ends and the next begins: bytes that two readers could understand differently are refused.

Every case sends raw bytes over TLS at a running gate in front of an upstream that remembers what reached it. A refusal
is 400 or its like, closes the connection where the end of the request is in doubt, and leaves the upstream untouched
(RFC 9112).
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
PATIENCE_SECONDS = 20.0
TARGET = "/api/v1/namespaces/d/configmaps"
MEBIBYTE = 1 << 20
CONFIG_MAP = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"MARK"},"data":{}}'

REFUSED = {400}
"""What a request that cannot be read is answered with."""

# A request in each case: `MARK` is replaced by the case's own word, `AUTH` by the credential's header line. The second
# field is the statuses that are right.
HEADS: dict[str, tuple[bytes, set[int]]] = {
    "content-length and transfer-encoding": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        REFUSED,
    ),
    "transfer-encoding and content-length": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 4\r\n\r\n0\r\n\r\n",
        REFUSED,
    ),
    "two content-lengths that differ": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: 2\r\n"
        b"Content-Length: 3\r\n\r\n{}x",
        REFUSED,
    ),
    "two content-lengths that agree": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: 2\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        REFUSED,
    ),
    "a content-length that is a list": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: 2, 2\r\n\r\n{}",
        REFUSED,
    ),
    "transfer-encoding gzip": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nTransfer-Encoding: gzip\r\n\r\n",
        REFUSED | {501},
    ),
    "transfer-encoding gzip, chunked": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n"
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        REFUSED | {501},
    ),
    "transfer-encoding chunked, identity": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n"
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        REFUSED | {501},
    ),
    "transfer-encoding twice": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        REFUSED,
    ),
    "transfer-encoding with a vertical tab": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n"
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        REFUSED | {501},
    ),
    "a folded header": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAccept: a\r\n b\r\n\r\n",
        REFUSED,
    ),
    "a header folded with a tab": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAccept: a\r\n\tb\r\n\r\n",
        REFUSED,
    ),
    "a bare line feed between headers": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAccept: a\nX-A: b\r\n\r\n",
        REFUSED,
    ),
    "bare line feeds only": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\nHost: g\nAUTH\n\n\r\n\r\n",
        REFUSED,
    ),
    "a bare carriage return in a header": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAccept: a\rX-A: b\r\n\r\n",
        REFUSED,
    ),
    "two hosts": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nHost: h\r\nAUTH\r\n\r\n",
        REFUSED,
    ),
    "two hosts that agree": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nHost: g\r\n\r\n",
        REFUSED,
    ),
    "no host": (b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nAUTH\r\n\r\n", REFUSED),
    "two credentials": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAuthorization: Bearer x\r\n\r\n",
        REFUSED,
    ),
    "a space before the colon": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost : g\r\nAUTH\r\n\r\n",
        REFUSED,
    ),
    "a space before the colon of a length": (
        b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length : 2\r\n\r\n{}",
        REFUSED,
    ),
    "a header that begins with a space": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\n Host: g\r\nAUTH\r\n\r\n",
        REFUSED,
    ),
    "a header without a colon": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nnonsense\r\n\r\n",
        REFUSED,
    ),
    "a header without a name": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n: x\r\n\r\n",
        REFUSED,
    ),
    "a header name with a space inside": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nX Y: x\r\n\r\n",
        REFUSED,
    ),
    "a NUL in a header": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAccept: a\x00b\r\n\r\n",
        REFUSED,
    ),
    "a NUL in a header's name": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAcc\x00ept: a\r\n\r\n",
        REFUSED,
    ),
    "a control character in a header": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nAccept: a\x01b\r\n\r\n",
        REFUSED,
    ),
    "CONNECT": (b"CONNECT kubernetes:443?MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n", {400, 405}),
    "TRACE": (b"TRACE /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n", {400, 405}),
    "OPTIONS": (b"OPTIONS /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n", {400, 405}),
    "a method nobody knows": (
        b"MANGLE /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n",
        {400, 405},
    ),
    "a method of WebDAV": (
        b"PROPFIND /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n",
        {400, 405},
    ),
    "a method in lower case": (
        b"get /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n",
        {400, 405},
    ),
    "HTTP/1.0": (b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.0\r\nHost: g\r\nAUTH\r\n\r\n", {400, 505}),
    "HTTP/1.2": (b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.2\r\nHost: g\r\nAUTH\r\n\r\n", {400, 505}),
    "HTTP/2.0 in the request line": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/2.0\r\nHost: g\r\nAUTH\r\n\r\n",
        {400, 505},
    ),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}),
    "no version": (b"GET /api/v1/namespaces/d/configmaps/MARK\r\n\r\n", {400, 505}),
    "another protocol's name": (
        b"GET /api/v1/namespaces/d/configmaps/MARK RTSP/1.1\r\nHost: g\r\nAUTH\r\n\r\n",
        {400, 505},
    ),
    "a space in the target": (
        b"GET /api/v1/namespaces/d/configmaps/MARK x HTTP/1.1\r\nHost: g\r\nAUTH\r\n\r\n",
        REFUSED,
    ),
    "x-http-method-override": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\n"
        b"X-HTTP-Method-Override: DELETE\r\n\r\n",
        {400, 405},
    ),
    "x-http-method": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nX-HTTP-Method: DELETE\r\n\r\n",
        {400, 405},
    ),
    "x-method-override": (
        b"GET /api/v1/namespaces/d/configmaps/MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nX-Method-Override: DELETE\r\n\r\n",
        {400, 405},
    ),
    **{
        f"a content-length of {value!r}": (
            b"POST /api/v1/namespaces/d/configmaps?x=MARK HTTP/1.1\r\nHost: g\r\nAUTH\r\nContent-Length: "
            + value
            + b"\r\n\r\n{}",
            REFUSED,
        )
        for value in (b"-1", b"+2", b"0x2", b"2 2", b"", b"2_0", b"two", b"99999999999999999999999")
    },
}

# Bodies in chunks that are no chunks, behind a well-formed head.
CHUNKS: dict[str, bytes] = {
    "a size that is no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative size": b"-2\r\n{}\r\n0\r\n\r\n",
    "a size with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "a size in C's notation": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "an empty size": b"\r\n{}\r\n0\r\n\r\n",
    "a size line that ends in a bare line feed": b"2\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": b"2\r\n{}xx\r\n0\r\n\r\n",
    "a chunk that ends in a bare line feed": b"2\r\n{}\n0\r\n\r\n",
    "a space before the size": b" 2\r\n{}\r\n0\r\n\r\n",
}


def filled(raw: bytes, caller: Agent, marker: str) -> bytes:
    return raw.replace(b"AUTH", f"Authorization: Bearer {caller.token}".encode()).replace(b"MARK", marker.encode())


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_could_be_read_in_two_ways_is_refused_and_goes_nowhere(
    name: str, caller: Agent, echo: Echo, marker: str
) -> None:
    raw, right = HEADS[name]

    with caller.connect() as connection:
        connection.send_quietly(filled(raw, caller, marker))
        answer = connection.response()

    assert answer.status in right
    assert answer.message
    assert echo.with_marker(marker) == []


@pytest.mark.parametrize("name", HEADS)
def test_nothing_behind_a_refused_head_is_taken_for_a_request(
    name: str, caller: Agent, echo: Echo, marker: str
) -> None:
    raw, _ = HEADS[name]
    smuggled = caller.bytes_of("GET", f"{TARGET}/smuggled-{marker}")

    with caller.connect() as connection:
        connection.send_quietly(filled(raw, caller, "first") + smuggled)
        refusal = connection.response()
        # Where the gate knows the end of the refused request it may serve the next one, as a request of its own that
        # the caller asked for; where the framing is in doubt it must close.
        framing_in_doubt = refusal.status == 400
        ended = connection.ended() if framing_in_doubt else True

    assert ended
    if framing_in_doubt:
        assert echo.with_marker(marker) == []


@pytest.mark.parametrize("name", CHUNKS)
def test_a_body_whose_chunks_are_malformed_is_refused_and_nothing_is_written(
    name: str, caller: Agent, echo: Echo, marker: str
) -> None:
    head = caller.bytes_of(
        "POST", f"{TARGET}?x={marker}", {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    )

    with caller.connect() as connection:
        connection.send_quietly(head + CHUNKS[name])
        answer = connection.response("POST")
        ended = connection.ended()

    assert answer.status == 400
    assert ended
    assert echo.with_marker(marker) == []


def test_a_trailer_never_becomes_a_header(caller: Agent, echo: Echo, marker: str) -> None:
    body = CONFIG_MAP.replace(b"MARK", marker.encode())
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\nImpersonate-User: system:admin\r\n\r\n"
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json", "Trailer": "Impersonate-User"}

    with caller.connect() as connection:
        connection.send(caller.bytes_of("POST", TARGET, headers) + chunked)
        answer = connection.response("POST")

    assert answer.status in (200, 400)
    for request in echo.with_marker(marker):
        assert not request.names() & {"impersonate-user", "trailer"}
        assert request.body == body


def test_a_body_in_chunks_arrives_whole_however_it_is_cut(caller: Agent, echo: Echo, marker: str) -> None:
    body = CONFIG_MAP.replace(b"MARK", marker.encode())
    pieces = [body[:1], body[1:20], body[20:]]
    chunked = b"".join(f"{len(piece):X}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    raw = (
        caller.bytes_of("POST", TARGET, {"Transfer-Encoding": "Chunked", "Content-Type": "application/json"}) + chunked
    )

    with caller.connect() as connection:
        for position in range(0, len(raw), 7):
            connection.send(raw[position : position + 7])
        answer = connection.response("POST")

    assert answer.status == 200
    assert [request.body for request in echo.with_marker(marker)] == [body]


def test_a_request_may_arrive_byte_by_byte(caller: Agent, echo: Echo, marker: str) -> None:
    raw = caller.bytes_of("GET", f"{TARGET}/{marker}")

    with caller.connect() as connection:
        for position in range(len(raw)):
            connection.send(raw[position : position + 1])
        answer = connection.response()

    assert answer.status == 200
    assert len(echo.with_marker(marker)) == 1


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
