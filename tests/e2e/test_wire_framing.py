"""Where one request ends and the next begins: bytes that two readers could understand differently are refused.

Every case sends raw bytes over TLS at a running gate in front of an upstream that remembers what reached it. A refusal
is 400 or its like, closes the connection where the end of the request is in doubt, and leaves the upstream untouched
(RFC 9112).
"""

from __future__ import annotations

import pytest
from tests.e2e.echo import Echo
from tests.e2e.gate import Agent

TARGET = "/api/v1/namespaces/d/configmaps"
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
