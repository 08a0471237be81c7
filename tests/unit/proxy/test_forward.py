"""Answers of the API server on their way to the client, and requests on their way there, through a whole gate."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import (
    JSON,
    PATIENCE,
    POD,
    PODS,
    POLICY,
    SECRETS,
    UPSTREAM_TOKEN,
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


def ask(folder: Path, answer: bytes, sent: bytes, *, bodiless: bool = False, close: bool = False) -> Message:
    """What the client gets when the API server answers each request with these bytes."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            await peer.send(answer)
            if close:
                return

    async def main() -> Message:
        async with api_server(folder, play) as server, gate(folder, server) as made:
            client = await made.client()
            await client.send(sent)
            found = await client.message(bodiless=bodiless)
            if not close:
                # The connection is still in step: the next answer begins where it should.
                await client.send(request("GET", f"{SECRETS}/after"))
                assert (await client.message()).status == 403
            await client.close()
            return found

    return run(main())


def test_an_answer_with_a_length_arrives_as_it_was_sent(tmp_path: Path) -> None:
    found = ask(tmp_path, ok(b'{"kind":"Pod"}'), request("GET", f"{PODS}/p"))
    assert (found.status, found.body) == (200, b'{"kind":"Pod"}')


def test_an_answer_in_chunks_arrives_in_chunks(tmp_path: Path) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    found = ask(tmp_path, chunked, request("GET", PODS))
    assert found.body == b"abcdefg"
    assert found.fields["transfer-encoding"] == "chunked"


def test_a_body_until_the_close_ends_with_the_connection(tmp_path: Path) -> None:
    found = ask(tmp_path, b"HTTP/1.1 200 OK\r\n\r\nall of it", request("GET", f"{PODS}/p/log"), close=True)
    assert (found.body, found.fields["connection"]) == (b"all of it", "close")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_has_no_body_when_its_status_says_so(status: int, framing: bytes, tmp_path: Path) -> None:
    found = ask(tmp_path, b"HTTP/1.1 %d X\r\n%b\r\n" % (status, framing), request("GET", f"{PODS}/p"))
    assert (found.status, found.body) == (status, b"")


def test_a_head_answer_keeps_the_length_the_body_would_have_had(tmp_path: Path) -> None:
    found = ask(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", request("HEAD", f"{PODS}/p"), bodiless=True)
    assert found.fields["content-length"] == "99"


def test_a_head_answer_without_a_length_is_not_given_one(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = ask(tmp_path, answer, request("HEAD", f"{PODS}/p"), bodiless=True)
    assert "content-length" not in found.fields


def test_interim_answers_are_passed_over(tmp_path: Path) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    found = ask(tmp_path, interim + ok(b"[1]"), request("GET", f"{PODS}/p"))
    assert (found.status, found.body) == (200, b"[1]")


def test_a_refusal_of_a_head_request_has_no_body(tmp_path: Path) -> None:
    found = ask(tmp_path, ok(), request("HEAD", f"{SECRETS}/x"), bodiless=True)
    assert (found.status, int(found.fields["content-length"]) > 0) == (403, True)


def test_a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
    assert ask(tmp_path, answer, request("GET", f"{PODS}/p")).status == 502


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
    ],
)
def test_an_answer_that_two_readers_could_take_differently_is_a_bad_gateway(answer: bytes, tmp_path: Path) -> None:
    assert ask(tmp_path, answer, request("GET", f"{PODS}/p")).status == 502


def test_the_credential_goes_to_the_cluster_and_the_agents_own_stays_here(tmp_path: Path) -> None:
    async def main() -> Message:
        async with api_server(tmp_path, always_ok) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}/p", b"", "X-Remote-User: root", "Connection: authorization"))
            assert (await client.message()).status == 200
            await client.close()
            return server.received[0]

    sent = run(main())
    assert [value for name, value in sent.headers if name == "authorization"] == [f"Bearer {UPSTREAM_TOKEN}"]
    assert "x-remote-user" not in sent.fields


# --- connections that die


async def _serve_one_then_close(script: Script, peer: Peer, _: int) -> None:
    """Answer one request as if the connection stayed, and close it when the next has come."""
    await script.take(peer)
    await peer.send(ok())
    await script.take(peer)
    peer.cut()


