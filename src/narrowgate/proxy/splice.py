"""After 101: bytes pass both ways unchanged until one side ends, each side slowed down by the other."""

from __future__ import annotations

import asyncio

from narrowgate.proxy.side import Side


class Splice:
    """Two transports joined. `run` ends when either side has; `cut` ends both at once."""

    def __init__(self, client: asyncio.Transport, upstream: asyncio.Transport) -> None:
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.client = Side(client, self._ended)
        self.upstream = Side(upstream, self._ended)
        self.client.join(self.upstream)

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
    def bytes_out(self) -> int:
        """Bytes to the client."""
        return self.upstream.passed
