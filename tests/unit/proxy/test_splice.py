"""After 101: bytes both ways, unchanged, until one side ends or the permission does."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import (
    PATIENCE,
    PODS,
    POLICY,
    Message,
    Peer,
    Play,
    Script,
    api_server,
    gate,
    ok,
    request,
    run,
    until,
)

from narrowgate.proxy.splice import Splice

EXEC = f"{PODS}/p/exec?command=sh"
SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io")
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\nSet-Cookie: a\r\n\r\n"
)
MUCH = 24 * 1024 * 1024


def upgraded(after: Play) -> Play:
    """An API server that switches protocols and goes on like this."""

    async def play(script: Script, peer: Peer, number: int) -> None:
        taken = await script.take(peer)
        if not taken.target.startswith(PODS + "/p/exec"):
            await peer.send(ok())
            return
        await peer.send(SWITCHED)
        await after(script, peer, number)

    return play


async def _echo(_: Script, peer: Peer, __: int) -> None:
    while data := await peer.reader.read(65536):
        await peer.send(data)


async def _wait(_: Script, peer: Peer, __: int) -> None:
    await peer.reader.read()


def test_bytes_pass_unchanged_both_ways_and_the_end_is_recorded(tmp_path: Path) -> None:
    async def main() -> tuple[Message, bytes, Message]:
        async with api_server(tmp_path, upgraded(_echo)) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", EXEC, b"", *SPDY))
            head = await client.head()
            await client.send(b"\x00\xff anything")
            echoed = await client.reader.readexactly(11)
            await client.close()
            await made.finished("/exec")
            return head, echoed, server.received[0]

    head, echoed, sent = run(main())
    assert (head.status, echoed) == (101, b"\x00\xff anything")
    assert head.fields["x-stream-protocol-version"] == "v4.channel.k8s.io"
    assert "set-cookie" not in head.fields
    assert (sent.fields["connection"], sent.fields["upgrade"]) == ("Upgrade", "SPDY/3.1")


def test_bytes_sent_along_with_the_request_are_not_lost(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with api_server(tmp_path, upgraded(_echo)) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", EXEC, b"", *SPDY) + b"early")
            await client.head()
            echoed = await client.reader.readexactly(5)
            await client.close()
            return echoed

    assert run(main()) == b"early"


def test_what_the_cluster_says_before_it_ends_at_once_arrives_and_the_end_too(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        peer.writer.write(SWITCHED + b"last words")

    async def main() -> bytes:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", EXEC, b"", *SPDY))
            await client.head()
            async with asyncio.timeout(10):
                rest = await client.reader.read()
            client.cut()
            await until(lambda: len(made.running) == 0)
            return rest

    assert run(main()) == b"last words"


def test_a_side_that_ended_before_it_was_handed_over_ends_the_splice(tmp_path: Path) -> None:
    async def main() -> None:
        async with api_server(tmp_path, upgraded(_wait)) as server, gate(tmp_path, server) as made:
            ended, other = await made.cluster.pool.connect(), await made.cluster.pool.connect()
            ended.abort()
            await until(lambda: ended.lost)
            splice = Splice(other.transport, ended.transport)
            for connection, side in ((other, splice.client), (ended, splice.upstream)):
                connection.take_over(side)
            # Sooner than the other side gives up by itself.
            async with asyncio.timeout(PATIENCE / 2):
                await splice.run(b"", b"early")

    run(main())


@pytest.mark.parametrize("downwards", [True, False], ids=["to the client", "to the cluster"])
def test_much_data_meets_a_slow_reader_and_arrives_whole(downwards: bool, tmp_path: Path) -> None:
    piece = hashlib.sha256(b"x").digest() * 2048
    arrived: list[bytes] = []

    async def source(peer: Peer) -> None:
        for _ in range(MUCH // len(piece)):
            peer.writer.write(piece)
            await peer.writer.drain()

    async def sink(peer: Peer) -> None:
        digest, size = hashlib.sha256(), 0
        while size < MUCH:
            data = await peer.reader.read(65536)
            digest.update(data)
            size += len(data)
            await asyncio.sleep(0)
        arrived.append(digest.digest())

    async def after(_: Script, peer: Peer, __: int) -> None:
        await (source(peer) if downwards else sink(peer))
        await peer.reader.read()

    async def main() -> None:
        async with api_server(tmp_path, upgraded(after)) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", EXEC, b"", *SPDY))
            await client.head()
            await (sink(client) if downwards else source(client))
            await until(lambda: bool(arrived))
            client.cut()

    run(main())
    assert arrived == [hashlib.sha256(piece * (MUCH // len(piece))).digest()]


@pytest.mark.parametrize("downwards", [True, False], ids=["to the client", "to the cluster"])
def test_a_reader_that_stops_stops_the_other_side_too(downwards: bool, tmp_path: Path) -> None:
    written: list[int] = []
    piece = b"x" * 65536

    async def source(peer: Peer) -> None:
        for _ in range(MUCH // len(piece)):
            peer.writer.write(piece)
            await peer.writer.drain()
            written.append(len(piece))

    async def after(_: Script, peer: Peer, __: int) -> None:
        await (source(peer) if downwards else asyncio.sleep(60))

    async def main() -> int:
        async with api_server(tmp_path, upgraded(after)) as server, gate(tmp_path, server) as made:
            client, other = await made.client(), await made.client()
            await client.send(request("POST", EXEC, b"", *SPDY))
            await client.head()
            if not downwards:
                client.writer.transport.set_write_buffer_limits(high=65536)
                pushing = asyncio.ensure_future(source(client))
            for _ in range(50):
                await other.send(request("GET", f"{PODS}/other"))
                await other.message()
            total = sum(written)
            if not downwards:
                pushing.cancel()
            client.cut()
            other.cut()
            return total

    assert run(main()) < MUCH


def test_a_policy_that_forbids_it_ends_an_exec(tmp_path: Path) -> None:
    async def main() -> str:
        async with api_server(tmp_path, upgraded(_wait)) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", EXEC, b"", *SPDY))
            await client.head()
            await made.change_policy(
                POLICY.replace("pods/exec, ", "").replace(", mountedSecrets: mask, pods: {strongerAccounts: allow}", "")
            )
            assert await client.ended()
            client.cut()
            return str((await made.finished("/exec"))["annotations"]["narrowgate.dev/ended"])

    assert "no rule allows it" in run(main())


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (f"{PODS}?watch=1", ("Connection: Upgrade", "Upgrade: websocket"), 400),
        (f"{PODS}/p/log", ("Connection: Upgrade", "Upgrade: websocket"), 400),
        (EXEC, ("Connection: Upgrade", "Upgrade: h2c"), 400),
        (EXEC, ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: v9.channel.k8s.io"), 400),
        (EXEC, ("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 4"), 400),
    ],
)
def test_an_upgrade_that_is_not_served_never_reaches_the_cluster(
    target: str, headers: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    async def main() -> tuple[int, int]:
        async with api_server(tmp_path, upgraded(_echo)) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", target, b"", *headers))
            answer = await client.message()
            client.cut()
            return answer.status, len(server.received)

    assert run(main()) == (status, 0)


def test_a_refused_upgrade_is_an_ordinary_answer(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async def main() -> list[tuple[int, bytes]]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            found = []
            for _ in range(2):
                await client.send(request("POST", EXEC, b"", *SPDY))
                answer = await client.message()
                found.append((answer.status, answer.body))
            await client.close()
            return found

    assert run(main()) == [(403, b"no")] * 2