def test_a_get_on_a_kept_connection_that_died_is_sent_once_more(tmp_path: Path) -> None:
    async def main() -> tuple[int, int, int]:
        async with api_server(tmp_path, _serve_one_then_close) as server, gate(tmp_path, server) as made:
            client = await made.client()
            for _ in range(2):
                await client.send(request("GET", f"{PODS}/p"))
                status = (await client.message()).status
            await client.close()
            return status, len(server.received), server.connections

    assert run(main()) == (200, 3, 2)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_but_a_get_is_ever_sent_twice(method: str, tmp_path: Path) -> None:
    async def main() -> tuple[int, list[str]]:
        async with api_server(tmp_path, _serve_one_then_close) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}/p"))
            await client.message()
            form = "Content-Type: application/merge-patch+json" if method == "PATCH" else JSON
            body = POD if method != "DELETE" else b'{"kind":"DeleteOptions","apiVersion":"v1"}'
            await client.send(request(method, PODS if method == "POST" else f"{PODS}/p", body, form))
            answer = await client.message()
            await client.close()
            return answer.status, [each.method for each in server.received]

    assert run(main()) == (502, ["GET", method])


def test_a_get_whose_fresh_connection_dies_is_not_repeated(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        peer.cut()

    async def main() -> tuple[int, int]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}/p"))
            status = (await client.message()).status
            await client.close()
            return status, len(server.received)

    assert run(main()) == (502, 1)


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n",
    ],
)
def test_half_an_answer_breaks_the_connection_and_is_recorded_as_failed(half: bytes, tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(half)

    async def main() -> None:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}/broken"))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                await client.message()
            finished = await made.finished("/broken")
            assert finished["annotations"]["narrowgate.dev/decision"] == "error"
            client.cut()

    run(main())


def test_bytes_behind_an_answer_never_reach_the_client_nor_the_next_request(tmp_path: Path) -> None:
    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            await peer.send(ok(b"[1]") + ok(b'["stray"]'))

    async def main() -> tuple[list[bytes], int]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            bodies = []
            for _ in range(3):
                await client.send(request("GET", f"{PODS}/p"))
                bodies.append((await client.message()).body)
            await client.close()
            return bodies, server.connections

    assert run(main()) == ([b"[1]"] * 3, 3)


def test_a_client_that_leaves_ends_its_request_at_the_cluster_and_is_recorded(tmp_path: Path) -> None:
    left: list[bool] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        left.append(await peer.ended())

    async def main() -> None:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}?watch=1&labelSelector=leaving"))
            await client.head()
            client.cut()
            await until(lambda: bool(left))
            finished = await made.finished("leaving")
            # Whoever watches leaves when they have seen enough.
            assert finished["responseStatus"]["code"] == 200
            assert finished["annotations"]["narrowgate.dev/decision"] == "allow"
            assert "client closed" in finished["annotations"]["narrowgate.dev/ended"]

    run(main())
    assert left == [True]


def test_a_client_that_leaves_before_the_answer_ends_its_request_too(tmp_path: Path) -> None:
    left: list[bool] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        left.append(await peer.ended())

    async def main() -> None:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request("GET", f"{PODS}/waiting"))
            await until(lambda: bool(server.received))
            client.cut()
            await until(lambda: bool(left))
            assert await made.finished("/waiting")

    run(main())
    assert left == [True]


READ_ONLY = '    - {id: pods, effect: allow, verbs: [get], apiGroups: [""], resources: [pods], namespaces: [ci]}\n'
NOTHING_PROXIED = POLICY[: POLICY.index("    - {id: pods")] + READ_ONLY


def test_a_body_that_is_streamed_ends_with_the_permission_to_send_it(tmp_path: Path) -> None:
    arrived, over = asyncio.Event(), asyncio.Event()

    async def play(script: Script, peer: Peer, _: int) -> None:
        await peer.head()
        try:
            while await peer.reader.read(100):
                arrived.set()
        finally:
            over.set()

    async def main() -> tuple[int, str]:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            head = request("POST", f"{PODS}/p/proxy/upload", b"", "Transfer-Encoding: chunked")
            await client.send(head + b"3\r\nabc\r\n")
            await asyncio.wait_for(arrived.wait(), PATIENCE)
            await made.change_policy(NOTHING_PROXIED)
            await asyncio.wait_for(over.wait(), PATIENCE)
            answer = await client.message()
            await client.close()
            event = await made.finished("upload")
            return answer.status, event["annotations"]["narrowgate.dev/decision"]

    assert run(main()) == (403, "deny")


@pytest.mark.parametrize(("method", "status"), [("GET", 403), ("DELETE", 200)])
def test_an_answer_that_comes_after_the_end_of_the_permission_tells_nothing_that_is_read(
    method: str, status: int, tmp_path: Path
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def play(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        asked.set()
        await answer.wait()
        await peer.send(ok(b'{"late":true}'))

    async def main() -> Message:
        async with api_server(tmp_path, play) as server, gate(tmp_path, server) as made:
            client = await made.client()
            await client.send(request(method, f"{PODS}/p"))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            await made.change_policy(NOTHING_PROXIED.replace("[get]", "[create]"))
            answer.set()
            found = await client.message()
            await client.close()
            return found

    found = run(main())
    # What was written is written, and its sender is told so.
    assert (found.status, b"late" in found.body) == (status, status == 200)
