"""Whether the other end of a connection has closed it, though not all that it sent has been read yet."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

_STATE_IS_KNOWN: Final = hasattr(socket, "TCP_INFO")
_OVER: Final = frozenset({7, 8})
"""CLOSE and CLOSE_WAIT of linux/include/net/tcp_states.h: the end of the other side, or its reset, has arrived."""


def has_closed(transport: asyncio.Transport) -> bool:
    """Whether its peer has ended the connection: nobody reads what is written to it any more.

    Writing to it all the same fails, and a transport whose write failed is closed at once: what it had received by then
    and nobody had read, gigabytes of output behind a slow reader, would be lost. False where it cannot be told.
    """
    if not _STATE_IS_KNOWN or transport.is_closing():
        return False
    connection = transport.get_extra_info("socket")
    if connection is None:
        return False
    try:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        # No TCP, or nothing any more: its reader hears of that by itself.
        return False
    return state[0] in _OVER
