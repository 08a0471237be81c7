"""Laws of WebSocket sessions: no cut matters, nothing changes in passing, nothing but Unreadable comes of garbage."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.wire.spdy_by_hand import Sender, data, merged
from tests.unit.wire.websocket_by_hand import fragment, masked

from narrowgate.wire.stream_events import Channel, ChannelData, Direction, PortData, SessionCodec, StreamEvent
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, unmasked
from narrowgate.wire.websocket_channels import websocket_channels
from narrowgate.wire.websocket_messages import Form, Part
from narrowgate.wire.websocket_ports import websocket_ports

TO_POD, FROM_POD = Direction.TO_POD, Direction.FROM_POD
CHANNELS = (Channel.STDIN, Channel.STDOUT, Channel.STDERR, Channel.ERROR, Channel.RESIZE)
WRITTEN_BY_POD = CHANNELS[1:4]
PLAIN, BASE64 = "v4.channel.k8s.io", "v4.base64.channel.k8s.io"

Script = list[tuple[Direction, bytes]]
"""What the two ends send, in the order in which the gate gets it."""

PAYLOADS = st.binary(max_size=40) | st.sampled_from([b"\n", b"a line\n", b"x" * 70_000, b"y\n" * 70_000])
KEYS = st.binary(min_size=4, max_size=4)
SIZES = st.lists(st.integers(1, 30) | st.integers(1, 100_000), max_size=30)


@st.composite
def servers_messages(draw: st.DrawFn, message: bytes) -> bytes:
    """A message of a server, maybe in fragments, maybe with a ping among them."""
    opcode, payload = (message[0] & 0x0F), message[_head_size(message) :]
    places = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=2)))
    if not places:
        return message
    parts = [payload[at:to] for at, to in zip([0, *places], [*places, len(payload)], strict=True)]
    sent = fragment(opcode, parts[0])
    for part in parts[1:-1]:
        sent += draw(st.sampled_from([b"", frame(PING, b"?")])) + fragment(CONTINUATION, part)
    return sent + frame(CONTINUATION, parts[-1])


def _head_size(message: bytes) -> int:
    return {126: 4, 127: 10}.get(message[1], 2)


@st.composite
def exec_scripts(draw: st.DrawFn, subprotocol: str) -> tuple[Script, dict[Channel, bytes]]:
    """An exec: what is sent, and what was written on each channel."""
    form = Form(base64=subprotocol == BASE64)
    script: Script = []
    written: dict[Channel, bytes] = defaultdict(bytes)
    for _ in range(draw(st.integers(0, 10))):
        channel, payload = draw(st.sampled_from(CHANNELS)), draw(PAYLOADS)
        written[channel] += payload
        message = form.framed(Part(CHANNELS.index(channel), payload, last=True))
        if channel.direction is FROM_POD:
            script.append((FROM_POD, draw(servers_messages(message))))
        else:
            opcode = draw(st.sampled_from([TEXT, BINARY]))
            script.append((TO_POD, masked(message[_head_size(message) :], opcode, key=draw(KEYS))))
    if draw(st.booleans()):
        script.append((FROM_POD, frame(CLOSE, b"")))
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
    for side, sent in script:
        if joined and joined[-1][0] is side:
            joined[-1] = side, joined[-1][1] + sent
        else:
            joined.append((side, sent))
    pieces: Script = []
    for side, sent in joined:
        at = 0
        for size in sizes:
            pieces.append((side, sent[at : at + size]))
            at += size
        pieces.append((side, sent[at:]))
    return pieces


def played(codec: SessionCodec, script: Script) -> tuple[dict[Direction, bytes], list[StreamEvent]]:
    """What is passed on each way, and what it says."""
    out: dict[Direction, bytes] = dict.fromkeys(Direction, b"")
    events: list[StreamEvent] = []
    for side, sent in script:
        passed = codec.from_client(sent) if side is TO_POD else codec.from_upstream(sent)
        out[side] += passed.data
        events += passed.events
    return out, events


def on_channels(events: list[StreamEvent]) -> dict[Channel, bytes]:
    told: dict[Channel, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, ChannelData):
            told[event.channel] += event.data
    return told


SUBPROTOCOLS = st.sampled_from([PLAIN, BASE64])


@given(st.data(), SUBPROTOCOLS, SIZES)
def test_exec_passes_byte_for_byte_and_no_cut_matters(drawn: st.DataObject, subprotocol: str, sizes: list[int]):
    script, written = drawn.draw(exec_scripts(subprotocol))
    sent = {side: b"".join(data for one, data in script if one is side) for side in Direction}
    out, events = played(websocket_channels(subprotocol), script)
    assert out == sent
    assert on_channels(events) == {channel: data for channel, data in written.items() if data}
    again, same = played(websocket_channels(subprotocol), cut(script, sizes))
    assert (again, merged(same)) == (sent, merged(events))


@given(st.data(), SUBPROTOCOLS, SIZES)
def test_rewritten_output_does_not_depend_on_cuts_and_is_what_is_told(
    drawn: st.DataObject, subprotocol: str, sizes: list[int]
):
    script, written = drawn.draw(exec_scripts(subprotocol))
    out, events = played(websocket_channels(subprotocol, Lines()), script)
    again, same = played(websocket_channels(subprotocol, Lines()), cut(script, sizes))
    assert (again, merged(same)) == (out, merged(events))
    told = on_channels(events)
    read = websocket_channels(subprotocol).from_upstream(out[FROM_POD]).events
    assert on_channels(list(read)) == {channel: data for channel, data in told.items() if channel in WRITTEN_BY_POD}
    is_closed = bool(script) and script[-1] == (FROM_POD, frame(CLOSE, b""))
    for channel in WRITTEN_BY_POD:
        assert written[channel].startswith(told[channel])
        assert told[channel] == written[channel] or not is_closed


@st.composite
def tunnels(draw: st.DrawFn) -> tuple[Script, dict[Direction, bytes]]:
    """A connection in a tunnel, its byte stream cut into messages anywhere: what is sent, and what goes each way."""
    client, server = Sender(), Sender()
    opening = client.opened(1, streamtype="error", port="80", requestid="0")
    opening += client.opened(3, streamtype="data", port="80", requestid="0")
    streams: Script = [(TO_POD, opening), (FROM_POD, server.replied(1) + server.replied(3))]
    went: dict[Direction, bytes] = dict.fromkeys(Direction, b"")
    for _ in range(draw(st.integers(0, 6))):
        side, payload = draw(st.sampled_from([TO_POD, FROM_POD])), draw(PAYLOADS)
        went[side] += payload
        streams.append((side, data(3, payload)))
    script: Script = []
    for side, stream in streams:
        at = 0
        for to in [*sorted(draw(st.lists(st.integers(0, len(stream)), max_size=3))), len(stream)]:
            message = stream[at:to]
            script.append((side, masked(message) if side is TO_POD else draw(servers_messages(frame(BINARY, message)))))
            at = to
    return script, went


@given(tunnels(), SIZES)
def test_a_tunnel_is_read_however_it_is_cut(drawn: tuple[Script, dict[Direction, bytes]], sizes: list[int]):
    script, went = drawn
    out, events = played(websocket_ports("SPDY/3.1+portforward.k8s.io", []), script)
    assert out == {side: b"".join(data for one, data in script if one is side) for side in Direction}
    told: dict[Direction, bytes] = dict.fromkeys(Direction, b"")
    for event in events:
        if isinstance(event, PortData):
            told[event.direction] += event.data
    assert told == went
    again, same = played(websocket_ports("SPDY/3.1+portforward.k8s.io", []), cut(script, sizes))
    assert (again, merged(same)) == (out, merged(events))


@given(st.binary(max_size=10_000), KEYS, st.integers(0, 10_000))
def test_unmasking_is_the_rfcs_byte_by_byte(payload: bytes, key: bytes, at: int):
    assert unmasked(payload, key) == bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    turned = key[at % 4 :] + key[: at % 4]
    assert unmasked(payload[at:], turned) == unmasked(payload, key)[at:]


GARBAGE = st.one_of(
    st.binary(max_size=30),
    st.builds(masked, st.binary(max_size=8), st.integers(0, 15)),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=8)),
    st.builds(fragment, st.integers(0, 2), st.binary(max_size=4)),
    st.sampled_from([frame(BINARY, b"\x01text\n"), masked(b"\xff\x00"), masked(b"\x00x"), frame(PONG, b"")]),
)


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            lambda: websocket_channels("v5.channel.k8s.io"),
            lambda: websocket_channels(PLAIN, Lines()),
            lambda: websocket_channels(BASE64, Lines()),
            lambda: websocket_ports(PLAIN, ["80"]),
            lambda: websocket_ports(BASE64, ["80"]),
            lambda: websocket_ports("SPDY/3.1+portforward.k8s.io", []),
        ]
    ),
    st.lists(st.tuples(st.sampled_from([TO_POD, FROM_POD]), GARBAGE), max_size=12),
)
def test_garbage_is_unreadable_and_nothing_else(make: Callable[[], SessionCodec], pieces: Script):
    codec = make()
    sent = {side: sum(len(data) for one, data in pieces if one is side) for side in Direction}
    with contextlib.suppress(Unreadable):
        out, _ = played(codec, pieces)
        assert all(len(out[side]) <= sent[side] for side in Direction)
    codec.finish()
    assert codec.finish() == ()
