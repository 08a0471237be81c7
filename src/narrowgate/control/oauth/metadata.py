"""`/.well-known/oauth-authorization-server`: what a client must know, for everybody to read (RFC 8414)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from narrowgate.control.oauth import addresses
from narrowgate.control.settings import ControlSettings
from narrowgate.core.authorization_details import TYPE

CACHED = {"Cache-Control": "max-age=60", "X-Content-Type-Options": "nosniff"}
"""A minute: it changes with the gate's configuration alone."""


def metadata(settings: ControlSettings) -> dict[str, object]:
    """The document. Names of clusters are not in it: whoever may know them has signed in."""
    url = settings.url
    return {
        "issuer": url,
        "authorization_endpoint": url + addresses.AUTHORIZE_PATH,
        "token_endpoint": url + addresses.TOKEN_PATH,
        "revocation_endpoint": url + addresses.REVOKE_PATH,
        "device_authorization_endpoint": url + addresses.DEVICE_AUTHORIZATION_PATH,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            addresses.GRANT_CODE,
            addresses.GRANT_DEVICE,
            addresses.GRANT_REFRESH,
            addresses.GRANT_EXCHANGE,
            addresses.GRANT_CLIENT,
        ],
        "authorization_details_types_supported": [TYPE],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["EdDSA", "Ed25519"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": True,
        "narrowgate_kubernetes_url": settings.kubernetes_url,
        "narrowgate_certificate_authority": settings.ca_pem,
    }


class MetadataEndpoint:
    """Serves the document."""

    def __init__(self, settings: ControlSettings) -> None:
        self._document = metadata(settings)

    async def serve(self, request: Request) -> Response:  # noqa: ARG002 (Starlette's signature)
        """Answer one call; it is not recorded, for it tells nothing that is not public."""
        return JSONResponse(self._document, headers=CACHED)
