"""WebSocket frames (RFC 6455 5): bytes in, pieces of messages out, as strict as the strictest of their readers.

API servers and kubelets read frames with golang.org/x/net/websocket, tunnels and kubectl with gorilla/websocket. The
first heeds neither reserved bits nor opcodes that it does not know, passes over the highest bit of a length, and takes
each frame for a message. Whatever those two and the RFC would read in different ways is refused here.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from narrowgate.wire.stream_events import Direction
from narrowgate.wire.unreadable import Unreadable

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})

MAX_LENGTH: Final = 2**63 - 1
"""Bytes of the longest frame there is (RFC 6455 5.2): it is followed in pieces, never held."""
MAX_CONTROL_LENGTH: Final = 125
"""Bytes in a control frame (RFC 6455 5.5). They are held until they are whole."""
_SHORT: Final = 125
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_MASKED: Final = 0x80
_WHOLE_PING: Final = 0x80 | PING
_PING_HEAD: Final = 6
"""Bytes in front of what a client's ping carries: no longer than `_SHORT`, and masked."""
_XOR_BYTES: Final = 4096
"""Bytes that are unmasked in one step: large integers are quickest at about this size."""
_CLOSE_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015)})
"""Reasons that may be sent (RFC 6455 7.4.1, and what was registered since)."""
_OWN_CLOSE_CODES: Final = range(3000, 5000)
"""Reasons of libraries and applications (RFC 6455 7.4.2)."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Some of a message, unmasked; or a whole control frame."""

    opcode: int
    """TEXT or BINARY, that of the message's first frame; CLOSE, PING or PONG."""
    payload: bytes
    first: bool
    """Whether the message begins with it."""
    last: bool
    """Whether the message ends with it."""


class _Head(msgspec.Struct, frozen=True, gc=False):
    opcode: int
    final: bool
    length: int
    key: bytes
    end: int
    """Where in the data that was looked at the payload begins."""


class FrameReader:
    """Reads what one end sends. The state is a frame's head that is not whole, or how much is left of a payload."""

    def __init__(self, sender: Direction, *, fragments: bool, largest: int = MAX_LENGTH) -> None:
        """`sender` is `TO_POD` for a client, whose frames are masked. `fragments` says whether a message may have
        several frames: not where the reader would take each for a message. `largest` is the longest payload, in bytes.
        """
        self._masked = sender is Direction.TO_POD
        self._fragments = fragments
        self._largest = largest
        self._pending = b""
        self._left = 0
        self._key = b""
        self._message = CONTINUATION
        """The opcode of the message that is under way, CONTINUATION between messages."""
        self._first = True
        self._final = True
        self._closed = False

    @property
    def is_between(self) -> bool:
        """Whether what has come ends with a message, and another one may follow."""
        return not (self._pending or self._left or self._closed) and self._message == CONTINUATION

    @property
    def is_closed(self) -> bool:
        """Whether the frame has come that closes the session."""
        return self._closed

    def feed(self, data: bytes) -> list[Piece]:
        """What these bytes add. Raises Unreadable for what two readers could read differently."""
        pieces: list[Piece] = []
        if self._pending:
            data = self._pending + data
        at, end = 0, len(data)
        while at < end:
            if self._left:
                payload = data[at : at + self._left]
                at += len(payload)
                pieces.append(self._taken(payload))
                continue
            head = self._head(data, at)
            if head is None:
                break
            if head.opcode >= CLOSE:
                if end - head.end < head.length:
                    break
                at = head.end + head.length
                pieces.append(self._control(head, data[head.end : at]))
                continue
            at = head.end
            self._begin(head)
            if not head.length:
                pieces.append(self._taken(b""))
        self._pending = data[at:]
        return pieces

    def _begin(self, head: _Head) -> None:
        self._left, self._key, self._final = head.length, head.key, head.final
        if head.opcode != CONTINUATION:
            self._message, self._first = head.opcode, True

    def _taken(self, payload: bytes) -> Piece:
        """The next part of a payload, and what is known after it."""
        self._left -= len(payload)
        if self._key:
            shift = len(payload) & 3
            payload, self._key = unmasked(payload, self._key), self._key[shift:] + self._key[:shift]
        piece = Piece(self._message, payload, self._first, self._final and not self._left)
        self._first = False
        if piece.last:
            self._message = CONTINUATION
        return piece

    def _control(self, head: _Head, payload: bytes) -> Piece:
        if head.key:
            payload = unmasked(payload, head.key)
        if head.opcode == CLOSE:
            _require_close(payload)
            self._closed = True
        return Piece(head.opcode, payload, first=True, last=True)

    def _head(self, data: bytes, at: int) -> _Head | None:
        """The head that begins here, judged; None where it is not whole. What is there already is judged at once."""
        opcode, final = data[at] & 0x0F, data[at] >= 0x80
        self._require_kind(data[at], opcode, final=final)
        if len(data) < at + 2:
            return None
        if (data[at + 1] >= 0x80) is not self._masked:
            who = "client" if self._masked else "server"
            raise Unreadable(f"WebSocket: a frame of the {who} is {'not ' * self._masked}masked")
        length = data[at + 1] & 0x7F
        at += 2
        if length > _SHORT:
            form = ">H" if length == _LENGTH_16 else ">Q"
            size = struct.calcsize(form)
            if len(data) < at + size:
                return None
            shortest = _LENGTH_16 if length == _LENGTH_16 else 1 << 16
            (length,) = struct.unpack_from(form, data, at)
            at += size
            if length < shortest:
                raise Unreadable("WebSocket: the length of a frame is written longer than it needs to be")
        self._require_length(opcode, length)
        if not self._masked:
            return _Head(opcode, final, length, b"", at)
        key = data[at : at + 4]
        return _Head(opcode, final, length, key, at + 4) if len(key) == 4 else None

    def _require_kind(self, first: int, opcode: int, *, final: bool) -> None:
        """Judge the first byte of a frame by what came before. Raises Unreadable."""
        if first & 0x70:
            raise Unreadable("WebSocket: a frame uses an extension, and none was agreed upon")
        if opcode not in _OPCODES:
            raise Unreadable(f"WebSocket: a frame has the opcode {opcode}, which means nothing")
        if opcode >= CLOSE:
            if not final:
                raise Unreadable("WebSocket: a control frame is in fragments")
            return
        if self._closed:
            raise Unreadable("WebSocket: data follows the frame that closes the session")
        if (opcode == CONTINUATION) is not (self._message != CONTINUATION):
            raise Unreadable("WebSocket: a frame continues nothing, or begins a message within another")
        if not final and not self._fragments:
            # The API server would take the next frame for a message, and its first byte for a channel.
            raise Unreadable(
                "WebSocket: a message is in fragments, which the API server does not put together: send it in one frame"
            )

    def _require_length(self, opcode: int, length: int) -> None:
        if opcode >= CLOSE and length > MAX_CONTROL_LENGTH:
            raise Unreadable(f"WebSocket: a control frame is longer than {MAX_CONTROL_LENGTH} bytes")
        if length > self._largest:
            raise Unreadable(f"WebSocket: a frame of {length} bytes is longer than the {self._largest} that are read")


