"""What of a session's events is kept, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.recorded_sessions import header, read

from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import Known
from narrowgate.core.masking.stream_text import StreamMasker
from narrowgate.core.recording import Ended, Exited, Header, PortCounted, Resized, What
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
from narrowgate.core.typed_input import NOT_KEPT
from narrowgate.proxy.recordings import UNSYNCED_LIMIT, Recorder
from narrowgate.proxy.session_recorder import COUNT_MICROSECONDS, ERROR_LIMIT, SessionRecorder
from narrowgate.proxy.session_relay import Unrecorded
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool

SECRET = b"correct horse battery staple"
STATUS = (
    b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code",'
    b'"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)


class Recording:
    """A recorder of one session, on a clock that stands still until a test moves it."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool.open(folder / "spool", "w0", ())
        self.now = 100.0
        self._folder = folder
        self._recorder = Recorder(self._spool, FolderStore(folder / "kept"), lambda _: None, clock=lambda: self.now)
        self.live = self._recorder.begin(header("one"))

    async def kept(self, session: SessionRecorder) -> list[What]:
        """All that is in the recording behind its header, once the session has ended."""
        await session.end("over")
        (path,) = (self._folder / "spool").rglob("*.recording")
        first, *rest = (entry.what for entry in read(path))
        assert isinstance(first, Header)
        assert rest.pop() == Ended("over")
        return rest

    async def close(self) -> None:
        await self._recorder.close()


Make = Callable[[Recording], SessionRecorder]


def kept(folder: Path, make: Make, *events: StreamEvent) -> list[What]:
    """What is kept of these events, each of which comes alone."""

    async def main() -> list[What]:
        recording = Recording(folder)
        session = make(recording)
        for event in events:
            session.keep((event,))
        found = await recording.kept(session)
        await recording.close()
        return found

    return asyncio.run(main())


def plainly(recording: Recording) -> SessionRecorder:
    return SessionRecorder(recording.live)


def data(channel: Channel, text: bytes) -> ChannelData:
    return ChannelData(channel, text)


def test_channels_are_kept_as_they_are(tmp_path: Path) -> None:
    events = (
        ChannelOpened(Channel.STDIN),
        data(Channel.STDIN, b"\0\xff"),
        data(Channel.STDOUT, b"out"),
        data(Channel.STDERR, b"err"),
        ChannelClosed(Channel.STDIN),
    )
    assert kept(tmp_path, plainly, *events) == list(events)


def test_how_a_process_ended_is_said_beside_what_said_it(tmp_path: Path) -> None:
    pieces = (data(Channel.ERROR, STATUS[:50]), data(Channel.ERROR, STATUS[50:]))
    found = kept(tmp_path, plainly, *pieces, ChannelClosed(Channel.ERROR))
    assert found == [*pieces, ChannelClosed(Channel.ERROR), Exited(3, "command terminated with non-zero exit code")]


def test_nothing_said_at_the_end_is_a_good_end(tmp_path: Path) -> None:
    closed = ChannelClosed(Channel.ERROR)
    assert kept(tmp_path, plainly, closed) == [closed, Exited(0)]


def test_nobody_knows_how_a_process_ended_that_was_left(tmp_path: Path) -> None:
    opened, broken_off = ChannelOpened(Channel.ERROR), ChannelClosed(Channel.ERROR, reset=True)
    assert kept(tmp_path, plainly, opened, broken_off) == [opened, broken_off]


def test_an_error_without_end_is_kept_and_not_held(tmp_path: Path) -> None:
    much = data(Channel.ERROR, b"x" * ERROR_LIMIT)
    found = kept(tmp_path, plainly, much, much, ChannelClosed(Channel.ERROR))
    assert found[:2] == [much, much]
    assert found[-1] == Exited(None, "x" * ERROR_LIMIT)


def test_sizes_are_read(tmp_path: Path) -> None:
    said = data(Channel.RESIZE, b'{"Width":80,"Height":24}\n')
    assert kept(tmp_path, plainly, said) == [said, Resized(80, 24)]


