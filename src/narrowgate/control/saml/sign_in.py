"""Signing in with SAML 2.0: the pages between the gate and an identity provider.

A sign-in goes away with a request of ours (`GET /sign-in/saml/<name>`) and comes back as a form that the provider has
the browser post (`POST .../acs`). What is remembered meanwhile lies in the store under the relay state, once and for
ten minutes, and is tied to the browser by a cookie. That cookie is `SameSite=None`: the form comes from another site,
and a stricter one would stay away. It opens nothing by itself: a response is taken only where relay state, request and
browser belong together.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from narrowgate.control.forms import read_form
from narrowgate.control.pages import HEADERS
from narrowgate.control.saml.metadata import check_valid, own_metadata, read_metadata
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.saml.reach import Reach
from narrowgate.control.saml.request import ServiceProvider, new_request_id, redirect_url
from narrowgate.control.saml.response import Expected, Proven, proven
from narrowgate.control.saml.xml import MOST_BYTES, SAMLRefused
from narrowgate.control.sign_in import SEE_OTHER, SignInPages, SignInParts, local_path
from narrowgate.keys.saml_key import SAMLKey

COOKIE = "__Host-narrowgate-saml"

PENDING_SECONDS = 600
"""Seconds from the gate to the provider and back, passwords and second factors included."""

TOKEN_BYTES = 32
"""256 random bits for the relay state and for the cookie; as text 43 characters, and a relay state may have 80 bytes
(saml-bindings-2.0-os, section 3.4.3)."""

TOKEN_CHARACTERS = 43

FORM_LIMIT = 2 * MOST_BYTES
"""Bytes of the posted form: base64 makes a third more of a message, percent-encoding a little again."""

METADATA_TYPE = "application/samlmetadata+xml"

_REQUESTS = "saml-request"
_ASSERTIONS = "saml-assertion"
"""Purposes in the store's `once`."""


