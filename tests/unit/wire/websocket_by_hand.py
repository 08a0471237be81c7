"""WebSocket frames as clients and odd servers write them, for tests of those who read them."""

from __future__ import annotations

from collections import defaultdict

from narrowgate.wire.stream_events import Channel
from narrowgate.wire.websocket import BINARY, frame, unmasked

KEY = b"\x37\xfa\x21\x3d"


def masked(payload: bytes, opcode: int = BINARY, *, final: bool = True, key: bytes = KEY) -> bytes:
    """A frame as a client sends it."""
    head = frame(opcode, payload)[: -len(payload) or None]
    return bytes((head[0] & (0xFF if final else 0x7F), head[1] | 0x80)) + head[2:] + key + unmasked(payload, key)


def fragment(opcode: int, payload: bytes) -> bytes:
    """A frame of a server that others are to follow."""
    whole = frame(opcode, payload)
    return bytes((whole[0] & 0x7F,)) + whole[1:]


class Lines:
    """A rewriter that writes complete lines in capitals, and holds back the rest."""

    def __init__(self) -> None:
        self.held: dict[Channel, bytes] = defaultdict(bytes)

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        lines, end, self.held[channel] = (self.held[channel] + data).rpartition(b"\n")
        return (lines + end).upper()

    def flush(self, channel: Channel) -> bytes:
        return self.held.pop(channel, b"").upper()
