"""Which sessions are recorded, what their recordings begin with, and that nothing begins that cannot be recorded."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import read
from tests.unit.proxy.loopback import (
    PODS,
    POLICY,
    InProcess,
    Message,
    Peer,
    Script,
    always_ok,
    api_server,
    gate,
    request,
    run,
)

from narrowgate.core.recording import BodyData, Ended, Entry, Header, Kind, RecordingHead
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.proxy.recordings import Recorder
from narrowgate.proxy.sessions import Ports, Sessions
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool
from narrowgate.wire.websocket import frame

EXEC = f"{PODS}/p/exec?container=main&command=sh&command=-c&command=ls&stdout=true&tty=1"
ATTACH = f"{PODS}/p/attach?stdin=true"
FORWARD = f"{PODS}/p/portforward?ports=80"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==",
)
EVERY_POD = POLICY.replace("pods/exec, ", "pods/exec, pods/attach, pods/portforward, ")
SAID = frame(2, b"\1hello\n")


def switched(protocol: str) -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    ).encode()


class Stage:
    """A gate that records, in front of an API server that switches protocols and says one thing."""

    def __init__(self, made: InProcess, folder: Path, recorder: Recorder, script: Script) -> None:
        self.gate, self.folder, self.recorder, self.script = made, folder, recorder, script

    async def ask(self, target: str, protocol: str) -> tuple[Message, bytes]:
        """What the client gets: the answer, and what follows a 101."""
        client = await self.gate.client()
        await client.send(request("GET", target, b"", *UPGRADE, f"Sec-WebSocket-Protocol: {protocol}"))
        answer = await client.message()
        followed = await client.reader.read() if answer.status == 101 else b""
        await client.close()
        return answer, followed

    def recordings(self) -> list[list[Entry]]:
        return [read(path) for path in sorted(self.folder.rglob("*.recording"))]


@asynccontextmanager
async def stage(
    folder: Path, *, channels: bool = True, ports: Ports = Ports.COUNTED, records: bool = True
) -> AsyncIterator[Stage]:
    heads: list[RecordingHead] = []
    recorder = Recorder(Spool.open(folder / "spool", "w0", ()), FolderStore(folder / "kept"), heads.append)

    async def play(script: Script, peer: Peer, _: int) -> None:
        asked = await script.take(peer)
        offered = asked.fields["sec-websocket-protocol"]
        # What follows comes with the 101, before the gate has seen either.
        await peer.send(switched(offered) + (b"" if "portforward" in asked.target else SAID))

    sessions = Sessions(recorder if records else None, channels=channels, ports=ports)
    async with api_server(folder, play) as server, gate(folder, server, sessions=sessions) as made:
        await made.change_policy(EVERY_POD)
        yield Stage(made, folder, recorder, server)
    await recorder.close()


def test_an_exec_is_recorded_from_its_first_byte(tmp_path: Path) -> None:
    async def main() -> tuple[Message, bytes, list[list[Entry]], str]:
        async with stage(tmp_path) as here:
            answer, followed = await here.ask(EXEC, "v5.channel.k8s.io")
            event = await here.gate.finished("/exec")
            return answer, followed, here.recordings(), event["annotations"]["narrowgate.dev/recording"]

    answer, followed, (entries,), name = run(main())
    assert (answer.status, followed) == (101, SAID)
    head = entries[0].what
    assert isinstance(head, Header)
    expected = Header(
        session=name.partition("/")[2].removesuffix(".recording"),
        began=head.began,
        kind=Kind.EXEC,
        chain=("agent:ci",),
        cluster="dev",
        namespace="ci",
        pod="p",
        container="main",
        command=("sh", "-c", "ls"),
        tty=True,
        protocol="v5.channel.k8s.io",
        transport="websocket",
        verb="get",
        target=f"{PODS}/p/exec",
    )
    assert head == msgspec.structs.replace(expected, verb=head.verb)
    assert ChannelData(Channel.STDOUT, b"hello\n") in [entry.what for entry in entries]


@pytest.mark.parametrize(
    ("said", "tty"),
    [
        ("&tty=true", True),
        ("&tty=", True),
        ("&tty=false", False),
        ("&tty=False", False),
        ("&tty=0", False),
        ("", False),
    ],
)
def test_a_terminal_is_what_the_api_server_takes_for_one(tmp_path: Path, said: str, tty: bool) -> None:
    async def main() -> list[list[Entry]]:
        async with stage(tmp_path) as here:
            await here.ask(ATTACH + said, "v4.channel.k8s.io")
            await here.gate.finished("/attach")
            return here.recordings()

    ((first, *_),) = run(main())
    assert isinstance(first.what, Header)
    assert (first.what.kind, first.what.tty) == (Kind.ATTACH, tty)


@pytest.mark.parametrize(
    ("channels", "ports", "recorded"),
    [
        (True, Ports.COUNTED, {Kind.EXEC, Kind.PORT_FORWARD}),
        (True, Ports.KEPT, {Kind.EXEC, Kind.PORT_FORWARD}),
        (True, Ports.NOTHING, {Kind.EXEC}),
        (False, Ports.COUNTED, {Kind.PORT_FORWARD}),
        (False, Ports.NOTHING, set()),
    ],
)
def test_levels_say_what_is_recorded(tmp_path: Path, channels: bool, ports: Ports, recorded: set[Kind]) -> None:
    async def main() -> list[list[Entry]]:
        async with stage(tmp_path, channels=channels, ports=ports) as here:
            for target, protocol in ((EXEC, "v5.channel.k8s.io"), (FORWARD, "v4.channel.k8s.io")):
                answer, _ = await here.ask(target, protocol)
                assert answer.status == 101
            await here.gate.finished("/portforward")
            return here.recordings()

    heads = [entries[0].what for entries in run(main())]
    assert {head.kind for head in heads if isinstance(head, Header)} == recorded


LINES = b"one\ntwo\n"
LOG = f"{PODS}/p/log?follow=true&container=main"
WATCH = f"{PODS}?watch=1&labelSelector=app%3Dx"


@pytest.mark.parametrize(("target", "kind"), [(LOG, Kind.LOG), (WATCH, Kind.WATCH)])
@pytest.mark.parametrize("cut", [False, True])
def test_logs_and_watches_are_recorded_where_that_is_wanted(tmp_path: Path, target: str, kind: Kind, cut: bool) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"4\r\none\n\r\n4\r\ntwo\n\r\n" + (b"" if cut else b"0\r\n\r\n"))

    async def main() -> tuple[bytes, str]:
        recorder = Recorder(Spool.open(tmp_path / "spool", "w0", ()), FolderStore(tmp_path / "kept"), lambda _: None)
        sessions = Sessions(recorder, bodies=frozenset({kind}))
        async with api_server(tmp_path, play) as server, gate(tmp_path, server, sessions=sessions) as made:
            client = await made.client()
            await client.send(request("GET", target))
            head = await client.head()
            seen = await client.reader.readuntil(b"two\n\r\n")
            event = await made.finished(target.partition("?")[0])
            await client.close()
            assert head.status == 200
        await recorder.close()
        return seen, event["annotations"]["narrowgate.dev/recording"]

    seen, name = run(main())
    assert seen == b"4\r\none\n\r\n4\r\ntwo\n\r\n"
    (path,) = tmp_path.rglob("*.recording")
    entries = [entry.what for entry in read(path)]
    first, last = entries[0], entries[-1]
    assert isinstance(first, Header)
    assert (first.kind, first.target, first.protocol) == (kind, target, "text/plain")
    assert first.session in name
    assert b"".join(each.data for each in entries if isinstance(each, BodyData)) == LINES
    assert isinstance(last, Ended)
    assert (last.reason == "the session ended") is not cut


@pytest.mark.parametrize("target", [LOG, WATCH])
def test_logs_and_watches_that_cannot_be_recorded_are_refused(tmp_path: Path, target: str) -> None:
    async def main() -> tuple[Message, Script]:
        recorder = Recorder(Spool.open(tmp_path / "spool", "w0", ()), FolderStore(tmp_path / "kept"), lambda _: None)
        sessions = Sessions(recorder, bodies=frozenset({Kind.LOG, Kind.WATCH}))
        shutil.rmtree(tmp_path / "spool")
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, sessions=sessions) as made:
            client = await made.client()
            await client.send(request("GET", target))
            answer = await client.message()
            await client.close()
            await recorder.close()
            return answer, server

    answer, server = run(main())
    assert answer.status == 500
    assert server.received == []


def test_without_a_recorder_sessions_pass(tmp_path: Path) -> None:
    async def main() -> tuple[Message, bytes]:
        async with stage(tmp_path, records=False) as here:
            return await here.ask(EXEC, "v5.channel.k8s.io")

    answer, followed = run(main())
    assert (answer.status, followed) == (101, SAID)


def test_a_session_that_cannot_be_recorded_does_not_begin(tmp_path: Path) -> None:
    async def main() -> list[Message]:
        async with stage(tmp_path) as here:
            shutil.rmtree(tmp_path / "spool")
            first, _ = await here.ask(EXEC, "v5.channel.k8s.io")
            second, _ = await here.ask(EXEC, "v5.channel.k8s.io")
            # The pod has run nothing.
            assert here.script.received == []
            assert here.recorder.problem() != ""
            return [first, second]

    for answer in run(main()):
        assert answer.status == 500
        assert b'"kind":"Status"' in answer.body
        assert b"spool" in answer.body
