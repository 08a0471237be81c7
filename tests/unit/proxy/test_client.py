"""A client's connection: what order, slowness and nonsense on it may and may not do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import (
    JSON,
    POD,
    PODS,
    SECRETS,
    Message,
    Peer,
    Script,
    always_ok,
    api_server,
    gate,
    ok,
    request,
    run,
    until,
)

from narrowgate.proxy.client import MAX_WAITING_BYTES, ClientConnection, ClientLimits
from narrowgate.proxy.upstream import WRITE_HIGH_WATER
from narrowgate.wire.http1 import RequestHead

TURNS = 50
"""Round trips on another connection after which everything that was ready to happen has happened."""


async def _let_all_happen(other: Peer) -> None:
    for _ in range(TURNS):
        await other.send(request("GET", f"{PODS}/other"))
        await other.message()


def conversation(folder: Path, *pieces: bytes, answers: int, limits: ClientLimits | None = None) -> list[Message]:
    """What the gate answers to these bytes, and that it ends the connection after that many answers."""

    async def main() -> list[Message]:
        async with api_server(folder, always_ok) as server, gate(folder, server, limits=limits) as made:
            client = await made.client()
            for piece in pieces:
                await client.send(piece)
            found = [await client.message() for _ in range(answers)]
            assert await client.ended()
            client.cut()
            return found

    return run(main())


def test_pipelined_requests_are_answered_in_their_order(tmp_path: Path) -> None:
    three = (
        request("GET", f"{PODS}/a") + request("GET", f"{SECRETS}/b") + request("GET", "//", b"", "Connection: close")
    )
    assert [each.status for each in conversation(tmp_path, three, answers=3)] == [200, 403, 400]


def test_a_head_that_cannot_be_read_is_answered_on_a_connection_that_served_before(tmp_path: Path) -> None:
    found = conversation(tmp_path, request("GET", f"{PODS}/a"), b"GET / HTTP/1.1\r\nHost: a\nb\r\n\r\n", answers=2)
    assert [each.status for each in found] == [200, 400]
    assert found[1].fields["connection"] == "close"


def test_nothing_behind_a_malformed_body_is_taken_for_a_request(tmp_path: Path) -> None:
    # Read a second time from its beginning, this body would end at once and a request would follow it.
    body = b"5\r\n12345XX5\r\n\r\n0\r\n\r\n" + request("GET", f"{PODS}/smuggled")
    sent = request("POST", PODS, b"", JSON, "Transfer-Encoding: chunked") + body
    (answer,) = conversation(tmp_path, sent, answers=1)
    assert (answer.status, answer.fields["connection"]) == (400, "close")


def test_a_head_above_its_limit_is_refused_even_when_it_comes_in_one_piece(tmp_path: Path) -> None:
    limits = ClientLimits(head_bytes=4096)
    (answer,) = conversation(tmp_path, request("GET", PODS, b"", "X: " + "x" * 4096), answers=1, limits=limits)
    assert answer.status == 431


def test_a_head_within_the_limits_passes_and_one_header_more_does_not(tmp_path: Path) -> None:
    limits = ClientLimits(headers=20)
    most = [f"X-{number}: 1" for number in range(18)]
    sent = request("GET", PODS, b"", *most) + request("GET", PODS, b"", *most, "X: 1")
    assert [each.status for each in conversation(tmp_path, sent, answers=2, limits=limits)] == [200, 431]


def test_a_body_above_its_limit_is_refused(tmp_path: Path) -> None:
    sent = request("POST", PODS, POD.ljust(5000), JSON)
    (answer,) = conversation(tmp_path, sent, answers=1, limits=ClientLimits(body_bytes=4096))
    assert answer.status == 413


def test_whoever_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    limits = ClientLimits(head_seconds=0.05, idle_seconds=0.05, body_seconds=0.05)
    starts = (b"GET / HT", b"", request("POST", PODS, b"{", JSON, "Content-Length: 99"))

    async def main() -> list[bool]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, limits=limits) as made:
            clients = [await made.client() for _ in starts]
            for client, start in zip(clients, starts, strict=True):
                client.writer.write(start)
            # One sweep of the listener finds them all.
            ended = [await client.ended() for client in clients]
            for client in clients:
                client.cut()
            return ended

    assert run(main()) == [True] * len(starts)


def test_an_expected_continue_is_sent_when_the_body_is_wanted(tmp_path: Path) -> None:
    async def main() -> tuple[int, int, bytes]:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("POST", PODS, b"", JSON, "Expect: 100-Continue", f"Content-Length: {len(POD)}"))
            interim = await client.head()
            await client.send(POD)
            answer = await client.message()
            await client.send(request("GET", PODS))
            assert (await client.message()).status == 200
            await client.close()
            return interim.status, answer.status, server.received[0].body

    assert run(main()) == (100, 200, POD)


def test_no_continue_is_sent_for_a_body_that_nobody_wants(tmp_path: Path) -> None:
    sent = request("POST", "/api/v1/namespaces/ci/unknown", b"", "Expect: 100-continue", "Content-Length: 9")
    (answer,) = conversation(tmp_path, sent, answers=1)
    assert (answer.status, answer.fields["connection"]) == (403, "close")


def test_another_expectation_is_refused(tmp_path: Path) -> None:
    (answer,) = conversation(tmp_path, request("GET", PODS, b"", "Expect: miracles"), answers=1)
    assert answer.status == 417


def test_answers_that_nobody_reads_do_not_pile_up(tmp_path: Path) -> None:
    served: list[int] = []
    many = 200

    async def serve(client: ClientConnection, head: RequestHead) -> None:
        served.append(1)
        if head.target != f"{PODS}/other".encode():
            client.write(ok(b"x" * WRITE_HIGH_WATER))
        else:
            client.write(ok())

    async def main() -> int:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, serve=serve) as made:
            greedy, other = await made.client(), await made.client()
            greedy.writer.write(request("GET", f"{PODS}/p") * many)
            await _let_all_happen(other)
            piled_up = len(served) - TURNS
            # Whoever does read gets all of it.
            for _ in range(many):
                assert len((await greedy.message()).body) == WRITE_HIGH_WATER
            await greedy.close()
            await other.close()
            return piled_up

    assert run(main()) < many // 2


def test_requests_that_nobody_can_serve_yet_wait_at_the_client(tmp_path: Path) -> None:
    waiting: asyncio.Event
    sizes: list[int] = []

    async def serve(client: ClientConnection, head: RequestHead) -> None:
        if head.target == b"/slow":
            await waiting.wait()
        client.write(ok())

    async def main() -> None:
        nonlocal waiting
        waiting = asyncio.Event()
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, serve=serve) as made:
            greedy, other = await made.client(), await made.client()
            greedy.writer.write(request("GET", "/slow") + request("GET", "/next") * 8_000)
            await _let_all_happen(other)
            sizes.extend(len(each._buffer) for each in made.listener._connections)
            waiting.set()
            for _ in range(100):
                await greedy.message()
            greedy.cut()
            await other.close()

    run(main())
    # One read of the transport may come on top.
    assert 0 < max(sizes) <= MAX_WAITING_BYTES + 256 * 1024


def test_what_breaks_one_connection_leaves_the_gate_running(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def serve(client: ClientConnection, head: RequestHead) -> None:
        if head.target == b"/broken":
            raise RuntimeError("nobody thought of this")
        client.write(ok())

    async def main() -> int:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, serve=serve) as made:
            victim, other = await made.client(), await made.client()
            await victim.send(request("GET", "/broken"))
            assert await victim.ended()
            await other.send(request("GET", "/well"))
            status = (await other.message()).status
            victim.cut()
            await other.close()
            return status

    assert run(main()) == 200
    assert "nobody thought of this" in caplog.text


def test_connections_above_the_limit_are_closed_and_a_place_that_gets_free_is_given_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server, connections=2) as made:
            first, second = await made.client(), await made.client()
            await until(lambda: len(made.listener) == 2)
            third = await made.client()
            assert await third.ended()
            first.cut()
            await until(lambda: len(made.listener) == 1)
            fourth = await made.client()
            await fourth.send(request("GET", PODS))
            assert (await fourth.message()).status == 200
            for each in (second, third, fourth):
                each.cut()

    run(main())


def test_a_large_answer_to_a_slow_reader_waits_at_the_cluster(tmp_path: Path) -> None:
    piece, pieces = b"x" * 65536, 800
    sent: list[int] = []

    async def play(script: Script, peer: Peer, number: int) -> None:
        while True:
            taken = await script.take(peer)
            if taken.target.endswith("/other"):
                await peer.send(ok())
                continue
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * pieces))
            for _ in range(pieces):
                peer.writer.write(piece)
                await peer.writer.drain()
                sent.append(number)

    async def main() -> int:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            slow, other = await made.client(), await made.client()
            await slow.send(request("GET", f"{PODS}/large"))
            await slow.head()
            await _let_all_happen(other)
            ahead = len(sent)
            async with asyncio.timeout(30):
                for _ in range(pieces):
                    await slow.reader.readexactly(len(piece))
            # Twice: the connection that was slowed down is kept, and must be of use again.
            await _let_all_happen(slow)
            await _let_all_happen(other)
            await slow.close()
            await other.close()
            return ahead

    assert run(main()) < pieces
