"""The API's calls as routes of the control port, and what of the gate is public."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from narrowgate import __version__
from narrowgate.control.api.calls import PREFIX, Call
from narrowgate.control.api.openapi import openapi_document
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.serving import HEADERS, Resource
from narrowgate.control.api.table import CALLS
from narrowgate.control.problems import Problem, Trouble, encode, problem_response

OPENAPI_PATH = f"{PREFIX}/openapi.json"
METADATA_PATH = "/.well-known/narrowgate"


def api_routes(parts: ApiParts) -> list[Route]:
    """Everything under `/api`, and `/.well-known/narrowgate`."""
    openapi = encode(openapi_document(CALLS, parts.settings.url, __version__))
    return [
        _public(OPENAPI_PATH, openapi),
        _public(METADATA_PATH, encode(_metadata(parts))),
        *(Route(PREFIX + path, Resource(parts, calls)) for path, calls in _by_path(CALLS).items()),
        # Whatever else is asked for there is refused in the same words, and recorded.
        Route("/api/{rest:path}", Resource(parts, {})),
    ]


def _by_path(calls: Iterable[Call]) -> dict[str, dict[str, Call]]:
    """The calls of each path by method: fixed paths before those with parameters, so that the former are found."""
    found: dict[str, dict[str, Call]] = {}
    for call in sorted(calls, key=lambda call: "{" in call.path):
        found.setdefault(call.path, {})[call.method] = call
    return found


def _metadata(parts: ApiParts) -> dict[str, Any]:
    """What anybody may know: where the gate is, whom to trust, how to sign in."""
    settings = parts.settings
    return {
        "version": __version__,
        "apiVersions": ["v1"],
        "controlURL": settings.url,
        "kubernetesURL": settings.kubernetes_url,
        "certificateAuthority": settings.ca_pem,
        "signIn": [
            {"source": one.source, "title": one.title, "url": settings.url + one.path} for one in parts.providers
        ],
        "openapi": settings.url + OPENAPI_PATH,
    }


def _public(path: str, content: bytes) -> Route:
    """A document that anybody may read: nothing is asked, nothing recorded."""

    async def show(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return problem_response(Problem(Trouble.METHOD, "this can only be read", {"Allow": "GET, HEAD"}))
        return Response(content, headers=HEADERS, media_type="application/json")

    return Route(path, show, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
