"""SPDY/3.1 frames: read in one way only, or not at all."""

from __future__ import annotations

import struct
import zlib

import pytest
from tests.unit.wire.spdy_by_hand import (
    FIN,
    Sender,
    block,
    control,
    data,
    go_away,
    ping,
    reset,
    settings,
    window,
)

from narrowgate.wire.spdy import (
    CONTROL_LIMIT,
    DICTIONARY,
    HEADERS_LIMIT,
    PIECE,
    Aside,
    Data,
    Frame,
    FrameReader,
    Leaving,
    Opened,
    Replied,
    Reset,
    data_frames,
)
from narrowgate.wire.unreadable import Unreadable

OPENING = struct.pack(">IIBB", 1, 0, 0, 0)


def opening(compressed: bytes) -> bytes:
    return control(1, OPENING + compressed)


def read(*frames: bytes) -> list[Frame]:
    return FrameReader().feed(b"".join(frames))


def test_the_dictionary_is_the_one_of_the_draft() -> None:
    # Its Adler-32 is what a compressor names it by (RFC 1950 2.2), and what every SPDY/3 connection begins with.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)
    assert Sender().compressed(b"x")[2:6] == bytes.fromhex("e3c6a7c2")


def test_a_stream_is_opened_answered_used_and_ended() -> None:
    client, server = Sender(), Sender()
    opened, replied = client.opened(1, streamtype="data", port="80"), server.replied(1)
    assert read(opened) == [Opened(1, {b"streamtype": b"data", b"port": b"80"}, fin=False, raw=opened)]
    assert read(replied, data(1, b"abc"), data(1, b"", FIN), reset(1)) == [
        Replied(1, fin=False, raw=replied),
        Data(1, b"abc", fin=False),
        Data(1, b"", fin=True),
        Reset(1, raw=reset(1)),
    ]


def test_headers_of_one_direction_are_compressed_together() -> None:
    client = Sender()
    first, second = client.opened(1, streamtype="error", port="8080"), client.opened(3, streamtype="data", port="8080")
    assert len(second) < len(first)
    assert [frame.headers[b"port"] for frame in read(first, second) if isinstance(frame, Opened)] == [b"8080"] * 2
    with pytest.raises(Unreadable, match="cannot be decompressed"):
        read(second)


def test_what_belongs_to_no_stream_is_passed_aside() -> None:
    asides = [settings(), settings((4, 100), (7, 65536)), ping(), window(0, 1), window(3, 65536)]
    assert read(*asides, go_away(5)) == [*(Aside(raw) for raw in asides), Leaving(go_away(5))]


def test_data_comes_as_it_arrives_and_control_frames_when_they_are_whole() -> None:
    reader = FrameReader()
    frame = data(1, b"abcdef", FIN)
    assert reader.feed(frame[:10]) == [Data(1, b"ab", fin=False)]
    assert reader.feed(frame[10:]) == [Data(1, b"cdef", fin=True)]
    assert reader.feed(ping()[:11]) == []
    assert reader.feed(ping()[11:]) == [Aside(ping())]


def test_pieces_begin_and_end_where_the_frame_says_and_not_the_network() -> None:
    frame = data(1, b"0123456789", FIN) + data(1, b"ab")
    expected = [
        Data(1, b"0123", fin=False),
        Data(1, b"4567", fin=False),
        Data(1, b"89", fin=True),
        Data(1, b"ab", fin=False),
    ]
    for cut in range(1, len(frame)):
        reader = FrameReader(piece=4)
        assert [one for at in range(0, len(frame), cut) for one in reader.feed(frame[at : at + cut])] == expected


