"""Port-forward over WebSocket, in both ways in which Kubernetes does it.

Since 1.31 kubectl tunnels SPDY: the payload of binary messages is its byte stream, however it is cut (KEP-4006). The
older way has two channels for each port of the query, one for data and one for what went wrong, and the server begins
each with its port as two bytes, the lower one first (k8s.io/cri-streaming/pkg/streaming/portforward/websocket.go). The
Python client speaks that one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from narrowgate.wire.spdy_ports import spdy_ports
from narrowgate.wire.stream_events import (
    Channel,
    Direction,
    Passed,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
    SessionCodec,
    StreamEvent,
)
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CLOSE, FrameReader, Piece
from narrowgate.wire.websocket_messages import Form, MessageReader, Part

MAX_PORTS: Final = 127
"""Ports whose channels have numbers of one byte; that of the next would be read as the close signal of others."""
MAX_PORTS_BASE64: Final = 5
"""Ports whose channels have one digit. What follows behind 9 readers may see differently."""
_PORT_BYTES: Final = 2
_MAX_PORT: Final = 65535
_PORT_DIGITS: Final = 5
_PORT: Final = re.compile(r"0*[1-9][0-9]{0,4}")
"""As Go's ParseUint reads a number above 0, however many zeros it begins with."""
_CHANNELS_OF_A_PORT: Final = 2
_TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
_FORMS: Final = {"": Form(), "v4.channel.k8s.io": Form(), "v4.base64.channel.k8s.io": Form(base64=True)}
"""Every subprotocol with channels that Kubernetes serves here. Who names none is served the first one."""


def websocket_ports(subprotocol: str, ports: Sequence[str]) -> SessionCodec:
    """The codec for port-forward over WebSocket. `ports` are the values of `ports` in the query; a tunnel needs none.

    Raises Unreadable for a subprotocol that nobody serves, and for ports that the kubelet would refuse.
    """
    if subprotocol == _TUNNEL:
        return TunnelCodec(spdy_ports())
    form = _FORMS.get(subprotocol)
    if form is None:
        raise Unreadable(f"WebSocket: port-forward has no subprotocol {subprotocol[:60]!r}")
    return PortCodec(form, ports_of(ports))


def ports_of(values: Sequence[str]) -> tuple[int, ...]:
    """The ports that the values of `ports` in a query name, as the kubelet reads them (`NewV4Options`).

    Raises Unreadable where it would refuse them.
    """
    words = [word for value in values for word in value.split(",")]
    if not words:
        raise Unreadable("WebSocket: a port-forward names no ports in its query")
    if not all(_PORT.fullmatch(word) and int(word[-_PORT_DIGITS:]) <= _MAX_PORT for word in words):
        raise Unreadable("WebSocket: a port-forward names a port that does not exist")
    return tuple(int(word[-_PORT_DIGITS:]) for word in words)


