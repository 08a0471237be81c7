"""One client's connection: bytes become requests, answers become bytes, and neither side outruns the other.

One task per connection reads a head, lets the pipeline serve it, and reads the next; bytes that arrive meanwhile wait
in a bounded buffer, so that pipelined requests are answered in order (RFC 9112 9.3.2). Everything a peer can keep open
has a deadline, looked at by the listener's sweep rather than by a timer each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import msgspec

from narrowgate.core.malformed import Malformed
from narrowgate.proxy.upstream import WRITE_HIGH_WATER
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import END_OF_HEAD, RequestHead, read_request_head

MAX_WAITING_BYTES = 128 * 1024
"""Bytes taken from a client ahead of being asked for; above this its reading pauses. More than one head always fits."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_DISCARDED_BYTES = 4 * 1024 * 1024
"""An unread request body up to this is read and thrown away, so that the answer arrives and the connection stays."""


log = logging.getLogger("narrowgate.client")


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may take: seconds for a head, between two pieces of a body, between two requests; and sizes."""

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 120.0
    head_bytes: int = 64 * 1024
    """A head above this is 431. Go's servers take 1 MiB; kubectl's largest (a long exec command) stay under 20 KiB."""
    headers: int = 128
    body_bytes: int = 3 * 1024 * 1024
    """A body that is read whole; above this is 413 (`MaxRequestBodyBytes` in k8s.io/apiserver/pkg/server/config.go)."""


class Source(Protocol):
    """What feeds this client and can be slowed down: an upstream connection, or the other side of a splice."""

    def pause(self) -> None:
        """Stop delivering."""
        ...

    def resume(self) -> None:
        """Deliver again."""
        ...


class Answered(Protocol):
    """Who is answered: the client, or whoever holds an answer for it (`proxy.held_answer`)."""

    must_close: bool

    @property
    def sent(self) -> int:
        """Bytes that have left for the client, of this answer."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes; never blocks."""
        ...

    async def flushed(self) -> None:
        """Wait until the client has taken enough for more to be written."""
        ...

    def bind(self, source: Source | None) -> None:
        """Name what is slowed down when the client is slow."""
        ...

    def abort(self) -> None:
        """Break the answer off."""
        ...


class ClientGone(Exception):
    """The client closed the connection, or was too slow, before its request was complete."""


