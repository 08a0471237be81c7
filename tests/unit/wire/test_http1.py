"""Request heads that are taken and refused, response heads that are passed on, and what is written."""

from __future__ import annotations

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.wire.http1 import (
    CHUNKED,
    MAX_HEADERS,
    NO_BODY,
    UNTIL_CLOSE,
    Framing,
    read_request_head,
    read_response_head,
    without_length,
    write_answer,
    write_request_head,
    write_response_head,
    write_switching_protocols,
)

START = b"GET /api/v1/pods HTTP/1.1\r\nHost: gate\r\n"


def request(*lines: bytes, start: bytes = START) -> bytes:
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return request(*lines, start=start)


# --- request heads


def test_a_request_head_is_its_method_target_and_headers() -> None:
    head = read_request_head(request(b"X-A: 1", b"x-a:\t2 ", b"Empty:", start=b"PUT /x?y=%20 HTTP/1.1\r\nHost: g\r\n"))
    assert (head.method, head.target) == ("PUT", b"/x?y=%20")
    assert head.headers == [(b"host", b"g"), (b"x-a", b"1"), (b"x-a", b"2"), (b"empty", b"")]
    assert head.fields[b"x-a"] == b"1"


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((), NO_BODY),
        ((b"Content-Length: 0",), NO_BODY),
        ((b"Content-Length: 12",), Framing(12)),
        ((b"content-length:   007  ",), Framing(7)),
        ((b"Transfer-Encoding: chunked",), CHUNKED),
        ((b"TRANSFER-ENCODING: Chunked",), CHUNKED),
    ],
)
def test_a_body_is_framed_in_one_of_two_ways(lines: tuple[bytes, ...], framing: Framing) -> None:
    assert read_request_head(request(*lines)).framing == framing


SMUGGLING = {
    "length and encoding": (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "encoding and length": (b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    "two lengths": (b"Content-Length: 4", b"Content-Length: 5"),
    "one length twice": (b"Content-Length: 4", b"content-length: 4"),
    "a list of lengths": (b"Content-Length: 4, 4",),
    "a signed length": (b"Content-Length: +4",),
    "a negative length": (b"Content-Length: -4",),
    "a hexadecimal length": (b"Content-Length: 0x4",),
    "a length with an underscore": (b"Content-Length: 1_0",),
    "a length with a space": (b"Content-Length: 1 0",),
    "an empty length": (b"Content-Length:",),
    "a length beyond counting": (b"Content-Length: 99999999999999999999",),
    "two encodings": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "an encoding before chunked": (b"Transfer-Encoding: gzip, chunked",),
    "an encoding after chunked": (b"Transfer-Encoding: chunked, identity",),
    "identity": (b"Transfer-Encoding: identity",),
    "quoted chunked": (b'Transfer-Encoding: "chunked"',),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;a=b",),
    "chunked behind a vertical tab": (b"Transfer-Encoding: \x0bchunked",),
    "chunked behind a non-breaking space": (b"Transfer-Encoding: \xa0chunked",),
    "an empty encoding": (b"Transfer-Encoding:",),
    "a space before the colon": (b"Content-Length : 4",),
    "a tab before the colon": (b"Transfer-Encoding\t: chunked",),
    "a header without a colon": (b"Content-Length 4",),
    "a header without a name": (b": chunked",),
    "a folded value": (b"X: a", b" Transfer-Encoding: chunked"),
    "a value folded with a tab": (b"Transfer-Encoding:", b"\tchunked"),
    "a bare LF": (b"X: a\nTransfer-Encoding: chunked",),
    "a bare CR": (b"X: a\rTransfer-Encoding: chunked",),
    "a CR before the CRLF": (b"X: a\r",),
    "a NUL in a value": (b"X: a\x00b",),
    "a NUL in a name": (b"Content-Length\x00: 4",),
    "two hosts": (b"Host: other",),
    "two credentials": (b"Authorization: Bearer a", b"Authorization: Bearer b"),
    "two content types": (b"Content-Type: a/b", b"Content-Type: c/d"),
    "a method override": (b"X-HTTP-Method-Override: DELETE",),
    "another method override": (b"X-Method-Override: DELETE",),
    "a third method override": (b"X-HTTP-Method: DELETE",),
}


@pytest.mark.parametrize("lines", SMUGGLING.values(), ids=SMUGGLING)
def test_what_two_readers_could_take_differently_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(Malformed) as refusal:
        read_request_head(request(*lines))
    assert refusal.value.code == 400


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (b"GET / HTTP/1.0\r\nHost: g\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: g\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: g\r\n", 505),
        (b"GET /\r\nHost: g\r\n", 505),
        (b"GET / x HTTP/1.1\r\nHost: g\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: g\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: g\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: g\r\n", 400),
        (b"G\xc3T / HTTP/1.1\r\nHost: g\r\n", 400),
        (b"CONNECT g:443 HTTP/1.1\r\nHost: g\r\n", 405),
        (b"TRACE / HTTP/1.1\r\nHost: g\r\n", 405),
        (b"PRI * HTTP/2.0\r\n", 400),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \t\r\n", 400),
        (b"", 400),
    ],
)
def test_a_start_that_is_not_ours_is_refused(start: bytes, code: int) -> None:
    with pytest.raises(Malformed) as refusal:
        read_request_head(request(start=start))
    assert refusal.value.code == code


