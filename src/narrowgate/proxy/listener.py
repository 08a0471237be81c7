"""The data port: accepts TLS, holds the connections, closes the slow ones, drains on request."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from narrowgate.core.malformed import Malformed
from narrowgate.proxy.client import ClientConnection, ClientLimits
from narrowgate.wire.http1 import RequestHead

HANDSHAKE_SECONDS = 10.0
SWEEP_SECONDS = 1.0
"""How often connections are looked at for passed deadlines; timeouts are exact to this."""
GOODBYE_SECONDS = 1.0
"""How long an idle client gets to close its side when the gate stops."""
BACKLOG = 1024


def server_context(certificate: str, key: str, passphrase: str = "") -> ssl.SSLContext:
    """TLS towards clients: 1.2 or later, http/1.1 alone in ALPN. Raises ssl.SSLError, OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A function, because OpenSSL asks on the terminal where it is given nothing.
    context.load_cert_chain(certificate, key, lambda: passphrase)
    # A client proves itself once, in the handshake: what it proved there must not change under running requests.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def ask_for_certificates(context: ssl.SSLContext, authorities: str) -> None:
    """Let clients prove themselves by certificates of these CAs (PEM); any other certificate ends the handshake.

    Who brings none is served as before. Raises ssl.SSLError for what is no PEM.
    """
    context.load_verify_locations(cadata=authorities)
    context.verify_mode = ssl.CERT_OPTIONAL
    # A CA in the file is trusted as it is, also where it is an intermediate one whose root is not there.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


class Listener:
    """All client connections of this process."""

    def __init__(
        self,
        serve: Callable[[ClientConnection, RequestHead], Awaitable[None]],
        refuse: Callable[[ClientConnection, Malformed], None],
        limits: ClientLimits,
        max_connections: int,
    ) -> None:
        self._serve = serve
        self._refuse = refuse
        self._limits = limits
        self._max = max_connections
        self._connections: set[ClientConnection] = set()
        self._tasks: asyncio.TaskGroup
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._server.is_serving()

    async def start(self, bound: socket.socket, context: ssl.SSLContext, tasks: asyncio.TaskGroup) -> None:
        """Accept connections on a bound socket; their tasks belong to `tasks`."""
        self._tasks = tasks
        self._server = await asyncio.get_running_loop().create_server(
            self._protocol, sock=bound, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )

    def _protocol(self) -> ClientConnection:
        return ClientConnection(self._serve, self._refuse, self._limits, self._adopt, self._connections.discard)

    def _adopt(self, connection: ClientConnection) -> asyncio.Task[None]:
        if len(self._connections) >= self._max:
            connection.drain()
        else:
            self._connections.add(connection)
        return self._tasks.create_task(connection.run())

    async def sweep(self) -> None:
        """Close connections whose deadline has passed, for as long as the gate runs."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            for connection in list(self._connections):
                if connection.deadline and now > connection.deadline:
                    connection.abort()

    def stop_accepting(self) -> None:
        """Accept nothing more; connections that are in the middle of their handshake are closed after it."""
        self._max = 0
        if self._server is not None:
            self._server.close()

    async def drain(self, seconds: float) -> None:
        """Let running requests finish for at most `seconds`, then close what is left."""
        for connection in list(self._connections):
            connection.drain()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while self._connections and loop.time() < begun + seconds:
            await asyncio.sleep(0.05)
            if loop.time() > begun + GOODBYE_SECONDS:
                # They have been told; TLS would wait for an answer that a client who has left never sends.
                for connection in [each for each in self._connections if not each.busy]:
                    connection.abort()
        for connection in list(self._connections):
            connection.abort()