class ClientConnection(asyncio.Protocol):
    """The protocol of one accepted connection. `serve` is called once per request and answers through this object."""

    __slots__ = (
        "_announced",
        "_awaits_continue",
        "_body",
        "_buffer",
        "_closes_after",
        "_closing",
        "_loop",
        "_on_drained",
        "_paused",
        "_payload",
        "_serve",
        "_source",
        "_task",
        "_waiter",
        "busy",
        "certificate",
        "deadline",
        "limits",
        "listener_forget",
        "lost",
        "must_close",
        "peer",
        "sent",
        "served_agent",
        "transport",
    )

    def __init__(
        self,
        serve: Callable[[ClientConnection, RequestHead], Awaitable[None]],
        refuse: Callable[[ClientConnection, Malformed], None],
        limits: ClientLimits,
        adopt: Callable[[ClientConnection], asyncio.Task[None]],
        forget: Callable[[ClientConnection], None],
    ) -> None:
        self.transport: asyncio.Transport
        self.peer = ""
        """The client's address, as recorded."""
        self.served_agent = ""
        """The last agent that sent a request on it, for `proxy.sightings`."""
        self.certificate = b""
        """DER of the client's certificate, verified by TLS; empty where it brought none, or none was asked for."""
        self.lost = False
        self.busy = False
        """A request is being served."""
        self.must_close = False
        """The connection ends with the current answer."""
        self.deadline = 0.0
        """Loop time at which the sweep closes this connection; 0 means never."""
        self.sent = 0
        """Bytes written to the client for the current answer."""
        self.listener_forget = forget
        self._loop = asyncio.get_running_loop()
        self._serve = (serve, refuse, adopt)
        self.limits = limits
        self._buffer = b""
        self._closing = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._on_drained: asyncio.Future[None] | None = None
        self._source: Source | None = None
        self._task: asyncio.Task[None] | None = None
        self._body: Body | None = None
        self._payload: list[bytes] = []
        self._announced = 0
        """Length that the current body was announced with; 0 where it was not."""
        self._awaits_continue = False
        self._closes_after = False

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface and not the class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if address else ""
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            # A resumed session has it too; renegotiation is off, so that it stays the same while the connection lives.
            self.certificate = tls.getpeercert(binary_form=True) or b""
        self._task = self._serve[2](self)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        waiter = self._waiter
        if waiter is not None:
            if not waiter.done():
                waiter.set_result(None)
        elif len(self._buffer) > MAX_WAITING_BYTES:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Let the transport close: TLS has no half-closed connections worth keeping (RFC 8446 6.1)."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.listener_forget(self)
        if self._on_drained is not None and not self._on_drained.done():
            self._on_drained.set_result(None)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif self._task is not None:
            # Whatever is done for this client is done for nobody now; the pipeline records the end on its way out.
            self._task.cancel()

    def pause_writing(self) -> None:
        if self._source is not None:
            self._source.pause()
        if self._on_drained is None:
            self._on_drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._source is not None:
            self._source.resume()
        if self._on_drained is not None and not self._on_drained.done():
            self._on_drained.set_result(None)
        self._on_drained = None

    # --- the life of the connection

    async def run(self) -> None:
        """Serve request after request until the client leaves, an answer closes, or the listener drains."""
        serve, refuse, _ = self._serve
        try:
            while not self._closing:
                self.sent = 0
                head = await self._next_head()
                self.busy = True
                self.must_close = not head.keep_alive
                self._begin_body(head)
                await serve(self, head)
                await self._finish_body()
                self.busy = False
                if self.must_close:
                    break
                # Whoever sends requests and reads no answers is not served further: answers would pile up here.
                await self.flushed()
        except Malformed as error:
            refuse(self, error)
        except ClientGone:
            pass
        except Exception:
            # The end of one connection, never of the gate: the listener's tasks share a group.
            log.exception("a connection from %s was given up", self.peer)
            self.abort()
        finally:
            self.close()
            # After a splice the transport no longer tells this object that it is lost.
            self.listener_forget(self)

    def close(self) -> None:
        """Close after what is buffered has been sent."""
        self._closing = True
        if not self.lost:
            self.transport.close()

    def abort(self) -> None:
        """Close at once; the client sees a broken connection."""
        self._closing = True
        if not self.lost:
            self.transport.abort()

    def drain(self) -> None:
        """Serve no further request: an idle connection closes now, a busy one after its answer."""
        self._closing = True
        self.must_close = True
        if not self.busy and not self.lost:
            self.transport.close()

    # --- reading

    async def _next_head(self) -> RequestHead:
        loop = self._loop
        searched = 0
        self.deadline = loop.time() + (self.limits.head_seconds if self._buffer else self.limits.idle_seconds)
        while True:
            end = self._buffer.find(END_OF_HEAD, searched)
            if (len(self._buffer) if end < 0 else end + 4) > self.limits.head_bytes:
                raise Malformed(f"the request head is larger than {self.limits.head_bytes // 1024} KiB", 431)
            if end >= 0:
                block, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
                self.deadline = 0.0
                head = read_request_head(block)
                if len(head.headers) > self.limits.headers:
                    raise Malformed(f"the request has more than {self.limits.headers} headers", 431)
                return head
            searched = max(len(self._buffer) - 3, 0)
            had_bytes = bool(self._buffer)
            await self._more()
            if not had_bytes:
                # The clock for a head starts with its first byte and is not set back by the next.
                self.deadline = loop.time() + self.limits.head_seconds

    async def _more(self) -> None:
        """Wait for bytes beyond those in the buffer. Raises ClientGone."""
        if self.lost:
            raise ClientGone
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self._waiter = self._loop.create_future()
        before = len(self._buffer)
        await self._waiter
        self._waiter = None
        if self.lost and len(self._buffer) == before:
            raise ClientGone

    def _begin_body(self, head: RequestHead) -> None:
        self._payload = []
        self._body = None if head.framing.empty else follow(head.framing, strict=True, payload=self._payload)
        self._announced = head.framing.length
        # Until the body is asked for it is open whether it comes at all, and so where the next request would begin.
        self._awaits_continue = b"expect" in head.fields and self._body is not None
        self.must_close = self.must_close or self._awaits_continue
        self._closes_after = not head.keep_alive

    async def body_part(self) -> bytes:
        """The next bytes of the body, without chunk lines; empty when it is complete. Raises ClientGone, Malformed."""
        body = self._body
        if body is None:
            return b""
        loop = self._loop
        while not self._payload and not body.done:
            if not self._buffer:
                if self._awaits_continue:
                    # The client holds its body back until somebody wants it (RFC 9110 10.1.1).
                    self.transport.write(CONTINUE)
                    self._is_continued()
                self.deadline = loop.time() + self.limits.body_seconds
                await self._more()
                self.deadline = 0.0
            self._feed(body)
        part = b"".join(self._payload)
        self._payload.clear()
        return part

    def _is_continued(self) -> None:
        self._awaits_continue = False
        self.must_close = self._closes_after or self._closing

    def _feed(self, body: Body) -> None:
        if self._awaits_continue:
            # It did not wait (RFC 9110 10.1.1 lets it): what is here is the body.
            self._is_continued()
        try:
            taken = body.feed(self._buffer)
        except Malformed:
            # Where the next request would begin cannot be known any more: nothing further is read.
            self._body = None
            self._buffer = b""
            self.must_close = True
            raise
        self._buffer = self._buffer[taken:]

    async def read_body(self) -> bytes:
        """The whole request body. Raises Malformed 413 above the limit, ClientGone."""
        limit = self.limits.body_bytes
        parts: list[bytes] = []
        size = self._announced
        read = 0
        while size <= limit and (part := await self.body_part()):
            parts.append(part)
            read += len(part)
            size = max(size, read)
        if size > limit:
            self.must_close = True
            raise Malformed(f"the request body is larger than {limit} bytes, the limit here", 413)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _finish_body(self) -> None:
        """Read away what nobody read, so that the next head is found where it begins."""
        body = self._body
        if body is None or body.done:
            return
        if self._awaits_continue or self._announced > MAX_DISCARDED_BYTES:
            # A body that was announced and may never come, or is too long to wait for: nothing follows on this one.
            self.must_close = True
            return
        size = 0
        while part := await self.body_part():
            size += len(part)
            if size > MAX_DISCARDED_BYTES:
                self.must_close = True
                return

    # --- writing

    def write(self, data: bytes) -> None:
        """Send bytes; back-pressure goes to the bound source."""
        if not self.lost:
            self.sent += len(data)
            self.transport.write(data)

    async def flushed(self) -> None:
        """Wait until the client has taken enough for more to be written."""
        if self._on_drained is not None and not self.lost:
            await self._on_drained

    def bind(self, source: Source | None) -> None:
        """Name what feeds this client, so that a slow client slows it down."""
        self._source = source
        if source is not None and self._on_drained is not None:
            source.pause()

    def take_over(self, protocol: asyncio.Protocol) -> bytes:
        """Hand the transport to a splice; bytes that the client sent already are returned."""
        early, self._buffer = self._buffer, b""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        self.transport.set_protocol(protocol)
        return early