def test_what_a_terminal_does_not_show_is_not_kept(tmp_path: Path) -> None:
    def on_a_terminal(recording: Recording) -> SessionRecorder:
        return SessionRecorder(recording.live, has_terminal=True)

    prompt, answer = data(Channel.STDOUT, b"Password: "), data(Channel.STDOUT, b"\r\n# ")
    found = kept(tmp_path, on_a_terminal, prompt, data(Channel.STDIN, b"hunter2\r"), answer)
    assert found == [prompt, answer, NOT_KEPT]


def test_without_a_terminal_all_input_is_kept(tmp_path: Path) -> None:
    said = data(Channel.STDIN, b"hunter2\n")
    assert kept(tmp_path, plainly, said) == [said]


@pytest.mark.parametrize("cut", [1, 9, len(SECRET) - 1])
def test_secrets_that_are_sent_are_masked_in_the_recording(tmp_path: Path, cut: int) -> None:
    def masking(recording: Recording) -> SessionRecorder:
        values = KnownValues([Known(SECRET, SECRET)])
        masker = StreamMasker(text_patterns(frozenset(TEXT_RULES)), ValueMasker(b"k" * 32), {}, values)
        return SessionRecorder(recording.live, input_masker=masker)

    text = b"word " + SECRET
    found = kept(tmp_path, masking, data(Channel.STDIN, text[: 5 + cut]), data(Channel.STDIN, text[5 + cut :] + b"\n"))
    said = b"".join(each.data for each in found if isinstance(each, ChannelData))
    assert b"[masked:narrowgate/known-value:" in said
    assert SECRET not in said


def test_ports_are_counted_once_a_second_and_at_each_end(tmp_path: Path) -> None:
    async def main() -> list[What]:
        recording = Recording(tmp_path)
        session = SessionRecorder(recording.live)
        session.keep((PortOpened(1, 80),))
        for size in (10, 20):
            recording.now += COUNT_MICROSECONDS / 1_000_000
            session.keep((PortData(1, b"x" * size, Direction.TO_POD), PortData(1, b"yy", Direction.FROM_POD)))
        session.keep((PortError(1, b"refused"), PortClosed(1, Direction.TO_POD, False)))
        session.keep((PortData(1, b"last", Direction.FROM_POD),))
        found = await recording.kept(session)
        await recording.close()
        return found

    assert asyncio.run(main()) == [
        PortOpened(1, 80),
        PortCounted(1, Direction.TO_POD, 10),
        PortCounted(1, Direction.FROM_POD, 2),
        PortCounted(1, Direction.TO_POD, 20),
        PortCounted(1, Direction.FROM_POD, 2),
        PortError(1, b"refused"),
        PortClosed(1, Direction.TO_POD, False),
        PortCounted(1, Direction.FROM_POD, 4),
    ]


def test_ports_are_kept_where_that_is_wanted(tmp_path: Path) -> None:
    said = PortData(1, b"select 1", Direction.TO_POD)
    assert kept(tmp_path, lambda recording: SessionRecorder(recording.live, keeps_ports=True), said) == [said]


def test_what_cannot_be_written_is_said_to_the_relay(tmp_path: Path) -> None:
    async def main() -> None:
        recording = Recording(tmp_path)
        session = plainly(recording)
        recording.live.file.close()
        with pytest.raises(Unrecorded, match="cannot be recorded"):
            session.keep((data(Channel.STDOUT, b"x"),))
        with pytest.raises(Unrecorded):
            await session.catch_up()
        with pytest.raises(Unrecorded):
            await session.end("over")
        await recording.close()

    asyncio.run(main())


def test_a_recorder_that_is_behind_catches_up(tmp_path: Path) -> None:
    async def main() -> None:
        recording = Recording(tmp_path)
        session = plainly(recording)
        # Small pieces go to the tails, which are emptied by a sync.
        piece = tuple(data(Channel.STDOUT, b"z" * 30_000) for _ in range(8))
        for _ in range(UNSYNCED_LIMIT):
            session.keep(piece)
            if session.is_behind:
                break
        assert session.is_behind
        await session.catch_up()
        assert not session.is_behind
        await recording.close()

    asyncio.run(main())
