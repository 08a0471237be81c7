"""What the kernel knows of real connections."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import uvloop
from tests.unit.proxy.loopback import until

from narrowgate.proxy.connection_state import has_closed, has_unread


async def connected(server_side: asyncio.Future[asyncio.Transport]) -> tuple[asyncio.Server, asyncio.Transport]:
    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            server_side.set_result(cast("asyncio.Transport", transport))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    return server, transport


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_peer_that_has_closed_is_known_though_nothing_is_read(how: str) -> None:
    async def main() -> None:
        accepted: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        server, ours = await connected(accepted)
        theirs = await accepted
        ours.pause_reading()
        assert not has_unread(ours)
        theirs.write(b"not read yet")
        await until(lambda: has_unread(ours))
        assert not has_closed(ours)
        getattr(theirs, how)()
        await until(lambda: has_closed(ours))
        assert not ours.is_closing()
        ours.close()
        assert not has_closed(ours)
        assert not has_unread(ours)
        server.close()

    uvloop.run(main())


def test_what_is_no_tcp_connection_is_never_called_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def main() -> None:
        path = str(tmp_path_factory.mktemp("s") / "s")
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), path)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
        assert not has_closed(transport)
        transport.close()
        server.close()

    uvloop.run(main())
