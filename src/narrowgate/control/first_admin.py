"""The first administrator: a one-time link that only the gate's host prints, and the page that it leads to.

Whoever can run commands on the host could write the store as well; the link hands that power over once. The code in it
stands behind the `#`, which no browser sends to a server: it is in no log, and the page's form posts it. With identity
providers the person signs in as usual, confirms, and is an admin by name from then on. Without any, the link itself is
a sign-in of LOCAL_ADMIN, for an hour. Once anybody is an admin no link is worth anything.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import time
from importlib import resources

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from narrowgate.authenticators.secret_form import SecretForm, secret_hash
from narrowgate.control.callers import identity_of
from narrowgate.control.forms import read_form
from narrowgate.control.pages import STYLE_SECONDS, Pages
from narrowgate.control.sign_in import SEE_OTHER, SignInPages, SignInParts
from narrowgate.core.audit import ActsOn, Asked, Failed, Permitted
from narrowgate.core.decision import Deny
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import LINK, LOCAL_ADMIN, Role, grant_problem, has_admin
from narrowgate.core.sign_in import SignIn
from narrowgate.store.port import RoleGrant, Store, StoreUnavailable

PATH = "/first-admin"
BECOME_PATH = "/first-admin/become"
"""Another path than the page's: a link that is opened on the page of a refusal must load the page anew."""
SCRIPT_PATH = "/static/first-admin.js"

LINK_SECONDS = 3600.0
"""A link is for whoever has just printed it."""

LOCAL_SECONDS = 3600.0
"""How long the link's own sign-in lasts: enough to name a person, or to set up an identity provider."""

ATTEMPTS = 10
"""Wrong codes after which a link is worth nothing. Guessing 256 bits is hopeless; this tells that somebody tries."""

FORM_LIMIT = 4096
"""Bytes of the form: a code and a token."""

_FORM = SecretForm("ngf1_", 10)
_ID_BYTES = 7
_ID_LETTERS = 10
_PURPOSE = "first-admin"
_KEY = "link"
"""There is one link at a time: printing another one voids the one before."""

_BECAUSE = "the one-time link of the host"


class AdminThere(Exception):
    """No link is made, because there is an admin; the text says what to do."""


