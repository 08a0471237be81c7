"""A session that is read on its way: masked, kept, let go, and ended where it cannot be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeGuard

import pytest
from tests.unit.proxy.loopback import PATIENCE, run, until

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import Known
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.typed_lines import LineAsked, LineGuard
from narrowgate.proxy.connection_state import has_closed
from narrowgate.proxy.session_lines import SessionLines
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.proxy.session_relay import SessionRelay, Unrecorded
from narrowgate.wire.stream_events import Channel, ChannelClosed, ChannelData, StreamEvent
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import client_frame, frame
from narrowgate.wire.websocket_channels import ChannelCodec
from narrowgate.wire.websocket_messages import Form

SECRET = b"correct horse battery staple"
BINARY, CLOSE = 2, 8
STDOUT, STDERR = b"\1", b"\2"
MUCH = 8 * 1024 * 1024


def says(channel: bytes, text: bytes) -> bytes:
    """A message of the API server's."""
    return frame(BINARY, channel + text)


def masks(known: Callable[[], KnownValues] | None = None) -> SessionMasks:
    values = KnownValues([Known(SECRET, SECRET)])
    return SessionMasks(text_patterns(frozenset(TEXT_RULES)), ValueMasker(b"k" * 32), known or (lambda: values))


async def nobody(*_: object) -> str:
    return "nobody is asked here"


