"""Port-forward over WebSocket: by channels, and tunnelled."""

from __future__ import annotations

import pytest

from narrowgate.wire.stream_events import (
    Channel,
    Direction,
    Passed,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
    StreamEvent,
)
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, unmasked
from narrowgate.wire.websocket_messages import Form
from narrowgate.wire.websocket_ports import PortCodec, TunnelCodec, ports_of, websocket_ports

PLAIN, BASE64 = Form(), Form(base64=True)
KEY = b"\x01\x02\x03\x04"
PORT_80 = b"\x50\x00"
PORT_8443 = b"\xfb\x20"


def masked(payload: bytes, opcode: int = BINARY) -> bytes:
    head = frame(opcode, payload)[: -len(payload) or None]
    return bytes((head[0], head[1] | 0x80)) + head[2:] + KEY + unmasked(payload, KEY)


def test_each_port_is_told_with_its_data_and_errors() -> None:
    codec = PortCodec(PLAIN, (80, 8443))
    heads = b"".join(
        frame(BINARY, bytes((channel,)) + port) for channel, port in enumerate((PORT_80, PORT_80, PORT_8443, PORT_8443))
    )
    assert codec.from_upstream(heads) == Passed(heads, (PortOpened(1, 80), PortOpened(2, 8443)))
    assert codec.from_client(masked(b"\x02GET")).events == (PortData(2, b"GET", Direction.TO_POD),)
    assert codec.from_upstream(frame(BINARY, b"\x02200")).events == (PortData(2, b"200", Direction.FROM_POD),)
    assert codec.from_upstream(frame(BINARY, b"\x01refused")).events == (PortError(1, b"refused"),)
    assert codec.from_upstream(frame(CLOSE, b"")).events == (
        PortClosed(1, Direction.FROM_POD),
        PortClosed(2, Direction.FROM_POD),
    )
    assert codec.finish() == (PortClosed(1, Direction.TO_POD, True), PortClosed(2, Direction.TO_POD, True))
    assert codec.finish() == ()


def test_a_client_that_does_not_wait_for_the_servers_word_is_told_all_the_same() -> None:
    codec = PortCodec(PLAIN, (80, 8443))
    assert codec.from_client(masked(b"\x02GET")).events == (
        PortOpened(1, 8443),
        PortData(1, b"GET", Direction.TO_POD),
    )
    assert codec.from_upstream(frame(BINARY, b"\x00" + PORT_80)).events == (PortOpened(2, 80),)


def test_a_port_may_come_in_pieces_and_with_data_behind_it() -> None:
    codec = PortCodec(PLAIN, (80,))
    sent = frame(BINARY, b"\x00" + PORT_80[:1]) + frame(BINARY, b"\x00" + PORT_80[1:] + b"hello")
    events: list[StreamEvent] = []
    for byte in sent:
        events += codec.from_upstream(bytes((byte,))).events
    assert events[0] == PortOpened(1, 80)
    assert b"".join(event.data for event in events[1:] if isinstance(event, PortData)) == b"hello"


def test_base64_ports_are_read() -> None:
    codec = PortCodec(BASE64, (80,))
    assert codec.from_upstream(frame(TEXT, b"0UAA=")).events == (PortOpened(1, 80),)
    assert codec.from_client(masked(b"0Zm9v", TEXT)).events == (PortData(1, b"foo", Direction.TO_POD),)


@pytest.mark.parametrize(
    "sent", [frame(BINARY, b"\x00" + PORT_8443), frame(BINARY, b"\x02" + PORT_8443), frame(BINARY, b"\xffx")]
)
def test_a_port_that_was_not_asked_for_is_refused(sent: bytes) -> None:
    with pytest.raises(Unreadable, match="asked for"):
        PortCodec(PLAIN, (80,)).from_upstream(sent)


