"""`POST /oauth/token`: which grant a call means, and who answers it (RFC 6749, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, required
from narrowgate.control.oauth.work import Call, Desk, Prove, Work
from narrowgate.core.audit import ActsOn

UNKNOWN = ActsOn(verb="create", resource="accesscredentials")
"""What the record says of a call that proved nothing."""


class TokenEndpoint:
    """The endpoint; `grants` are by `grant_type`."""

    def __init__(self, desk: Desk, grants: Mapping[str, Prove]) -> None:
        self._desk = desk
        self._grants = dict(grants)

    async def serve(self, request: Request) -> Response:
        """Answer one call."""
        return await self._desk.serve(request, UNKNOWN, self._prove)

    async def _prove(self, parameters: Parameters, call: Call) -> Work:
        if call.uses_authorization:
            # A second way to say who one is (RFC 6749, section 2.3, forbids it), and no client here has a secret.
            raise Refused("invalid_client", "no client of this gate has a secret: leave Authorization out", code=401)
        grant = self._grants.get(required(parameters, "grant_type"))
        if grant is None:
            known = ", ".join(self._grants)
            raise Refused("unsupported_grant_type", f"this gate does not know this grant_type; it knows {known}")
        return await grant(parameters, call)
