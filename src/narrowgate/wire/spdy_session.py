"""One SPDY/3.1 session of Kubernetes, read from both ends: its streams, what may be sent on them, and who ends them.

Streams are opened by the client alone, and mean what their headers say: that is `Meanings`' business. What is refused
here is what spdystream would drop, mix up or wait for in vain: then the pod would see another session than the gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Generic, Protocol, TypeVar, assert_never

from narrowgate.wire.spdy import (
    PIECE,
    Aside,
    Data,
    Frame,
    FrameReader,
    Leaving,
    Opened,
    Replied,
    Reset,
    are_pings,
    data_frames,
)
from narrowgate.wire.stream_events import Channel, ChannelData, Direction, Passed, Rewrite, StreamEvent, Typing
from narrowgate.wire.unreadable import Unreadable

STREAMS_LIMIT: Final = 8_192
"""Streams of a session that are open at once; a forwarded connection takes two."""

RESETS_LIMIT: Final = 1_024
"""Streams that are remembered after a reset, because their data may still be under way."""

M = TypeVar("M")


class Meanings(Protocol[M]):
    """What the streams of a session are; `M` is what is known of one."""

    def opened(self, stream: int, headers: dict[bytes, bytes]) -> tuple[M, tuple[StreamEvent, ...]]:
        """A stream was opened with these headers. Raises Unreadable for what no server would serve."""
        ...

    def data(self, meaning: M, payload: bytes, direction: Direction) -> StreamEvent:
        """Bytes on a stream. Raises Unreadable where none go that way."""
        ...

    def ended(self, meaning: M, direction: Direction) -> tuple[StreamEvent, ...]:
        """No more data in this direction."""
        ...

    def broken(self, meaning: M, by: Direction, ended: frozenset[Direction]) -> tuple[StreamEvent, ...]:
        """No more data at all, in whichever direction had not `ended`; `by` is which way the reset goes."""
        ...

    def channel(self, meaning: M) -> Channel | None:
        """What a rewriter calls the stream; None for those that it has no word for."""
        ...


class _Stream(Generic[M]):
    """What is known of one stream."""

    __slots__ = ("ended", "meaning", "replied", "reset")

    def __init__(self, meaning: M) -> None:
        self.meaning = meaning
        self.replied = False
        self.ended: frozenset[Direction] = frozenset()
        self.reset = False


class SpdySession(Generic[M]):
    """See `SessionCodec`. Without a rewriter the bytes pass as they came."""

    def __init__(self, meanings: Meanings[M], rewrite: Rewrite | None = None, typing: Typing | None = None) -> None:
        self._meanings = meanings
        self._rewrite = rewrite
        self._typing = typing
        self._stdin: _Stream[M] | None = None
        """What is typed on, once that is open."""
        self._stdin_number = 0
        self._client = FrameReader()
        self._upstream = FrameReader(piece=0 if rewrite is None else PIECE)
        self._streams: dict[int, _Stream[M]] = {}
        self._last = 0
        """The number of the newest stream."""
        self._resets: list[int] = []
        """Streams after a reset, oldest first."""

    def from_client(self, data: bytes) -> Passed:
        """See `SessionCodec`."""
        if self._typing is None:
            return self._passive(self._client, data, Direction.TO_POD)
        return _together(self._looked_at(self._typing, frame) for frame in self._client.feed(data))

    def from_upstream(self, data: bytes) -> Passed:
        """See `SessionCodec`."""
        if self._rewrite is None:
            return self._passive(self._upstream, data, Direction.FROM_POD)
        return _together(self._rewritten(self._rewrite, frame) for frame in self._upstream.feed(data))

    def type(self, data: bytes, *, ends: bool) -> Passed:
        """See `SessionCodec`."""
        if self._typing is None or self._stdin is None or self._stdin.reset:
            return Passed()
        said = (self._meanings.data(self._stdin.meaning, data, Direction.TO_POD),) if data else ()
        ended = self._meanings.ended(self._stdin.meaning, Direction.TO_POD) if ends else ()
        return Passed(data_frames(self._stdin_number, data, fin=ends), (*said, *ended))

    def flush(self, channel: Channel) -> Passed:
        """See `SessionCodec`."""
        for number, stream in self._streams.items():
            if self._meanings.channel(stream.meaning) is channel:
                return self._let_go(number, stream)
        return Passed()

    def last_word(self, status: bytes) -> Passed:
        """See `SessionCodec`."""
        if not self.may_interject:
            return Passed()
        for number, stream in self._streams.items():
            is_open = stream.replied and not stream.reset and Direction.FROM_POD not in stream.ended
            if is_open and self._meanings.channel(stream.meaning) is Channel.ERROR:
                said = self._meanings.data(stream.meaning, status, Direction.FROM_POD)
                ended = self._end(number, stream, Direction.FROM_POD)
                return Passed(data_frames(number, status, fin=True), (said, *ended))
        return Passed()

    def pong(self, data: bytes) -> bytes:
        """See `SessionCodec`. A ping is its own answer (SPDY/3.1, 2.6.5)."""
        return data if self._client.is_between and are_pings(data) else b""

    @property
    def may_interject(self) -> bool:
        """See `SessionCodec`. What is rewritten leaves in whole frames."""
        return self._rewrite is not None or self._upstream.is_between

    def finish(self) -> tuple[StreamEvent, ...]:
        """See `SessionCodec`."""
        events: list[StreamEvent] = []
        for stream in self._streams.values():
            if not stream.reset:
                events += self._meanings.broken(stream.meaning, Direction.FROM_POD, stream.ended)
        self._streams.clear()
        return tuple(events)

    def _passive(self, reader: FrameReader, data: bytes, direction: Direction) -> Passed:
        events: list[StreamEvent] = []
        for frame in reader.feed(data):
            events += self._told(frame, direction)
        return Passed(data, tuple(events))

    def _looked_at(self, typing: Typing, frame: Frame) -> Passed:
        """A frame of the client's as it is passed on, with what of it may be typed."""
        if not isinstance(frame, Data):
            return Passed(frame.raw, tuple(self._told(frame, Direction.TO_POD)))
        stream = self._carrying(frame, Direction.TO_POD)
        if self._meanings.channel(stream.meaning) is not Channel.STDIN:
            raw = data_frames(frame.stream, frame.payload, fin=frame.fin)
            return Passed(raw, tuple(self._told(frame, Direction.TO_POD)))
        self._stdin, self._stdin_number = stream, frame.stream
        passing = typing.typed(frame.payload) if frame.payload else b""
        ended = self._end(frame.stream, stream, Direction.TO_POD) if frame.fin else ()
        ends = frame.fin and typing.ended()
        said = (self._meanings.data(stream.meaning, passing, Direction.TO_POD),) if passing else ()
        return Passed(data_frames(frame.stream, passing, fin=ends), (*said, *(ended if ends else ())))

    def _told(self, frame: Frame, direction: Direction) -> Iterator[StreamEvent]:
        """What a frame says, once it is known that it may be sent."""
        match frame:
            case Data():
                stream = self._carrying(frame, direction)
                if frame.payload:
                    yield self._meanings.data(stream.meaning, frame.payload, direction)
                if frame.fin:
                    yield from self._end(frame.stream, stream, direction)
            case Opened():
                yield from self._open(frame, direction)
            case Replied():
                yield from self._reply(frame, direction)
            case Reset():
                yield from self._break(frame, direction)
            case Leaving() | Aside():
                pass
            case _:
                assert_never(frame)

    def _open(self, frame: Opened, direction: Direction) -> tuple[StreamEvent, ...]:
        if direction is not Direction.TO_POD:
            raise Unreadable("SPDY: the API server opens a stream, which only clients do")
        if not frame.stream & 1 or frame.stream <= self._last:
            raise Unreadable(f"SPDY: {frame.stream} is no number for a client's stream after {self._last}")
        if len(self._streams) >= STREAMS_LIMIT:
            raise Unreadable(f"SPDY: more than {STREAMS_LIMIT} streams are open at once")
        meaning, events = self._meanings.opened(frame.stream, frame.headers)
        self._last = frame.stream
        stream = self._streams[frame.stream] = _Stream(meaning)
        return events + self._end(frame.stream, stream, direction) if frame.fin else events

    def _reply(self, frame: Replied, direction: Direction) -> tuple[StreamEvent, ...]:
        if direction is not Direction.FROM_POD:
            raise Unreadable("SPDY: the client answers a stream, but nobody opens any to it")
        stream = self._known(frame.stream)
        if stream.replied:
            raise Unreadable(f"SPDY: stream {frame.stream} is answered twice")
        stream.replied = True
        return self._end(frame.stream, stream, direction) if frame.fin else ()

    def _break(self, frame: Reset, direction: Direction) -> tuple[StreamEvent, ...]:
        stream = self._streams.get(frame.stream)
        if stream is None or stream.reset:
            self._require_opened(frame.stream)
            return ()
        stream.reset = True
        self._resets.append(frame.stream)
        if len(self._resets) > RESETS_LIMIT:
            del self._streams[self._resets.pop(0)]
        return self._meanings.broken(stream.meaning, direction, stream.ended)

    def _end(self, number: int, stream: _Stream[M], direction: Direction) -> tuple[StreamEvent, ...]:
        if stream.reset:
            return ()
        stream.ended |= {direction}
        if len(stream.ended) == len(Direction):
            del self._streams[number]
        return self._meanings.ended(stream.meaning, direction)

    def _require_opened(self, number: int) -> None:
        """A reset of a stream that is gone says nothing new, if ever there was such a stream."""
        if not number & 1 or number > self._last:
            raise Unreadable(f"SPDY: stream {number} is not open")

    def _known(self, number: int) -> _Stream[M]:
        stream = self._streams.get(number)
        if stream is None:
            raise Unreadable(f"SPDY: stream {number} is not open")
        return stream

    def _carrying(self, frame: Data, direction: Direction) -> _Stream[M]:
        """The stream of this data. Raises Unreadable where its receiver might drop it, and might not."""
        stream = self._known(frame.stream)
        if not stream.replied and not stream.reset:
            raise Unreadable(f"SPDY: data on stream {frame.stream} comes before it was answered")
        if direction in stream.ended:
            raise Unreadable(f"SPDY: data on stream {frame.stream} comes after its end")
        return stream

    def _rewritten(self, rewrite: Rewrite, frame: Frame) -> Passed:
        """A frame of the API server's as it is passed on, and what that says."""
        before: list[Passed] = []
        match frame:
            case Data():
                frame = self._changed(rewrite, frame)
                raw = data_frames(frame.stream, frame.payload, fin=frame.fin)
            case Reset(number, raw):
                if (stream := self._streams.get(number)) is not None:
                    before = [self._let_go(number, stream)]
            case Leaving(raw):
                before = [self._let_go(number, stream) for number, stream in self._streams.items()]
            case Opened() | Replied() | Aside():
                raw = frame.raw
            case _:
                assert_never(frame)
        events = [event for one in before for event in one.events]
        data = b"".join([*(one.data for one in before), raw])
        return Passed(data, (*events, *self._told(frame, Direction.FROM_POD)))

    def _changed(self, rewrite: Rewrite, frame: Data) -> Data:
        """The same frame with what the rewriter makes of its payload. What the pod reads, it does not write."""
        channel = self._meanings.channel(self._carrying(frame, Direction.FROM_POD).meaning)
        if channel is None or channel.direction is Direction.TO_POD:
            return frame
        payload = rewrite(channel, frame.payload) if frame.payload else b""
        return Data(frame.stream, payload + rewrite.flush(channel) if frame.fin else payload, frame.fin)

    def _let_go(self, number: int, stream: _Stream[M]) -> Passed:
        """What the rewriter holds back of a stream, framed, as long as more may be sent on it."""
        channel = self._meanings.channel(stream.meaning)
        if self._rewrite is None or channel is None or channel.direction is Direction.TO_POD:
            return Passed()
        if not stream.replied or stream.reset or Direction.FROM_POD in stream.ended:
            return Passed()
        text = self._rewrite.flush(channel)
        return Passed(data_frames(number, text), (ChannelData(channel, text),) if text else ())


def _together(parts: Iterable[Passed]) -> Passed:
    passed = list(parts)
    return Passed(b"".join(one.data for one in passed), tuple(event for one in passed for event in one.events))
