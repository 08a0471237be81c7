"""`/device`: a person lets a program on another device sign in as them (RFC 8628, section 3.3).

What is dangerous about it (section 5.4): somebody sends a person a link, and the person signs the sender in. So the
page says from where it was asked and what to compare, and nothing happens without a click on it.
"""

from __future__ import annotations

import asyncio
import functools

from starlette.requests import Request
from starlette.responses import Response

from narrowgate.control.callers import identity_of
from narrowgate.control.issuing import new_id
from narrowgate.control.oauth.addresses import CLIENT_TITLE
from narrowgate.control.oauth.authorize_page import shown_time
from narrowgate.control.oauth.cli_sign_ins import Allowed
from narrowgate.control.oauth.console_page import ConsolePages, NotShown
from narrowgate.control.oauth.device_requests import DeviceAnswer, DeviceRequest, DeviceRequests
from narrowgate.control.oauth.parameters import queried
from narrowgate.control.oauth.parts import OAuthParts
from narrowgate.control.oauth.secret_texts import shown_user_code, typed_user_code
from narrowgate.control.oauth.throttle import Throttle
from narrowgate.core.audit import ActsOn
from narrowgate.core.sign_in import SignIn

BURST, SECONDS_EACH = 10, 60.0
"""Wrong codes of one person: so many at once, and one more every so many seconds. With a thousand codes waiting, a
person who tries for ten minutes hits one with a chance of one in a million."""

AGENT_SHOWN = 120
"""Characters of a user agent that the page shows."""

ANSWERS = ActsOn(verb="create", resource="authorizations")

TOO_MANY_REQUESTS = 429

UNKNOWN = "This code is not waiting: it is mistyped, was answered, or is older than ten minutes."
TOO_MANY = "You typed too many wrong codes. Wait a few minutes, then begin again with narrowgate login."


class DevicePage:
    """The page and its form."""

    def __init__(self, parts: OAuthParts, console: ConsolePages, requests: DeviceRequests) -> None:
        self._parts = parts
        self._console = console
        self._requests = requests
        self._wrong = Throttle(BURST, SECONDS_EACH)

    async def show(self, request: Request) -> Response:
        """GET: ask for the code, then for a yes or no."""
        parameters = queried(request)
        sign_in = await self._console.signed_in(request)
        if isinstance(sign_in, Response):
            return sign_in
        if "user_code" not in parameters:
            return self._entry(request)
        user_code = typed_user_code(parameters["user_code"])
        try:
            waiting = await self._waiting(user_code, sign_in)
        except NotShown as error:
            if error.code != TOO_MANY_REQUESTS:
                await self._console.refused(request, identity_of(sign_in), ANSWERS, error)
            return self._entry(request, str(error), error.code)
        return self._confirm(request, user_code, waiting, sign_in)

    async def answer(self, request: Request) -> Response:
        """POST: what the person said."""
        sign_in, form = await self._console.posted(request)
        user_code = typed_user_code(form.get("user_code", ""))
        waiting = await self._waiting(user_code, sign_in)
        if form.get("decision") == "allow":
            allowed = Allowed(sign_in=new_id(), console=sign_in.id)
            acts_on = ActsOn(verb=ANSWERS.verb, resource=ANSWERS.resource, name=allowed.sign_in)
        else:
            allowed = None
            acts_on = ActsOn(verb="delete", resource="devicerequests", name=waiting.id)
        say = functools.partial(self._say, user_code, DeviceAnswer(allowed))
        await self._console.carried_out(request, identity_of(sign_in), acts_on, say)
        return self._parts.pages.render(request, "oauth_device_done.html", allowed=allowed is not None)

    def _say(self, user_code: str, answer: DeviceAnswer) -> None:
        if not self._requests.answer(user_code, answer, self._parts.clock()):
            raise NotShown(UNKNOWN)

    async def _waiting(self, user_code: str, sign_in: SignIn) -> DeviceRequest:
        """The request that waits under this code. Raises NotShown; whoever guesses is not looked at for a while."""
        now = self._parts.clock()
        if self._wrong.wait(sign_in.person, now):
            raise NotShown(TOO_MANY, TOO_MANY_REQUESTS)
        waiting = await asyncio.to_thread(self._requests.waiting, user_code, now) if user_code else None
        if waiting is None:
            self._wrong.count(sign_in.person, now)
            raise NotShown(UNKNOWN)
        return waiting

    def _entry(self, request: Request, trouble: str = "", code: int = 200) -> Response:
        return self._parts.pages.render(request, "oauth_device.html", code=code, trouble=trouble)

    def _confirm(self, request: Request, user_code: str, waiting: DeviceRequest, sign_in: SignIn) -> Response:
        own_ip = request.client.host if request.client else ""
        return self._parts.pages.render(
            request,
            "oauth_device_confirm.html",
            client=CLIENT_TITLE,
            person=sign_in.person,
            until=shown_time(sign_in.expires_at),
            user_code=shown_user_code(user_code),
            source_ip=waiting.source_ip,
            own_ip=own_ip,
            elsewhere=own_ip != waiting.source_ip,
            user_agent=waiting.user_agent[:AGENT_SHOWN],
            asked_at=shown_time(waiting.asked_at),
            csrf_token=self._parts.sessions.csrf_token(sign_in),
        )
