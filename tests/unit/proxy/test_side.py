"""One end of two joined connections, by itself: real connections, and what the kernel knows of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.unit.proxy.loopback import PATIENCE, certificate, run, tls_files, until

from narrowgate.proxy.connection_state import has_closed
from narrowgate.proxy.side import Side

AHEAD_SECONDS = 0.3
"""That a transport is given to read what it was told not to hand on."""


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
        await until(lambda: side.is_behind)
        assert side.passed == 0
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


def test_what_came_over_tls_before_the_end_is_not_lost_behind_a_slow_reader(tmp_path: Path) -> None:
    much = b"x" * 300_000
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files(tmp_path))
    listening = socket.create_server(("127.0.0.1", 0))

    def say_and_be_gone() -> None:
        accepted, _ = listening.accept()
        with context.wrap_socket(accepted, server_side=True) as pod:
            pod.sendall(much)

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        trusting = ssl.create_default_context(cadata=certificate()[0].decode())
        saying = asyncio.ensure_future(asyncio.to_thread(say_and_be_gone))
        near, _ = await loop.create_connection(asyncio.Protocol, *listening.getsockname(), ssl=trusting)
        side = Side(near, ended)
        side.hold(slow=True)
        near.set_protocol(side)
        ours, far = socket.socketpair()
        other, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
        side.join(Side(other, ended))
        reader, writer = await asyncio.open_connection(sock=far)
        # Long enough to read ahead as far as anything does.
        await asyncio.sleep(AHEAD_SECONDS)
        side.hold(slow=False)
        found = await asyncio.wait_for(reader.read(-1), PATIENCE)
        await saying
        writer.close()
        return found

    try:
        assert len(run(main())) == len(much)
    finally:
        listening.close()
