"""Who calls the gate's own API, and what they are in the gate: proven anew at every call, from one proof alone.

A program brings `Authorization: Bearer` (an access credential for this port, an agent's credential, a token of a
configured issuer, a task's credential for the little that it may do here); the console brings its cookie, and with it,
for whatever changes something, the token that only our own pages know. Both at once are refused: whoever sees one must
not act as the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec
from starlette.requests import Request

from narrowgate.authenticators.port import Authenticator, NotMine, Presented, Rejected, Unavailable
from narrowgate.authenticators.task_credential import PREFIX as TASK_PREFIX
from narrowgate.control.console_sessions import CSRF_FIELD, ConsoleSessions, CrossSite, session_secret
from narrowgate.control.problems import Problem, Trouble
from narrowgate.control.task_proofs import knows_task_of
from narrowgate.core.delegated_task import USUAL_CHAIN
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import Role, RoleBinding, roles_of
from narrowgate.core.sign_in import SignIn
from narrowgate.store.port import Store

CSRF_HEADER = "X-CSRF-Token"
"""Where a script of ours puts what a form has in its field (`ConsoleSessions.csrf_token`)."""

SAFE_METHODS = frozenset({"GET", "HEAD"})
"""They change nothing (RFC 9110, section 9.2.1)."""

HOW_TO_SIGN_IN = "sign in with `narrowgate login`, or in a browser at {url}/sign-in; a program sends a bearer token"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever sent a call, proven."""

    identity: Identity
    roles: frozenset[Role]
    sign_in: SignIn | None = None
    """The console session it came by; None for a bearer."""


class Callers:
    """Identifies callers. `authenticator` answers the one of the current snapshot."""

    def __init__(
        self,
        authenticator: Callable[[], Authenticator],
        sessions: ConsoleSessions,
        store: Store,
        bindings: Sequence[RoleBinding],
        url: str,
        longest_chain: int = USUAL_CHAIN,
    ) -> None:
        """`longest_chain` is how many members a chain may have whose task's credential is taken."""
        self._longest_chain = longest_chain
        self._authenticator = authenticator
        self._sessions = sessions
        self._store = store
        self._bindings = tuple(bindings)
        self._how = HOW_TO_SIGN_IN.format(url=url)

    async def identify(self, request: Request) -> Caller:
        """Who called. Raises Problem (400, 401, 403, 503), StoreUnavailable."""
        bearer = self._bearer(request)
        cookie = session_secret(request)
        if bearer and cookie:
            raise Problem(Trouble.UNREADABLE, "a bearer token and a console session came together; send one of them")
        if bearer:
            who = await self._proven(bearer)
            return Caller(identity=who, roles=await self.roles(who))
        if cookie:
            return await self._signed_in(request)
        raise self._stranger(self._how)

    async def roles(self, who: Identity) -> frozenset[Role]:
        """What `who` is in the gate now. Raises StoreUnavailable."""
        if who.kind is not Kind.PERSON:
            return roles_of(who, ())
        given = await asyncio.to_thread(self._store.roles.listed)
        return roles_of(who, self._bindings, [(grant.person, grant.role) for grant in given])

    def _bearer(self, request: Request) -> str:
        """The token of the Authorization header; empty where there is none. Raises Problem for anything else in it."""
        found = request.headers.getlist("authorization")
        if not found:
            return ""
        scheme, _, token = found[0].strip().partition(" ")
        if len(found) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise self._stranger("the Authorization header is not one `Bearer` and a token; " + self._how)
        return token.strip()

    async def _proven(self, bearer: str) -> Identity:
        # Known here and not by the snapshot's authenticator, which the token endpoint asks, too: there a task's
        # credential would be exchanged for one that outlives the task.
        at_work = bearer.startswith(TASK_PREFIX)
        authenticator = (
            await asyncio.to_thread(knows_task_of, self._store, bearer, self._longest_chain)
            if at_work
            else self._authenticator()
        )
        answer = await authenticator.authenticate(Presented(bearer=bearer), time.time())
        match answer:
            case Identity() if answer.on_behalf_of and not at_work:
                # Here tasks are asked for and answers given in one's own name, and nobody else's is.
                raise Problem(
                    Trouble.FORBIDDEN,
                    "a credential by which somebody acts for another opens the clusters, and not the gate's own API: "
                    "send one of your own",
                )
            case Identity():
                return answer
            case Rejected():
                raise self._stranger(answer.reason)
            case Unavailable():
                raise Problem(Trouble.UNAVAILABLE, answer.reason)
            case NotMine():
                raise self._stranger("this gate knows no such sort of token; " + self._how)
            case _:
                assert_never(answer)

    async def _signed_in(self, request: Request) -> Caller:
        sign_in = await self._sessions.current(request)
        if sign_in is None:
            raise self._stranger("this console session is over; " + self._how)
        if request.method not in SAFE_METHODS:
            try:
                self._sessions.check_csrf(request, {CSRF_FIELD: request.headers.get(CSRF_HEADER, "")}, sign_in)
            except CrossSite as error:
                raise Problem(Trouble.CROSS_SITE, f"{error} (its token goes into the header {CSRF_HEADER})") from None
        who = identity_of(sign_in)
        return Caller(identity=who, roles=await self.roles(who), sign_in=sign_in)

    def _stranger(self, detail: str) -> Problem:
        return Problem(Trouble.NOT_SIGNED_IN, detail, {"WWW-Authenticate": 'Bearer realm="narrowgate"'})


def identity_of(sign_in: SignIn) -> Identity:
    """The person of a sign-in, as the gate's own API sees them."""
    return Identity(
        kind=Kind.PERSON,
        name=sign_in.person,
        groups=sign_in.groups,
        proven_by=sign_in.source,
        credential=sign_in.id,
        claims=sign_in.claims,
        expires_at=sign_in.expires_at,
    )