def unmasked(payload: bytes, key: bytes) -> bytes:
    """The payload with each byte combined with the key's, which is 4 bytes and repeats (RFC 6455 5.3)."""
    if len(payload) <= _XOR_BYTES:
        return _combined(payload, key)
    mask = int.from_bytes(key * (_XOR_BYTES // 4), "little")
    whole = len(payload) - len(payload) % _XOR_BYTES
    parts = [
        (int.from_bytes(payload[at : at + _XOR_BYTES], "little") ^ mask).to_bytes(_XOR_BYTES, "little")
        for at in range(0, whole, _XOR_BYTES)
    ]
    parts.append(_combined(payload[whole:], key))
    return b"".join(parts)


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message or control frame as a server sends it: in one frame, and not masked."""
    length = len(payload)
    if length <= _SHORT:
        return struct.pack(">BB", 0x80 | opcode, length) + payload
    if length < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, _LENGTH_16, length) + payload
    return struct.pack(">BBQ", 0x80 | opcode, _LENGTH_64, length) + payload


def pongs_to(data: bytes) -> bytes:
    """What a server answers these bytes of a client's, where they are whole pings and nothing else; else nothing."""
    answers, at = b"", 0
    while at < len(data):
        head = data[at : at + _PING_HEAD]
        if len(head) < _PING_HEAD or head[0] != _WHOLE_PING or not head[1] & _MASKED:
            return b""
        at += _PING_HEAD
        size = head[1] ^ _MASKED
        if size > _SHORT or at + size > len(data):
            return b""
        answers += frame(PONG, unmasked(data[at : at + size], head[2:]))
        at += size
    return answers


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A whole message or control frame as a client sends it. It is masked with zeros: what masks are for (RFC 6455
    10.3) is between programs and proxies that do not know them, and this connection is the gate's own.
    """
    made = frame(opcode, payload)
    head = len(made) - len(payload)
    return bytes((made[0], made[1] | 0x80)) + made[2:head] + bytes(4) + payload


def _combined(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")


def _require_close(payload: bytes) -> None:
    """Raise Unreadable unless it is nothing, or a code that may be sent and a text (RFC 6455 5.5.1)."""
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _CLOSE_CODES and code not in _OWN_CLOSE_CODES):
        raise Unreadable("WebSocket: a session is closed for a reason that does not exist")
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("WebSocket: a session is closed with a reason that is no text") from None
