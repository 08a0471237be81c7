"""Connections to one API server: opened, kept, given out one request at a time, and never asked anything twice.

The pool decides nothing about requests. Nothing is retried here; the pipeline retries a GET whose kept connection died
before the first byte (`ConnectionStale`), and nothing else (RFC 9110 9.2.2; KUBERNETES.md of client-go behaves so too).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from narrowgate.core.malformed import Malformed
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import END_OF_HEAD, MAX_HEAD_BYTES, ResponseHead, read_response_head

CONNECT_TIMEOUT = 10.0
"""Seconds for TCP and TLS together; the API server is near, and a caller waits."""
IDLE_LIMIT = 128
"""Kept connections per cluster; more are closed when they come back."""
IDLE_SECONDS = 60.0
"""A kept connection older than this is closed: kube-apiserver itself drops idle ones after 90 s or more."""
KEEPALIVE_SECONDS = 30
"""Silence after which TCP asks whether the other side is still there, as often as client-go does."""
WRITE_HIGH_WATER = 256 * 1024
"""Bytes buffered towards one side before the other side's reading pauses; a stream holds a few of these at most."""


class UpstreamUnreachable(Exception):
    """No connection to the API server could be made; the message is for the caller: no address, no credential."""


class UpstreamBroken(Exception):
    """The connection ended or was unreadable in the middle of an answer."""


class ConnectionStale(UpstreamBroken):
    """A kept connection turned out to be closed before the first byte of an answer."""


class Sink(Protocol):
    """Where an answer's bytes go: the client's side of a relay."""

    def write(self, data: bytes) -> None:
        """Take bytes; never blocks (back-pressure comes through `UpstreamConnection.pause`)."""
        ...


def keep_while_paused(transport: asyncio.Transport) -> None:
    """Have a transport lose nothing that it has received while its reading is paused.

    A TLS transport that is paused goes on reading ahead, and once it has read the end of the connection it throws away
    what it was to hand on (uvloop/sslproto.pyx, `eof_received`): with this it reads no further than once.
    """
    if (limit := getattr(transport, "set_read_buffer_limits", None)) is not None:
        limit(high=1)


