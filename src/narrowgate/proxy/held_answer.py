"""An answer that is held until it has been kept: in the client's place, for whatever writes to the client.

Nothing leaves before somebody says so. Of an answer beyond the limit as much as the limit is looked at; then the rest
goes by, slowed down by the client as ever.
"""

from __future__ import annotations

from collections.abc import Callable

from narrowgate.proxy.client import Answered, Source
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import END_OF_HEAD, ResponseHead, read_response_head


class HeldAnswer:
    """Takes one answer. See `proxy.client.Answered`."""

    def __init__(self, client: Answered, method: str, limit: int, beyond: Callable[[HeldAnswer], str]) -> None:
        """`limit` is in bytes of the body. `beyond` is called once where there are more, and says why none of it may
        leave; where it says nothing, what is held leaves, and everything that follows.
        """
        self._client = client
        self._method = method
        self._limit = limit
        self._beyond = beyond
        self._held: list[bytes] = []
        self._source: Source | None = None
        self._counter: Body | None = None
        self._payload: list[bytes] = []
        self._size = 0
        self.head: ResponseHead | None = None
        """The answer's head; None before it is there."""
        self.is_passing = False
        """Whether it leaves by now."""
        self.is_broken = False
        """Whether it was broken off while nothing of it had left."""
        self.failed = ""
        """What `beyond` said."""

    @property
    def must_close(self) -> bool:
        """The client's."""
        return self._client.must_close

    @must_close.setter
    def must_close(self, value: bool) -> None:
        self._client.must_close = value

    @property
    def sent(self) -> int:
        """Bytes that have left."""
        return self._client.sent

    @property
    def body(self) -> bytes:
        """What is held of the body, without the lines of its chunks."""
        return b"".join(self._payload)

    def write(self, data: bytes) -> None:
        """Hold this, or let it by."""
        if self.is_passing:
            self._client.write(data)
            return
        if self.failed:
            return
        self._held.append(data)
        self._read(data)
        if self._size > self._limit:
            self.failed = self._beyond(self)
            if self.failed:
                self._forget()
            else:
                self.let_go()

    def let_go(self) -> None:
        """Send what is held; what follows goes by."""
        self.is_passing = True
        held, self._held = self._held, []
        self._forget()
        if self._source is not None:
            self._client.bind(self._source)
        if held:
            self._client.write(b"".join(held))

    async def flushed(self) -> None:
        """Wait for the client, where it is sent anything."""
        if self.is_passing:
            await self._client.flushed()

    def bind(self, source: Source | None) -> None:
        """Name what the client slows down, once it is sent anything."""
        self._source = source
        if self.is_passing:
            self._client.bind(source)

    def abort(self) -> None:
        """Break the answer off: seen by the client only where something has left."""
        if self.is_passing:
            self._client.abort()
        else:
            self.is_broken = True
            self._forget()

    def _read(self, data: bytes) -> None:
        """Take the payload out of it. A head comes in one piece, by itself or with what follows."""
        if self.head is None:
            end = data.index(END_OF_HEAD) + len(END_OF_HEAD)
            self.head, data = read_response_head(data[:end], self._method), data[end:]
            framing = self.head.framing
            if not framing.empty and not framing.until_close:
                self._counter = follow(framing, strict=False, payload=self._payload)
        before = len(self._payload)
        if self._counter is not None:
            self._counter.feed(data)
        elif data:
            self._payload.append(data)
        self._size += sum(map(len, self._payload[before:]))

    def _forget(self) -> None:
        self._held, self._payload = [], []