class Kept:
    """Keeps everything, until it is told not to."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self.is_full = False
        self.is_behind = False
        self.caught_up = asyncio.Event()

    def keep(self, events: tuple[StreamEvent, ...]) -> None:
        if self.is_full:
            raise Unrecorded("the disk is full")
        self.events += events

    async def catch_up(self) -> None:
        await self.caught_up.wait()
        self.is_behind = False


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of which each knows when the other has closed, before it has read all that came."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        return near, listening.accept()[0]


class Joined:
    """A relay between two ends that a test holds."""

    def __init__(
        self,
        masks: SessionMasks | None = None,
        recorder: Kept | None = None,
        lines: SessionLines | None = None,
        pair: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair,
    ) -> None:
        self._pair = pair
        self._masks = masks
        self._recorder = recorder
        self._lines = lines

    async def __aenter__(self) -> Joined:
        loop = asyncio.get_running_loop()
        near, client = self._pair()
        far, upstream = self._pair()
        ends = []
        for end in (client, upstream):
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, end)
            ends.append(transport)
        codec = ChannelCodec(Form(closes=True), self._lines or self._masks, self._lines)
        self.relay = SessionRelay(ends[0], ends[1], codec, self._masks, self._recorder, self._lines)
        ends[0].set_protocol(self.relay.client)
        ends[1].set_protocol(self.relay.upstream)
        self.client_reader, self.client_writer = await asyncio.open_connection(sock=near)
        self.pod_reader, self.pod_writer = await asyncio.open_connection(sock=far)
        self._running = asyncio.ensure_future(self.relay.run(b"", b""))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client_writer.close()
        self.pod_writer.close()
        await asyncio.wait_for(self._running, PATIENCE)

    async def pod_says(self, channel: bytes, text: bytes) -> None:
        self.pod_writer.write(says(channel, text))
        await self.pod_writer.drain()

    async def client_sees(self, text: bytes) -> None:
        assert await asyncio.wait_for(self.client_reader.readexactly(len(text)), PATIENCE) == text


def test_what_a_program_writes_leaves_masked_line_by_line() -> None:
    async def main() -> None:
        async with Joined(masks()) as joined:
            await joined.pod_says(STDOUT, b"it is " + SECRET[:9])
            await joined.pod_says(STDERR, b"oh\n")
            await joined.client_sees(says(STDERR, b"oh\n"))
            await joined.pod_says(STDOUT, SECRET[9:] + b"\n")
            seen = await asyncio.wait_for(joined.client_reader.readuntil(b"\n"), PATIENCE)
            assert b"[masked:narrowgate/known-value:" in seen
            assert SECRET[:9] not in seen

    run(main())


@pytest.mark.parametrize("prompt", [b"$ ", b"Password for the-database-of-production: "])
def test_a_prompt_is_let_go_without_an_end_of_line(prompt: bytes) -> None:
    async def main() -> None:
        async with Joined(masks()) as joined:
            await joined.pod_says(STDOUT, prompt)
            await joined.client_sees(says(STDOUT, prompt))

    run(main())


def test_what_is_held_back_leaves_before_the_end() -> None:
    async def main() -> None:
        async with Joined(masks()) as joined:
            await joined.pod_says(STDOUT, b"no-end-of-line")
            joined.pod_writer.close()
            seen = await asyncio.wait_for(joined.client_reader.read(), PATIENCE)
            assert seen == says(STDOUT, b"no-end-of-line")

    run(main())


def test_without_masks_the_bytes_are_those_that_came() -> None:
    async def main() -> Kept:
        kept = Kept()
        async with Joined(recorder=kept) as joined:
            text = says(STDOUT, b"a" * 70_000) + says(STDERR, b"") + frame(9, b"ping")
            joined.pod_writer.write(text)
            await joined.client_sees(text)
        return kept

    kept = run(main())
    said = b"".join(event.data for event in kept.events if isinstance(event, ChannelData))
    assert said == b"a" * 70_000
    assert ChannelClosed(Channel.STDOUT, reset=True) in kept.events


def test_what_cannot_be_read_ends_the_session_and_does_not_pass() -> None:
    async def main() -> str:
        async with Joined(masks()) as joined:
            joined.pod_writer.write(b"\xff\xff this is no frame")
            assert await asyncio.wait_for(joined.client_reader.read(), PATIENCE) == b""
            return joined.relay.failed

    assert "WebSocket" in run(main())


def test_what_cannot_be_kept_does_not_pass() -> None:
    async def main() -> tuple[str, bytes]:
        kept = Kept()
        async with Joined(recorder=kept) as joined:
            await joined.pod_says(STDOUT, b"kept")
            await joined.client_sees(says(STDOUT, b"kept"))
            kept.is_full = True
            await joined.pod_says(STDOUT, b"lost")
            return joined.relay.failed, await asyncio.wait_for(joined.client_reader.read(), PATIENCE)

    failed, seen = run(main())
    assert seen == b""
    assert failed in ("", "the disk is full")


def test_when_nobody_knows_what_is_secret_any_more_nothing_passes() -> None:
    async def main() -> bytes:
        def nobody_knows() -> KnownValues:
            if heard:
                raise Unreadable("the cluster's Secrets are not known now")
            return NOTHING_KNOWN

        heard: list[bytes] = []
        async with Joined(masks(nobody_knows)) as joined:
            await joined.pod_says(STDOUT, b"known\n")
            await joined.client_sees(says(STDOUT, b"known\n"))
            heard.append(b"now")
            await joined.pod_says(STDOUT, b"unknown\n")
            return await asyncio.wait_for(joined.client_reader.read(), PATIENCE)

    assert run(main()) == b""


def test_a_slow_reader_slows_the_program_down() -> None:
    async def main() -> None:
        async with Joined(masks()) as joined:
            line = says(STDOUT, b"x" * 1023 + b"\n")
            sent = 0

            async def write() -> None:
                nonlocal sent
                for _ in range(MUCH // 1024):
                    joined.pod_writer.write(line)
                    await joined.pod_writer.drain()
                    sent += 1

            writing = asyncio.ensure_future(write())
            await asyncio.sleep(0.3)
            assert sent < MUCH // 1024
            await asyncio.wait_for(joined.client_reader.readexactly(len(line) * (MUCH // 1024)), PATIENCE)
            await writing

    run(main())


def test_a_recorder_that_is_behind_slows_both_sides_down() -> None:
    async def main() -> None:
        kept = Kept()
        async with Joined(recorder=kept) as joined:
            kept.is_behind = True
            await joined.pod_says(STDOUT, b"first")
            await joined.client_sees(says(STDOUT, b"first"))
            await joined.pod_says(STDOUT, b"second")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(joined.client_reader.read(1), 0.2)
            kept.caught_up.set()
            await joined.client_sees(says(STDOUT, b"second"))

    run(main())


def typed(text: bytes) -> bytes:
    """A client's message on the channel of its keys, masked with nothing."""
    return b"\x82" + bytes([0x80 | (len(text) + 1)]) + b"\0\0\0\0" + b"\0" + text


def test_a_line_that_may_not_be_typed_ends_the_session_before_it_passes() -> None:
    async def main() -> tuple[bytes, bytes, str, list[StreamEvent]]:
        kept = Kept()
        lines = SessionLines([LineGuard("p/in", (("rm",),))], None, nobody, has_terminal=True)
        async with Joined(recorder=kept, lines=lines) as joined:
            joined.client_writer.write(typed(b"ls\r"))
            assert await asyncio.wait_for(joined.pod_reader.readexactly(len(typed(b"ls\r"))), PATIENCE)
            await joined.pod_says(STDOUT, b"a\r\n")
            await joined.client_sees(says(STDOUT, b"a\r\n"))
            joined.client_writer.write(typed(b"rm x\r"))
            told = await asyncio.wait_for(joined.client_reader.read(), PATIENCE)
            try:
                passed = await asyncio.wait_for(joined.pod_reader.read(), PATIENCE)
            except ConnectionResetError:
                passed = b""
        return told, passed, joined.relay.refused, kept.events

    told, passed, refused, events = run(main())
    assert passed == b""
    assert refused == "rule p/in ends sessions at a line that was typed"
    assert refused.encode() in told
    assert b'"status": "Failure"' in told
    stdin = [event.data for event in events if isinstance(event, ChannelData) and event.channel is Channel.STDIN]
    assert stdin == [b"ls\r"], "what is recorded of the client is what the pod was sent"
    written = b"".join(event.data for event in events if isinstance(event, ChannelData))
    assert refused.encode() in written, "and of the pod what the client was shown"