class _Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link that nobody has used yet."""

    hash: str
    """SHA-256 of the code, in hex."""
    made_by: str
    left: int
    """Wrong codes that are still borne."""
    expires_at: float


def new_first_admin_link(store: Store, url: str, *, admins_bound: bool, by: str, now: float) -> str:
    """A link to the control port at `url`, good for LINK_SECONDS and once; the one before it is void.

    `admins_bound`: whether the configuration names admins. Raises AdminThere, StoreUnavailable.
    """
    if admins_bound or has_admin((), _given(store)):
        raise AdminThere("there is an admin already: ask one, or give the role with `narrowgate roles give`")
    code = _FORM.new(base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()[:_ID_LETTERS])
    waiting = _Waiting(secret_hash(code).hex(), by, ATTEMPTS, now + LINK_SECONDS)
    store.once.take(_PURPOSE, _KEY, now=now)
    store.once.put(_PURPOSE, _KEY, _encoded(waiting), expires_at=waiting.expires_at, now=now)
    return f"{url}{PATH}#{code}"


def first_admin_routes(parts: SignInParts, sign_in: SignInPages, *, providers: bool) -> list[Route]:
    """The page, what it posts to, and the script that takes the code out of the address. `providers`: whether people
    can sign in by anything else."""
    page = _FirstAdmin(parts, sign_in, providers)
    return [
        Route(PATH, sign_in.guarded(page.ask), methods=["GET"]),
        Route(BECOME_PATH, sign_in.guarded(page.become), methods=["POST"]),
        Route(SCRIPT_PATH, _script, methods=["GET"]),
    ]


class _FirstAdmin:
    def __init__(self, parts: SignInParts, sign_in: SignInPages, providers: bool) -> None:
        self._parts = parts
        self._pages: Pages = parts.pages
        self._sign_in = sign_in
        self._providers = providers

    async def ask(self, request: Request) -> Response:
        """`GET /first-admin`: the form, for whoever can use it."""
        if await asyncio.to_thread(self._has_admin):
            return self._there_is_one(request)
        session = await self._parts.sessions.current(request)
        page = self._pages.render(
            request,
            "first_admin.html",
            person=session.person if session is not None else "",
            local="" if self._providers else LOCAL_ADMIN,
            csrf_token=self._parts.sessions.csrf_token(session) if session is not None else "",
            action=BECOME_PATH,
            script=SCRIPT_PATH,
            sign_in_at=f"/sign-in?return_to={PATH}",
        )
        policy = page.headers["Content-Security-Policy"]
        page.headers["Content-Security-Policy"] = f"{policy}; script-src 'self'"
        return page

    async def become(self, request: Request) -> Response:
        """`POST /first-admin/become`: the code is worth the role, once."""
        form = await read_form(request, FORM_LIMIT)
        session = await self._parts.sessions.current(request)
        if session is not None:
            self._parts.sessions.check_csrf(request, form, session)
        else:
            self._parts.sessions.check_origin(request)
        if session is None and self._providers:
            return RedirectResponse(f"/sign-in?return_to={PATH}", SEE_OTHER)
        who = identity_of(session) if session is not None else None
        name = f"{Role.ADMIN.value}/{session.person if session is not None else LOCAL_ADMIN}"
        asked = self._parts.recorder.asked(request, who, ActsOn(verb="create", resource="roles", name=name))
        await self._parts.recorder.received(asked)
        waiting, problem = await asyncio.to_thread(self._take, form.get("code", "").strip(), session)
        if waiting is None:
            await self._parts.recorder.finished(asked, Deny(message=problem), 403)
            return self._pages.problem(request, 403, f"{problem[:1].upper()}{problem[1:]}.", way_on=PATH)
        try:
            return await self._became(request, asked, session, waiting)
        except StoreUnavailable as error:
            await self._parts.recorder.finished(asked, Failed(message=str(error)), 503)
            raise

    async def _became(self, request: Request, asked: Asked, session: SignIn | None, waiting: _Waiting) -> Response:
        if session is not None:
            grant = RoleGrant(
                person=session.person, role=Role.ADMIN.value, given_by=waiting.made_by, given_at=time.time()
            )
            await asyncio.to_thread(self._parts.store.roles.give, grant)
            await self._parts.recorder.finished(asked, Permitted(because=_BECAUSE), SEE_OTHER)
            return RedirectResponse("/", SEE_OTHER)
        local = Identity(
            kind=Kind.PERSON,
            name=LOCAL_ADMIN,
            proven_by=LINK,
            credential=LINK,
            claims=(("link-made-by", waiting.made_by),),
            expires_at=time.time() + LOCAL_SECONDS,
        )
        response = await self._sign_in.completed(request, local, "/")
        await self._parts.recorder.finished(asked, Permitted(because=_BECAUSE), response.status_code, local)
        return response

    def _take(self, code: str, session: SignIn | None) -> tuple[_Waiting | None, str]:
        """The link that `code` belongs to, used up; or None and why not. In a thread: it blocks."""
        if self._has_admin():
            return None, "there is an admin already; ask them for what you need"
        if session is not None and (problem := self._cannot_be(session)):
            return None, problem
        if problem := _FORM.problem(code):
            # Cut short by a terminal more often than guessed: it costs no attempt, and cannot be right.
            return None, f"this code {problem}; copy the whole link again"
        now = time.time()
        # Taken before it is looked at: of many that send the code at once, one finds it.
        text = self._parts.store.once.take(_PURPOSE, _KEY, now=now)
        if text is None:
            return None, "this link was used, has expired, or was tried too often; print a new one on the gate's host"
        waiting = msgspec.json.decode(text, type=_Waiting)
        if hmac.compare_digest(secret_hash(code).hex(), waiting.hash):
            return waiting, ""
        left = msgspec.structs.replace(waiting, left=waiting.left - 1)
        if left.left > 0:
            self._parts.store.once.put(_PURPOSE, _KEY, _encoded(left), expires_at=left.expires_at, now=now)
        return None, "this is not the code of the newest link; open the one that the gate's host printed last"

    def _cannot_be(self, session: SignIn) -> str:
        agents = [agent.name for agent in self._parts.store.agents()]
        return grant_problem(session.person, Role.ADMIN, agents)

    def _has_admin(self) -> bool:
        return has_admin(self._parts.bindings, _given(self._parts.store))

    def _there_is_one(self, request: Request) -> Response:
        sentence = "This gate has an admin already: ask them for what you need."
        return self._pages.problem(request, 403, sentence, way_on="/")


def _given(store: Store) -> list[tuple[str, str]]:
    return [(grant.person, grant.role) for grant in store.roles.listed()]


def _encoded(waiting: _Waiting) -> str:
    return msgspec.json.encode(waiting).decode()


async def _script(request: Request) -> Response:  # noqa: ARG001 (Starlette's signature)
    text = resources.files("narrowgate.control").joinpath("static/first-admin.js").read_text("utf-8")
    headers = {"Cache-Control": f"max-age={STYLE_SECONDS}", "X-Content-Type-Options": "nosniff"}
    return Response(text, media_type="text/javascript", headers=headers)
