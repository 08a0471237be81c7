"""Laws of SPDY sessions: no cut matters, nothing is changed in passing, and nothing but Unreadable comes of garbage."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.wire import spdy_by_hand as by_hand
from tests.unit.wire.spdy_by_hand import CHANNELS, FIN, Exec, Sender, merged

from narrowgate.wire.spdy_channels import spdy_channels
from narrowgate.wire.spdy_ports import spdy_ports
from narrowgate.wire.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    Direction,
    PortData,
    SessionCodec,
    StreamEvent,
)
from narrowgate.wire.unreadable import Unreadable

TO_POD, FROM_POD = Direction.TO_POD, Direction.FROM_POD
WRITTEN_BY_POD = (Channel.STDOUT, Channel.STDERR, Channel.ERROR)

Script = list[tuple[Direction, bytes]]
"""What the two ends send, in the order in which the gate gets it."""

PAYLOADS = st.binary(max_size=40) | st.sampled_from([b"\n", b"a line\n", b"x" * 70_000, b"y\n" * 50_000])
ASIDES = st.sampled_from([by_hand.ping(), by_hand.settings((4, 100)), by_hand.window(0, 10), by_hand.go_away(9)])


@st.composite
def exec_scripts(draw: st.DrawFn) -> tuple[Script, dict[Channel, bytes]]:
    """An interactive exec: what is sent, and what was written on each channel."""
    session = Exec()
    script: Script = [(TO_POD, session.opening()), (FROM_POD, session.replies())]
    written: dict[Channel, bytes] = defaultdict(bytes)
    open_channels = list(Channel)
    for _ in range(draw(st.integers(0, 12))):
        side = draw(st.sampled_from([TO_POD, FROM_POD]))
        if not open_channels or draw(st.booleans()):
            script.append((side, draw(ASIDES)))
            continue
        channel = draw(st.sampled_from(open_channels))
        payload, fin = draw(PAYLOADS), draw(st.sampled_from([0, 0, 0, FIN]))
        written[channel] += payload
        script.append((channel.direction, by_hand.data(CHANNELS[channel], payload, fin)))
        if fin:
            open_channels.remove(channel)
    return script, written


@st.composite
def port_scripts(draw: st.DrawFn) -> tuple[Script, dict[tuple[int, Direction], bytes]]:
    """Forwarded connections: what is sent, and what went each way on each of them."""
    client, server = Sender(), Sender()
    script: Script = []
    written: dict[tuple[int, Direction], bytes] = defaultdict(bytes)
    opened: list[int] = []
    ended: set[tuple[int, Direction]] = set()
    for _ in range(draw(st.integers(0, 14))):
        if not opened or draw(st.integers(0, 3)) == 0:
            number = len(opened) + 1
            for kind, stream in (("error", 4 * number - 3), ("data", 4 * number - 1)):
                script.append((TO_POD, client.opened(stream, streamtype=kind, port="80", requestid=str(number))))
                script.append((FROM_POD, server.replied(stream)))
            opened.append(number)
            continue
        number, side = draw(st.sampled_from(opened)), draw(st.sampled_from([TO_POD, FROM_POD]))
        if (number, side) in ended:
            continue
        payload, fin = draw(PAYLOADS), draw(st.sampled_from([0, 0, FIN]))
        written[number, side] += payload
        script.append((side, by_hand.data(4 * number - 1, payload, fin)))
        if fin:
            ended.add((number, side))
    return script, written


class Lines:
    """Changes nothing, and holds back what is no whole line."""

    def __init__(self) -> None:
        self.held: dict[Channel, bytes] = defaultdict(bytes)

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        lines, end, self.held[channel] = (self.held[channel] + data).rpartition(b"\n")
        return lines + end

    def flush(self, channel: Channel) -> bytes:
        return self.held.pop(channel, b"")


def cut(script: Script, sizes: list[int]) -> Script:
    """The same with what one end sends at a time joined, and cut anew."""
    joined: Script = []
    for side, data in script:
        if joined and joined[-1][0] is side:
            joined[-1] = side, joined[-1][1] + data
        else:
            joined.append((side, data))
    pieces: Script = []
    for side, data in joined:
        at = 0
        for size in sizes:
            pieces.append((side, data[at : at + size]))
            at += size
        pieces.append((side, data[at:]))
    return pieces


def played(codec: SessionCodec, script: Script) -> tuple[dict[Direction, bytes], list[StreamEvent]]:
    """What is passed on each way, and what it says."""
    out: dict[Direction, bytes] = defaultdict(bytes)
    events: list[StreamEvent] = []
    for side, data in script:
        passed = codec.from_client(data) if side is TO_POD else codec.from_upstream(data)
        out[side] += passed.data
        events += passed.events
    return out, events


def on_channels(events: list[StreamEvent]) -> dict[Channel, bytes]:
    told: dict[Channel, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, ChannelData):
            told[event.channel] += event.data
    return told


SIZES = st.lists(st.integers(1, 30) | st.integers(1, 100_000), max_size=30)


@given(exec_scripts(), SIZES)
def test_exec_passes_byte_for_byte_and_no_cut_matters(drawn: tuple[Script, dict[Channel, bytes]], sizes: list[int]):
    script, written = drawn
    sent = {side: b"".join(data for one, data in script if one is side) for side in Direction}
    out, events = played(spdy_channels(), script)
    assert out == sent
    assert on_channels(events) == {channel: data for channel, data in written.items() if data}
    again, same = played(spdy_channels(), cut(script, sizes))
    assert (again, merged(same)) == (sent, merged(events))


@given(port_scripts(), SIZES)
def test_forwarded_ports_pass_byte_for_byte_and_no_cut_matters(
    drawn: tuple[Script, dict[tuple[int, Direction], bytes]], sizes: list[int]
):
    script, written = drawn
    sent = {side: b"".join(data for one, data in script if one is side) for side in Direction}
    out, events = played(spdy_ports(), script)
    assert dict(out) == {side: data for side, data in sent.items() if side in out}
    told: dict[tuple[int, Direction], bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, PortData):
            told[event.connection, event.direction] += event.data
    assert told == {place: data for place, data in written.items() if data}
    again, same = played(spdy_ports(), cut(script, sizes))
    assert (again, merged(same)) == (out, merged(events))


@given(exec_scripts(), SIZES)
def test_rewritten_output_does_not_depend_on_cuts_and_is_what_is_told(
    drawn: tuple[Script, dict[Channel, bytes]], sizes: list[int]
):
    script, written = drawn
    out, events = played(spdy_channels(Lines()), script)
    again, same = played(spdy_channels(Lines()), cut(script, sizes))
    assert (again, merged(same)) == (out, merged(events))
    told = on_channels(events)
    client = spdy_channels()
    client.from_client(script[0][1])
    read = client.from_upstream(out[FROM_POD]).events
    assert on_channels(list(read)) == {channel: data for channel, data in told.items() if channel in WRITTEN_BY_POD}
    ended = {event.channel for event in events if isinstance(event, ChannelClosed)}
    for channel in WRITTEN_BY_POD:
        assert written[channel].startswith(told[channel])
        assert told[channel] == written[channel] or channel not in ended


def opened(codec: SessionCodec) -> SessionCodec:
    Exec().open_in(codec)
    return codec


GARBAGE = (
    st.binary(max_size=30)
    | st.builds(by_hand.control, st.integers(0, 12), st.binary(max_size=20), st.integers(0, 3))
    | st.builds(by_hand.data, st.integers(0, 12), st.binary(max_size=5), st.integers(0, 1))
    | st.builds(by_hand.reset, st.integers(0, 12))
    | ASIDES
)


@settings(max_examples=300)
@given(
    st.sampled_from([lambda: opened(spdy_channels()), lambda: opened(spdy_channels(Lines())), spdy_ports]),
    st.lists(st.tuples(st.sampled_from([TO_POD, FROM_POD]), GARBAGE), max_size=12),
)
def test_garbage_is_unreadable_and_nothing_else(make: Callable[[], SessionCodec], pieces: Script):
    codec = make()
    sent = {side: sum(len(data) for one, data in pieces if one is side) for side in Direction}
    with contextlib.suppress(Unreadable):
        out, _ = played(codec, pieces)
        assert all(len(out[side]) <= sent[side] for side in Direction)
    assert all(event.reset for event in codec.finish() if isinstance(event, ChannelClosed))
