"""After 101: bytes pass both ways unchanged until one side ends, each side slowed down by the other."""

from __future__ import annotations

import asyncio

from narrowgate.proxy.connection_state import has_closed
from narrowgate.proxy.upstream import WRITE_HIGH_WATER


class _Side(asyncio.Protocol):
    """One end of a splice; what it receives goes to `other`."""

    __slots__ = ("ended", "other", "received", "transport")

    def __init__(self, transport: asyncio.Transport, ended: asyncio.Future[None]) -> None:
        self.transport = transport
        self.ended = ended
        self.received = 0
        self.other: _Side
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if not has_closed(self.other.transport):
            self.other.transport.write(data)

    def eof_received(self) -> None:
        """Close: neither SPDY nor WebSocket uses half-closed connections."""

    def connection_lost(self, exc: Exception | None) -> None:
        # close(), not abort(): what was received before the end is still delivered to the other side.
        self.other.transport.close()
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class Splice:
    """Two transports joined. `run` ends when either side has; `cut` ends both at once."""

    def __init__(self, client: asyncio.Transport, upstream: asyncio.Transport) -> None:
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client = _Side(client, self._ended)
        self.upstream = _Side(upstream, self._ended)
        self.client.other = self.upstream
        self.upstream.other = self.client

    async def run(self, from_client: bytes, from_upstream: bytes) -> None:
        """Pass on what had already arrived, then everything else."""
        if from_client:
            self.client.data_received(from_client)
        if from_upstream:
            self.upstream.data_received(from_upstream)
        for side in (self.client, self.upstream):
            if side.transport.is_closing():
                # It ended before it was handed over: nobody tells its new protocol any more.
                side.connection_lost(None)
        try:
            await self._ended
        finally:
            self.client.transport.close()
            self.upstream.transport.close()

    def cut(self) -> None:
        """End both sides at once."""
        self.client.transport.abort()
        self.upstream.transport.abort()

    @property
    def bytes_in(self) -> int:
        """Bytes from the client."""
        return self.client.received

    @property
    def bytes_out(self) -> int:
        """Bytes to the client."""
        return self.upstream.received