class _Pending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered while somebody is at the provider."""

    provider: str
    request_id: str
    browser: str
    """SHA-256 of the cookie, in hex."""
    return_to: str


class SAMLSignIn:
    """Signing in with one identity provider."""

    def __init__(self, provider: SAMLProvider, parts: SignInParts, pages: SignInPages, key: SAMLKey) -> None:
        """Raises SAMLRefused where the provider's metadata cannot be used."""
        self._provider = provider
        self._metadata = read_metadata(provider.metadata)
        self._store = parts.store
        self._parts = parts
        self._pages = pages
        self._reach = Reach()
        here = parts.settings.url.rstrip("/") + self.path
        self._gate = ServiceProvider(entity_id=provider.entity_id or f"{here}/metadata", acs_url=f"{here}/acs", key=key)

    @property
    def path(self) -> str:
        """Where everything about this provider is."""
        return f"/sign-in/saml/{self._provider.name}"

    def routes(self) -> list[Route]:
        """The three addresses."""
        guarded = self._pages.guarded
        return [
            Route(self.path, guarded(self.begin), methods=["GET"]),
            Route(f"{self.path}/acs", guarded(self.answered), methods=["POST"]),
            Route(f"{self.path}/metadata", self.metadata, methods=["GET"]),
        ]

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider."""
        title, url, now = self._provider.title, self._metadata.sign_in_url, time.time()
        return_to = local_path(request.query_params.get("return_to", "/"))
        try:
            check_valid(self._metadata, now)
        except SAMLRefused as refused:
            return await self._pages.refused(
                request, self._provider.source, f"{title} cannot be used now: {refused}", 503
            )
        if "anyway" not in request.query_params and await self._reach.refuses(url):
            return self._parts.pages.problem(
                request,
                503,
                f"{title} does not answer: nothing listens at {url.partition('?')[0]}. Nobody new can sign in with it "
                "until it is back; go on if your browser can reach it all the same.",
                way_on=f"{self.path}?{urlencode({'return_to': return_to, 'anyway': 1})}",
            )
        request_id, relay_state = new_request_id(), _new_token()
        browser = _cookie(request) or _new_token()
        pending = _Pending(
            provider=self._provider.name, request_id=request_id, browser=_hashed(browser), return_to=return_to
        )
        payload = msgspec.json.encode(pending).decode()
        await asyncio.to_thread(
            self._store.once.put, _REQUESTS, relay_state, payload, expires_at=now + PENDING_SECONDS, now=now
        )
        onward = redirect_url(self._gate, self._metadata, request_id, relay_state, now)
        response = RedirectResponse(onward, SEE_OTHER, HEADERS)
        # Another sign-in in another tab keeps its cookie: it is renewed, not replaced.
        response.set_cookie(
            COOKIE, browser, max_age=PENDING_SECONDS, path="/", secure=True, httponly=True, samesite="none"
        )
        return response

    async def answered(self, request: Request) -> Response:
        """Take the provider's response, and sign in whom it proves."""
        form = await read_form(request, FORM_LIMIT)
        now = time.time()
        pending = await self._pending(request, form.get("RelayState", ""), now)
        if pending is None:
            return await self._refused(
                request,
                "it answers no sign-in that this browser has begun in the last ten minutes, or was used before; sign "
                "in again",
            )
        expected = Expected(
            provider=self._provider,
            metadata=self._metadata,
            audience=self._gate.entity_id,
            acs_url=self._gate.acs_url,
            request_id=pending.request_id,
        )
        try:
            told = await asyncio.to_thread(_read, form.get("SAMLResponse", ""), expected, now)
        except SAMLRefused as refused:
            return await self._refused(request, str(refused))
        if not await self._first_use(told, now):
            return await self._refused(request, "its assertion was used before; sign in again")
        return await self._pages.completed(request, told.who, pending.return_to)

    async def metadata(self, request: Request) -> Response:  # noqa: ARG002 (Starlette's signature)
        """What the provider's administrator is to be given."""
        signs = self._metadata.wants_signed_requests
        text = own_metadata(self._gate.entity_id, self._gate.acs_url, self._gate.key.certificate, signs=signs)
        return Response(text, media_type=METADATA_TYPE, headers=HEADERS)

    async def _pending(self, request: Request, relay_state: str, now: float) -> _Pending | None:
        """What this browser was sent away with; it is used up by asking."""
        if len(relay_state) != TOKEN_CHARACTERS:
            return None
        payload = await asyncio.to_thread(self._store.once.take, _REQUESTS, relay_state, now=now)
        if payload is None:
            return None
        pending = msgspec.json.decode(payload, type=_Pending)
        same_browser = hmac.compare_digest(pending.browser, _hashed(_cookie(request)))
        return pending if same_browser and pending.provider == self._provider.name else None

    async def _first_use(self, told: Proven, now: float) -> bool:
        # Bound to a request that counts once, an assertion could not come twice anyway; two reasons are better.
        key = f"{self._metadata.entity_id} {told.assertion_id}"
        return await asyncio.to_thread(
            self._store.once.put, _ASSERTIONS, key, "", expires_at=told.usable_until, now=now
        )

    async def _refused(self, request: Request, reason: str) -> Response:
        sentence = f"the response of {self._provider.title} is refused: {reason}"
        return await self._pages.refused(request, self._provider.source, sentence)


def saml_routes(providers: Sequence[SAMLProvider], parts: SignInParts, pages: SignInPages, key: SAMLKey) -> list[Route]:
    """`/sign-in/saml/<name>`, `.../acs` and `.../metadata` of every provider.

    Raises SAMLRefused where a provider's metadata cannot be read; the configuration was held against that before.
    """
    return [route for provider in providers for route in SAMLSignIn(provider, parts, pages, key).routes()]


def _read(encoded: str, expected: Expected, now: float) -> Proven:
    """The response in the form's field. Raises SAMLRefused."""
    try:
        # Providers break lines, and browsers send their own line ends; nothing else is left out.
        message = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise SAMLRefused("it is not base64") from None
    return proven(message, expected, now)


def _new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def _cookie(request: Request) -> str:
    """The browser's cookie; empty where it has none that could be ours."""
    value = request.cookies.get(COOKIE, "")
    return value if len(value) == TOKEN_CHARACTERS and value.isascii() else ""


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
