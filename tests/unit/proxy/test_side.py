"""One end of two joined connections, by itself: real connections, and what the kernel knows of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from tests.unit.proxy.loopback import PATIENCE, run, until

from narrowgate.proxy.connection_state import has_closed, has_unread
from narrowgate.proxy.side import Side


async def joined(received: Callable[[bytes], None] | None = None) -> tuple[Side, socket.socket, socket.socket]:
    """A side whose other one is joined to it, and the far ends of both, its own first."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    sides, ends = [], []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for handler in (received, None):
            far = socket.create_connection(listening.getsockname())
            far.setblocking(False)
            accepted, _ = listening.accept()
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
            sides.append(Side(transport, ended, handler))
            ends.append(far)
    sides[0].join(sides[1])
    for side in sides:
        side.transport.set_protocol(side)
    return sides[0], ends[0], ends[1]


def tried(test: Callable[[Side, socket.socket, socket.socket], Awaitable[None]]) -> None:
    """Run a test on two joined sides, and close what is left of them."""

    async def main() -> None:
        side, near, far = await joined()
        try:
            async with asyncio.timeout(PATIENCE):
                await test(side, near, far)
        finally:
            side.transport.abort()
            side.other.transport.abort()
            near.close()
            far.close()
            await asyncio.sleep(0)

    run(main())


def test_what_comes_goes_on_as_it_is_and_is_counted() -> None:
    async def test(side: Side, near: socket.socket, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(near, b"\0\xff as it is")
        assert await loop.sock_recv(far, 100) == b"\0\xff as it is"
        assert (side.passed, side.other.passed) == (11, 0)

    tried(test)


def test_nobody_hears_what_is_sent_on_once_the_other_end_has_closed_though_it_is_not_read_yet() -> None:
    async def test(side: Side, _: socket.socket, far: socket.socket) -> None:
        side.other.hold(slow=True)
        assert side.is_heard
        far.close()
        await until(lambda: has_closed(side.other.transport))
        assert not side.is_heard
        side.send_on(b"lost")
        assert side.passed == 0
        assert not side.other.transport.is_closing(), "what came before its end is still to be read"

    tried(test)


def test_a_side_is_read_again_only_when_no_reason_is_left_not_to() -> None:
    async def test(side: Side, near: socket.socket, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        side.hold(slow=True, held=True)
        await loop.sock_sendall(near, b"kept")
        side.hold(slow=False)
        # It has come, and stays where it is: whoever reads it does so in the loop's next turns.
        await until(lambda: has_unread(side.transport))
        await asyncio.sleep(0.05)
        assert (side.passed, has_unread(side.transport)) == (0, True)
        side.hold(held=False)
        assert await loop.sock_recv(far, 100) == b"kept"

    tried(test)


def test_the_end_of_one_ends_the_other() -> None:
    async def test(side: Side, near: socket.socket, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(near, b"last")
        near.close()
        assert await loop.sock_recv(far, 100) == b"last"
        assert await loop.sock_recv(far, 100) == b""
        assert side.other.transport.is_closing()

    tried(test)
