"""WebSocket frames: what is read of them, and what is refused because two readers would read it differently."""

from __future__ import annotations

import struct

import pytest
from tests.unit.wire.websocket_by_hand import KEY, fragment, masked

from narrowgate.wire.stream_events import Direction
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameReader,
    Piece,
    client_frame,
    frame,
    unmasked,
)


def client(*, fragments: bool = False, largest: int = 1 << 20) -> FrameReader:
    return FrameReader(Direction.TO_POD, fragments=fragments, largest=largest)


def server() -> FrameReader:
    return FrameReader(Direction.FROM_POD, fragments=True)


def test_the_examples_of_the_rfc_are_read() -> None:
    # RFC 6455 5.7.
    assert server().feed(bytes.fromhex("810548656c6c6f")) == [Piece(TEXT, b"Hello", True, True)]
    assert client().feed(bytes.fromhex("818537fa213d7f9f4d5158")) == [Piece(TEXT, b"Hello", True, True)]
    assert server().feed(bytes.fromhex("010348656c80026c6f")) == [
        Piece(TEXT, b"Hel", True, False),
        Piece(TEXT, b"lo", False, True),
    ]
    assert server().feed(bytes.fromhex("890548656c6c6f")) == [Piece(PING, b"Hello", True, True)]
    assert client().feed(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [Piece(PONG, b"Hello", True, True)]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_every_form_of_a_length_is_written_and_read(length: int) -> None:
    payload = bytes(range(256)) * 300
    payload = payload[:length]
    assert server().feed(frame(BINARY, payload)) == [Piece(BINARY, payload, True, True)]
    assert client().feed(masked(payload)) == [Piece(BINARY, payload, True, True)]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 4095, 4096, 4097, 8192, 10001])
def test_unmasking_twice_changes_nothing(size: int) -> None:
    payload = bytes(range(251)) * 40
    payload = payload[:size]
    assert unmasked(unmasked(payload, KEY), KEY) == payload
    assert unmasked(payload, KEY) == bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))


def test_a_control_frame_between_fragments_belongs_to_no_message() -> None:
    pieces = server().feed(fragment(BINARY, b"ab") + frame(PING, b"?") + fragment(CONTINUATION, b"") + frame(0, b"c"))
    assert [(piece.opcode, piece.payload, piece.first, piece.last) for piece in pieces] == [
        (BINARY, b"ab", True, False),
        (PING, b"?", True, True),
        (BINARY, b"", False, False),
        (BINARY, b"c", False, True),
    ]


def test_a_payload_is_told_as_it_comes_and_a_control_frame_once_it_is_whole() -> None:
    reader, sent = client(), masked(b"abcdef")
    assert reader.feed(sent[:6]) == []
    assert reader.feed(sent[6:9]) == [Piece(BINARY, b"abc", True, False)]
    assert reader.feed(sent[9:]) == [Piece(BINARY, b"def", False, True)]
    ping = masked(b"ping", PING)
    assert reader.feed(ping[:-1]) == []
    assert reader.feed(ping[-1:]) == [Piece(PING, b"ping", True, True)]


def test_a_frame_of_two_to_the_63_bytes_is_followed_and_not_held() -> None:
    reader = server()
    assert reader.feed(struct.pack(">BBQ", 0x82, 127, 2**63 - 1)) == []
    for _ in range(3):
        assert reader.feed(b"x" * 1000) in (
            [Piece(BINARY, b"x" * 1000, True, False)],
            [Piece(BINARY, b"x" * 1000, False, False)],
        )


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\xc2\x80" + KEY, "extension"),
        (b"\xa2\x80" + KEY, "extension"),
        (b"\x92\x80" + KEY, "extension"),
        (b"\x83\x80" + KEY, "opcode 3"),
        (b"\x8b\x80" + KEY, "opcode 11"),
        (b"\x82\x01x", "client is not masked"),
        (b"\x80\x80" + KEY, "continues nothing"),
        (b"\x02\x80" + KEY, "fragments"),
        (b"\x09\x80" + KEY, "control frame is in fragments"),
        (b"\x89\xfe\x00\x7e" + KEY, "longer than 125"),
        (b"\x82\xfe\x00\x7d" + KEY, "longer than it needs"),
        (b"\x82\xff" + (65535).to_bytes(8, "big") + KEY, "longer than it needs"),
        (b"\x82\xff" + (2**63).to_bytes(8, "big") + KEY, "longer than the"),
        (b"\x82\xff" + ((1 << 20) + 1).to_bytes(8, "big") + KEY, "longer than the 1048576"),
        (masked(b"\x03", CLOSE), "does not exist"),
        (masked((1005).to_bytes(2, "big"), CLOSE), "does not exist"),
        (masked((1000).to_bytes(2, "big") + b"\xff", CLOSE), "no text"),
        (masked(b"", CLOSE) + masked(b"x"), "follows the frame that closes"),
    ],
)
def test_what_readers_see_differently_is_refused(sent: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        client().feed(sent)


@pytest.mark.parametrize(
    "sent", [b"\x82\x81" + KEY + b"x", fragment(BINARY, b"a") + frame(BINARY, b"b"), frame(CONTINUATION, b"")]
)
def test_a_server_is_held_to_the_rules_too(sent: bytes) -> None:
    with pytest.raises(Unreadable, match="WebSocket: "):
        server().feed(sent)


def test_fragments_of_a_client_are_read_where_its_reader_puts_them_together() -> None:
    sent = masked(b"ab", final=False) + masked(b"c", CONTINUATION)
    assert b"".join(piece.payload for piece in client(fragments=True).feed(sent)) == b"abc"


def test_a_session_is_closed_with_a_reason_or_without_and_pings_may_follow() -> None:
    for reason in (b"", (1000).to_bytes(2, "big"), (1011).to_bytes(2, "big") + "größer".encode(), b"\x0f\xa0"):
        assert server().feed(frame(CLOSE, reason) + frame(PING, b""))[0] == Piece(CLOSE, reason, True, True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_frame_that_is_made_for_a_client_is_read_as_one(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    made = client_frame(BINARY, payload[:size])
    assert made[1] & 0x80, "masked, as a client's must be"
    pieces = FrameReader(Direction.TO_POD, fragments=False).feed(made)
    assert b"".join(piece.payload for piece in pieces) == payload[:size]
    assert [piece.last for piece in pieces] == [True]
