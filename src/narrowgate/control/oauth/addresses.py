"""Where the authorization server's endpoints are, and the fixed words of its protocol."""

from __future__ import annotations

CLIENT_ID = "narrowgate-cli"
"""The one client that people sign in with. It is public: whatever is in a program on everybody's machine is no secret
(RFC 8252, section 8.4)."""

CLIENT_TITLE = "the Narrowgate command line"
"""What people are told that it is."""

METADATA_PATH = "/.well-known/oauth-authorization-server"
"""RFC 8414, section 3."""

AUTHORIZE_PATH = "/oauth/authorize"
TOKEN_PATH = "/oauth/token"
REVOKE_PATH = "/oauth/revoke"
DEVICE_AUTHORIZATION_PATH = "/oauth/device_authorization"
DEVICE_PATH = "/device"
"""Short: people type it (RFC 8628, section 3.3)."""

GRANT_CODE = "authorization_code"
GRANT_REFRESH = "refresh_token"
GRANT_CLIENT = "client_credentials"
GRANT_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

ASSERTION_JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""RFC 7523, section 2.2."""

TOKEN_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
TOKEN_ID = "urn:ietf:params:oauth:token-type:id_token"
TOKEN_JWT = "urn:ietf:params:oauth:token-type:jwt"
"""RFC 8693, section 3."""