def test_a_line_that_is_shown_too_late_ends_the_session_as_soon_as_it_is_shown() -> None:
    async def main() -> tuple[bytes, str]:
        lines = SessionLines([LineGuard("p/in", (("rm",),))], masks(), nobody, has_terminal=True)
        async with Joined(masks(), lines=lines) as joined:
            joined.client_writer.write(typed(b"\x1b[A\r"))
            await joined.pod_reader.readexactly(len(typed(b"\x1b[A") + typed(b"\r")))
            await joined.pod_says(STDOUT, b"$ rm x\r\n")
            return await asyncio.wait_for(joined.client_reader.read(), PATIENCE), joined.relay.refused

    told, refused = run(main())
    assert refused
    assert refused.encode() in told


def test_whoever_is_ended_is_told_why_and_gets_nothing_after_that() -> None:
    async def main() -> tuple[bytes, list[StreamEvent], bytes]:
        kept = Kept()
        async with Joined(recorder=kept) as joined:
            await joined.pod_says(STDOUT, b"tick\n")
            await joined.client_sees(says(STDOUT, b"tick\n"))
            joined.relay.end(b'{"message":"enough"}')
            seen = await asyncio.wait_for(joined.client_reader.read(), PATIENCE)
            return seen, kept.events, await asyncio.wait_for(joined.pod_reader.read(), PATIENCE)

    seen, events, to_pod = run(main())
    assert seen == says(b"\3", b'{"message":"enough"}') + frame(CLOSE, (1000).to_bytes(2, "big"))
    assert ChannelData(Channel.ERROR, b'{"message":"enough"}') in events
    assert ChannelClosed(Channel.ERROR) in events
    assert to_pod == b""


def test_in_the_middle_of_a_message_nothing_is_said_and_the_end_comes_all_the_same() -> None:
    async def main() -> bytes:
        async with Joined() as joined:
            joined.pod_writer.write(says(STDOUT, b"half")[:4])
            await joined.client_sees(says(STDOUT, b"half")[:4])
            joined.relay.end(b"{}")
            return await asyncio.wait_for(joined.client_reader.read(), PATIENCE)

    assert run(main()) == b""


def test_a_last_word_that_cannot_be_recorded_is_not_said() -> None:
    async def main() -> bytes:
        kept = Kept()
        async with Joined(recorder=kept) as joined:
            kept.is_full = True
            joined.relay.end(b"{}")
            return await asyncio.wait_for(joined.client_reader.read(), PATIENCE)

    assert run(main()) == b""


def test_what_is_held_back_of_a_secret_does_not_leave_with_the_end() -> None:
    async def main() -> bytes:
        async with Joined(masks()) as joined:
            await joined.pod_says(STDOUT, b"it is " + SECRET[:9])
            await asyncio.sleep(0)
            joined.relay.end(b"{}")
            return await asyncio.wait_for(joined.client_reader.read(), PATIENCE)

    assert SECRET[:9] not in run(main())


async def pod_gone_unread(joined: Joined) -> None:
    """The pod has said something and closed, and nothing of that was read yet, as behind a slow client."""
    joined.relay.upstream.hold(slow=True)
    await joined.pod_says(STDOUT, b"bye\n")
    joined.pod_writer.close()
    await until(lambda: has_closed(joined.relay.upstream.transport))


def test_what_is_typed_after_the_pod_has_closed_is_neither_sent_nor_recorded_as_sent() -> None:
    async def main() -> list[StreamEvent]:
        kept = Kept()
        async with Joined(recorder=kept, pair=tcp_pair) as joined:
            joined.client_writer.write(typed(b"ls\r"))
            await asyncio.wait_for(joined.pod_reader.readexactly(len(typed(b"ls\r"))), PATIENCE)
            await pod_gone_unread(joined)
            joined.relay.client.data_received(typed(b"rm x\r"))
            joined.relay.upstream.hold(slow=False)
            await joined.client_sees(says(STDOUT, b"bye\n"))
        return kept.events

    events = run(main())
    assert b"".join(event.data for event in events if event_is(event, Channel.STDIN)) == b"ls\r"
    assert b"".join(event.data for event in events if event_is(event, Channel.STDOUT)) == b"bye\n"
    assert ChannelClosed(Channel.STDIN, reset=True) in events


