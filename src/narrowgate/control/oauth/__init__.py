"""The OAuth 2.0 authorization server of the gate: for `narrowgate-cli`, the one public client, and for workloads."""

from narrowgate.control.oauth.parts import OAuthParts, Subjects
from narrowgate.control.oauth.routes import oauth_routes

__all__ = ["OAuthParts", "Subjects", "oauth_routes"]
