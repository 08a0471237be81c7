"""exec and attach over WebSocket: channels 0 to 4, and the frames of what the pod writes made anew where it is masked.

k8s.io/apiserver/pkg/util/proxy/websocket.go serves v5, the container runtime's own server (k8s.io/cri-streaming) the
older subprotocols. Both ignore what is not meant for them, such as a client's message on a channel of the pod. Here it
is refused, so that no recording says what the pod did not.
"""

from __future__ import annotations

from typing import Final

from narrowgate.wire.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    Passed,
    Rewrite,
    SessionCodec,
    StreamEvent,
    Typing,
)
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import CLOSE, Piece, pongs_to
from narrowgate.wire.websocket_messages import CLOSE_SIGNAL, Form, MessageReader, Part

HELD_LIMIT: Final = 64 * 1024
"""Bytes of a message that are held until it is whole, where it is rewritten. Container runtimes write 32 KiB at a time;
what is longer leaves in several messages."""
ASIDE_LIMIT: Final = 4096
"""Bytes of a client's message beside what is typed: the size of a terminal, which has 27."""
_CHANNELS: Final = (Channel.STDIN, Channel.STDOUT, Channel.STDERR, Channel.ERROR, Channel.RESIZE)
"""By their numbers (k8s.io/apimachinery/pkg/util/remotecommand/constants.go)."""
_WRITTEN: Final = (Channel.STDOUT, Channel.STDERR, Channel.ERROR)
"""What is rewritten, in the order in which its rest leaves at the end: how it ended is said last."""
_NORMAL_CLOSURE: Final = (1000).to_bytes(2, "big")
"""RFC 6455 7.4.1."""
_FORMS: Final = {
    "": Form(),
    "channel.k8s.io": Form(),
    "base64.channel.k8s.io": Form(base64=True),
    "v4.channel.k8s.io": Form(),
    "v4.base64.channel.k8s.io": Form(base64=True),
    "v5.channel.k8s.io": Form(closes=True),
}
"""Every subprotocol that Kubernetes serves here. Who names none is served the first one."""


def websocket_channels(subprotocol: str, rewrite: Rewrite | None = None, typing: Typing | None = None) -> SessionCodec:
    """The codec for exec and attach over WebSocket. Raises Unreadable for a subprotocol that nobody serves."""
    form = _FORMS.get(subprotocol)
    if form is None:
        raise Unreadable(f"WebSocket: exec and attach have no subprotocol {subprotocol[:60]!r}")
    return ChannelCodec(form, rewrite, typing)


