"""Connections to an API server: made with TLS that is verified, kept, and not trusted beyond an answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import (
    PATIENCE,
    Peer,
    Script,
    access_to,
    always_ok,
    api_server,
    certificate,
    ok,
    run,
    tls_files,
    until,
)

from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.connection_state import has_closed
from narrowgate.proxy.upstream import (
    IDLE_LIMIT,
    WRITE_HIGH_WATER,
    Pool,
    UpstreamBroken,
    UpstreamConnection,
    UpstreamUnreachable,
)


def unreachable(tmp_path: Path, **more: object) -> str:
    """What is said when the scripted API server is reached with this other access."""

    async def main() -> str:
        async with api_server(tmp_path, always_ok) as server:
            cluster = Cluster(access_to(server, **more))
            with pytest.raises(UpstreamUnreachable) as refusal:
                await cluster.call("GET", "/version")
            assert server.received == []
            return str(refusal.value)

    return run(main())


def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    assert "not trusted" in unreachable(tmp_path, tls_server_name="other.example")


def test_a_certificate_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    certificate.cache_clear()
    other = certificate()[0]
    certificate.cache_clear()
    assert "not trusted" in unreachable(tmp_path, certificate_authority=other)


def test_a_server_without_tls_is_not_spoken_to() -> None:
    async def main() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        pool = Pool("127.0.0.1", listening.getsockname()[1], ssl.create_default_context(), "x", connect_seconds=0.2)
        with pytest.raises(UpstreamUnreachable, match=r"within 0\.2 s"):
            await pool.connect()
        listening.close()

    run(main())


def test_nobody_at_home_is_said_with_the_reason_and_without_the_address() -> None:
    async def main() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listening.close()
        cluster = Cluster(access_to(Script(port=port)))
        with pytest.raises(UpstreamUnreachable, match="refused") as refused:
            await cluster.call("GET", "/version")
        assert str(port) not in str(refused.value)

    run(main())


def test_the_client_certificate_is_presented_only_where_no_token_is_sent(tmp_path: Path) -> None:
    presented: list[bool] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        presented.append(bool(peer.writer.get_extra_info("ssl_object").getpeercert()))
        await script.take(peer)
        await peer.send(ok())

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls_files(tmp_path))
        context.load_verify_locations(cadata=certificate()[0].decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        async with api_server(tmp_path, play, context) as server:
            pair = certificate()
            access = access_to(server, token="", client_certificate=pair[0], client_key=pair[1])
            cluster = Cluster(access)
            await cluster.call("GET", "/version")
            await cluster.call("GET", "/version", headers=[(b"authorization", b"Bearer x")])
            cluster.close()

    run(main())
    assert presented == [True, False]


def test_a_kept_connection_serves_again_and_one_that_was_closed_is_forgotten(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        for _ in range(2):
            await script.take(peer)
            await peer.send(ok())

    async def main() -> int:
        async with api_server(tmp_path, play) as server:
            cluster = Cluster(access_to(server))
            for number in range(4):
                assert (await cluster.call("POST", "/x", body=b"{}"))[0] == 200
                if number % 2:
                    await until(lambda: not cluster.pool._idle)
            return server.connections

    assert run(main()) == 2


def test_no_more_idle_connections_are_kept_than_the_limit(tmp_path: Path) -> None:
    async def main() -> tuple[int, int]:
        async with api_server(tmp_path, always_ok) as server:
            pool = Cluster(access_to(server)).pool
            connections = [await pool.connect() for _ in range(3)]
            pool._idle.extend(connections[:1] * (IDLE_LIMIT - 1))
            pool.keep(connections[1])
            pool.keep(connections[2])
            await until(lambda: connections[2].lost)
            kept = len(pool._idle)
            pool._idle.clear()
            pool.close()
            return kept, IDLE_LIMIT

    kept, limit = run(main())
    assert kept == limit


def test_bytes_on_an_idle_connection_close_it(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(ok())
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")

    async def main() -> bytes:
        async with api_server(tmp_path, play) as server:
            cluster = Cluster(access_to(server))
            await cluster.call("GET", "/a")
            await until(lambda: not cluster.pool._idle)
            return (await cluster.call("GET", "/b"))[2]

    assert run(main()) == b"{}"


def test_an_answer_above_what_is_read_into_memory_breaks_off(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")

    async def main() -> None:
        async with api_server(tmp_path, play) as server:
            with pytest.raises(UpstreamBroken, match="larger"):
                await Cluster(access_to(server)).call("GET", "/apis")

    run(main())


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000],
    ids=["nothing", "half a head", "a head without end"],
)
def test_an_answer_without_a_whole_head_is_broken(answer: bytes, tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(answer)

    async def main() -> None:
        async with api_server(tmp_path, play) as server:
            with pytest.raises(UpstreamBroken):
                await Cluster(access_to(server)).call("POST", "/x", body=b"{}")

    run(main())


def test_where_a_chunked_answer_was_cut_never_matters(tmp_path: Path) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (b"a", b"bc", b"d" * 300)) + b"0\r\n\r\n"

    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body:
            await peer.send(bytes([byte]))

    async def main() -> bytes:
        async with api_server(tmp_path, play) as server:
            return (await Cluster(access_to(server)).call("GET", "/x"))[2]

    assert run(main()) == b"abc" + b"d" * 300


def test_a_connection_is_read_again_after_an_answer_that_was_too_much_with_its_head_alone(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(ok(b"[]"))

    async def main() -> bytes:
        async with api_server(tmp_path, play) as server:
            pool = Cluster(access_to(server)).pool
            connection = await pool.connect()
            # As it comes where the loop is busy: all of it, before anybody looks at its head.
            connection.send("GET", b"", b"")
            connection.data_received(ok(b"x" * (WRITE_HIGH_WATER - 10)))
            await connection.response_head()
            assert len(connection.body_at_hand() or b"") == WRITE_HIGH_WATER - 10
            connection.release()
            assert pool.kept() is connection
            connection.send("GET", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n", b"")
            async with asyncio.timeout(PATIENCE):
                await connection.response_head()
            body = connection.body_at_hand() or b""
            pool.close()
            connection.abort()
            return body

    assert run(main()) == b"[]"


class SlowReader:
    """Takes the first of an answer, and then nothing until it says so."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.taken = b""
        self.is_slow = threading.Event()

    def write(self, data: bytes) -> None:
        self.taken += data
        if not self.is_slow.is_set():
            self.connection.pause()
            self.is_slow.set()


