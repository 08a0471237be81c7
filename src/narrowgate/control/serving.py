"""An ASGI application on a port of the gate's: bound by us, served by uvicorn, ended by whoever cancels it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import msgspec
import uvicorn
from starlette.types import ASGIApp

from narrowgate.control.head_deadline import HeadDeadline

BACKLOG = 128
"""Connections that wait to be accepted; these ports have few clients."""

IDLE_SECONDS = 65
"""A kept-alive connection without a request is closed after this: a little more than load balancers wait."""


class AddressTaken(Exception):
    """An address cannot be listened on; the text says which, why, and what to do."""


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one port takes on."""

    connections: int
    """At one time; beyond this, uvicorn answers 503."""
    goodbye: int
    """Seconds that open requests get when the gate stops."""


async def serve_app(
    app: ASGIApp, listener: socket.socket, limits: ServerLimits, context: ssl.SSLContext | None = None
) -> None:
    """Serve `app` on a bound socket until cancelled, by TLS where a `context` is given.

    What a proxy in front would say about the client (X-Forwarded-*) is not believed: nobody here knows which proxy.
    """
    config = uvicorn.Config(
        app,
        http=HeadDeadline,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=limits.goodbye,
    )
    config.load()
    config.ssl = context
    server = _Server(config)
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        if server.started:
            await server.shutdown(sockets=[listener])
        raise


@contextlib.contextmanager
def listening(host: str, port: int, key: str) -> Iterator[socket.socket]:
    """A bound socket, closed at the end. uvicorn would bind by itself, and end the whole process where it cannot.

    `key` of the configuration names the address in the error. Raises AddressTaken.
    """
    with bound(host, port, key) as listener:
        yield listener


def bound(host: str, port: int, key: str) -> socket.socket:
    """A bound socket, the caller's to close. Raises AddressTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Who comes before this port is served waits for that, instead of being refused: one process says that the gate
        # is ready, and another one serves.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise AddressTaken(
            f"cannot listen on {host}:{port} ({reason.lower()}), {key} of the configuration: "
            "stop what listens there or name another port"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: SIGTERM and SIGINT belong to the gate, which drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
