"""SPDY/3.1 as kubectl and kubelet write it, frame by frame, for tests of those who read it."""

from __future__ import annotations

import struct
import zlib

from narrowgate.wire.spdy import DICTIONARY
from narrowgate.wire.stream_events import (
    Channel,
    ChannelData,
    PortData,
    PortError,
    SessionCodec,
    StreamEvent,
)

FIN = 1


def control(number: int, body: bytes, flags: int = 0, *, version: int = 3, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">HHI", 0x8000 | version, number, flags << 24 | size) + body


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", stream, flags << 24 | len(payload)) + payload


def block(headers: dict[str, str] | list[tuple[str, str]]) -> bytes:
    """Headers before they are compressed."""
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    words = [word.encode("latin-1") for pair in pairs for word in pair]
    return struct.pack(">I", len(pairs)) + b"".join(struct.pack(">I", len(word)) + word for word in words)


def reset(stream: int, status: int = 5) -> bytes:
    return control(3, struct.pack(">II", stream, status))


def settings(*values: tuple[int, int]) -> bytes:
    return control(4, struct.pack(">I", len(values)) + b"".join(struct.pack(">II", *value) for value in values))


def ping(number: int = 1) -> bytes:
    return control(6, struct.pack(">I", number))


def go_away(last: int = 0) -> bytes:
    return control(7, struct.pack(">II", last, 0))


def window(stream: int, size: int) -> bytes:
    return control(9, struct.pack(">II", stream, size))


class Sender:
    """One end: it compresses all of its header blocks together."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(9, zdict=DICTIONARY)

    def compressed(self, text: bytes) -> bytes:
        return self._zlib.compress(text) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def opened(self, stream: int, flags: int = 0, **headers: str) -> bytes:
        return control(1, struct.pack(">IIBB", stream, 0, 0, 0) + self.compressed(block(headers)), flags)

    def replied(self, stream: int, flags: int = 0) -> bytes:
        return control(2, struct.pack(">I", stream) + self.compressed(block({})), flags)


CHANNELS = {
    Channel.ERROR: 1,
    Channel.STDIN: 3,
    Channel.STDOUT: 5,
    Channel.STDERR: 7,
    Channel.RESIZE: 9,
}
"""The streams of an interactive exec, in the order in which kubectl opens them."""


class Exec:
    """Both ends of an exec session: what they write to have all five channels open."""

    def __init__(self) -> None:
        self.client, self.upstream = Sender(), Sender()

    def opening(self) -> bytes:
        return b"".join(self.client.opened(stream, streamtype=channel.value) for channel, stream in CHANNELS.items())

    def replies(self) -> bytes:
        return b"".join(self.upstream.replied(stream) for stream in CHANNELS.values())

    def open_in(self, codec: SessionCodec) -> None:
        codec.from_client(self.opening())
        codec.from_upstream(self.replies())


def merged(events: list[StreamEvent]) -> list[StreamEvent]:
    """The same with data joined that was cut: what two ways to cut the same bytes must agree on."""
    out: list[StreamEvent] = []
    for event in events:
        match event, out[-1] if out else None:
            case ChannelData(channel, more), ChannelData(same, before) if channel is same:
                out[-1] = ChannelData(channel, before + more)
            case PortData(number, more, way), PortData(same, before, as_well) if (number, way) == (same, as_well):
                out[-1] = PortData(number, before + more, way)
            case PortError(number, more), PortError(same, before) if number == same:
                out[-1] = PortError(number, before + more)
            case _:
                out.append(event)
    return out
