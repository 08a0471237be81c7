"""One end of two joined connections: what it sends on, how it slows the other down, and how both end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from narrowgate.proxy.connection_state import has_closed, has_unread
from narrowgate.proxy.upstream import WRITE_HIGH_WATER, keep_while_paused


class Side(asyncio.Protocol):
    """One end; what it receives goes on to `other`, by whoever was named for it or as it is."""

    __slots__ = ("_ended", "_is_held", "_is_slow", "_received", "other", "passed", "transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        ended: asyncio.Future[None],
        received: Callable[[bytes], None] | None = None,
    ) -> None:
        """`ended` is set when either end has. `received` takes what came, and nothing (`b""`) at the end."""
        self.transport = transport
        self._ended = ended
        self._received = received or self.send_on
        self._is_held = False
        """Whether nothing is read for the recorder's sake."""
        self._is_slow = False
        """Whether nothing is read because `other` does not read."""
        self.passed = 0
        """Bytes that were sent on to `other`."""
        self.other: Side
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        keep_while_paused(transport)

    def join(self, other: Side) -> None:
        """Have the two pass on to each other; before anything is received."""
        self.other, other.other = other, self

    @property
    def is_heard(self) -> bool:
        """Whether anybody reads what is sent on now: not where the other end has closed, though that may not be known
        to its own reader yet.
        """
        return not self.other.transport.is_closing() and not has_closed(self.other.transport)

    def send_on(self, data: bytes) -> None:
        """Send this to the other side, unless it has closed: what it sent before that is still to be read."""
        if data and self.is_heard:
            self.send(data)

    def send(self, data: bytes) -> None:
        """Send this to the other side, which was found to be there (`is_heard`)."""
        self.passed += len(data)
        self.other.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received(data)

    def eof_received(self) -> None:
        """Close: neither SPDY nor WebSocket uses half-closed connections."""

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio.Protocol. The other side ends as well."""
        # close(), not abort(): what was received before the end is still delivered to the other side.
        self._received(b"")
        self.other.transport.close()
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.other.hold(slow=True)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.other.hold(slow=False)

    @property
    def is_behind(self) -> bool:
        """Whether more has come from there than was read."""
        return self._is_slow or self._is_held or has_unread(self.transport)

    def hold(self, *, slow: bool | None = None, held: bool | None = None) -> None:
        """Read nothing while there is a reason not to; both may hold at once."""
        before = self._is_slow or self._is_held
        self._is_slow = self._is_slow if slow is None else slow
        self._is_held = self._is_held if held is None else held
        now = self._is_slow or self._is_held
        if before == now or self.transport.is_closing():
            return
        if now:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
