"""Signing in and out in a browser, whoever vouches: the list of providers, the end of the way, the home page.

What the providers' protocols need is next door (`oidc_sign_in`, the SAML routes); both end here, in `completed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from narrowgate.control.callers import identity_of
from narrowgate.control.console_sessions import ConsoleSessions, CrossSite
from narrowgate.control.forms import FormRefused, FormTooLarge, read_form
from narrowgate.control.issuing import new_id
from narrowgate.control.pages import HEADERS, Pages
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.core.audit import ActsOn, Asked, Failed, Permitted
from narrowgate.core.decision import Deny
from narrowgate.core.identity import Identity
from narrowgate.core.names import groups_problem, name_problem
from narrowgate.core.roles import RoleBinding, roles_of
from narrowgate.core.sign_in import SignIn
from narrowgate.store.port import NotThere, Store, StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable

LONGEST_RETURN = 2000
"""Characters of a path to return to; an authorization request of the CLI has some 600. It must fit into a cookie."""

MOST_LISTED = 100
"""Running sign-ins that the home page shows; people have a handful."""

SEE_OTHER = 303
"""RFC 9110, section 15.4.4: whatever the method was, go on with GET."""

Farewell = Callable[[SignIn, str], Awaitable[str]]
"""Where a provider wants people to go who sign out here, given the sign-in and what was kept for this; else empty."""

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


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

    def __init__(
        self, parts: SignInParts, providers: Sequence[Provider], farewells: Mapping[str, Farewell] | None = None
    ) -> None:
        """`farewells` by the source of a sign-in (`oidc:corp`)."""
        self._parts = parts
        self._sessions = parts.sessions
        self._store = parts.store
        self._pages = parts.pages
        self._providers = tuple(providers)
        self._titles = {provider.source: provider.title for provider in providers}
        self._farewells = dict(farewells or {})

    # --- what the providers' routes call ---

    async def completed(self, request: Request, who: Identity, return_to: str, *, keepsake: str = "") -> Response:
        """The end of a sign-in that a provider's checks have passed: a new session, and on to `return_to`.

        `return_to` is a path of ours; anything else means the home page. `who.expires_at` bounds the session, None
        does not. `keepsake` is given back to the provider's farewell. Raises StoreUnavailable and TrailUnwritable: then
        nobody is signed in.
        """
        problem = name_problem(who.name) or groups_problem(who.groups)
        if problem:
            return await self.refused(request, who.proven_by, f"the name {who.name!r} cannot be used here: {problem}")
        signed_in = msgspec.structs.replace(who, credential=new_id())
        acts_on = ActsOn(verb="create", resource="signins", name=signed_in.credential)
        asked = self._parts.recorder.asked(request, signed_in, acts_on)
        await self._parts.recorder.received(asked)
        response = RedirectResponse(local_path(return_to), SEE_OTHER, HEADERS)
        async with self._failing(asked):
            chosen = signed_in.credential
            await self._sessions.start(request, signed_in, response, sign_in_id=chosen, keepsake=keepsake)
        await self._parts.recorder.finished(asked, Permitted(because=who.proven_by), SEE_OTHER)
        return response

    async def refused(self, request: Request, source: str, sentence: str, code: int = 403) -> Response:
        """The end of a sign-in that failed: recorded, and told in one sentence with a way on."""
        asked = self._parts.recorder.asked(request, None, ActsOn(verb="create", resource="signins"))
        told = f"{sentence[0].upper()}{sentence[1:]}" if sentence else "Nobody was signed in"
        message = f"{source}: {sentence}"
        verdict = Failed(message=message) if code >= 500 else Deny(message=message, code=code)
        await self._parts.recorder.finished(asked, verdict, code)
        return self._pages.problem(request, code, told if told.endswith(".") else f"{told}.")

    # --- the pages ---

    async def choose(self, request: Request) -> Response:
        """`GET /sign-in`: the providers; straight to the only one; straight on for whoever is signed in."""
        return_to = local_path(request.query_params.get("return_to", "/"))
        if await self._sessions.current(request) is not None:
            return RedirectResponse(return_to, SEE_OTHER, HEADERS)
        onward = [(f"{provider.path}?{urlencode({'return_to': return_to})}", provider) for provider in self._providers]
        if len(onward) == 1:
            return RedirectResponse(onward[0][0], SEE_OTHER, HEADERS)
        return self._pages.render(request, "sign_in.html", providers=onward)

    async def home(self, request: Request) -> Response:
        """`GET /`: who you are here, and where else you are signed in."""
        sign_in = await self._sessions.current(request)
        if sign_in is None:
            return RedirectResponse("/sign-in", SEE_OTHER, HEADERS)
        now = time.time()
        listed = self._store.sign_ins.listed
        running = await asyncio.to_thread(listed, sign_in.person, running_at=now, limit=MOST_LISTED)
        given = await asyncio.to_thread(self._store.roles.listed)
        roles = roles_of(identity_of(sign_in), self._parts.bindings, [(grant.person, grant.role) for grant in given])
        return self._pages.render(
            request,
            "home.html",
            sign_in=sign_in,
            source=self._titles.get(sign_in.source, sign_in.source),
            roles=sorted(role.value for role in roles),
            running=[one for one in running if one.id != sign_in.id],
            csrf_token=self._sessions.csrf_token(sign_in),
        )

    async def sign_out(self, request: Request) -> Response:
        """`POST /sign-out`: end this session, and lead on to the provider where it has a page for that."""
        form = await read_form(request)
        sign_in = await self._sessions.current(request)
        if sign_in is None:
            # Nothing to end, thus nothing that another site could do by sending this.
            return RedirectResponse("/signed-out", SEE_OTHER, HEADERS)
        self._sessions.check_csrf(request, form, sign_in)
        kept = await self._sessions.keepsake(request, sign_in)
        asked = await self._ending(request, sign_in, sign_in.id)
        farewell = self._farewells.get(sign_in.source)
        onward = await farewell(sign_in, kept) if farewell is not None else ""
        if onward:
            response = self._pages.onward(request, onward, to=f"{self._titles[sign_in.source]}, to sign out there too")
        else:
            response = RedirectResponse("/signed-out", SEE_OTHER, HEADERS)
        async with self._failing(asked):
            await self._sessions.end(request, response, "signed out")
        await self._parts.recorder.finished(asked, Permitted(because="signed in"), response.status_code)
        return response

    async def signed_out(self, request: Request) -> Response:
        """`GET /signed-out`."""
        return self._pages.render(request, "signed_out.html")

    async def end_one(self, request: Request) -> Response:
        """`POST /sign-ins/<id>/end`: end one of one's own sign-ins, here or elsewhere."""
        form = await read_form(request)
        sign_in = await self._sessions.current(request)
        if sign_in is None:
            return RedirectResponse("/sign-in", SEE_OTHER, HEADERS)
        self._sessions.check_csrf(request, form, sign_in)
        chosen = request.path_params["sign_in_id"]
        asked = await self._ending(request, sign_in, chosen)
        async with self._failing(asked):
            ended = await self._end_own(sign_in.person, chosen)
        if not ended:
            await self._parts.recorder.finished(asked, Deny(message="no sign-in of this person", code=404), 404)
            return self._pages.problem(request, 404, "You have no such sign-in.", way_on="/")
        await self._parts.recorder.finished(asked, Permitted(because="signed in"), SEE_OTHER)
        return RedirectResponse("/", SEE_OTHER, HEADERS)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, with what may go wrong on its way told in a page."""

        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except FormTooLarge as error:
                return self._pages.problem(request, 413, _sentence(error), way_on="/")
            except FormRefused as error:
                return self._pages.problem(request, 400, _sentence(error), way_on="/")
            except CrossSite as error:
                return self._pages.problem(request, 403, _sentence(error), way_on="/")
            except (StoreUnavailable, TrailUnwritable) as error:
                # Nothing was changed: a sign-in that cannot be kept or recorded is none.
                return self._pages.problem(request, 503, f"{_sentence(error)} Nothing was changed.", way_on="/")

        return answer

    async def _ending(self, request: Request, sign_in: SignIn, ended: str) -> Asked:
        """Have it recorded that somebody ends a sign-in, before it is done."""
        acts_on = ActsOn(verb="delete", resource="signins", name=ended)
        asked = self._parts.recorder.asked(request, identity_of(sign_in), acts_on)
        await self._parts.recorder.received(asked)
        return asked

    @contextlib.asynccontextmanager
    async def _failing(self, asked: Asked) -> AsyncIterator[None]:
        """Have it recorded where the store fails in the middle of what was announced."""
        try:
            yield
        except StoreUnavailable as error:
            await self._parts.recorder.finished(asked, Failed(message=str(error)), 503)
            raise

    async def _end_own(self, person: str, sign_in_id: str) -> bool:
        """End a sign-in of this person; False where it is none of theirs."""
        try:
            found = await asyncio.to_thread(self._store.sign_ins.get, sign_in_id)
        except NotThere:
            return False
        if found.person != person:
            return False
        by = f"person:{person}"
        await asyncio.to_thread(self._store.sign_ins.end, sign_in_id, f"ended by {by}", by=by, at=time.time())
        return True


def sign_in_routes(pages: SignInPages) -> list[Route]:
    """`/`, `/sign-in`, `/sign-out`, `/signed-out`, `/sign-ins/<id>/end`."""
    return [
        Route("/", pages.guarded(pages.home), methods=["GET"]),
        Route("/sign-in", pages.guarded(pages.choose), methods=["GET"]),
        Route("/sign-out", pages.guarded(pages.sign_out), methods=["POST"]),
        Route("/signed-out", pages.guarded(pages.signed_out), methods=["GET"]),
        Route("/sign-ins/{sign_in_id}/end", pages.guarded(pages.end_one), methods=["POST"]),
    ]


def local_path(return_to: str) -> str:
    """`return_to` where it is a path of ours, else `/`.

    A browser reads `//host` and `/\\host` as another site, and leaves tabs and line breaks out before it reads at all
    (URL Standard, section 4.4): whatever is not plainly a path goes nowhere.
    """
    plain = all("!" <= character <= "~" for character in return_to) and "\\" not in return_to
    if not plain or not return_to.startswith("/") or return_to.startswith("//") or len(return_to) > LONGEST_RETURN:
        return "/"
    return return_to


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
