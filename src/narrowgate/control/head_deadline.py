"""uvicorn's HTTP/1.1, with an end to its patience: a connection must bring the head of a request in time.

uvicorn closes connections that rest after an answer, and waits for ever for those that never asked anything, or are in
the middle of a head. Each of them takes one of a port's few places, so that a handful of sockets could close it.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0
"""From connecting, or from a request's first byte, to the end of its head. A client that has something to say says it
at once; the data port gives ten."""


class HeadDeadline(H11Protocol):
    """The protocol for uvicorn (`http=`): it closes the connection where a head takes longer than `head_seconds`."""

    head_seconds = HEAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._rest()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if not self._awaits_head():
            self._rest()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._over)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _over(self) -> None:
        self._deadline = None
        if self._awaits_head() and not self.transport.is_closing():
            self.transport.close()
