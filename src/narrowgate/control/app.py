"""The control port's routes put together: what each part is, is in its own file; here is what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from narrowgate.authenticators.port import Authenticator
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.routes import api_routes
from narrowgate.control.callers import Callers
from narrowgate.control.console_sessions import ConsoleSessions
from narrowgate.control.first_admin import first_admin_routes
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.notifications.receivers import SlackReceiver
from narrowgate.control.notifications.slack_answers import slack_routes
from narrowgate.control.oauth import OAuthParts, Subjects, oauth_routes
from narrowgate.control.oidc_provider import OIDCProvider
from narrowgate.control.oidc_sign_in import oidc_sign_in_routes
from narrowgate.control.pages import Pages
from narrowgate.control.recorder import Recorder
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.settings import ControlSettings
from narrowgate.control.sign_in import Provider, SignInPages, SignInParts, sign_in_routes
from narrowgate.core.agent import AgentRecord
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.roles import RoleBinding
from narrowgate.core.rulebook import Rulebook
from narrowgate.keys.saml_key import SAMLKey
from narrowgate.recordings.port import RecordingStore
from narrowgate.store.port import Store


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """What changes while the gate runs, asked anew at every call."""

    authenticator: Callable[[], Authenticator]
    """Of the current snapshot; one that answers Unavailable while nobody knows what is current."""
    agents: Callable[[], Mapping[str, AgentRecord]]
    rulebook: Callable[[], Rulebook]


class ControlParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the control port is made of, once per process."""

    settings: ControlSettings
    store: Store
    issuer: AccessIssuer
    recorder: Recorder
    current: Current
    verifiers: Sequence[TokenVerifier] = ()
    """Of every configured issuer; people sign in with those that have a `login`."""
    saml: Sequence[SAMLProvider] = ()
    saml_key: SAMLKey | None = None
    """Set where there is a SAML provider."""
    bindings: tuple[RoleBinding, ...] = ()
    modes: Mapping[str, UpstreamMode] = {}
    trail: Path | None = None
    """The folder of the record."""
    recordings: RecordingStore | None = None
    """Where finished recordings are kept."""
    slack: Sequence[SlackReceiver] = ()
    """Channels in which people may answer by buttons."""


def control_app(parts: ControlParts) -> Starlette:
    """Everything that the control port serves. Made within the event loop.

    Raises `SAMLRefused` where a provider's metadata cannot be read, ssl.SSLError where an issuer's CA is none.
    """
    pages = Pages()
    sessions = ConsoleSessions(parts.store, parts.settings)
    sign_in_parts = SignInParts(
        settings=parts.settings,
        store=parts.store,
        sessions=sessions,
        pages=pages,
        recorder=parts.recorder,
        bindings=parts.bindings,
    )
    oidc = [
        OIDCProvider(verifier, parts.settings.url) for verifier in parts.verifiers if verifier.issuer.login is not None
    ]
    providers = (
        *(Provider(source=each.source, title=each.title) for each in oidc),
        *(Provider(source=each.source, title=each.title) for each in parts.saml),
    )
    sign_in = SignInPages(sign_in_parts, providers, {each.source: each.farewell for each in oidc})
    settings = parts.settings
    callers = Callers(
        parts.current.authenticator, sessions, parts.store, parts.bindings, settings.url, settings.longest_chain
    )
    api = ApiParts(
        settings=parts.settings,
        store=parts.store,
        recorder=parts.recorder,
        callers=callers,
        bindings=parts.bindings,
        rulebook=parts.current.rulebook,
        modes=parts.modes,
        providers=providers,
        trail=parts.trail,
        recordings=parts.recordings,
    )
    routes = [
        *pages.routes(),
        *sign_in_routes(sign_in),
        *first_admin_routes(sign_in_parts, sign_in, providers=bool(providers)),
        *oidc_sign_in_routes(oidc, sign_in, parts.store),
        *_saml_routes(parts, sign_in_parts, sign_in),
        *oauth_routes(
            OAuthParts(
                settings=parts.settings,
                store=parts.store,
                issuer=parts.issuer,
                recorder=parts.recorder,
                sessions=sessions,
                pages=pages,
                subjects=Subjects(authenticator=parts.current.authenticator, agents=parts.current.agents),
                requesting=api.requesting,
            )
        ),
        *api_routes(api),
        *slack_routes(api, parts.slack),
    ]

    async def nowhere(request: Request, error: Exception) -> Response:  # noqa: ARG001 (Starlette's signature)
        return pages.problem(request, 404, "There is no such page here.", way_on="/")

    app = Starlette(routes=routes, exception_handlers={404: nowhere})
    # Starlette would redirect `/sign-in/` to wherever the Host header says that it came to.
    app.router.redirect_slashes = False
    return app


def _saml_routes(parts: ControlParts, sign_in_parts: SignInParts, sign_in: SignInPages) -> list[Route]:
    if not parts.saml or parts.saml_key is None:
        return []
    # Not imported at start where nobody signs in with it.
    from narrowgate.control.saml.sign_in import saml_routes

    return saml_routes(parts.saml, sign_in_parts, sign_in, parts.saml_key)