@pytest.mark.parametrize("framing", [b"Content-Length: 100001", b"Connection: close"])
def test_the_end_of_an_answer_is_not_lost_behind_a_slow_reader(framing: bytes, tmp_path: Path) -> None:
    rest = b"y" * 100_000
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files(tmp_path))
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(PATIENCE)
    readers: list[SlowReader] = []

    def answer_and_be_gone() -> None:
        accepted, _ = listening.accept()
        with context.wrap_socket(accepted, server_side=True) as server:
            server.recv(1000)
            server.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n\r\nx" % framing)
            readers[0].is_slow.wait(PATIENCE)
            server.sendall(rest)
            server.setblocking(False)
            # As Go does: it says that this is the end, and waits for nobody to say so too.
            with contextlib.suppress(ssl.SSLWantReadError):
                server.unwrap()

    async def main() -> bytes:
        answering = asyncio.ensure_future(asyncio.to_thread(answer_and_be_gone))
        trusting = ssl.create_default_context(cadata=certificate()[0].decode())
        connection = await Pool("127.0.0.1", listening.getsockname()[1], trusting, "127.0.0.1").connect()
        reader = SlowReader(connection)
        readers.append(reader)
        connection.send("GET", b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", b"")
        await connection.response_head()
        relaying = asyncio.ensure_future(connection.relay_to(reader))
        await answering
        await until(lambda: connection.lost or has_closed(connection.transport))
        # All of it is here: whoever reads ahead meets the end before the reader wants more.
        await asyncio.sleep(0.05)
        connection.resume()
        async with asyncio.timeout(PATIENCE):
            await relaying
        return reader.taken

    try:
        assert run(main()) == b"x" + rest
    finally:
        listening.close()