class PortCodec:
    """A `SessionCodec` for port-forward with channels. Nothing is rewritten."""

    def __init__(self, form: Form, ports: tuple[int, ...]) -> None:
        """`ports` are those of the query, in its order. Raises Unreadable for more than channels can be told for."""
        if len(ports) > (MAX_PORTS_BASE64 if form.base64 else MAX_PORTS):
            raise Unreadable("WebSocket: a port-forward names more ports than have channels of their own")
        self._ports = ports
        self._client = MessageReader(Direction.TO_POD, form)
        self._upstream = MessageReader(Direction.FROM_POD, form)
        self._connections: dict[int, int] = {}
        """The number of a connection by its port's place in the query."""
        self._open: dict[int, set[Direction]] = {}
        """Which ways a connection is still open."""
        self._heads: dict[int, bytes] = {}
        """What has come of the ports that the server begins its channels with."""

    def from_client(self, data: bytes) -> Passed:
        """What the client sends, passed on as it is. Raises Unreadable."""
        return Passed(data, self._told(self._client.feed(data), Direction.TO_POD))

    def from_upstream(self, data: bytes) -> Passed:
        """What the API server sends, passed on as it is. Raises Unreadable."""
        return Passed(data, self._told(self._upstream.feed(data), Direction.FROM_POD))

    def flush(self, channel: Channel) -> Passed:  # noqa: ARG002 (nothing is held back, whatever the channel)
        """Nothing: nothing is rewritten."""
        return Passed()

    def type(self, data: bytes, *, ends: bool) -> Passed:  # noqa: ARG002 (whatever it is)
        """See `SessionCodec`. Nothing is typed into ports."""
        return Passed()

    def last_word(self, _status: bytes) -> Passed:
        """Nothing: connections have no word for the end of all of them."""
        return Passed()

    def pong(self, _data: bytes) -> bytes:
        """See `SessionCodec`. Connections have an end of their own each, so that none is lost by another's."""
        return b""

    @property
    def may_interject(self) -> bool:
        """See `SessionCodec`."""
        return False

    def finish(self) -> tuple[StreamEvent, ...]:
        """Both ends are gone: what was open is closed, by reset."""
        # A reset ends both ways: it is told once.
        broken = [
            PortClosed(connection, Direction.FROM_POD if Direction.FROM_POD in ways else Direction.TO_POD, reset=True)
            for connection, ways in self._open.items()
            if ways
        ]
        self._open.clear()
        return tuple(broken)

    def _told(self, parts: list[Part | Piece], way: Direction) -> tuple[StreamEvent, ...]:
        events: list[StreamEvent] = []
        for part in parts:
            if isinstance(part, Piece):
                events += self._ended(way) if part.opcode == CLOSE else ()
            elif part.channel is not None:
                events += self._data(part.channel, part.data, way)
        return tuple(events)

    def _data(self, channel: int, data: bytes, way: Direction) -> list[StreamEvent]:
        place, is_error = divmod(channel, _CHANNELS_OF_A_PORT)
        if not 0 <= place < len(self._ports):
            raise Unreadable("WebSocket: a message belongs to no port that was asked for")
        if way is Direction.FROM_POD:
            data = self._without_port(channel, place, data)
        elif is_error:
            raise Unreadable("WebSocket: the client writes on a channel for errors")
        elif not data:
            return []
        opened: list[StreamEvent] = []
        if place not in self._connections:
            self._connections[place] = connection = len(self._connections) + 1
            self._open[connection] = set(Direction)
            opened.append(PortOpened(connection, self._ports[place]))
        connection = self._connections[place]
        if not data:
            return opened
        return [*opened, PortError(connection, data) if is_error else PortData(connection, data, way)]

    def _without_port(self, channel: int, place: int, data: bytes) -> bytes:
        """The data behind the port that a channel of the server begins with. Raises Unreadable for another port."""
        head = self._heads.get(channel, b"")
        missing = _PORT_BYTES - len(head)
        if missing and data:
            self._heads[channel] = head = head + data[:missing]
            expected = self._ports[place].to_bytes(_PORT_BYTES, "little")
            if not expected.startswith(head):
                raise Unreadable(
                    f"WebSocket: the server forwards another port than {self._ports[place]}, which was asked for"
                )
            data = data[missing:]
        return data

    def _ended(self, way: Direction) -> list[PortClosed]:
        """No more data this way, of any connection."""
        ended = [connection for connection, ways in self._open.items() if way in ways]
        for connection in ended:
            self._open[connection].discard(way)
        return [PortClosed(connection, way) for connection in ended]


class TunnelCodec:
    """A `SessionCodec` for the SPDY of a port-forward in WebSocket messages, which another codec reads."""

    def __init__(self, tunnelled: SessionCodec) -> None:
        """`tunnelled` reads the byte stream, and rewrites nothing."""
        self._tunnelled = tunnelled
        # The API server's end puts fragments together (gorilla/websocket), and sends them when it has much to say.
        self._client = FrameReader(Direction.TO_POD, fragments=True)
        self._upstream = FrameReader(Direction.FROM_POD, fragments=True)

    def from_client(self, data: bytes) -> Passed:
        """What the client sends, passed on as it is. Raises Unreadable."""
        return Passed(data, self._tunnelled.from_client(_stream(self._client.feed(data))).events)

    def from_upstream(self, data: bytes) -> Passed:
        """What the API server sends, passed on as it is. Raises Unreadable."""
        return Passed(data, self._tunnelled.from_upstream(_stream(self._upstream.feed(data))).events)

    def flush(self, channel: Channel) -> Passed:  # noqa: ARG002 (nothing is held back, whatever the channel)
        """Nothing: nothing is rewritten."""
        return Passed()

    def type(self, data: bytes, *, ends: bool) -> Passed:  # noqa: ARG002 (whatever it is)
        """See `SessionCodec`. Nothing is typed into ports."""
        return Passed()

    def last_word(self, _status: bytes) -> Passed:
        """Nothing: connections have no word for the end of all of them."""
        return Passed()

    def pong(self, _data: bytes) -> bytes:
        """See `SessionCodec`. Connections have an end of their own each, so that none is lost by another's."""
        return b""

    @property
    def may_interject(self) -> bool:
        """See `SessionCodec`."""
        return False

    def finish(self) -> tuple[StreamEvent, ...]:
        """Both ends are gone."""
        return self._tunnelled.finish()


def _stream(pieces: list[Piece]) -> bytes:
    """The byte stream that messages carry. Raises Unreadable for text, with which either end breaks off."""
    if any(piece.opcode < CLOSE and piece.opcode != BINARY for piece in pieces):
        raise Unreadable("WebSocket: a tunnel carries text")
    return b"".join([piece.payload for piece in pieces if piece.opcode == BINARY])
