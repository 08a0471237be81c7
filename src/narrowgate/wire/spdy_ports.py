"""Port-forward over SPDY: each connection is a pair of streams, one for its data and one for what went wrong with it.

k8s.io/cri-streaming/pkg/streaming/portforward/httpstream.go. The pair is told by the header `requestID`; clients from
before that have it told by the numbers of the streams. The same bytes go through WebSocket messages where the client
tunnels (KEP-4006).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from narrowgate.wire.spdy_session import SpdySession
from narrowgate.wire.stream_events import (
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
    SessionCodec,
    StreamEvent,
)
from narrowgate.wire.unreadable import Unreadable

_PORT: Final = re.compile(rb"[0-9]{1,5}")
_REQUEST: Final = re.compile(rb"[!-~]{1,64}")
_MOST: Final = 65_535
HALVES_LIMIT: Final = 1_024
"""Streams that are remembered until their other half comes; kubelet waits 30 s for it. One that comes later counts as
a connection of its own."""

_BEFORE: Final = 2
"""How far the number of a connection's data stream is behind that of its error stream, where no `requestID` tells."""


class PortStream(msgspec.Struct, frozen=True):
    """One stream of a connection."""

    connection: int
    port: int
    carries_data: bool


class Ports:
    """Streams as connections to ports of the pod."""

    def __init__(self) -> None:
        self._connections = 0
        self._halves: dict[bytes, PortStream] = {}
        """Streams whose other half has not been opened yet, by request, oldest first."""

    def opened(self, stream: int, headers: dict[bytes, bytes]) -> tuple[PortStream, tuple[StreamEvent, ...]]:
        """See `Meanings`."""
        kind = headers.get(b"streamtype")
        if kind not in (b"data", b"error"):
            raise Unreadable("SPDY: a stream has no streamType that port-forward knows")
        carries_data = kind == b"data"
        port = _port(headers.get(b"port", b""))
        request = headers.get(b"requestid", b"") or b"%d" % (stream - _BEFORE if carries_data else stream)
        if not _REQUEST.fullmatch(request):
            raise Unreadable("SPDY: the requestID of a stream is no short word")
        half = self._halves.pop(request, None)
        if half is None:
            self._connections += 1
            if len(self._halves) >= HALVES_LIMIT:
                del self._halves[next(iter(self._halves))]
            self._halves[request] = meaning = PortStream(self._connections, port, carries_data)
            return meaning, (PortOpened(meaning.connection, port),)
        if half.carries_data == carries_data or half.port != port:
            raise Unreadable("SPDY: the two streams of a connection do not belong together")
        return PortStream(half.connection, port, carries_data), ()

    def data(self, meaning: PortStream, payload: bytes, direction: Direction) -> StreamEvent:
        """See `Meanings`."""
        if meaning.carries_data:
            return PortData(meaning.connection, payload, direction)
        if direction is Direction.TO_POD:
            raise Unreadable("SPDY: the client writes into the error stream of a connection")
        return PortError(meaning.connection, payload)

    def ended(self, meaning: PortStream, direction: Direction) -> tuple[StreamEvent, ...]:
        """See `Meanings`."""
        return (PortClosed(meaning.connection, direction),) if meaning.carries_data else ()

    def broken(self, meaning: PortStream, by: Direction, ended: frozenset[Direction]) -> tuple[StreamEvent, ...]:
        """See `Meanings`."""
        if not meaning.carries_data:
            return ()
        other = Direction.FROM_POD if by is Direction.TO_POD else Direction.TO_POD
        return (PortClosed(meaning.connection, other if by in ended else by, reset=True),)

    def channel(self, _meaning: PortStream) -> None:
        """See `Meanings`. What is forwarded has no words of its own, and is not rewritten."""


def _port(value: bytes) -> int:
    port = int(value) if _PORT.fullmatch(value) else 0
    if not 0 < port <= _MOST:
        raise Unreadable("SPDY: a stream has no port")
    return port


def spdy_ports() -> SessionCodec:
    """The codec for port-forward over SPDY/3.1, by itself or inside WebSocket messages."""
    return SpdySession(Ports())
