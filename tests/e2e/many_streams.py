"""Hundreds of clients at once, each on a connection of its own: what waits, what runs, and when it ended.

Here belongs what the test of scale needs besides a gate. All connections live in one event loop in a thread, because a
thread for each of 1,500 would measure the tester's machine. What a connection has seen is read from other threads.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.e2e.gate import Agent

OPEN_SECONDS = 180.0
"""For a thousand TLS handshakes and requests on a busy machine."""
AT_ONCE = 40
"""Handshakes under way at a time: the gate's backlog is not what is tested."""
LAST_CHUNK = b"0\r\n\r\n"


class Client(asyncio.Protocol):
    """One connection with one request."""

    def __init__(self, sent: bytes) -> None:
        self.sent = sent
        self.status = 0
        """Of the answer; 0 until its head is here."""
        self.ended_at = 0.0
        """Monotonic seconds at which the answer was complete, or broke off; 0 while it goes on."""
        self._head = b""
        self._last = b""
        self._whole = False
        self.transport: asyncio.Transport | None = None
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.sent)

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self.status = int(head.split(b" ", 2)[1])
            # What is no stream has its length, and is so short that it comes with its head.
            self._whole = b"\r\ncontent-length:" in head.lower()
        self._last = (self._last + data)[-len(LAST_CHUNK) :]
        if self._whole or self._last == LAST_CHUNK:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio.Protocol
        self.is_closed = True
        self._end()

    def _end(self) -> None:
        self.ended_at = self.ended_at or time.monotonic()


class Crowd:
    """The clients of a test, in a loop of their own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def open(self, requests: Sequence[tuple[Agent, str]]) -> list[Client]:
        """Send a GET of each target as that agent; the clients, in the same order."""
        return asyncio.run_coroutine_threadsafe(self._open(requests), self._loop).result(OPEN_SECONDS)

    async def _open(self, requests: Sequence[tuple[Agent, str]]) -> list[Client]:
        context = ssl.create_default_context(cadata=requests[0][0].ca)
        places = asyncio.Semaphore(AT_ONCE)

        async def one(agent: Agent, target: str) -> Client:
            async with places:
                _, client = await self._loop.create_connection(
                    lambda: Client(agent.bytes_of("GET", target)), agent.host, agent.port, ssl=context
                )
                return client

        return await asyncio.gather(*(one(agent, target) for agent, target in requests))

    def close(self, clients: Sequence[Client]) -> None:
        """Break off what these have; back when their sockets are closed."""
        asyncio.run_coroutine_threadsafe(self._close(clients), self._loop).result(OPEN_SECONDS)

    async def _close(self, clients: Sequence[Client]) -> None:
        for client in clients:
            if client.transport is not None:
                client.transport.abort()
        while not all(client.is_closed or client.transport is None for client in clients):  # noqa: ASYNC110 (each tells)
            await asyncio.sleep(0)


@contextmanager
def crowd() -> Iterator[Crowd]:
    """A crowd, and its thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="crowd", daemon=True)
    thread.start()
    try:
        yield Crowd(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(OPEN_SECONDS)
        loop.close()
