"""The gate's codecs between a real kubectl and a real API server: what they tell is what was typed and shown.

The relay of `tapped.py` stands where the gate will stand. Both transports of kubectl are read, exec, attach, cp and
port-forward; passed on unchanged, or with their text rewritten.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from dev.cluster.processes import free_ports
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.tapped import Tap, Tapped, tapping
from tests.e2e.terminal import MEBIBYTE, TERMINAL_COLUMNS, TERMINAL_ROWS, Terminal, eventually, noise
from tests.e2e.workloads import pod, yaml_of

from narrowgate.wire.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
    StreamEvent,
)

READY_SECONDS = 90
FORWARDING_SECONDS = 90.0


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("codecs")
    here = direct.within(name)
    speaking = "while read line; do echo you said $line; done; sleep 3600"
    listener = pod("listener", cluster.image, speaking)
    listener["spec"]["containers"][0]["stdin"] = True
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image), listener))
    here.must("wait", "--for=condition=Ready", "pod/shell", "pod/listener", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Masking:
    """Replaces a word in whole lines, as masks over text do, and holds the last line back until it is whole."""

    def __init__(self) -> None:
        self._held: dict[Channel, bytes] = {}

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        lines, end, self._held[channel] = (self._held.get(channel, b"") + data).rpartition(b"\n")
        return self._masked(lines + end)

    def flush(self, channel: Channel) -> bytes:
        return self._masked(self._held.pop(channel, b""))

    def _masked(self, text: bytes) -> bytes:
        return text.replace(b"hunter2", b"[masked:word]")


class Road:
    """Kubectl by way of a relay."""

    def __init__(self, tap: Tap, kubectl: Kubectl) -> None:
        self.tap, self.kubectl = tap, kubectl

    def session(self) -> Tapped:
        """The one session there was, once it has ended."""
        assert eventually(lambda: len(self.tap.sessions) == 1 and self.tap.sessions[0].ended)
        (session,) = self.tap.sessions
        assert session.failed is None
        return session


@pytest.fixture
def road(cluster: Cluster, namespace: str, transport: str, tmp_path: Path) -> Iterator[Road]:
    with tapping(cluster, tmp_path) as tap:
        kubectl = Kubectl(cluster.kubectl, tmp_path / "kubeconfig", tmp_path).within(namespace)
        yield Road(tap, kubectl.using(TRANSPORTS[transport]))


@pytest.fixture
def masking_road(cluster: Cluster, namespace: str, transport: str, tmp_path: Path) -> Iterator[Road]:
    with tapping(cluster, tmp_path, Masking) as tap:
        kubectl = Kubectl(cluster.kubectl, tmp_path / "kubeconfig", tmp_path).within(namespace)
        yield Road(tap, kubectl.using(TRANSPORTS[transport]))


def text_of(session: Tapped, channel: Channel) -> bytes:
    return b"".join(one.data for one in session.events if isinstance(one, ChannelData) and one.channel is channel)


def carried(events: list[StreamEvent], way: Direction) -> bytes:
    return b"".join(one.data for one in events if isinstance(one, PortData) and one.direction is way)


def test_a_command_is_told_with_what_it_wrote_and_how_it_ended(road: Road) -> None:
    done = road.kubectl("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out, b"err\n" in done.err) == (3, b"out\n", True)
    session = road.session()
    assert (text_of(session, Channel.STDOUT), text_of(session, Channel.STDERR)) == (b"out\n", b"err\n")
    status = json.loads(text_of(session, Channel.ERROR))
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert not session.changed


def test_what_is_typed_is_told_to_its_end(road: Road) -> None:
    done = road.kubectl("exec", "-i", "shell", "--", "cat", stdin=b"one\ntwo\n")
    assert (done.code, done.out) == (0, b"one\ntwo\n")
    session = road.session()
    assert text_of(session, Channel.STDIN) == text_of(session, Channel.STDOUT) == b"one\ntwo\n"
    assert ChannelClosed(Channel.STDIN) in session.events
    assert not session.changed


def test_a_terminal_is_told_with_its_size_and_its_echo(road: Road) -> None:
    command = road.kubectl.command("exec", "-it", "shell", "--", "sh")
    with Terminal(command, road.kubectl.environment()) as terminal:
        terminal.wait_for("#")
        terminal.type("echo sum $((20+3))\r")
        terminal.wait_for("sum 23")
        terminal.resize(TERMINAL_ROWS + 1, TERMINAL_COLUMNS + 1)
        terminal.type("exit 4\r")
        assert terminal.exit_code() == 4
    session = road.session()
    assert b"echo sum $((20+3))\r" in text_of(session, Channel.STDIN)
    assert b"sum 23\r\n" in text_of(session, Channel.STDOUT)
    sizes = [json.loads(line) for line in text_of(session, Channel.RESIZE).splitlines()]
    assert sizes[0]["Width"] == TERMINAL_COLUMNS
    assert sizes[0]["Height"] in (TERMINAL_ROWS, TERMINAL_ROWS + 1)


def test_attaching_is_told(road: Road) -> None:
    with Terminal(road.kubectl.command("attach", "-i", "listener"), road.kubectl.environment()) as terminal:
        terminal.type("hello\n")
        terminal.wait_for("you said hello")
    session = road.session()
    assert b"hello\n" in text_of(session, Channel.STDIN)
    assert b"you said hello\n" in text_of(session, Channel.STDOUT)


def test_many_megabytes_pass_as_they_are_and_are_told(road: Road, tmp_path: Path) -> None:
    sent = noise(8 * MEBIBYTE, seed=3)
    (tmp_path / "sent").write_bytes(sent)
    road.kubectl.must("cp", str(tmp_path / "sent"), "shell:/tmp/sent")
    assert eventually(lambda: all(session.ended for session in road.tap.sessions))
    road.tap.sessions.clear()
    back = road.kubectl("exec", "shell", "--", "cat", "/tmp/sent")
    assert hashlib.sha256(back.out).digest() == hashlib.sha256(sent).digest()
    session = road.session()
    assert hashlib.sha256(text_of(session, Channel.STDOUT)).digest() == hashlib.sha256(sent).digest()
    assert not session.changed


def test_forwarded_connections_are_told_with_their_ports(road: Road) -> None:
    served, unserved = free_ports(2)
    road.kubectl.must("exec", "shell", "--", "sh", "-c", f"echo page > /tmp/page; httpd -p 127.0.0.1:{served} -h /tmp")
    assert eventually(lambda: all(session.ended for session in road.tap.sessions))
    road.tap.sessions.clear()
    process = road.kubectl.start("port-forward", "--address=127.0.0.1", "shell", f":{served}", f":{unserved}")
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        local = [int(line.split()[2].rpartition(b":")[2]) for line in lines]
        connection = http.client.HTTPConnection("127.0.0.1", local[0], timeout=FORWARDING_SECONDS)
        connection.request("GET", "/page")
        assert connection.getresponse().read() == b"page\n"
        connection.close()
        with socket.create_connection(("127.0.0.1", local[1]), FORWARDING_SECONDS) as broken, suppress(OSError):
            assert broken.recv(1) == b""
    finally:
        process.terminate()
        process.communicate(timeout=FORWARDING_SECONDS)
        road.kubectl("exec", "shell", "--", "pkill", "httpd")
    events = road.tap.sessions[0].events
    assert PortOpened(1, served) in events
    assert PortOpened(2, unserved) in events
    assert carried(events, Direction.TO_POD).startswith(b"GET /page HTTP/1.1\r\n")
    assert carried(events, Direction.FROM_POD).endswith(b"page\n")
    assert b"refused" in b"".join(one.message for one in events if isinstance(one, PortError))
    assert {one.connection for one in events if isinstance(one, PortClosed)} == {1, 2}
    assert not road.tap.sessions[0].changed


def test_words_are_masked_on_their_way_to_kubectl(masking_road: Road) -> None:
    script = "echo is hunter2; echo not; printf 'at the end hunter2'; echo hunter2 >&2; exit 5"
    done = masking_road.kubectl("exec", "shell", "--", "sh", "-c", script)
    assert (done.code, done.out) == (5, b"is [masked:word]\nnot\nat the end [masked:word]")
    assert b"[masked:word]\n" in done.err
    assert b"hunter2" not in done.out + done.err
    session = masking_road.session()
    assert text_of(session, Channel.STDOUT) == done.out
    assert session.changed


def test_a_large_output_is_masked_in_every_line(masking_road: Road) -> None:
    lines = 100_000
    script = f"yes 'a line with hunter2 in it' | head -n {lines}"
    done = masking_road.kubectl("exec", "shell", "--", "sh", "-c", script)
    assert done.code == 0
    assert done.out == b"a line with [masked:word] in it\n" * lines


def test_a_terminal_works_while_text_is_masked(masking_road: Road) -> None:
    # Nothing lets go of a prompt here but the end of a line: the gate asks for it when a while has passed.
    command = masking_road.kubectl.command("exec", "-it", "shell", "--", "sh")
    with Terminal(command, masking_road.kubectl.environment()) as terminal:
        terminal.type("echo hunter$((1+1))\r")
        terminal.wait_for("[masked:word]")
        terminal.type("exit\r")
        assert terminal.exit_code() == 0
        assert "hunter2" not in terminal.seen
