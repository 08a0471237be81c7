"""Codecs of what flows after the 101 of exec, attach and port-forward: bytes of both ends in, events of
`core/stream_events.py` out, whichever transport carried them.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from narrowgate.core.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
    StreamEvent,
)

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelData",
    "ChannelOpened",
    "Direction",
    "Passed",
    "PortClosed",
    "PortData",
    "PortError",
    "PortOpened",
    "Rewrite",
    "SessionCodec",
    "StreamEvent",
    "Typing",
]


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


class Typing(Protocol):
    """Looks at what the client sends on `STDIN`, and keeps back what has to wait; `SessionCodec.type` sends it later.

    May raise what ends the session: nothing of what was just fed is passed on then.
    """

    def typed(self, data: bytes) -> bytes:
        """What of it goes to the pod now."""
        ...

    def ended(self) -> bool:
        """The client has closed the channel: whether the pod is told now."""
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

    def type(self, data: bytes, *, ends: bool) -> Passed:
        """What was kept back of `STDIN`, framed for the API server, with the channel's end behind it where that was
        kept back as well. Nothing where nobody looks at what is typed, or where the client has broken it off.
        """
        ...

    def last_word(self, status: bytes) -> Passed:
        """Tell the client why its session is ended by somebody else, as the pod's node would: on the error channel.

        `status` is a `metav1.Status` as JSON. Nothing where it cannot be told: in the middle of a frame, before the
        channel is there or after its end, and where ports are forwarded. Whatever comes of it, the session is over:
        nothing else may be passed on any more. Raises nothing.
        """
        ...

    def pong(self, data: bytes) -> bytes:
        """What answers the client's pings, where `data` is such and nothing else; else nothing. Whoever takes it does
        not pass them on, and sends it where `may_interject`.
        """
        ...

    @property
    def may_interject(self) -> bool:
        """Whether a frame of the gate's own can go to the client now, behind all that `from_upstream` let pass."""
        ...

    def finish(self) -> tuple[StreamEvent, ...]:
        """Both ends are gone: what was still open is closed, by reset. Raises nothing."""
        ...
