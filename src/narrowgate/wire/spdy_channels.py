"""Remotecommand over SPDY (exec, attach): streams that say with `streamType` which channel they are.

k8s.io/cri-streaming/pkg/streaming/remotecommand/httpstream.go: versions 1 to 4 open them alike; the later ones know
`resize`, and put a `metav1.Status` into `error`.
"""

from __future__ import annotations

from narrowgate.wire.spdy_session import SpdySession
from narrowgate.wire.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    Rewrite,
    SessionCodec,
    StreamEvent,
    Typing,
)
from narrowgate.wire.unreadable import Unreadable

_CHANNELS = {channel.value.encode(): channel for channel in Channel}


class Channels:
    """Streams as channels: each there once, since of two kubelet takes the one that happens to come later."""

    def __init__(self) -> None:
        self._seen: set[Channel] = set()

    def opened(self, _stream: int, headers: dict[bytes, bytes]) -> tuple[Channel, tuple[StreamEvent, ...]]:
        """See `Meanings`."""
        channel = _CHANNELS.get(headers.get(b"streamtype", b""))
        if channel is None:
            raise Unreadable("SPDY: a stream has no streamType that exec and attach know")
        if channel in self._seen:
            raise Unreadable(f"SPDY: there are two streams for {channel.value}")
        self._seen.add(channel)
        return channel, (ChannelOpened(channel),)

    def data(self, meaning: Channel, payload: bytes, direction: Direction) -> StreamEvent:
        """See `Meanings`."""
        if direction is not meaning.direction:
            raise Unreadable(f"SPDY: data on {meaning.value} goes the wrong way")
        return ChannelData(meaning, payload)

    def ended(self, meaning: Channel, direction: Direction) -> tuple[StreamEvent, ...]:
        """See `Meanings`. That the reading side writes nothing goes without saying."""
        return (ChannelClosed(meaning),) if direction is meaning.direction else ()

    def broken(self, meaning: Channel, _by: Direction, ended: frozenset[Direction]) -> tuple[StreamEvent, ...]:
        """See `Meanings`."""
        return () if meaning.direction in ended else (ChannelClosed(meaning, reset=True),)

    def channel(self, meaning: Channel) -> Channel:
        """See `Meanings`."""
        return meaning


def spdy_channels(rewrite: Rewrite | None = None, typing: Typing | None = None) -> SessionCodec:
    """The codec for exec and attach over SPDY/3.1."""
    return SpdySession(Channels(), rewrite, typing)
