"""Health and metrics: `/healthz`, `/readyz` and `/metrics`, on a port of their own, loopback unless told otherwise.

`/healthz` says that the process runs. `/readyz` names everything without which the gate refuses requests, one line
each, so that whoever looks knows what to mend. Nothing secret is ever in either; neither asks who wants to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from narrowgate.control.serving import ServerLimits, listening, serve_app

Readiness = Callable[[], Mapping[str, str | None]]
"""What the gate needs, by name (`trail`, `store`, `cluster dev`): None where it is well, else what is wrong.

It is called on the event loop for each `/readyz` and must answer from memory.
"""

LONGEST_GOODBYE = 1
"""Seconds that open health requests get when the gate stops: they answer from memory, so none needs more."""

MOST_CONNECTIONS = 64
"""Probes and scrapers at one time. A handful is normal; beyond this, uvicorn answers 503."""


async def serve_health(host: str, port: int, readiness: Readiness, registry: CollectorRegistry) -> None:
    """Serve health and metrics until cancelled. Raises AddressTaken before anything is served."""
    with listening(host, port, "listen.health") as listener:
        limits = ServerLimits(connections=MOST_CONNECTIONS, goodbye=LONGEST_GOODBYE)
        await serve_app(health_app(readiness, registry), listener, limits)


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
