"""What flows after the 101 of exec, attach and port-forward, in words that hold for whichever transport carried it.

Remotecommand has channels (k8s.io/apimachinery/pkg/util/remotecommand), port-forward has connections to ports of the
pod. A `SessionCodec` reads the bytes of both ends in passing and tells what they say.
"""

from __future__ import annotations

import enum
from typing import Protocol

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


class ChannelOpened(msgspec.Struct, frozen=True):
    """A channel is there. WebSocket has no word for that: there it is told with the channel's first data."""

    channel: Channel


class ChannelData(msgspec.Struct, frozen=True):
    """Bytes of a channel, never empty. How they are cut into events means nothing.

    Where they were rewritten, these are the bytes that leave and not the ones that came.
    """

    channel: Channel
    data: bytes


class ChannelClosed(msgspec.Struct, frozen=True):
    """No more data on this channel. On `STDIN` this is the client's half-close: the process reads its end of file."""

    channel: Channel
    reset: bool = False
    """Whether it was broken off, by a reset or by the end of the session."""


class PortOpened(msgspec.Struct, frozen=True):
    """A connection to a port of the pod. Connections are counted from 1 in the order in which they are opened."""

    connection: int
    port: int


class PortData(msgspec.Struct, frozen=True):
    """Bytes of a connection, never empty. How they are cut into events means nothing."""

    connection: int
    data: bytes
    direction: Direction


class PortError(msgspec.Struct, frozen=True):
    """What the pod's node says went wrong with a connection; a long text comes in several of these."""

    connection: int
    message: bytes


class PortClosed(msgspec.Struct, frozen=True):
    """No more data of a connection in this direction; after a reset there is none in the other one either."""

    connection: int
    direction: Direction
    reset: bool = False


StreamEvent = ChannelOpened | ChannelData | ChannelClosed | PortOpened | PortData | PortError | PortClosed


class Passed(msgspec.Struct, frozen=True):
    """What is to be sent on to the other end, and what it says."""

    data: bytes = b""
    """The very bytes that came, but where something is rewritten, or held back until it is whole."""
    events: tuple[StreamEvent, ...] = ()


class Rewrite(Protocol):
    """Changes what the pod writes (`STDOUT`, `STDERR`, `ERROR`), as masks over text do."""

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        """What of a channel leaves now: shorter, longer or nothing, where text is held back until it is whole."""
        ...

    def flush(self, channel: Channel) -> bytes:
        """All that was held back of a channel: its end has come, or nobody wants to wait for the rest."""
        ...


class SessionCodec(Protocol):
    """Reads both ends of one session. How the bytes were cut never matters.

    Whoever raises `Unreadable` is not asked again: the session is ended, and nothing of what was just fed is passed on.
    """

    def from_client(self, data: bytes) -> Passed:
        """What the client has sent, for the API server. Raises Unreadable for what its protocol does not allow."""
        ...

    def from_upstream(self, data: bytes) -> Passed:
        """What the API server has sent, for the client. Raises Unreadable for what its protocol does not allow."""
        ...

    def flush(self, channel: Channel) -> Passed:
        """What the rewriter holds back of a channel, framed for the client at once.

        At the end of a channel the codec does that itself. This is for prompts, behind which no line end comes, and
        for a session that the API server ends without closing its channels. Nothing where nothing is rewritten.
        """
        ...

    def finish(self) -> tuple[StreamEvent, ...]:
        """Both ends are gone: what was still open is closed, by reset. Raises nothing."""
        ...
