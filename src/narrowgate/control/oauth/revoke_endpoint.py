"""`POST /oauth/revoke`: signing out from the command line (RFC 7009). It ends the sign-in, whoever holds its secret."""

from __future__ import annotations

import functools

from starlette.requests import Request
from starlette.responses import Response

from narrowgate.authenticators.access_credential import PREFIX as ACCESS_PREFIX
from narrowgate.control.callers import identity_of
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, check_public_client, required
from narrowgate.control.oauth.renewals import Renewals
from narrowgate.control.oauth.work import Call, Desk, Work
from narrowgate.core.audit import ActsOn
from narrowgate.core.sign_in import SignIn
from narrowgate.store.port import Store

SIGNED_OUT = "signed out"


class RevokeEndpoint:
    """The endpoint."""

    def __init__(self, desk: Desk, store: Store, renewals: Renewals) -> None:
        self._desk = desk
        self._store = store
        self._renewals = renewals

    async def serve(self, request: Request) -> Response:
        """Answer one call."""
        return await self._desk.serve(request, ActsOn(verb="delete", resource="signins"), self._prove)

    async def _prove(self, parameters: Parameters, call: Call) -> Work:
        check_public_client(parameters)
        token = required(parameters, "token")
        if token.startswith(ACCESS_PREFIX):
            # Section 2.2.1. It is short, and ends with its sign-in.
            sentence = "an access credential cannot be revoked by itself: revoke the refresh token of its sign-in"
            raise Refused("unsupported_token_type", sentence)
        sign_in = await self._renewals.find(token, call.now)
        if sign_in is None:
            # Section 2.2: whoever wants a token to be worth nothing has what they want.
            return Work(None, ActsOn(verb="delete", resource="signins"), "nothing to end", dict)
        acts_on = ActsOn(verb="delete", resource="signins", name=sign_in.id)
        return Work(identity_of(sign_in), acts_on, "its own secret", functools.partial(self._end, sign_in, call.now))

    def _end(self, sign_in: SignIn, now: float) -> dict[str, object]:
        self._store.sign_ins.end(sign_in.id, SIGNED_OUT, by=str(identity_of(sign_in)), at=now)
        return {}
