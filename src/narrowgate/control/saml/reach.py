"""Whether an identity provider answers at all, so that nobody is sent to a page that cannot come.

The gate itself never needs the provider: the browser carries everything. Thus only a plain "no" counts, a refused
connection; where the gate may not go out (no route, no name, no answer in time), the browser may.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

LONGEST_WAIT = 1.0
"""Seconds that a sign-in may be held up; a refusal comes within one round trip."""

MOST_PROBES = 16
"""Connections at one time; beyond them people are sent on without asking."""


HTTPS = 443


class Reach:
    """Asks, a bounded number at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MOST_PROBES)

    async def refuses(self, url: str) -> bool:
        """Whether nothing listens at the host and port of `url` (https)."""
        parts = urlsplit(url)
        if self._turns.locked() or not parts.hostname:
            return False
        async with self._turns:
            try:
                async with asyncio.timeout(LONGEST_WAIT):
                    return await _all_refuse(parts.hostname, parts.port or HTTPS)
            except (OSError, TimeoutError):
                return False


async def _all_refuse(host: str, port: int) -> bool:
    """Whether every address of `host` refuses connections. Raises OSError where that cannot be told."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for address in dict.fromkeys(str(info[4][0]) for info in found):
        try:
            _, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return False
    return bool(found)
