"""`POST /oauth/device_authorization`: a program without a browser asks to sign in (RFC 8628, section 3.1)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from narrowgate.control.oauth.device_grant import DeviceGrant
from narrowgate.control.oauth.work import Desk
from narrowgate.core.audit import ActsOn

ASKS = ActsOn(verb="create", resource="devicerequests")


class DeviceEndpoint:
    """The endpoint."""

    def __init__(self, desk: Desk, grant: DeviceGrant) -> None:
        self._desk = desk
        self._grant = grant

    async def serve(self, request: Request) -> Response:
        """Answer one call."""
        return await self._desk.serve(request, ASKS, self._grant.prove_request)
