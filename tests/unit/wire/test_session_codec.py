"""Which codec a session gets: by what was asked for and agreed on, and none for anything else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.unit.wire.spdy_by_hand import Exec, Sender, merged

from narrowgate.core.target import parse_target
from narrowgate.wire.http1 import RequestHead, ResponseHead, read_request_head, read_response_head
from narrowgate.wire.session_codec import Asked, asked_of, session_codec
from narrowgate.wire.stream_events import (
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
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, frame

TARGET = "/api/v1/namespaces/n/pods/p/exec?command=sh"


def request(upgrade: str, *lines: str, method: str = "GET", target: str = TARGET) -> RequestHead:
    written = [
        f"{method} {target} HTTP/1.1",
        "Host: gate",
        "Connection: Upgrade",
        f"Upgrade: {upgrade}",
        *lines,
        "",
        "",
    ]
    return read_request_head("\r\n".join(written).encode())


def switched(upgrade: str, *lines: str) -> ResponseHead:
    written = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {upgrade}", *lines, "", ""]
    return read_response_head("\r\n".join(written).encode(), "GET")


def spdy(subresource: str, *offered: str) -> Asked:
    return Asked(subresource, "spdy/3.1", offered)


def websocket(subresource: str, *offered: str, ports: tuple[str, ...] = ()) -> Asked:
    return Asked(subresource, "websocket", offered, ports)


def answer_to(asked: Asked, chosen: str) -> ResponseHead:
    name = "X-Stream-Protocol-Version" if asked.upgrade == "spdy/3.1" else "Sec-WebSocket-Protocol"
    return switched(asked.upgrade, *([f"{name}: {chosen}"] if chosen else []))


def test_what_is_asked_for_stands_in_the_head() -> None:
    head = request("SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io", "X-Stream-Protocol-Version: a, b")
    assert asked_of(head, "exec", parse_target(TARGET.encode())) == spdy("exec", "v4.channel.k8s.io", "a", "b")
    target = "/api/v1/namespaces/n/pods/p/portforward?ports=80,81&x=y&ports=82"
    head = request("websocket", "Sec-WebSocket-Protocol: v4.channel.k8s.io", "X-Stream-Protocol-Version: x")
    assert asked_of(head, "portforward", parse_target(target.encode())) == websocket(
        "portforward", "v4.channel.k8s.io", ports=("80,81", "82")
    )


@pytest.mark.parametrize("subresource", ["exec", "attach"])
@pytest.mark.parametrize("version", ["", *(f"{v}channel.k8s.io" for v in ("", "v2.", "v3.", "v4."))])
def test_channels_over_spdy_are_read(subresource: str, version: str) -> None:
    asked = spdy(subresource, *([version] if version else []))
    codec = session_codec(asked, answer_to(asked, version))
    assert codec.from_client(Exec().opening()).events == tuple(
        ChannelOpened(channel)
        for channel in (Channel.ERROR, Channel.STDIN, Channel.STDOUT, Channel.STDERR, Channel.RESIZE)
    )


def test_forwarded_ports_over_spdy_are_read() -> None:
    asked = spdy("portforward", "portforward.k8s.io")
    codec = session_codec(asked, answer_to(asked, "portforward.k8s.io"))
    opening = Sender().opened(1, streamtype="error", port="80", requestid="0")
    assert codec.from_client(opening).events == (PortOpened(1, 80),)


@pytest.mark.parametrize("version", ["", "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_channels_over_websocket_are_read(version: str) -> None:
    asked = websocket("exec", *([version] if version else []))
    codec = session_codec(asked, answer_to(asked, version))
    events = codec.from_upstream(frame(BINARY, b"\x01hello")).events
    assert ChannelData(Channel.STDOUT, b"hello") in events


def test_the_tunnel_of_forwarded_ports_is_read_as_spdy() -> None:
    asked = websocket("portforward", "SPDY/3.1+portforward.k8s.io")
    codec = session_codec(asked, answer_to(asked, "SPDY/3.1+portforward.k8s.io"))
    with pytest.raises(Unreadable, match="SPDY: the API server opens a stream"):
        codec.from_upstream(frame(BINARY, Sender().opened(2, streamtype="data")))


def test_ports_of_the_query_are_read_over_websocket() -> None:
    asked = websocket("portforward", "v4.channel.k8s.io", ports=("80",))
    codec = session_codec(asked, answer_to(asked, "v4.channel.k8s.io"))
    assert PortData(1, b"x", Direction.FROM_POD) in codec.from_upstream(frame(BINARY, b"\x00\x50\x00x")).events
    with pytest.raises(Unreadable, match="names no ports"):
        session_codec(websocket("portforward", "v4.channel.k8s.io"), answer_to(asked, "v4.channel.k8s.io"))


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (spdy("exec", "v4.channel.k8s.io"), "v3.channel.k8s.io"),
        (spdy("exec", "v4.channel.k8s.io"), ""),
        (spdy("exec"), "v4.channel.k8s.io"),
        (websocket("exec", "v5.channel.k8s.io"), "v4.channel.k8s.io"),
        (websocket("portforward", "SPDY/3.1+portforward.k8s.io"), "v4.channel.k8s.io"),
    ],
)
def test_what_was_not_offered_is_not_chosen(asked: Asked, chosen: str) -> None:
    with pytest.raises(Unreadable, match="not offered"):
        session_codec(asked, answer_to(asked, chosen))


@pytest.mark.parametrize(
    "asked",
    [
        spdy("exec", "v5.channel.k8s.io"),
        spdy("exec", "portforward.k8s.io"),
        spdy("portforward", "v4.channel.k8s.io"),
        spdy("log", "v4.channel.k8s.io"),
        websocket("exec", "v3.channel.k8s.io"),
        websocket("exec", "SPDY/3.1+portforward.k8s.io"),
        websocket("portforward", "v5.channel.k8s.io", ports=("80",)),
        websocket("portforward", "base64.channel.k8s.io", ports=("80",)),
        websocket("log", "channel.k8s.io"),
    ],
)
def test_what_nobody_speaks_is_refused(asked: Asked) -> None:
    with pytest.raises(Unreadable, match=r"has no version|no subprotocol|nothing is known"):
        session_codec(asked, answer_to(asked, asked.offered[0]))


def test_another_protocol_than_was_asked_for_is_refused() -> None:
    for upgrade in ("websocket", "h2c"):
        with pytest.raises(Unreadable, match="another protocol"):
            session_codec(spdy("exec", "v4.channel.k8s.io"), switched(upgrade))
    with pytest.raises(Unreadable, match="nothing is known of the protocol 'h2c'"):
        session_codec(Asked("exec", "h2c", ()), switched("h2c"))


def test_extensions_of_websocket_are_refused() -> None:
    answer = switched(
        "websocket", "Sec-WebSocket-Protocol: v5.channel.k8s.io", "Sec-WebSocket-Extensions: permessage-deflate"
    )
    with pytest.raises(Unreadable, match="an extension"):
        session_codec(websocket("exec", "v5.channel.k8s.io"), answer)


CAPTURED = Path(__file__).parent / "sessions"
"""Sessions of kubectl 1.36 with an API server of 1.36, as they came: both heads, then the bytes in their order."""
EITHER = pytest.mark.parametrize("transport", ["spdy", "websocket"])
WHOLE = 1 << 20


def captured(name: str, cut: int = WHOLE) -> list[StreamEvent]:
    """What a captured session says; its bytes must pass as they are."""
    heads, *pieces = [json.loads(line) for line in (CAPTURED / f"{name}.jsonl").read_text().splitlines()]
    head = read_request_head(heads["request"].encode())
    target = parse_target(head.target)
    asked = asked_of(head, target.segments[-1], target)
    codec = session_codec(asked, read_response_head(heads["answer"].encode(), head.method))
    events: list[StreamEvent] = []
    for piece in pieces:
        ((way, text),) = piece.items()
        data = base64.b64decode(text)
        read = codec.from_client if way == "toPod" else codec.from_upstream
        passed = [read(data[at : at + cut]) for at in range(0, len(data), cut)]
        assert b"".join(one.data for one in passed) == data
        events += [event for one in passed for event in one.events]
    return merged([*events, *codec.finish()])


def text_on(channel: Channel, events: list[StreamEvent]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, ChannelData) and event.channel is channel)


@EITHER
@pytest.mark.parametrize("name", ["exec", "terminal", "ports"])
def test_a_captured_session_says_the_same_byte_by_byte(transport: str, name: str) -> None:
    assert captured(f"{transport}-{name}", cut=1) == captured(f"{transport}-{name}")


@EITHER
def test_a_captured_command_says_what_it_was_given_and_wrote(transport: str) -> None:
    events = captured(f"{transport}-exec")
    said = [text_on(channel, events) for channel in (Channel.STDIN, Channel.STDOUT, Channel.STDERR)]
    assert said == [b"typed\n", b"typed\n", b"oops\n"]
    assert b'"ExitCode","message":"3"' in text_on(Channel.ERROR, events)
    assert ChannelClosed(Channel.STDIN) in events


@EITHER
def test_a_captured_terminal_says_its_sizes_and_what_was_shown(transport: str) -> None:
    events = captured(f"{transport}-terminal")
    assert text_on(Channel.STDIN, events) == b"echo sum $((20+3))\rexit 4\r"
    assert b"sum 23\r\n" in text_on(Channel.STDOUT, events)
    sizes = [json.loads(line) for line in text_on(Channel.RESIZE, events).splitlines()]
    assert sizes == [{"Width": 101, "Height": 33}, {"Width": 120, "Height": 40}]


@EITHER
def test_captured_connections_say_their_ports_and_what_went_wrong(transport: str) -> None:
    served, unserved = {"spdy": (21727, 28795), "websocket": (28540, 22585)}[transport]
    events = captured(f"{transport}-ports")
    assert [event for event in events if isinstance(event, PortOpened)] == [
        PortOpened(1, served),
        PortOpened(2, unserved),
    ]
    carried = {
        way: b"".join(event.data for event in events if isinstance(event, PortData) and event.direction is way)
        for way in Direction
    }
    assert carried[Direction.TO_POD].startswith(b"GET /page HTTP/1.1\r\n")
    assert carried[Direction.FROM_POD].endswith(b"page\n")
    (error,) = [event for event in events if isinstance(event, PortError)]
    assert (error.connection, b"connection refused" in error.message) == (2, True)
    assert {event.connection for event in events if isinstance(event, PortClosed)} == {1, 2}
