"""What flows after the 101 of exec, attach and port-forward, in words that hold for whichever transport carried it.

Remotecommand has channels (k8s.io/apimachinery/pkg/util/remotecommand), port-forward has connections to ports of the
pod. Codecs tell these events (`wire/stream_events.py`), recordings keep them (`core/recording.py`): the tags are part
of what is on disk, and none is ever used again for something else.
"""

from __future__ import annotations

import enum

import msgspec


class Direction(enum.Enum):
    """Which way bytes go."""

    TO_POD = "toPod"
    FROM_POD = "fromPod"


class Channel(enum.Enum):
    """What exec and attach carry, by its name in SPDY's header `streamType`."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"
    ERROR = "error"
    """How it ended: a `metav1.Status` as JSON since v4, before that a line of text, and nothing where it went well."""
    RESIZE = "resize"
    """`{"Width":80,"Height":24}` as JSON, since v3."""

    @property
    def direction(self) -> Direction:
        """Which way its data goes."""
        return Direction.TO_POD if self in (Channel.STDIN, Channel.RESIZE) else Direction.FROM_POD


class ChannelOpened(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A channel is there. WebSocket has no word for that: there it is told with the channel's first data."""

    channel: Channel


class ChannelData(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Bytes of a channel, never empty. How they are cut into events means nothing.

    Where they were rewritten, these are the bytes that leave and not the ones that came.
    """

    channel: Channel
    data: bytes


class ChannelClosed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """No more data on this channel. On `STDIN` this is the client's half-close: the process reads its end of file."""

    channel: Channel
    reset: bool = False
    """Whether it was broken off, by a reset or by the end of the session."""


class PortOpened(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A connection to a port of the pod. Connections are counted from 1 in the order in which they are opened."""

    connection: int
    port: int


class PortData(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Bytes of a connection, never empty. How they are cut into events means nothing."""

    connection: int
    data: bytes
    direction: Direction


class PortError(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """What the pod's node says went wrong with a connection; a long text comes in several of these."""

    connection: int
    message: bytes


class PortClosed(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """No more data of a connection in this direction; after a reset there is none in the other one either."""

    connection: int
    direction: Direction
    reset: bool = False


StreamEvent = ChannelOpened | ChannelData | ChannelClosed | PortOpened | PortData | PortError | PortClosed
