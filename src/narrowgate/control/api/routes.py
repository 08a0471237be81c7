"""The API's calls as routes of the control port."""

from __future__ import annotations

from starlette.routing import Route

from narrowgate.control.api.parts import ApiParts


def api_routes(parts: ApiParts) -> list[Route]:
    """Everything under `/api/v1`, and `/.well-known/narrowgate`."""
    del parts
    return []
