"""Connections that bring no request, or not all of one, are closed; whoever asks is answered however long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from dev.cluster.processes import free_ports
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from narrowgate.control.head_deadline import HeadDeadline

DEADLINE = 0.05
# Long enough for a machine that is busy; only a connection that is never closed waits so long.
LONG = 20.0
GET = b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"


class Hasty(HeadDeadline):
    head_seconds = DEADLINE


@contextlib.asynccontextmanager
async def port() -> AsyncIterator[int]:
    """A server whose one page takes four times as long as a head may."""

    async def slow(request: Request) -> Response:
        await asyncio.sleep(4 * DEADLINE)
        return PlainTextResponse("slow but well")

    app = Starlette(routes=[Route("/", slow, methods=["GET", "POST"])])
    with socket.create_server(("127.0.0.1", *free_ports(1))) as listener:
        config = uvicorn.Config(app, http=Hasty, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve(sockets=[listener]))
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True
                await serving


def heard(*sent: bytes) -> bytes:
    """Everything that comes back until the server closes; each piece is sent when something came back before it."""

    async def talk() -> bytes:
        async with port() as number:
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            answers = b""
            async with asyncio.timeout(LONG):
                for place, piece in enumerate(sent):
                    if place:
                        answers += await reader.readuntil(b"slow but well")
                    writer.write(piece)
                answers += await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return answers

    return asyncio.run(talk())


@pytest.mark.parametrize("sent", [b"", b"G", GET[:-2], GET[:-1]])
def test_a_connection_without_a_whole_head_is_closed(sent: bytes) -> None:
    assert heard(sent) == b""


def test_an_answer_may_take_longer_than_a_head() -> None:
    answer = heard(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"slow but well")


def test_a_body_may_take_longer_than_a_head() -> None:
    """What reads a body has a deadline of its own."""
    answer = heard(b"POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: 5\r\n\r\nab")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_next_head_on_a_connection_has_a_deadline_too() -> None:
    answers = heard(GET, GET, GET[:10])
    assert answers.count(b"slow but well") == 2