def test_as_many_headers_as_the_limit_pass_and_one_more_is_refused() -> None:
    most = [b"X-%d: 1" % number for number in range(MAX_HEADERS - 1)]
    assert len(read_request_head(request(*most)).headers) == MAX_HEADERS
    with pytest.raises(Malformed) as refusal:
        read_request_head(request(*most, b"X: 1"))
    assert refusal.value.code == 431


@pytest.mark.parametrize(
    ("lines", "keep", "upgrade"),
    [
        ((), True, ""),
        ((b"Connection: keep-alive",), True, ""),
        ((b"Connection: Close",), False, ""),
        ((b"Connection: keep-alive", b"Connection: close"), False, ""),
        ((b"Upgrade: websocket",), True, ""),
        ((b"Connection: Upgrade", b"Upgrade: WebSocket"), True, "websocket"),
        ((b"Connection: keep-alive, Upgrade", b"Upgrade: SPDY/3.1"), True, "spdy/3.1"),
        ((b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: h2c"), True, "h2c"),
        ((b"Connection: Upgrade",), True, ""),
    ],
)
def test_an_upgrade_is_asked_for_by_both_headers(lines: tuple[bytes, ...], keep: bool, upgrade: str) -> None:
    head = read_request_head(request(*lines))
    assert (head.keep_alive, head.upgrade) == (keep, upgrade)


# --- response heads


@pytest.mark.parametrize(
    ("lines", "status", "method", "framing"),
    [
        ((b"Content-Length: 5",), 200, "GET", Framing(5)),
        ((b"content-length:5",), 200, "GET", Framing(5)),
        ((b"Transfer-Encoding: chunked",), 200, "GET", CHUNKED),
        ((b"transfer-encoding:\tCHUNKED",), 200, "GET", CHUNKED),
        ((), 200, "GET", UNTIL_CLOSE),
        ((b"Content-Length: 5",), 200, "HEAD", NO_BODY),
        ((b"Transfer-Encoding: chunked",), 200, "HEAD", NO_BODY),
        ((), 200, "HEAD", NO_BODY),
        ((), 204, "DELETE", NO_BODY),
        ((b"Content-Length: 5",), 204, "GET", NO_BODY),
        ((b"Content-Length: 5",), 304, "GET", NO_BODY),
        ((b"Transfer-Encoding: chunked",), 304, "GET", NO_BODY),
        ((), 100, "GET", NO_BODY),
        ((b"Connection: Upgrade", b"Upgrade: x"), 101, "GET", NO_BODY),
        ((b"Connection: keep-alive", b"Content-Length: 5"), 200, "GET", Framing(5)),
    ],
)
def test_where_an_answer_ends(lines: tuple[bytes, ...], status: int, method: str, framing: Framing) -> None:
    start = b"HTTP/1.1 %d Some Reason\r\n" % status
    head = read_response_head(response(*lines, start=start), method)
    assert (head.status, head.framing) == (status, framing)


ODD_ANSWERS = {
    "length and encoding": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "two encodings": (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
    "chunked twice": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "two lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "a signed length": (b"Content-Length: +5",),
    "a list of lengths": (b"Content-Length: 5, 5",),
    "chunked not last": (b"Transfer-Encoding: chunked, gzip",),
    "a space before the colon": (b"Content-Length : 5",),
    "a bare LF": (b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 5"),
    "a bare CR": (b"X: a\rContent-Length: 7", b"Content-Length: 5"),
    "a folded line": (b"X: a", b" Content-Length: 7", b"Content-Length: 5"),
    "a NUL": (b"X: \x00", b"Content-Length: 5"),
}


@pytest.mark.parametrize("lines", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_answer_with_an_odd_framing_is_not_passed_on(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(Malformed):
        read_response_head(response(*lines), "GET")


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 2x0 OK\r\n", b"HTTP/1.1 2_0 OK\r\n", b"HTTP/1.1 +20 OK\r\n", b"HTTP/1.1 20\r\n", b"HTTP/2 200 OK\r\n",
     b"garbage\r\n", b"\r\n"],
)  # fmt: skip
def test_an_answer_that_is_not_http_is_not_passed_on(start: bytes) -> None:
    with pytest.raises(Malformed):
        read_response_head(response(b"Content-Length: 5", start=start), "GET")


@pytest.mark.parametrize(
    ("start", "lines", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\n", (b"Content-Length: 5",), True),
        (b"HTTP/1.1 200\r\n", (b"Content-Length: 5",), True),
        (b"HTTP/1.1 200 OK\r\n", (), False),
        (b"HTTP/1.1 200 OK\r\n", (b"Content-Length: 5", b"Connection: close"), False),
        (b"HTTP/1.0 200 OK\r\n", (b"Content-Length: 5",), False),
    ],
)
def test_a_connection_is_kept_when_its_answer_says_where_it_ends(
    start: bytes, lines: tuple[bytes, ...], keep: bool
) -> None:
    assert read_response_head(response(*lines, start=start), "GET").keep_alive is keep


HOP_BY_HOP_LINES = (
    b"Connection: keep-alive, X-Own",
    b"Keep-Alive: timeout=5",
    b"Proxy-Authenticate: Basic",
    b"Proxy-Connection: close",
    b"TE: trailers",
    b"Trailer: X",
    b"Upgrade: h2c",
)


@pytest.mark.parametrize("line", HOP_BY_HOP_LINES)
def test_what_belongs_to_one_connection_is_not_passed_on(line: bytes) -> None:
    head = read_response_head(response(b"Audit-Id: 1", line, b"Content-Length: 5"), "GET")
    written = write_response_head(head, close=False)
    assert written.lower() == b"http/1.1 200 ok\r\naudit-id: 1\r\ncontent-length: 5\r\n\r\n"


def test_repeated_headers_are_passed_on_in_their_order() -> None:
    head = read_response_head(response(b"Warning: 1", b"Content-Length: 0", b"Warning: 2"), "GET")
    assert write_response_head(head, close=True).lower() == (
        b"http/1.1 200 ok\r\nwarning: 1\r\ncontent-length: 0\r\nwarning: 2\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("more", [(), (b"Connection: keep-alive",)])
def test_a_head_answer_without_a_length_is_not_given_one(more: tuple[bytes, ...]) -> None:
    head = read_response_head(response(b"Transfer-Encoding: chunked", *more), "HEAD")
    assert b"content-length" not in write_response_head(head, close=False).lower()


def test_a_header_of_an_answer_is_found_by_its_whole_name() -> None:
    head = read_response_head(response(b"X-Content-Type: no", b"Content-TYPE:  a/b ", b"Content-Length: 0"), "GET")
    assert head.field(b"content-type") == b"a/b"
    assert head.field(b"type") == b""


def test_a_switch_of_protocols_keeps_what_the_two_protocols_negotiate_by() -> None:
    lines = (b"Upgrade: SPDY/3.1", b"Connection: Upgrade", b"X-Stream-Protocol-Version: v4.channel.k8s.io", b"X: y")
    head = read_response_head(response(*lines, start=b"HTTP/1.1 101 Switching Protocols\r\n"), "POST")
    assert write_switching_protocols(head).lower() == (
        b"http/1.1 101 switching protocols\r\nconnection: upgrade\r\nupgrade: spdy/3.1\r\n"
        b"x-stream-protocol-version: v4.channel.k8s.io\r\n\r\n"
    )


# --- what is written


@pytest.mark.parametrize(
    ("method", "framing", "line"),
    [
        ("GET", NO_BODY, b""),
        ("DELETE", NO_BODY, b""),
        ("DELETE", Framing(3), b"content-length: 3\r\n"),
        ("POST", NO_BODY, b"content-length: 0\r\n"),
        ("PATCH", Framing(3), b"content-length: 3\r\n"),
        ("POST", CHUNKED, b"transfer-encoding: chunked\r\n"),
    ],
)
def test_a_request_is_framed_anew(method: str, framing: Framing, line: bytes) -> None:
    written = write_request_head(method, b"/x?y", [(b"host", b"a:1"), (b"accept", b"*/*")], framing)
    assert written == method.encode() + b" /x?y HTTP/1.1\r\nhost: a:1\r\naccept: */*\r\n" + line + b"\r\n"


def test_an_answer_of_the_gates_own_is_complete() -> None:
    answer = write_answer(403, "Forbidden", b'{"a":1}', close=True, headers=(("retry-after", "5"),))
    assert answer == (
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncache-control: no-cache, private\r\n"
        b'retry-after: 5\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{"a":1}'
    )


@pytest.mark.parametrize("name", [b"Set-Cookie", b"set-cookie", b"SET-COOKIE"])
@pytest.mark.parametrize("cookie", [b"__Host-narrowgate-session=x; Secure; Path=/", b" __host-NARROWGATE-saml=x"])
def test_an_answer_plants_no_cookie_of_the_gates_own(name: bytes, cookie: bytes) -> None:
    block = b"HTTP/1.1 200 OK\r\n%b:%b\r\nset-cookie: mine=1\r\ncontent-length: 2\r\n\r\n" % (name, cookie)
    head = read_response_head(block, "GET")
    assert b"narrowgate" not in head.relayed.lower()
    assert b"set-cookie: mine=1\r\n" in head.relayed
    assert head.framing.length == 2


def test_a_head_may_be_told_without_how_long_its_body_would_be() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 512\r\nETag: a\r\n\r\n"
    head = read_response_head(raw, "HEAD")
    written = write_response_head(without_length(head), close=False).lower()
    assert (b"content-length" in written, b"etag: a" in written) == (False, True)
