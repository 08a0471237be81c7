"""What the kernel knows of a connection and its reader does not yet: that more has come, that the other end is gone."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Final

_STATE_IS_KNOWN: Final = hasattr(socket, "TCP_INFO")
_NUMBER: Final = struct.Struct("i")
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


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether something has come that was not read yet. False where it cannot be told."""
    connection = None if transport.is_closing() else transport.get_extra_info("socket")
    if connection is None:
        return False
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(_NUMBER.size))
    except OSError:
        return False
    (unread,) = _NUMBER.unpack(answer)
    return bool(unread)
