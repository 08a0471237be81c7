"""An API server for tests of what is listed and watched: the lists are given, the events are written by the test."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.unit.proxy.loopback import Peer, Script

WATCH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class ApiServer:
    """Answers lists in turn, the last of them again and again, and passes on what a test writes to the watch."""

    def __init__(self, *lists: bytes) -> None:
        self.lists = list(lists)
        self.watches = 0
        self._watch: Peer | None = None
        self._ended = asyncio.Event()

    async def __call__(self, script: Script, peer: Peer, _: int) -> None:
        while True:
            request = await script.take(peer)
            if "watch=1" in request.target:
                await peer.send(WATCH)
                self._watch = peer
                self.watches += 1
                self._ended.clear()
                await self._ended.wait()
                continue
            await peer.send(self.lists.pop(0) if len(self.lists) > 1 else self.lists[0])

    async def send(self, *events: dict[str, Any] | bytes) -> None:
        """Write events to the watch that was opened last, each cut in two chunks."""
        assert self._watch is not None
        for event in events:
            line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
            for part in (line[:10], line[10:]):
                await self._watch.send(b"%x\r\n%b\r\n" % (len(part), part))

    async def end(self) -> None:
        assert self._watch is not None
        await self._watch.send(b"0\r\n\r\n")
        self._ended.set()

    def cut(self) -> None:
        assert self._watch is not None
        self._watch.cut()
