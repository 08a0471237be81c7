"""Signing in with an OpenID provider: off to it, and back with its answer.

`GET /sign-in/oidc/<name>` sends the browser there; `GET /sign-in/oidc/<name>/callback` takes the answer. Everything
that can go wrong on the way is a page with one sentence and a way on, and an entry in the trail.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from narrowgate.control.console_sessions import cookies_of
from narrowgate.control.forms import FormRefused, parse_form
from narrowgate.control.oidc_pending import (
    MOST_PENDING,
    PENDING_SECONDS,
    OIDCPending,
    cookie_name,
    is_cookie_name,
    read_pending,
)
from narrowgate.control.oidc_provider import OIDCProvider, ProviderFailed, shown
from narrowgate.control.pages import HEADERS
from narrowgate.control.sign_in import SEE_OTHER, SignInPages, local_path
from narrowgate.store.port import Store

ANSWER_LIMIT = 16 << 10
"""Characters of an answer's query; a code has up to some 2,000."""

_SPENT = "oidc state"


class OIDCSignIn:
    """The two routes of every provider."""

    def __init__(self, providers: Sequence[OIDCProvider], pages: SignInPages, store: Store) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._pages = pages
        self._once = store.once

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider, with a cookie that its answer will be held against."""
        provider = self._providers.get(request.path_params["name"])
        if provider is None:
            return await self._unknown(request)
        now = time.time()
        pending = OIDCPending.begin(provider.name, local_path(request.query_params.get("return_to", "/")), now)
        try:
            url = await provider.authorization_url(pending)
        except ProviderFailed as error:
            return await self._pages.refused(request, provider.source, error.sentence, error.code)
        response = RedirectResponse(url, SEE_OTHER, HEADERS)
        response.set_cookie(
            pending.cookie_name, pending.cookie(), max_age=int(PENDING_SECONDS), path="/", secure=True, httponly=True,
            samesite="lax",
        )  # fmt: skip
        for name in _outdated(request, now):
            _forget(response, name)
        return response

    async def callback(self, request: Request) -> Response:
        """Take the provider's answer."""
        provider = self._providers.get(request.path_params["name"])
        if provider is None:
            return await self._unknown(request)
        try:
            answer = _answer(request)
            pending = self._begun(request, provider, answer)
            response = await self._answered(request, provider, pending, answer)
        except ProviderFailed as error:
            response = await self._pages.refused(request, provider.source, error.sentence, error.code)
        state = request.query_params.get("state", "")
        name = cookie_name(state)
        if is_cookie_name(name) and any(name == held for held, _ in cookies_of(request)):
            _forget(response, name)
        return response

    def _begun(self, request: Request, provider: OIDCProvider, answer: Mapping[str, str]) -> OIDCPending:
        """The sign-in that this answer belongs to, begun in this very browser. Raises ProviderFailed."""
        state = answer.get("state", "")
        found = [value for name, value in cookies_of(request) if name == cookie_name(state)]
        pending = read_pending(found[0]) if len(found) == 1 else None
        if pending is None or not hmac.compare_digest(pending.state.encode(), state.encode()):
            raise ProviderFailed(
                f"this sign-in was not begun in this browser, or not at {provider.gate_url}, "
                f"or more than {PENDING_SECONDS / 60:.0f} minutes ago, or it is done already; begin again",
                400,
            )
        if pending.provider != provider.name:
            raise ProviderFailed(f"this sign-in was not begun with {provider.title}; begin again", 400)
        if not pending.runs(time.time()):
            raise ProviderFailed(f"this sign-in took longer than {PENDING_SECONDS / 60:.0f} minutes; begin again", 400)
        return pending

    async def _answered(
        self, request: Request, provider: OIDCProvider, pending: OIDCPending, answer: Mapping[str, str]
    ) -> Response:
        await provider.check_named(answer.get("iss"))
        if "error" in answer:
            raise _declined(provider, answer)
        if not answer.get("code"):
            raise ProviderFailed(f"{provider.title} answered without a code; begin again", 400)
        if await asyncio.to_thread(self._once.look, _SPENT, pending.state, now=time.time()) is not None:
            raise self._used(provider)
        redeemed = await provider.redeem(answer["code"], pending)
        # Only now, when somebody was vouched for: nobody else makes the gate write anything down.
        until = pending.started_at + PENDING_SECONDS + 1
        if not await asyncio.to_thread(self._once.put, _SPENT, pending.state, "", expires_at=until, now=time.time()):
            raise self._used(provider)
        return await self._pages.completed(request, redeemed.who, pending.return_to, keepsake=redeemed.hint)

    def _used(self, provider: OIDCProvider) -> ProviderFailed:
        return ProviderFailed(f"this answer of {provider.title} was used already; begin again", 400)

    async def _unknown(self, request: Request) -> Response:
        return await self._pages.refused(request, "oidc", "there is no provider of this name here; begin again", 404)


def oidc_sign_in_routes(providers: Sequence[OIDCProvider], pages: SignInPages, store: Store) -> list[Route]:
    """`/sign-in/oidc/<name>` and its `/callback`."""
    sign_in = OIDCSignIn(providers, pages, store)
    return [
        Route("/sign-in/oidc/{name}", pages.guarded(sign_in.begin), methods=["GET"]),
        Route("/sign-in/oidc/{name}/callback", pages.guarded(sign_in.callback), methods=["GET"]),
    ]


def _answer(request: Request) -> dict[str, str]:
    """The parameters of an answer, each once. Raises ProviderFailed."""
    query = request.url.query
    if len(query) > ANSWER_LIMIT:
        raise ProviderFailed("this answer is too long to be one; begin again", 400)
    try:
        return parse_form(query.encode("utf-8", "replace"))
    except FormRefused as error:
        raise ProviderFailed(f"this answer cannot be read: {error}; begin again", 400) from None


def _declined(provider: OIDCProvider, answer: Mapping[str, str]) -> ProviderFailed:
    """An error of the provider's (RFC 6749, section 4.1.2.1), in words."""
    said = shown(answer.get("error_description", "")) or shown(answer["error"], 64)
    match answer["error"]:
        case "access_denied":
            return ProviderFailed(
                f"signing in with {provider.title} was cancelled, or not permitted there ({said})", 403
            )
        case "server_error" | "temporarily_unavailable":
            return ProviderFailed(f"{provider.title} cannot sign anybody in now ({said}); try again later", 503)
        case "login_required" | "interaction_required" | "consent_required" | "account_selection_required":
            return ProviderFailed(f"{provider.title} wants to ask you something first ({said}); begin again", 403)
        case _:
            return ProviderFailed(f"{provider.title} refused the sign-in ({said}); begin again", 403)


def _outdated(request: Request, now: float) -> list[str]:
    """Cookies of sign-ins under way that are over, or too many together with a new one."""
    begun = [(name, read_pending(value)) for name, value in cookies_of(request) if is_cookie_name(name)]
    running = [(pending.started_at, name) for name, pending in begun if pending is not None and pending.runs(now)]
    kept = {name for _, name in sorted(running, reverse=True)[: MOST_PENDING - 1]}
    return sorted({name for name, _ in begun} - kept)


def _forget(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
