"""What of a session is recorded, and how: between the relay, which tells events, and the recording that keeps them."""

from __future__ import annotations

from typing import Final, assert_never

from narrowgate.core.masking.stream_text import StreamMasker
from narrowgate.core.recording import PortCounted, What
from narrowgate.core.remote_command import TerminalSizes, exit_of
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
from narrowgate.core.typed_input import TypedInput
from narrowgate.proxy.recordings import UNSYNCED_LIMIT, LiveRecording
from narrowgate.proxy.session_relay import Unrecorded
from narrowgate.recordings.errors import RecordingUnwritable

COUNT_MICROSECONDS: Final = 1_000_000
"""Between two counts of a forwarded port whose bytes are not kept."""

ERROR_LIMIT: Final = 64 * 1024
"""Bytes of the error channel that are read for how a process ended; a Status has some hundred."""


class SessionRecorder:
    """See `session_relay.Recorder`. One for each session."""

    def __init__(
        self,
        live: LiveRecording,
        *,
        has_terminal: bool = False,
        keeps_ports: bool = False,
        input_masker: StreamMasker | None = None,
    ) -> None:
        """`has_terminal`: what is typed and not shown is not kept. `keeps_ports`: what goes through forwarded ports is
        kept, not only counted. `input_masker` masks what is sent to the program, in the recording alone.
        """
        self._live = live
        self._typed = TypedInput() if has_terminal else None
        self._keeps_ports = keeps_ports
        self._input_masker = input_masker
        self._sizes = TerminalSizes()
        self._error = bytearray()
        self._counts: dict[tuple[int, Direction], int] = {}
        self._counted_at = 0

    @property
    def name(self) -> str:
        """Under which the recording will be kept."""
        return self._live.name

    @property
    def is_behind(self) -> bool:
        """Whether more waits for the disk than should."""
        return self._live.file.waiting > UNSYNCED_LIMIT

    async def catch_up(self) -> None:
        """Wait for the disk. Raises Unrecorded."""
        try:
            await self._live.wrote()
        except RecordingUnwritable as error:
            raise Unrecorded(str(error)) from None

    def keep(self, events: tuple[StreamEvent, ...]) -> None:
        """See `session_relay.Recorder`."""
        what: list[What] = []
        for event in events:
            what += self._said(event)
        self._write(what)

    async def end(self, reason: str) -> None:
        """The session is over. Raises Unrecorded where its end cannot be kept now."""
        last: list[What] = [*self._counted()]
        if self._typed is not None:
            last += self._typed.end()
        if self._input_masker is not None and (rest := self._input_masker.finish()):
            last.append(ChannelData(Channel.STDIN, rest))
        try:
            await self._live.end(reason, *last)
        except RecordingUnwritable as error:
            raise Unrecorded(str(error)) from None

    def _write(self, what: list[What]) -> None:
        if not what:
            return
        try:
            self._live.write(*what)
        except RecordingUnwritable as error:
            raise Unrecorded(f"the session cannot be recorded: {error}") from None

    def _said(self, event: StreamEvent) -> list[What]:
        match event:
            case ChannelData():
                return self._of_channel(event)
            case ChannelClosed(channel=Channel.ERROR):
                # Broken off before anything was said: nobody knows how the process ended.
                is_known = bool(self._error) or not event.reset
                return [event, exit_of(bytes(self._error))] if is_known else [event]
            case PortData():
                return [event] if self._keeps_ports else self._count(event)
            case PortClosed() | PortError():
                return [*self._counted(), event]
            case ChannelOpened() | ChannelClosed() | PortOpened():
                return [event]
            case _:
                assert_never(event)

    def _of_channel(self, event: ChannelData) -> list[What]:
        match event.channel:
            case Channel.STDIN:
                return self._of_input(event)
            case Channel.STDOUT | Channel.STDERR:
                return [*(self._typed.written(event.data) if self._typed is not None else ()), event]
            case Channel.ERROR:
                self._error += event.data[: ERROR_LIMIT - len(self._error)]
                return [event]
            case Channel.RESIZE:
                return [event, *self._sizes.feed(event.data)]
            case _:
                assert_never(event.channel)

    def _of_input(self, event: ChannelData) -> list[What]:
        data = event.data
        if self._input_masker is not None:
            data = self._input_masker.feed(data) + self._input_masker.release()
        if not data:
            return []
        if self._typed is not None:
            return list(self._typed.typed(data))
        return [ChannelData(Channel.STDIN, data)]

    def _count(self, event: PortData) -> list[What]:
        key = event.connection, event.direction
        self._counts[key] = self._counts.get(key, 0) + len(event.data)
        now = self._live.now()
        if now - self._counted_at < COUNT_MICROSECONDS:
            return []
        self._counted_at = now
        return self._counted()

    def _counted(self) -> list[What]:
        counts, self._counts = self._counts, {}
        return [PortCounted(connection, direction, count) for (connection, direction), count in counts.items()]
