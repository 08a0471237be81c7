"""`/oauth/authorize`: a person lets a program on their own machine sign in as them (RFC 6749, 4.1; RFC 8252).

The form sends back what was asked for, and all of it is checked again: nothing is kept between the page and the answer
to it. The answer leads on by a page, because browsers hold a redirect after a form against `form-action`.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from narrowgate.control.callers import identity_of
from narrowgate.control.issuing import new_id
from narrowgate.control.oauth.addresses import CLIENT_ID, CLIENT_TITLE
from narrowgate.control.oauth.answers import Refused, described
from narrowgate.control.oauth.authorization_requests import (
    AuthorizationRequest,
    NotOurClient,
    answer_url,
    authorization_request,
    redirect_uri_of,
    state_of,
)
from narrowgate.control.oauth.cli_sign_ins import Allowed
from narrowgate.control.oauth.codes import Codes
from narrowgate.control.oauth.console_page import ConsolePages, NotShown
from narrowgate.control.oauth.parameters import Parameters, queried
from narrowgate.control.oauth.parts import OAuthParts
from narrowgate.core.audit import ActsOn
from narrowgate.core.sign_in import SignIn

CREATES = ActsOn(verb="create", resource="authorizations")

PROGRAM = "the program on this computer that asked"


class AuthorizePage:
    """The page and its form."""

    def __init__(self, parts: OAuthParts, console: ConsolePages, codes: Codes) -> None:
        self._parts = parts
        self._console = console
        self._codes = codes

    async def show(self, request: Request) -> Response:
        """GET: ask the person."""
        parameters = queried(request)
        try:
            asked_for = self._checked(parameters)
        except Refused as refused:
            return RedirectResponse(self._refusal_url(parameters, refused), 303)
        sign_in = await self._console.signed_in(request)
        if isinstance(sign_in, Response):
            return sign_in
        return self._page(request, asked_for, sign_in)

    async def answer(self, request: Request) -> Response:
        """POST: what the person said."""
        sign_in, form = await self._console.posted(request)
        try:
            asked_for = self._checked(form)
        except Refused as refused:
            raise NotShown(f"This form is not as our page made it: {refused}. Begin again.") from None
        if form.get("decision") != "allow":
            said_no = Refused("access_denied", "the person said no in their browser")
            return self._parts.pages.onward(request, self._refusal_url(form, said_no), to=PROGRAM)
        allowed = Allowed(sign_in=new_id(), console=sign_in.id)
        acts_on = ActsOn(verb=CREATES.verb, resource=CREATES.resource, name=allowed.sign_in)
        make = functools.partial(self._codes.new, asked_for, allowed, self._parts.clock())
        code = await self._console.carried_out(request, identity_of(sign_in), acts_on, make)
        return self._parts.pages.onward(request, asked_for.answered(self._url, code=code), to=PROGRAM)

    @property
    def _url(self) -> str:
        return self._parts.settings.url

    def _checked(self, parameters: Parameters) -> AuthorizationRequest:
        try:
            return authorization_request(parameters)
        except NotOurClient as error:
            raise NotShown(f"{error}.") from None

    def _refusal_url(self, parameters: Parameters, refused: Refused) -> str:
        told = {"error": refused.error, "error_description": described(str(refused))}
        return answer_url(redirect_uri_of(parameters), state_of(parameters), self._url, **told)

    def _page(self, request: Request, asked_for: AuthorizationRequest, sign_in: SignIn) -> Response:
        fields = (
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", asked_for.redirect_uri),
            ("code_challenge", asked_for.challenge),
            ("code_challenge_method", "S256"),
            ("state", asked_for.state),
        )
        return self._parts.pages.render(
            request,
            "oauth_authorize.html",
            client=CLIENT_TITLE,
            person=sign_in.person,
            until=shown_time(sign_in.expires_at),
            redirect_uri=asked_for.redirect_uri,
            fields=fields,
            csrf_token=self._parts.sessions.csrf_token(sign_in),
        )


def shown_time(at: float) -> str:
    """Unix seconds as people read them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
