"""Where bodies end, what is refused on the way, and that the way they are cut never matters."""

from __future__ import annotations

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.wire.bodies import MAX_CHUNK_LINE, ChunkedBody, LengthBody, UntilCloseBody, follow
from narrowgate.wire.http1 import CHUNKED, UNTIL_CLOSE, Framing


def in_one(body: ChunkedBody | LengthBody, data: bytes) -> tuple[int, bool]:
    return body.feed(data), body.done


def byte_by_byte(body: ChunkedBody, data: bytes) -> int:
    """How many single bytes the body takes before it is done."""
    taken = 0
    for byte in data:
        if body.done:
            break
        taken += body.feed(bytes([byte]))
    return taken


def test_a_length_takes_its_bytes_and_no_more() -> None:
    payload: list[bytes] = []
    body = LengthBody(5, payload)
    assert in_one(body, b"abc") == (3, False)
    assert in_one(body, b"defg") == (2, True)
    assert b"".join(payload) == b"abcde"
    assert body.feed(b"x") == 0


def test_a_length_of_nothing_is_done_before_it_begins() -> None:
    assert LengthBody(0).done


def test_a_body_until_the_close_takes_everything_and_never_says_done() -> None:
    body = UntilCloseBody()
    assert (body.feed(b"0\r\n\r\n"), body.done) == (5, False)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"1\r\n\n\r\n2\r\n\r\n\r\n0\r\n\r\n", b"\n\r\n"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
        (b"0003\r\nabc\r\n0\r\n\r\n", b"abc"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_chunks_are_put_together(data: bytes, payload: bytes, strict: bool) -> None:
    collected: list[bytes] = []
    body = ChunkedBody(strict=strict, payload=collected)
    assert in_one(body, data + b"GET /next") == (len(data), True)
    assert b"".join(collected) == payload
    again: list[bytes] = []
    assert byte_by_byte(ChunkedBody(strict=strict, payload=again), data + b"GET /next") == len(data)
    assert b"".join(again) == payload


ONLY_LOOSE = {
    "an extension": b"3;name=value\r\nabc\r\n0\r\n\r\n",
    "a quoted extension": b'3;name="a b"\r\nabc\r\n0\r\n\r\n',
    "blanks behind the size": b"3  \r\nabc\r\n0\r\n\r\n",
    "a trailer": b"0\r\nX-Late: 1\r\n\r\n",
    "two trailers": b"0\r\nA: 1\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("data", ONLY_LOOSE.values(), ids=ONLY_LOOSE)
def test_what_the_api_server_may_send_a_client_may_not(data: bytes) -> None:
    assert in_one(ChunkedBody(strict=False), data) == (len(data), True)
    with pytest.raises(Malformed) as refusal:
        ChunkedBody(strict=True).feed(data)
    assert refusal.value.code == 400


BROKEN = {
    "no size": b"\r\nabc",
    "a size that is no number": b"xyz\r\n",
    "a signed size": b"+3\r\nabc\r\n",
    "a negative size": b"-3\r\nabc\r\n",
    "a size with a prefix": b"0x3\r\nabc\r\n",
    "a size with an underscore": b"1_0\r\n",
    "a blank before the size": b" 3\r\nabc\r\n",
    "a size beyond counting": b"1" * 16 + b"\r\n",
    "a size that ends in LF": b"3\nabc\r\n",
    "a size with a CR in it": b"3\r\r\nabc\r\n",
    "a NUL in the size": b"3\x00\r\nabc\r\n",
    "a chunk that is longer than it says": b"3\r\nabcd\r\n",
    "a chunk that ends in LF": b"3\r\nabc\n0\r\n\r\n",
    "a chunk that ends in CR": b"3\r\nabc\r0\r\n\r\n",
    "a chunk that does not end": b"3\r\nabc0\r\n\r\n",
    "a line without end": b"0" * (MAX_CHUNK_LINE + 1),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("strict", [True, False])
def test_broken_chunks_are_refused_however_they_are_cut(data: bytes, strict: bool) -> None:
    with pytest.raises(Malformed) as whole:
        ChunkedBody(strict=strict).feed(data)
    with pytest.raises(Malformed) as cut:
        byte_by_byte(ChunkedBody(strict=strict), data)
    assert (whole.value.message, whole.value.code) == (cut.value.message, cut.value.code)


def test_between_two_chunks_and_nowhere_else_one_may_be_put_in() -> None:
    body = ChunkedBody(strict=False)
    places = []
    for byte in b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n":
        places.append(body.at_boundary)
        body.feed(bytes([byte]))
    # Before each size line: at the beginning, and behind the CRLF of a chunk.
    assert [index for index, free in enumerate(places) if free] == [0, 6, 13]


@pytest.mark.parametrize(
    ("framing", "kind"),
    [(CHUNKED, ChunkedBody), (UNTIL_CLOSE, UntilCloseBody), (Framing(3), LengthBody), (Framing(), LengthBody)],
)
def test_a_framing_is_followed_by_its_counter(framing: Framing, kind: type) -> None:
    assert type(follow(framing, strict=True)) is kind