class ChannelCodec:
    """A `SessionCodec` for exec and attach. What the client sends passes unchanged, but where somebody looks at what is
    typed.
    """

    def __init__(self, form: Form, rewrite: Rewrite | None, typing: Typing | None = None) -> None:
        self._form = form
        self._client = MessageReader(Direction.TO_POD, form)
        self._upstream = MessageReader(Direction.FROM_POD, form)
        self._rewriting = None if rewrite is None else _Rewriting(form, rewrite)
        self._typing = typing
        self._aside = bytearray()
        """Of a client's message on another channel than what is typed, which is not whole."""
        self._open: dict[Channel, bool] = {}
        """Whether a channel that was seen is still open; those that were not seen are absent."""

    def from_client(self, data: bytes) -> Passed:
        """What the client sends, passed on as it is, or in messages made anew. Raises Unreadable."""
        parts = self._client.feed(data)
        if self._typing is None:
            return Passed(data, self._told(parts, Direction.TO_POD))
        passed = [self._looked_at(self._typing, part) for part in parts]
        return Passed(b"".join(one.data for one in passed), tuple(event for one in passed for event in one.events))

    def _looked_at(self, typing: Typing, part: Part | Piece) -> Passed:
        """What the client sends, with what of it may be typed."""
        events = self._told([part], Direction.TO_POD)
        if isinstance(part, Piece):
            return Passed(self._form.typed(part), events)
        stdin = _CHANNELS.index(Channel.STDIN)
        if part.channel == stdin:
            data = typing.typed(part.data) if part.data else b""
            opened = tuple(event for event in events if isinstance(event, ChannelOpened))
            typed = self._typed(data)
            return Passed(typed.data, opened + typed.events)
        if self._form.closes and part.channel == CLOSE_SIGNAL:
            if any(isinstance(event, ChannelClosed) for event in events) and not typing.ended():
                return Passed(b"", tuple(event for event in events if isinstance(event, ChannelOpened)))
            return Passed(self._form.typed(part), events)
        self._aside += part.data
        if len(self._aside) > ASIDE_LIMIT:
            raise Unreadable(f"WebSocket: the client sends more than {ASIDE_LIMIT} bytes at once beside what is typed")
        if not part.last:
            return Passed(b"", events)
        whole = Part(part.channel, bytes(self._aside), last=True)
        self._aside.clear()
        return Passed(self._form.typed(whole), events)

    def type(self, data: bytes, *, ends: bool) -> Passed:
        """See `SessionCodec`."""
        if self._typing is None or self._client.is_closed:
            return Passed()
        typed = self._typed(data)
        if not ends or not self._form.closes:
            return typed
        stdin = _CHANNELS.index(Channel.STDIN)
        signal = self._form.typed(Part(CLOSE_SIGNAL, bytes((stdin,)), last=True))
        return Passed(typed.data + signal, (*typed.events, ChannelClosed(Channel.STDIN)))

    def _typed(self, data: bytes) -> Passed:
        if not data:
            return Passed()
        part = Part(_CHANNELS.index(Channel.STDIN), data, last=True)
        return Passed(self._form.typed(part), (ChannelData(Channel.STDIN, data),))

    def from_upstream(self, data: bytes) -> Passed:
        """What the API server sends, passed on as it is, or rewritten. Raises Unreadable."""
        parts = self._upstream.feed(data)
        if self._rewriting is not None:
            parts = [made for part in parts for made in self._rewriting.feed(part)]
            data = b"".join([self._form.framed(part) for part in parts])
        return Passed(data, self._told(parts, Direction.FROM_POD))

    def flush(self, channel: Channel) -> Passed:
        """What is held back of a channel, in a message of its own."""
        if self._rewriting is None or channel not in _WRITTEN:
            return Passed()
        parts = self._rewriting.flush(channel)
        return Passed(b"".join([self._form.framed(part) for part in parts]), self._told(parts, Direction.FROM_POD))

    def last_word(self, status: bytes) -> Passed:
        """On the error channel; then the session is closed, as the API server closes it."""
        if not self.may_interject or not self._open.get(Channel.ERROR, True):
            return Passed()
        closing = Piece(CLOSE, _NORMAL_CLOSURE, first=True, last=True)
        parts: list[Part | Piece] = [Part(_CHANNELS.index(Channel.ERROR), status, last=True), closing]
        return Passed(b"".join([self._form.framed(part) for part in parts]), self._told(parts, Direction.FROM_POD))

    def pong(self, data: bytes) -> bytes:
        """See `SessionCodec`."""
        return pongs_to(data) if self._client.is_between else b""

    @property
    def may_interject(self) -> bool:
        """See `SessionCodec`. Messages that are made anew leave whole; others may be under way."""
        return not self._upstream.is_closed if self._rewriting is not None else self._upstream.is_between

    def finish(self) -> tuple[StreamEvent, ...]:
        """Both ends are gone: what was open is closed, by reset."""
        is_open = [channel for channel, is_open in self._open.items() if is_open]
        self._open = dict.fromkeys(self._open, False)
        return tuple(ChannelClosed(channel, reset=True) for channel in is_open)

    def _told(self, parts: list[Part | Piece], direction: Direction) -> tuple[StreamEvent, ...]:
        """What these say. Raises Unreadable for a channel that goes the other way, or is closed, or does not exist."""
        events: list[StreamEvent] = []
        for part in parts:
            if isinstance(part, Piece):
                if part.opcode == CLOSE:
                    ended = [channel for channel in self._open if channel.direction is direction]
                    events += [event for channel in ended for event in self._closed(channel)]
            elif part.channel == CLOSE_SIGNAL and self._form.closes:
                channel = _channel(part.data[0])
                if channel.direction is direction:
                    events += [*self._opened(channel), *self._closed(channel)]
            elif part.channel is not None:
                events += self._data(_channel(part.channel), part.data, direction)
        return tuple(events)

    def _data(self, channel: Channel, data: bytes, direction: Direction) -> list[StreamEvent]:
        if channel.direction is not direction:
            raise Unreadable(f"WebSocket: a message on channel {channel.value} goes the wrong way")
        if not data:
            return []
        if not self._open.get(channel, True):
            raise Unreadable(f"WebSocket: data follows the end of channel {channel.value}")
        return [*self._opened(channel), ChannelData(channel, data)]

    def _opened(self, channel: Channel) -> list[StreamEvent]:
        if channel in self._open:
            return []
        self._open[channel] = True
        return [ChannelOpened(channel)]

    def _closed(self, channel: Channel) -> list[StreamEvent]:
        if not self._open[channel]:
            return []
        self._open[channel] = False
        return [ChannelClosed(channel)]


