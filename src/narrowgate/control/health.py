"""Health and metrics: `/healthz`, `/readyz` and `/metrics`, on a port of their own, loopback unless told otherwise.

`/healthz` says that the process runs. `/readyz` names everything without which the gate refuses requests, one line
each, so that whoever looks knows what to mend. Nothing secret is ever in either; neither asks who wants to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping

import prometheus_client
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Readiness = Callable[[], Mapping[str, str | None]]
"""What the gate needs, by name (`trail`, `store`, `cluster dev`): None where it is well, else what is wrong.

It is called on the event loop for each `/readyz` and must answer from memory.
"""

LONGEST_GOODBYE = 1
"""Seconds that open health requests get when the gate stops: they answer from memory, so none needs more."""

MOST_CONNECTIONS = 64
"""Probes and scrapers at one time. A handful is normal; beyond this, uvicorn answers 503."""


class HealthPortTaken(Exception):
    """The health address cannot be listened on; the text says which, why, and what to do."""


async def serve_health(host: str, port: int, readiness: Readiness, registry: CollectorRegistry) -> None:
    """Serve health and metrics until cancelled. Raises HealthPortTaken before anything is served."""
    with listening(host, port) as listener:
        config = uvicorn.Config(
            health_app(readiness, registry),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=LONGEST_GOODBYE,
        )
        server = _Server(config)
        try:
            await server.serve(sockets=[listener])
        except asyncio.CancelledError:
            if server.started:
                await server.shutdown(sockets=[listener])
            raise


def health_app(readiness: Readiness, registry: CollectorRegistry) -> Starlette:
    """The three pages as an ASGI application."""

    async def healthz(request: Request) -> Response:  # noqa: ARG001 (Starlette's signature)
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        conditions = readiness()
        # Nothing known to be well is not the same as well: a gate that reports on nothing is not ready.
        ready = bool(conditions) and all(trouble is None for trouble in conditions.values())
        status = 200 if ready else 503
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"ready": ready, "conditions": dict(conditions)}, status)
        lines = [f"{name}: {'ok' if trouble is None else trouble}" for name, trouble in conditions.items()]
        return PlainTextResponse("\n".join([*lines, "ready" if ready else "not ready", ""]), status)

    async def metrics(request: Request) -> Response:  # noqa: ARG001 (Starlette's signature)
        return Response(prometheus_client.generate_latest(registry), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)])


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket, closed at the end. uvicorn would bind by itself, and end the whole process where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise HealthPortTaken(
            f"cannot listen on {host}:{port} ({reason.lower()}), listen.health of the configuration: "
            "stop what listens there or name another port"
        ) from error
    with listener:
        yield listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: SIGTERM and SIGINT belong to the gate, which drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