class UpstreamConnection(asyncio.Protocol):
    """One connection to the API server, with at most one request on it."""

    __slots__ = (
        "_body",
        "_buffer",
        "_head",
        "_is_full",
        "_loop",
        "_lost",
        "_method",
        "_on_drained",
        "_pool",
        "_relayed",
        "_sink",
        "_waiter",
        "fresh",
        "idle_since",
        "keep_alive",
        "received",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.fresh = True
        """No request has been answered on it yet."""
        self.idle_since = 0.0
        self.keep_alive = False
        self.received = 0
        """Body bytes of the current answer seen so far."""
        self._buffer = b""
        self._is_full = False
        """Whether nothing is read because the buffer has enough."""
        self._method = ""
        self._head: ResponseHead | None = None
        self._body: Body | None = None
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._relayed: asyncio.Future[None] | None = None
        self._on_drained: asyncio.Future[None] | None = None
        self._lost = False

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface and not the class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        keep_while_paused(self.transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self._relay(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif not self._method:
            # Bytes that nobody asked for: on an idle connection they can only confuse the next answer.
            self.abort()
        elif len(self._buffer) > WRITE_HIGH_WATER:
            self._is_full = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Let the transport close; a body that runs until the close ends here."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._pool.forget(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._on_drained is not None and not self._on_drained.done():
            self._on_drained.set_result(None)
        relayed = self._relayed
        if relayed is not None and not relayed.done():
            if self._head is not None and self._head.framing.until_close and exc is None:
                relayed.set_result(None)
            else:
                relayed.set_exception(
                    UpstreamBroken("the API server closed the connection in the middle of its answer")
                )

    def pause_writing(self) -> None:
        if self._on_drained is None:
            self._on_drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._on_drained is not None and not self._on_drained.done():
            self._on_drained.set_result(None)
        self._on_drained = None

    # --- one request

    def send(self, method: str, head: bytes, body: bytes) -> None:
        """Begin a request: its head and, if it is at hand, its whole body."""
        self._method = method
        self._head = None
        self._body = None
        self.received = 0
        self.transport.write(head + body if body else head)

    async def send_more(self, data: bytes) -> None:
        """Send more of a streamed request body; waits while the API server does not read."""
        if self._lost:
            raise UpstreamBroken("the API server closed the connection before it had read the request")
        self.transport.write(data)
        if self._on_drained is not None:
            await self._on_drained

    async def response_head(self) -> ResponseHead:
        """The answer's head, interim answers (100, 103) left out.

        Raises ConnectionStale when a kept connection died before the first byte, UpstreamBroken otherwise.
        """
        while True:
            end = self._buffer.find(END_OF_HEAD)
            if end >= 0:
                block, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
                head = self._read_head(block)
                if head.status >= 200 or head.status == 101:
                    self._head = head
                    self.keep_alive = head.keep_alive
                    return head
                continue
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise UpstreamBroken("the API server's answer has a head above the limit")
            if self._lost:
                if not self._buffer and not self.fresh:
                    raise ConnectionStale("the kept connection was closed")
                raise UpstreamBroken("the API server closed the connection without an answer")
            self._waiter = self._loop.create_future()
            await self._waiter
            self._waiter = None

    def _read_head(self, block: bytes) -> ResponseHead:
        try:
            return read_response_head(block, self._method)
        except Malformed as error:
            raise UpstreamBroken(error.message) from None

    def body_at_hand(self) -> bytes | None:
        """The whole body if it has arrived with the head, else None (then `relay_to` it)."""
        assert self._head is not None
        framing = self._head.framing
        if framing.empty:
            return b""
        if framing.length and len(self._buffer) == framing.length:
            self.received = framing.length
            return self._take_buffer()
        return None

    def _take_buffer(self) -> bytes:
        """What has arrived beyond the head; reading goes on if it was paused because that was much."""
        taken, self._buffer = self._buffer, b""
        # It may have been too much with the head alone, which is not among this.
        if self._is_full:
            self._is_full = False
            self.resume()
        return taken

    async def relay_to(self, sink: Sink) -> None:
        """Pass the body on as it comes, byte for byte, until it ends. Raises UpstreamBroken."""
        assert self._head is not None
        self._body = follow(self._head.framing, strict=False)
        self._sink = sink
        self._relayed = relayed = self._loop.create_future()
        early = self._take_buffer()
        if self._body.done:
            relayed.set_result(None)
        elif early:
            self._relay(early)
        if self._lost and not relayed.done():
            self.connection_lost(None)
        try:
            await relayed
        finally:
            self._sink = None
            self._relayed = None

    async def read_whole(self, limit: int) -> bytes:
        """Collect a body of at most `limit` bytes, without its chunk lines. Raises UpstreamBroken."""
        assert self._head is not None
        collected = _Collected(limit, self._fail)
        await self.relay_to(collected)
        raw = b"".join(collected.parts)
        if not self._head.framing.chunked:
            return raw
        payload: list[bytes] = []
        follow(self._head.framing, strict=False, payload=payload).feed(raw)
        return b"".join(payload)

    def _relay(self, data: bytes) -> None:
        assert self._body is not None
        assert self._sink is not None
        try:
            taken = self._body.feed(data)
        except Malformed as error:
            self._fail(error.message)
            return
        self.received += taken
        if taken == len(data):
            self._sink.write(data)
        else:
            # More than the message holds: deliver the message, trust the connection no further.
            self._sink.write(data[:taken])
            self.keep_alive = False
        if self._body.done and self._relayed is not None and not self._relayed.done():
            self._relayed.set_result(None)

    def _fail(self, message: str) -> None:
        if self._relayed is not None and not self._relayed.done():
            self._relayed.set_exception(UpstreamBroken(message))
        self.abort()

    def break_off(self, reason: str) -> None:
        """End the answer under way from our side; whoever relays it gets UpstreamBroken with this reason."""
        self._fail(reason)

    @property
    def at_boundary(self) -> bool:
        """Whether the relayed answer stands between two chunks, so that the gate may put in one of its own."""
        return getattr(self._body, "at_boundary", False)

    # --- flow and end

    def pause(self) -> None:
        """Stop reading: the client does not keep up."""
        if not self._lost:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._lost:
            self.transport.resume_reading()

    def take_over(self, protocol: asyncio.Protocol) -> bytes:
        """Hand the connection to a splice after 101; the bytes that came with the head are returned."""
        early = self._take_buffer()
        self._pool.forget(self)
        self.transport.set_protocol(protocol)
        return early

    def release(self) -> None:
        """The answer is complete: keep the connection, or close it."""
        self.fresh = False
        self._method = ""
        self._head = None
        self._body = None
        if self._lost or not self.keep_alive or self._buffer:
            self.abort()
        else:
            self._pool.keep(self)

    def abort(self) -> None:
        """Close at once, whatever was under way."""
        if not self._lost:
            self.transport.abort()
        self._pool.forget(self)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._lost


class _Collected:
    """A sink that keeps what it gets, up to a limit."""

    __slots__ = ("_fail", "_room", "parts")

    def __init__(self, limit: int, fail: Callable[[str], None]) -> None:
        self.parts: list[bytes] = []
        self._room = limit
        self._fail = fail

    def write(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self._fail("the API server's answer is larger than the gate reads into memory")
        else:
            self.parts.append(data)


class Pool:
    """The connections to one API server."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        server_name: str,
        *,
        connect_seconds: float = CONNECT_TIMEOUT,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._host = host
        self._port = port
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._server_name = server_name
        self._idle: deque[UpstreamConnection] = deque()
        self._all: set[UpstreamConnection] = set()

    def kept(self) -> UpstreamConnection | None:
        """The most recently used idle connection, if one is still good."""
        idle = self._idle
        oldest = self._loop.time() - IDLE_SECONDS
        while idle and idle[0].idle_since < oldest:
            idle[0].abort()
        return idle.pop() if idle else None

    async def connect(self) -> UpstreamConnection:
        """Open a new connection, TLS verified. Raises UpstreamUnreachable."""
        loop = self._loop
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self),
                    self._host,
                    self._port,
                    ssl=self._context,
                    server_hostname=self._server_name,
                )
        except TimeoutError:
            raise UpstreamUnreachable(f"no connection to the API server within {self._connect_seconds:g} s") from None
        except ssl.SSLError as error:
            raise UpstreamUnreachable(f"TLS with the API server failed: {_tls_reason(error)}") from None
        except OSError as error:
            raise UpstreamUnreachable(f"no connection to the API server: {error.strerror or error}") from None
        self._all.add(connection)
        if (bound := connection.transport.get_extra_info("socket")) is not None:
            # A watch may be silent for minutes; a peer that is gone without a word must be noticed all the same.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS)
        return connection

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose answer is complete."""
        if len(self._idle) >= IDLE_LIMIT:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Drop a connection that is closed or handed over."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close every connection, idle or not."""
        for connection in list(self._all):
            connection.abort()


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return error.reason or "handshake failed"
