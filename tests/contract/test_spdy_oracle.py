"""The gate's reader of SPDY frames beside the one of kubectl and kubelet, over whole and damaged streams.

What the gate reads, spdystream must read alike, frame by frame. That it refuses more is the point of it.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dev.build import build
from tests.fuzz.fuzz_spdy import damaged, exec_session, port_session
from tests.unit.wire.spdy_by_hand import Sender, block, control

from narrowgate.wire.spdy import Aside, Data, Frame, FrameReader, Leaving, Opened, Replied, Reset
from narrowgate.wire.stream_events import Direction
from narrowgate.wire.unreadable import Unreadable

REPOSITORY = Path(__file__).resolve().parents[2]
ORACLE_SECONDS = 60.0
SESSIONS = 1_000
SEED = 20_261_121
WHOLE = 1 << 24
# Shorter than two frames with anything in them, so that few are lost with the one that is refused.
CUT = 16
NAMES = ("port", "streamtype", "Port", "a b", "\xe9", "x", "requestid", "", ":x", "connection", "host")
VALUES = ("", "80", "a\x00b", "data", "\xff")


@pytest.fixture(scope="module")
def oracle() -> Path:
    return build(REPOSITORY / "dev" / "spdy", {"spdy": "."}) / "spdy"


def read_by_the_oracle(oracle: Path, streams: list[bytes]) -> list[list[dict[str, Any]]]:
    lines = "".join(stream.hex() + "\n" for stream in streams)
    done = subprocess.run([oracle], input=lines, capture_output=True, text=True, check=True, timeout=ORACLE_SECONDS)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_by_the_gate(stream: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The frames before the first that is refused, and whether one was."""
    reader = FrameReader(piece=WHOLE)
    frames: list[Frame] = []
    try:
        for at in range(0, len(stream), CUT):
            frames += reader.feed(stream[at : at + CUT])
    except Unreadable:
        return [said(frame) for frame in frames], True
    return [said(frame) for frame in frames], False


def said(frame: Frame) -> dict[str, Any]:
    """A frame in the words of `dev/spdy`, which leave out what is empty."""
    match frame:
        case Opened(stream, headers, fin):
            named = {name.decode(): _first(value).hex() for name, value in headers.items()}
            words: dict[str, Any] = {"kind": "opened", "stream": stream, "fin": fin, "headers": named}
        case Replied(stream, fin):
            words = {"kind": "replied", "stream": stream, "fin": fin}
        case Reset(stream):
            words = {"kind": "reset", "stream": stream}
        case Data(stream, payload, fin):
            words = {"kind": "data", "stream": stream, "fin": fin, "data": payload.hex()}
        case Leaving():
            words = {"kind": "leaving"}
        case Aside():
            words = {"kind": "aside"}
    return {key: value for key, value in words.items() if value}


def _first(value: bytes) -> bytes:
    # Values are joined by zero bytes (draft 2.6.10). Who asks for one header gets the first, where it is not refused.
    return value.split(b"\x00")[0]


def odd_headers(source: random.Random) -> bytes:
    """Streams that are opened with headers in odd forms, or with blocks that do not end where their frame does."""
    sender, out = Sender(), b""
    for number in range(source.randint(1, 4)):
        text = block([(source.choice(NAMES), source.choice(VALUES)) for _ in range(source.randint(0, 4))])
        match source.randrange(6):
            case 0:
                text += block({"x": "y"})
            case 1:
                text = text[: source.randrange(len(text))]
            case 2:
                text += b"\x00" * source.randrange(6)
        compressed = sender.compressed(text)
        match source.randrange(6):
            case 0:
                compressed = compressed[:-4]
            case 1:
                compressed += b"\x00\x00\xff\xff"
        out += control(1, struct.pack(">IIBB", 2 * number + 1, 0, 0, 0) + compressed)
    return out


def test_what_the_gate_reads_of_a_stream_kubelet_reads_alike(oracle: Path) -> None:
    source = random.Random(SEED)
    streams = [odd_headers(source) for _ in range(SESSIONS)]
    for _ in range(SESSIONS):
        script = damaged(source, source.choice((exec_session, port_session))(source))
        streams += [b"".join(data for side, data in script if side is way) for way in Direction]
    whole = 0
    for stream, theirs in zip(streams, read_by_the_oracle(oracle, streams), strict=True):
        ours, refused = read_by_the_gate(stream)
        if refused:
            together = min(len(ours), len(theirs))
            assert ours[:together] == theirs[:together], stream.hex()
        else:
            assert ours == theirs, stream.hex()
            whole += 1
    # Enough of both, or this proves little.
    assert SESSIONS / 2 < whole < 2.5 * SESSIONS
