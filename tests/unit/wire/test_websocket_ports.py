"""Port-forward over WebSocket: by channels, and tunnelled."""

from __future__ import annotations

import pytest
from tests.unit.wire.spdy_by_hand import Sender, data
from tests.unit.wire.websocket_by_hand import fragment, masked
from tests.unit.wire.websocket_sessions import KUBECTL_PORT_FORWARD, PYTHON_PORT_FORWARD, Session

from narrowgate.wire.spdy_ports import spdy_ports
from narrowgate.wire.stream_events import (
    Channel,
    Direction,
    Passed,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
    SessionCodec,
    StreamEvent,
)
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from narrowgate.wire.websocket_messages import Form
from narrowgate.wire.websocket_ports import PortCodec, TunnelCodec, ports_of, websocket_ports

PLAIN, BASE64 = Form(), Form(base64=True)
PORT_80 = b"\x50\x00"
PORT_8443 = b"\xfb\x20"


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


def test_a_session_that_breaks_off_resets_each_connection_once() -> None:
    codec = PortCodec(PLAIN, (80,))
    codec.from_client(masked(b"\x00x"))
    assert codec.finish() == (PortClosed(1, Direction.FROM_POD, True),)


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


def test_a_tunnel_carries_one_stream_however_its_messages_are_cut() -> None:
    sender, server, codec = Sender(), Sender(), TunnelCodec(spdy_ports())
    opening = sender.opened(1, streamtype="error", port="80", requestid="0")
    opening += sender.opened(3, streamtype="data", port="80", requestid="0")
    sent = masked(opening[:9], final=False) + masked(b"", PING) + masked(opening[9:], CONTINUATION)
    assert codec.from_client(sent) == Passed(sent, (PortOpened(1, 80),))
    answer = frame(BINARY, server.replied(1) + server.replied(3))
    assert codec.from_upstream(answer) == Passed(answer, ())
    bytes_out = data(3, b"hello")
    fragments = fragment(BINARY, bytes_out[:-2]) + frame(PONG, b"") + fragment(CONTINUATION, bytes_out[-2:])
    fragments += frame(CONTINUATION, b"")
    assert codec.from_upstream(fragments) == Passed(fragments, (PortData(1, b"hello", Direction.FROM_POD),))
    assert codec.from_upstream(frame(CLOSE, b"")).events == ()
    assert codec.flush(Channel.STDOUT) == Passed()
    assert codec.finish() == (PortClosed(1, Direction.FROM_POD, True),)


def played(codec: SessionCodec, session: Session) -> list[StreamEvent]:
    """What a session says, which passes unchanged."""
    events: list[StreamEvent] = []
    for way, sent in session:
        passed = codec.from_client(sent) if way is Direction.TO_POD else codec.from_upstream(sent)
        assert passed.data == sent
        events += passed.events
    return events


@pytest.mark.parametrize(
    ("subprotocol", "session"),
    [("SPDY/3.1+portforward.k8s.io", KUBECTL_PORT_FORWARD), ("v4.channel.k8s.io", PYTHON_PORT_FORWARD)],
)
def test_port_forwards_of_kubectl_and_the_python_client_are_told(subprotocol: str, session: Session) -> None:
    told = played(websocket_ports(subprotocol, ["8080"]), session)
    assert told[0] == PortOpened(1, 8080)
    went = {
        way: b"".join(event.data for event in told if isinstance(event, PortData) and event.direction is way)
        for way in Direction
    }
    assert went[Direction.TO_POD].startswith(b"GET /index.html HTTP/1.")
    assert went[Direction.FROM_POD].endswith(b"\r\n\r\nhello-web\n")


def test_a_tunnel_carries_no_text() -> None:
    with pytest.raises(Unreadable, match="text"):
        TunnelCodec(spdy_ports()).from_client(masked(b"a", TEXT))
    with pytest.raises(Unreadable, match="text"):
        TunnelCodec(spdy_ports()).from_upstream(frame(TEXT, b"a"))


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


def test_forwarded_ports_have_no_last_word() -> None:
    assert websocket_ports("v4.channel.k8s.io", ["80"]).last_word(b"x").data == b""
    assert websocket_ports("SPDY/3.1+portforward.k8s.io", []).last_word(b"x").data == b""
