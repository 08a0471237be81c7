"""Signing in and out in a browser, whoever vouches: the list of providers, the end of the way, the home page.

What the providers' protocols need is next door (`oidc_sign_in`, the SAML routes); both end here, in `completed`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from narrowgate.control.console_sessions import ConsoleSessions
from narrowgate.control.pages import Pages
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.core.identity import Identity
from narrowgate.core.roles import RoleBinding
from narrowgate.store.port import Store


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One button of the sign-in page."""

    source: str
    """`oidc:<name>` or `saml:<name>`."""
    title: str

    @property
    def path(self) -> str:
        """Where signing in with it begins."""
        return "/sign-in/" + self.source.replace(":", "/", 1)


class SignInParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the pages work with."""

    settings: ControlSettings
    store: Store
    sessions: ConsoleSessions
    pages: Pages
    recorder: Recorder
    bindings: tuple[RoleBinding, ...] = ()


class SignInPages:
    """The pages around a sign-in."""

    def __init__(self, parts: SignInParts, providers: Sequence[Provider]) -> None:
        self._parts = parts
        self._providers = tuple(providers)

    async def completed(self, request: Request, who: Identity, return_to: str) -> Response:
        """The end of a sign-in that a provider's checks have passed: a new session, and on to `return_to`.

        `return_to` is a path of ours; anything else means the home page. `who.expires_at` bounds the session, None
        does not. Raises StoreUnavailable and TrailUnwritable: then nobody is signed in.
        """
        raise NotImplementedError


def sign_in_routes(pages: SignInPages) -> list[Route]:
    """`/`, `/sign-in`, `/sign-out`, `/signed-out`, `/sign-ins/<id>/end`."""
    del pages
    return []


def local_path(return_to: str) -> str:
    """`return_to` where it is a path of ours, else `/`."""
    del return_to
    return "/"