@pytest.mark.parametrize("payload", [b"\x01x", b"\x02x", b"\xff\x00"])
def test_a_client_writes_data_of_its_ports_alone(payload: bytes) -> None:
    with pytest.raises(Unreadable, match="WebSocket: "):
        PortCodec(PLAIN, (80,)).from_client(masked(payload))


def test_more_ports_than_there_are_channels_for_are_refused() -> None:
    # Behind channel 255 the server's own numbers begin again at 0: one port's data would be another's.
    assert PortCodec(PLAIN, tuple(range(1, 128))).finish() == ()
    for form, count in ((PLAIN, 128), (BASE64, 6)):
        with pytest.raises(Unreadable, match="more ports"):
            PortCodec(form, tuple(range(1, count + 1)))


def test_ports_are_read_from_the_query_as_the_kubelet_reads_them() -> None:
    assert ports_of(["80,8443", "0022"]) == (80, 8443, 22)
    assert ports_of(["00000000000000080", "65535"]) == (80, 65535)


@pytest.mark.parametrize(
    "values", [[], [""], ["80,"], ["0"], ["65536"], ["+80"], [" 80"], ["8_0"], ["٨٠"], ["1000080"], ["80\n"]]
)
def test_ports_that_the_kubelet_would_refuse_are_refused(values: list[str]) -> None:
    with pytest.raises(Unreadable, match="port"):
        ports_of(values)


class Stream:
    """A codec that tells every byte as data of port 80, which is all a tunnel needs to know of what it carries."""

    def from_client(self, data: bytes) -> Passed:
        return Passed(data, (PortData(1, data, Direction.TO_POD),) if data else ())

    def from_upstream(self, data: bytes) -> Passed:
        return Passed(data, (PortData(1, data, Direction.FROM_POD),) if data else ())

    def flush(self, channel: Channel) -> Passed:
        raise AssertionError(channel)

    def finish(self) -> tuple[StreamEvent, ...]:
        return (PortClosed(1, Direction.TO_POD, True),)


def test_a_tunnel_carries_one_stream_however_its_messages_are_cut() -> None:
    codec = TunnelCodec(Stream())
    sent = masked(b"ab") + masked(b"", PING) + masked(b"c")
    assert codec.from_client(sent) == Passed(sent, (PortData(1, b"abc", Direction.TO_POD),))
    fragments = b"\x02\x01d" + frame(PONG, b"") + b"\x00\x01e" + frame(CONTINUATION, b"")
    assert codec.from_upstream(fragments) == Passed(fragments, (PortData(1, b"de", Direction.FROM_POD),))
    assert codec.from_upstream(frame(CLOSE, b"")).events == ()
    assert codec.flush(Channel.STDOUT) == Passed()
    assert codec.finish() == (PortClosed(1, Direction.TO_POD, True),)


def test_a_tunnel_carries_no_text() -> None:
    with pytest.raises(Unreadable, match="text"):
        TunnelCodec(Stream()).from_client(masked(b"a", TEXT))
    with pytest.raises(Unreadable, match="text"):
        TunnelCodec(Stream()).from_upstream(frame(TEXT, b"a"))


def test_the_subprotocol_says_whether_it_is_a_tunnel() -> None:
    assert isinstance(websocket_ports("SPDY/3.1+portforward.k8s.io", []), TunnelCodec)
    assert websocket_ports("v4.channel.k8s.io", ["80"]).from_client(masked(b"\x00x")).events[0] == PortOpened(1, 80)
    assert websocket_ports("", ["80"]).from_client(masked(b"\x00x")).events[0] == PortOpened(1, 80)
    assert websocket_ports("v4.base64.channel.k8s.io", ["80"]).from_client(masked(b"0eA==")).events[0] == PortOpened(
        1, 80
    )
    for name in ("v5.channel.k8s.io", "SPDY/3.1+v4.channel.k8s.io", "portforward.k8s.io"):
        with pytest.raises(Unreadable, match="no subprotocol"):
            websocket_ports(name, ["80"])