def test_a_line_that_waited_until_the_pod_had_closed_is_not_recorded_as_sent() -> None:
    async def main() -> list[StreamEvent]:
        asked = asyncio.Event()

        async def ask(_: LineAsked, __: str, ___: Callable[[str], None]) -> str:
            asked.set()
            await asyncio.Event().wait()
            return ""

        kept = Kept()
        lines = SessionLines([ASKS], None, ask, has_terminal=True)
        async with Joined(recorder=kept, lines=lines, pair=tcp_pair) as joined:
            joined.client_writer.write(typed(b"rm x\r"))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            await pod_gone_unread(joined)
            joined.relay.let_type()
            joined.relay.upstream.hold(slow=False)
            await joined.client_sees(says(STDOUT, b"bye\n"))
            # And once the end has come as well, nobody types anything any more.
            await until(joined.relay.upstream.transport.is_closing)
            joined.relay.let_type()
        return kept.events

    assert [event for event in run(main()) if event_is(event, Channel.STDIN)] == []


ASKS = LineGuard("p/in", (("rm",),), Approval((Approvers("sre", 1),), 60.0))


def test_a_line_that_waits_goes_on_once_and_all_else_meanwhile() -> None:
    async def main() -> tuple[bytes, bytes, list[StreamEvent]]:
        answered = asyncio.Event()

        async def ask(_: LineAsked, text: str, say: Callable[[str], None]) -> str:
            say(f"waiting for {text}")
            await answered.wait()
            return ""

        kept = Kept()
        lines = SessionLines([ASKS], masks(), ask, has_terminal=True)
        async with Joined(masks(), recorder=kept, lines=lines) as joined:
            joined.client_writer.write(typed(b"ls\rrm x\r") + client_frame(9, b"beat"))
            before = await asyncio.wait_for(
                joined.pod_reader.readexactly(len(typed(b"ls\r") + client_frame(9, b"beat"))), PATIENCE
            )
            told = await asyncio.wait_for(joined.client_reader.readuntil(b"waiting for rm x\r\n"), PATIENCE)
            assert told.startswith(b"\x82")
            await joined.pod_says(STDOUT, b"a\r\n")
            await joined.client_sees(says(STDOUT, b"a\r\n"))
            joined.client_writer.write(typed(b"id\r"))
            answered.set()
            behind = await asyncio.wait_for(joined.pod_reader.readuntil(b"id\r"), PATIENCE)
        return before, behind, kept.events

    before, behind, events = run(main())
    assert before == typed(b"ls\r") + client_frame(9, b"beat")
    sent = b"".join(event.data for event in events if event_is(event, Channel.STDIN))
    assert sent == b"ls\rrm x\rid\r", "what is recorded is what the pod was sent"
    assert behind.startswith(typed(b"rm x\r")[:2]) or behind == typed(b"rm x\rid\r")
    shown = b"".join(event.data for event in events if event_is(event, Channel.STDOUT))
    assert b"narrowgate: waiting for rm x" in shown, "and what the client was shown"


def event_is(event: StreamEvent, channel: Channel) -> TypeGuard[ChannelData]:
    return isinstance(event, ChannelData) and event.channel is channel


def test_a_session_that_ends_while_a_line_waits_asks_nobody_any_more() -> None:
    async def main() -> tuple[bytes, bool]:
        asked, given_up = asyncio.Event(), []

        async def ask(_: LineAsked, __: str, ___: Callable[[str], None]) -> str:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.append(True)
            return ""

        lines = SessionLines([ASKS], None, ask, has_terminal=True)
        async with Joined(lines=lines) as joined:
            joined.client_writer.write(typed(b"rm x\r"))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            joined.client_writer.close()
            passed = await asyncio.wait_for(joined.pod_reader.read(), PATIENCE)
        return passed, bool(given_up)

    assert run(main()) == (b"", True)


def test_a_refusal_is_the_last_word_in_its_frames() -> None:
    async def main() -> bytes:
        async def ask(_: LineAsked, __: str, ___: Callable[[str], None]) -> str:
            return "denied by bob"

        lines = SessionLines([ASKS], None, ask, has_terminal=True)
        async with Joined(lines=lines) as joined:
            joined.client_writer.write(typed(b"rm x\r"))
            return await asyncio.wait_for(joined.client_reader.read(), PATIENCE)

    seen = run(main())
    assert says(STDOUT, b"\r\nnarrowgate: denied by bob\r\n") in seen
    assert b"\x03{" in seen
    assert seen.endswith(frame(CLOSE, (1000).to_bytes(2, "big")))