def test_a_frame_of_sixteen_megabytes_is_not_held() -> None:
    reader = FrameReader(piece=PIECE)
    reader.feed(struct.pack(">II", 1, (1 << 24) - 1))
    assert [len(one.payload) for one in reader.feed(b"x" * (3 * PIECE + 1)) if isinstance(one, Data)] == [PIECE] * 3


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (control(1, OPENING + b"x" * 20, version=2), "version 2 and type 1"),
        (control(5, b""), "type 5 is not spoken"),
        (control(8, b"x" * 20), "type 8 is not spoken"),
        (control(10, b"x" * 20), "type 10 is not spoken"),
        (control(1, OPENING + b"\x00\x00\xff\xff", 2), "SYN_STREAM frame has flags 0x2"),
        (control(1, OPENING[:9]), "9 bytes, which it cannot have"),
        (control(1, b"", length=CONTROL_LIMIT + 1), f"{CONTROL_LIMIT + 1} bytes, which it cannot have"),
        (control(2, b"\x00\x00\x00\x01"), "SYN_REPLY frame has flags 0x0 and 4 bytes"),
        (control(3, struct.pack(">II", 1, 5) + b"1234"), "RST_STREAM frame has flags 0x0 and 12 bytes"),
        (control(3, struct.pack(">II", 1, 5), 1), "RST_STREAM frame has flags 0x1"),
        (control(3, struct.pack(">II", 1 << 31 | 1, 5)), "the reserved bit set"),
        (reset(0), "number zero"),
        (reset(1, 0), "reset for no reason"),
        (control(4, struct.pack(">I", 2) + b"x" * 8), "another length than its settings"),
        (control(4, struct.pack(">I", 0) + b"x" * 8), "another length than its settings"),
        (control(4, b"", length=1 << 20), "SETTINGS frame has flags 0x0 and 1048576 bytes"),
        (ping(0), "the number zero"),
        (control(6, struct.pack(">II", 1, 1)), "PING frame has flags 0x0 and 8 bytes"),
        (control(7, struct.pack(">I", 1)), "GOAWAY frame has flags 0x0 and 4 bytes"),
        (control(9, struct.pack(">III", 1, 1, 1)), "WINDOW_UPDATE frame has flags 0x0 and 12 bytes"),
        (data(0, b"x"), "no stream"),
        (data(1, b"x", 2), "flags that do not exist"),
    ],
)
def test_a_frame_that_go_would_read_otherwise_is_refused(frame: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(frame)


def test_a_frame_is_refused_by_its_first_eight_bytes() -> None:
    with pytest.raises(Unreadable, match="RST_STREAM"):
        read(control(3, b"", length=100))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (block({"a": "1"}) + block({"b": "2"}), "something stands behind"),
        (block({"a": "1"}) + b"\x00", "something stands behind"),
        (block({"a": "1"})[:-1], "cut off"),
        (block({"a": "1"})[:3], "cut off"),
        (struct.pack(">I", 1 << 31), "cut off"),
        (struct.pack(">III", 1, 1, 1 << 31) + b"x", "cut off"),
        (b"", "cut off"),
        (block([("a", "1"), ("a", "2")]), "stands twice"),
        (block([("Port", "80")]), "a name that none may have"),
        (block([("host", "80")]), "a name that none may have"),
        (block([("", "80")]), "a name that none may have"),
        (block([("port ", "80")]), "a name that none may have"),
        (block([("p\xf6rt", "80")]), "a name that none may have"),
        (block({"a": "1" * HEADERS_LIMIT}), "more than"),
        (block({f"name{n}": "x" * 1000 for n in range(1000)}), "more than"),
    ],
)
def test_headers_that_two_readers_could_read_differently_are_refused(text: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(opening(Sender().compressed(text)))


def test_a_bomb_of_headers_is_not_unpacked() -> None:
    bomb = Sender().compressed(block({"a": "\x00" * 12_000_000}))
    assert len(bomb) < CONTROL_LIMIT
    with pytest.raises(Unreadable, match=f"more than {HEADERS_LIMIT} bytes"):
        read(opening(bomb))


@pytest.mark.parametrize(
    ("compressed", "why"),
    [
        (b"\x00" * 20, "not flushed"),
        (b"\x11" * 20 + b"\x00\x00\xff\xff", "cannot be decompressed"),
        (Sender().compressed(block({"a": "1"}))[:-4], "not flushed"),
        (zlib.compress(block({"a": "1"})) + b"\x00\x00\xff\xff", "compression of headers ends"),
    ],
)
def test_a_block_is_compressed_as_spdy_says(compressed: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(opening(compressed))


def test_a_stream_belongs_to_no_other() -> None:
    with pytest.raises(Unreadable, match="belongs to another"):
        read(control(1, struct.pack(">IIBB", 3, 1, 0, 0) + Sender().compressed(block({}))))


def test_payload_is_written_into_frames_of_a_limited_size() -> None:
    payload = bytes(range(256)) * 600
    written = data_frames(7, payload, fin=True)
    frames = [frame for frame in read(written) if isinstance(frame, Data)]
    assert b"".join(frame.payload for frame in frames) == payload
    assert [(len(frame.payload), frame.fin) for frame in frames] == [
        (PIECE, False),
        (PIECE, False),
        (len(payload) - 2 * PIECE, True),
    ]


def test_no_payload_is_no_frame_unless_it_is_the_end() -> None:
    assert data_frames(7, b"") == b""
    assert read(data_frames(7, b"", fin=True)) == [Data(7, b"", fin=True)]
