"""Laws of framing: any cut of a message gives the same events, and what is passed on has one reading."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.core.malformed import Malformed
from narrowgate.wire.bodies import Body, ChunkedBody, LengthBody
from narrowgate.wire.http1 import (
    Framing,
    read_request_head,
    read_response_head,
    write_request_head,
    write_response_head,
)

BOUNDED = settings(max_examples=300, deadline=None)

cuts = st.lists(st.integers(1, 40), max_size=60)
parts = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
odd = st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"0", b";", b" ", b"\x00", b"f", b"3\r\nabc\r\n", b"0\r\n\r\n"])


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def followed(body: Body, collected: list[bytes], data: bytes, sizes: list[int]) -> tuple[str, int, bool, bytes]:
    """What becomes of these bytes when they come in pieces of these sizes, the rest in one."""
    taken = 0
    position = 0
    for size in [*sizes, len(data)]:
        piece = data[position : position + size]
        position += len(piece)
        if not piece or body.done:
            break
        try:
            taken += body.feed(piece)
        except Malformed as refusal:
            return refusal.message, 0, False, b""
    return "", taken, body.done, b"".join(collected)


def chunks(data: bytes, sizes: list[int], *, strict: bool) -> tuple[str, int, bool, bytes]:
    collected: list[bytes] = []
    return followed(ChunkedBody(strict=strict, payload=collected), collected, data, sizes)


@BOUNDED
@given(parts, st.binary(max_size=30), cuts, st.booleans())
def test_a_chunked_body_is_its_parts_however_it_is_cut(
    pieces: list[bytes], behind: bytes, sizes: list[int], strict: bool
) -> None:
    data = chunked(pieces)
    assert chunks(data + behind, sizes, strict=strict) == ("", len(data), True, b"".join(pieces))


@BOUNDED
@given(parts, st.integers(0, 400), odd, st.integers(0, 3), cuts, st.booleans())
def test_a_damaged_body_is_taken_alike_however_it_is_cut(
    pieces: list[bytes], at: int, inserted: bytes, dropped: int, sizes: list[int], strict: bool
) -> None:
    data = chunked(pieces)
    at %= len(data)
    damaged = data[:at] + inserted + data[at + dropped :]
    assert chunks(damaged, sizes, strict=strict) == chunks(damaged, [], strict=strict)


@BOUNDED
@given(parts, st.integers(0, 400), odd, st.integers(0, 3))
def test_what_the_strict_reading_takes_the_loose_one_takes_alike(
    pieces: list[bytes], at: int, inserted: bytes, dropped: int
) -> None:
    data = chunked(pieces)
    at %= len(data)
    damaged = data[:at] + inserted + data[at + dropped :]
    strict = chunks(damaged, [], strict=True)
    assert strict[0] or strict == chunks(damaged, [], strict=False)


@BOUNDED
@given(st.binary(max_size=200), st.binary(max_size=40), cuts)
def test_a_counted_body_is_its_bytes_however_it_is_cut(content: bytes, behind: bytes, sizes: list[int]) -> None:
    collected: list[bytes] = []
    found = followed(LengthBody(len(content), collected), collected, content + behind, sizes)
    assert found == ("", len(content), True, content)


@BOUNDED
@given(parts, cuts)
def test_a_chunk_put_in_at_a_boundary_leaves_a_readable_body(pieces: list[bytes], sizes: list[int]) -> None:
    data = chunked(pieces)
    body = ChunkedBody(strict=False)
    position = 0
    for size in sizes:
        position += body.feed(data[position : position + size])
        if body.at_boundary or body.done:
            break
    if body.at_boundary and not body.done:
        ended = data[:position] + b"3\r\nend\r\n0\r\n\r\n"
        error, taken, done, content = chunks(ended, [], strict=True)
        assert (error, taken, done, content[-3:]) == ("", len(ended), True, b"end")


names = st.from_regex(rb"X-[A-Za-z]{1,8}", fullmatch=True)
values = st.from_regex(rb"[!-~]([ !-~]{0,20}[!-~])?", fullmatch=True)
pairs = st.lists(st.tuples(names.map(bytes.lower), values), max_size=6)


@BOUNDED
@given(
    pairs, st.sampled_from([Framing(), Framing(7), Framing(chunked=True)]), st.sampled_from(["GET", "POST", "PATCH"])
)
def test_a_request_that_is_written_is_read_as_it_was_meant(
    headers: list[tuple[bytes, bytes]], framing: Framing, method: str
) -> None:
    host = [(b"host", b"a:1")]
    head = read_request_head(write_request_head(method, b"/api?x=%20", host + headers, framing))
    assert (head.method, head.target, head.framing) == (method, b"/api?x=%20", framing)
    passed = [pair for pair in head.headers if pair[0] not in (b"content-length", b"transfer-encoding")]
    assert passed == host + headers


lines = st.sampled_from(
    [
        b"Content-Length: 5", b"content-length:5", b"Content-Length: 6", b"Transfer-Encoding: chunked",
        b"transfer-encoding: gzip", b"Connection: close", b"Connection: Keep-Alive, X-A", b"Keep-Alive: timeout=5",
        b"X-A: b", b"X-B:", b"Upgrade: h2c", b"Trailer: X", b"Content-Length: +5", b"X: a\nContent-Length: 7",
        b"X: a\rContent-Length: 7", b" folded", b"\tContent-Length: 7", b"Content-Length : 5", b"X: \x00", b"TE: x",
        b"Content-Type: a/b", b"Proxy-Authenticate: x",
    ]
)  # fmt: skip
starts = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 404 N F", b"HTTP/1.0 200 OK", b"HTTP/1.1 2x0 O"]
)
HOP_BY_HOP = (b"\r\nconnection:", b"\r\nkeep-alive:", b"\r\nupgrade:", b"\r\ntrailer:", b"\r\nte:", b"\r\nproxy-")


@BOUNDED
@given(starts, st.lists(lines, max_size=5), st.sampled_from(["GET", "HEAD"]))
def test_an_answer_that_is_passed_on_is_read_alike_by_whoever_gets_it(
    start: bytes, given_lines: list[bytes], method: str
) -> None:
    block = b"\r\n".join([start, *given_lines]) + b"\r\n\r\n"
    try:
        head = read_response_head(block, method)
    except Malformed:
        return
    written = write_response_head(head, close=False)
    again = read_response_head(written, method)
    assert (again.status, again.framing) == (head.status, head.framing)
    assert written.count(b"\r\n") == written.count(b"\n") == written.count(b"\r")
    lowered = written.lower()
    assert not any(mark in lowered for mark in HOP_BY_HOP)
    assert lowered.count(b"\r\ncontent-length:") + lowered.count(b"\r\ntransfer-encoding:") <= 1