class _Rewriting:
    """Makes whole messages of what the API server sends, with their text rewritten.

    It holds one message at most, and of that HELD_LIMIT: so those it makes are the same however the bytes were cut.
    """

    def __init__(self, form: Form, rewrite: Rewrite) -> None:
        self._closes = form.closes
        self._rewrite = rewrite
        self._held = bytearray()
        self._channel: int | None = None
        """Of the message that is under way."""
        self._begun = False
        """Whether some of that message has left already."""
        self._ended = False

    def feed(self, part: Part | Piece) -> list[Part | Piece]:
        """What leaves now. Raises Unreadable for a channel that does not exist, or that the pod does not write."""
        if isinstance(part, Piece):
            if part.opcode != CLOSE:
                return [part]
            rest = [made for channel in _WRITTEN for made in self.flush(channel)]
            self._ended = True
            return [*rest, part]
        if part.channel is None:
            return [part]
        if part.channel == CLOSE_SIGNAL and self._closes:
            return [*self.flush(_channel(part.data[0])), part]
        self._channel = part.channel
        self._held += part.data
        ready: list[Part | Piece] = []
        while len(self._held) > HELD_LIMIT:
            ready += self._made(bytes(self._held[:HELD_LIMIT]), last=False)
            del self._held[:HELD_LIMIT]
        if part.last:
            ready += self._made(bytes(self._held), last=True)
            self._held.clear()
            self._channel, self._begun = None, False
        return ready

    def flush(self, channel: Channel) -> list[Part | Piece]:
        """All that is held of a channel."""
        if self._ended or channel not in _WRITTEN:
            return []
        number = _CHANNELS.index(channel)
        text = b""
        if self._channel == number and self._held:
            text = self._rewrite(channel, bytes(self._held))
            self._held.clear()
            self._begun = True
        return _message(number, text + self._rewrite.flush(channel))

    def _made(self, data: bytes, *, last: bool) -> list[Part | Piece]:
        """What becomes of the data of a message, or of its next part."""
        assert self._channel is not None
        channel = _channel(self._channel)
        if channel not in _WRITTEN:
            raise Unreadable(f"WebSocket: a message on channel {channel.value} goes the wrong way")
        if not data and not self._begun:
            # The API server begins with one of these, to say that the session is there.
            return [Part(self._channel, b"", last=True)]
        self._begun = True
        before: list[Part | Piece] = []
        text = self._rewrite(channel, data)
        if channel is Channel.ERROR:
            # The last word of a session: clients may stop reading with it, so the rest of the others goes first.
            before = [*self.flush(Channel.STDOUT), *self.flush(Channel.STDERR)]
            text += self._rewrite.flush(channel) if last else b""
        return [*before, *_message(self._channel, text)]


def _channel(number: int) -> Channel:
    """Raises Unreadable where there is no such channel."""
    if not 0 <= number < len(_CHANNELS):
        raise Unreadable("WebSocket: a message belongs to no channel that there is")
    return _CHANNELS[number]


def _message(number: int, text: bytes) -> list[Part | Piece]:
    return [Part(number, text, last=True)] if text else []
