"""The messages of `channel.k8s.io` and its kin: each begins with the channel that it belongs to.

k8s.io/streaming/pkg/httpstream/wsstream has them: in the plain subprotocols a byte and the data, in those with `base64`
a digit and the data in base64 (RFC 4648 4). Its reader takes each frame for a message, so a client's must be in one.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Final

import msgspec

from narrowgate.wire.stream_events import Direction
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CLOSE, MAX_LENGTH, TEXT, FrameReader, Piece, client_frame, frame

MAX_CLIENT_FRAME: Final = 32 << 20
"""Bytes of a client's longest message: with a longer one x/net/websocket ends (`DefaultMaxPayloadBytes`)."""
CLOSE_SIGNAL: Final = 255
"""The channel of v5 whose one byte of data names the channel that is closed (KEP-4006)."""
_DIGIT: Final = ord("0")
_QUAD: Final = 4
"""Characters of base64 that stand for three bytes."""


def chosen_subprotocol(offered: Sequence[str], answered: bytes) -> str:
    """The subprotocol of a session by both heads: `offered` to the API server, `answered` in its 101; empty for none.

    Raises Unreadable where it is not one of those offered (RFC 6455 4.1), or none although some were offered: then it
    is not known how the messages are meant.
    """
    chosen = answered.decode("latin-1").strip()
    if chosen not in (offered or ("",)):
        raise Unreadable("WebSocket: the server answers with a subprotocol that was not offered")
    return chosen


class Form(msgspec.Struct, frozen=True):
    """What the subprotocols differ in."""

    base64: bool = False
    closes: bool = False
    """Whether channels can be closed, which is what v5 added."""

    @property
    def opcode(self) -> int:
        """Of the messages that servers send; theirs are no others. Clients may send either."""
        return TEXT if self.base64 else BINARY

    def framed(self, part: Part | Piece) -> bytes:
        """A whole message, or a control frame, as the server sends it."""
        return frame(*self._message(part))

    def typed(self, part: Part | Piece) -> bytes:
        """The same as a client sends it."""
        return client_frame(*self._message(part))

    def _message(self, part: Part | Piece) -> tuple[int, bytes]:
        if isinstance(part, Piece):
            return part.opcode, part.payload
        if part.channel is None:
            return self.opcode, b""
        if self.base64:
            return TEXT, _digit(part.channel) + binascii.b2a_base64(part.data, newline=False)
        return BINARY, bytes((part.channel,)) + part.data


def _digit(channel: int) -> bytes:
    return bytes((_DIGIT + channel,))


class Part(msgspec.Struct, frozen=True, gc=False):
    """Some of a message: which channel it belongs to, and data without base64."""

    channel: int | None
    """None for a message with nothing in it, which readers ignore."""
    data: bytes
    """Of CLOSE_SIGNAL, where it has its meaning: the one byte, and the whole message."""
    last: bool
    """Whether the message ends with it."""


class MessageReader:
    """Reads the messages of one end."""

    def __init__(self, sender: Direction, form: Form) -> None:
        """`sender` is `TO_POD` for the client."""
        from_client = sender is Direction.TO_POD
        self._frames = FrameReader(
            sender, fragments=not from_client, largest=MAX_CLIENT_FRAME if from_client else MAX_LENGTH
        )
        self._opcodes = (TEXT, BINARY) if from_client else (form.opcode,)
        self._form = form
        self._channel: int | None = None
        self._quad = b""
        self._padded = False
        self._signal = b""

    @property
    def is_between(self) -> bool:
        """Whether what has come ends with a message, and another one may follow."""
        return self._frames.is_between

    @property
    def is_closed(self) -> bool:
        """Whether the frame has come that closes the session."""
        return self._frames.is_closed

    def feed(self, data: bytes) -> list[Part | Piece]:
        """What these bytes add, control frames as they are. Raises Unreadable."""
        pieces = self._frames.feed(data)
        parts = [self._part(piece) if piece.opcode < CLOSE else piece for piece in pieces]
        return [part for part in parts if part is not None]

    def _part(self, piece: Piece) -> Part | None:
        """What a piece says; None where it says nothing yet."""
        if piece.opcode not in self._opcodes:
            raise Unreadable(
                "WebSocket: the server sends text where its subprotocol has bytes, or bytes where it has text"
            )
        payload = piece.payload
        if piece.first:
            self._channel = None
        if self._channel is None and payload:
            self._channel = payload[0] - _DIGIT if self._form.base64 else payload[0]
            payload = payload[1:]
        if self._form.base64:
            payload = self._decoded(payload, last=piece.last)
        if self._form.closes and self._channel == CLOSE_SIGNAL:
            return self._close_signal(payload, last=piece.last)
        return Part(self._channel, payload, piece.last) if payload or piece.last else None

    def _close_signal(self, data: bytes, *, last: bool) -> Part | None:
        self._signal += data
        if len(self._signal) > 1 or (last and not self._signal):
            raise Unreadable("WebSocket: a message that closes a channel does not name one and only one")
        if not last:
            return None
        named, self._signal = self._signal, b""
        return Part(CLOSE_SIGNAL, named, last=True)

    def _decoded(self, text: bytes, *, last: bool) -> bytes:
        """What base64 stands for, as far as it has come. Raises Unreadable where Go would drop the message."""
        if self._padded and text:
            raise Unreadable("WebSocket: base64 goes on behind its end")
        text = self._quad + text
        whole = len(text) - len(text) % _QUAD
        text, self._quad = text[:whole], text[whole:]
        if last and self._quad:
            raise Unreadable("WebSocket: base64 ends too early")
        padding = text.find(b"=")
        if 0 <= padding < len(text) - 2 or (padding >= 0 and self._quad):
            raise Unreadable("WebSocket: base64 goes on behind its end")
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise Unreadable("WebSocket: a message is not base64") from None
        self._padded = not last and padding >= 0
        return data
