"""The gate's codecs on the WebSocket subprotocols that kubectl does not speak, between a plain client and a real pod.

The Python client speaks v4, in exec and with channels for ports; dashboards of old use base64, or name nothing at all.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import websocket
from dev.cluster.processes import free_ports
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.tapped import Tap, Tapped, tapping
from tests.e2e.terminal import eventually
from tests.e2e.workloads import pod, yaml_of

from narrowgate.wire.stream_events import Channel, ChannelData, Direction, PortData, PortError, PortOpened

READY_SECONDS = 90
ANSWER_SECONDS = 90.0
ERROR = 3
"""The number of the channel that says how it ended."""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("websockets")
    here = direct.within(name)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/shell", f"--timeout={READY_SECONDS}s")
    return name


class Masking:
    """Replaces a word in whole lines, and holds the last line back until it is whole."""

    def __init__(self) -> None:
        self._held: dict[Channel, bytes] = {}

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        lines, end, self._held[channel] = (self._held.get(channel, b"") + data).rpartition(b"\n")
        return (lines + end).replace(b"hunter2", b"[masked:word]")

    def flush(self, channel: Channel) -> bytes:
        return self._held.pop(channel, b"").replace(b"hunter2", b"[masked:word]")


@contextmanager
def opened(
    tap: Tap, namespace: str, what: str, subprotocol: str, query: list[tuple[str, str]]
) -> Iterator[websocket.WebSocket]:
    """A session of a client that is no kubectl."""
    # The library does not always close the sockets that it opens.
    with socket.create_connection(("127.0.0.1", tap.port), ANSWER_SECONDS) as road:
        yield websocket.create_connection(
            f"ws://127.0.0.1:{tap.port}/api/v1/namespaces/{namespace}/pods/shell/{what}?{urlencode(query)}",
            subprotocols=[subprotocol] if subprotocol else None,
            socket=road,
        )


def read_to_end(connection: websocket.WebSocket, *, in_base64: bool) -> dict[int, bytes]:
    """What comes on each channel until the server closes."""
    got: dict[int, bytes] = {}
    while True:
        opcode, message = connection.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return got
        number = int(message[:1]) if in_base64 else message[0]
        content = base64.b64decode(message[1:], validate=True) if in_base64 else message[1:]
        got[number] = got.get(number, b"") + content


def the_session(tap: Tap) -> Tapped:
    assert eventually(lambda: len(tap.sessions) == 1 and tap.sessions[0].ended)
    assert tap.sessions[0].failed is None
    return tap.sessions[0]


def text_of(session: Tapped, channel: Channel) -> bytes:
    return b"".join(one.data for one in session.events if isinstance(one, ChannelData) and one.channel is channel)


@pytest.mark.parametrize(
    "subprotocol",
    ["", "channel.k8s.io", "base64.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"],
)
@pytest.mark.parametrize("masks", [False, True])
def test_an_exec_is_told_and_masked_in_every_subprotocol(
    cluster: Cluster, namespace: str, tmp_path: Path, subprotocol: str, masks: bool
) -> None:
    in_base64 = "base64" in subprotocol
    typed = b"hunter2\n"
    script = "read line; echo got $line; echo err hunter2 >&2; printf 'the end hunter2'; exit 4"
    query = [("command", word) for word in ("sh", "-c", script)]
    query += [(name, "true") for name in ("stdin", "stdout", "stderr")]
    with tapping(cluster, tmp_path, Masking if masks else None) as tap:
        with opened(tap, namespace, "exec", subprotocol, query) as connection:
            connection.send_binary(b"0" + base64.b64encode(typed) if in_base64 else b"\x00" + typed)
            got = read_to_end(connection, in_base64=in_base64)
        session = the_session(tap)
    shown = b"[masked:word]" if masks else b"hunter2"
    assert got[1] == text_of(session, Channel.STDOUT) == b"got %b\nthe end %b" % (shown, shown)
    assert got[2] == text_of(session, Channel.STDERR) == b"err %b\n" % shown
    assert text_of(session, Channel.STDIN) == typed
    assert session.changed is masks
    if subprotocol.startswith("v4"):
        assert json.loads(got[ERROR])["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]


@pytest.mark.parametrize("subprotocol", ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"])
def test_ports_with_channels_of_their_own_are_told(
    cluster: Cluster, direct: Kubectl, namespace: str, tmp_path: Path, subprotocol: str
) -> None:
    in_base64 = "base64" in subprotocol
    served, unserved = free_ports(2)
    query, asked = [("ports", f"{served},{unserved}")], b"GET /page HTTP/1.0\r\n\r\n"
    here = direct.within(namespace)
    here.must("exec", "shell", "--", "sh", "-c", f"echo page > /tmp/page; httpd -p 127.0.0.1:{served} -h /tmp")
    try:
        with tapping(cluster, tmp_path) as tap:
            with opened(tap, namespace, "portforward", subprotocol, query) as connection:
                connection.send_binary(b"0" + base64.b64encode(asked) if in_base64 else b"\x00" + asked)
                got = read_to_end(connection, in_base64=in_base64)
            events = the_session(tap).events
    finally:
        here("exec", "shell", "--", "pkill", "httpd")
    assert got[0].endswith(b"\r\n\r\npage\n")
    assert {one.port for one in events if isinstance(one, PortOpened)} == {served, unserved}
    went = {
        way: b"".join(one.data for one in events if isinstance(one, PortData) and one.direction is way)
        for way in Direction
    }
    assert went == {Direction.TO_POD: asked, Direction.FROM_POD: got[0][2:]}
    assert b"refused" in b"".join(one.message for one in events if isinstance(one, PortError))
