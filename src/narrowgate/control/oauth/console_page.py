"""How every page of the authorization server goes: signed in, from a page of ours, recorded, or told what is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from narrowgate.control.console_sessions import CrossSite
from narrowgate.control.forms import FormRefused, FormTooLarge, read_form
from narrowgate.control.oauth.parameters import QUERY_LIMIT, Parameters, given
from narrowgate.control.oauth.parts import OAuthParts
from narrowgate.core.audit import ActsOn, Failed, Permitted
from narrowgate.core.decision import Deny
from narrowgate.core.identity import Identity
from narrowgate.core.sign_in import SignIn
from narrowgate.store.port import StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable

log = logging.getLogger("narrowgate.control")

FORM_LIMIT = 16 << 10
"""Bytes of a form of ours; the longest has some 700."""

SILENT = "The gate's store does not answer now. Try again soon."
UNRECORDED = "The gate cannot write its record now, so it does nothing. Try again soon, or ask who runs it."

Done = TypeVar("Done")
Serve = Callable[[Request], Awaitable[Response]]


class NotShown(Exception):
    """A page that cannot be shown, or a form that is not acted on; the text is a sentence for whoever looks at it."""

    def __init__(self, sentence: str, code: int = 400, *, recorded: bool = False) -> None:
        """`recorded`: the record has it already."""
        super().__init__(sentence)
        self.code = code
        self.recorded = recorded


class ConsolePages:
    """What the pages share."""

    def __init__(self, parts: OAuthParts) -> None:
        self._parts = parts

    def guarded(self, serve: Serve, acts_on: ActsOn) -> Serve:
        """`serve`, with a page for whatever goes wrong; `acts_on` for the record of forms that are refused."""

        async def guarded(request: Request) -> Response:
            try:
                return await self._served(request, serve, acts_on)
            except TrailUnwritable as error:
                log.error("nothing is done: %s", error)
                return self._problem(request, 503, UNRECORDED)

        return guarded

    async def _served(self, request: Request, serve: Serve, acts_on: ActsOn) -> Response:
        try:
            return await serve(request)
        except NotShown as error:
            refused = error
        except CrossSite as error:
            refused = NotShown(f"{error}.", 403)
        except FormTooLarge as error:
            refused = NotShown(f"{error}.", 413)
        except FormRefused as error:
            refused = NotShown(f"{error}.")
        except StoreUnavailable as error:
            log.error("a page cannot be shown: %s", error)
            refused = NotShown(SILENT, 503)
        if request.method == "POST" and not refused.recorded:
            await self.refused(request, None, acts_on, refused)
        return self._problem(request, refused.code, str(refused))

    async def signed_in(self, request: Request) -> SignIn | Response:
        """The console session of the browser, or the way to sign in and come back. Raises StoreUnavailable."""
        return await self._parts.sessions.current(request) or self._to_sign_in(request)

    async def posted(self, request: Request) -> tuple[SignIn, Parameters]:
        """Whose form this is, and what is in it. Raises NotShown, CrossSite, FormRefused, StoreUnavailable."""
        sign_in = await self._parts.sessions.current(request)
        if sign_in is None:
            raise NotShown("You are not signed in any more. Sign in, and begin again.", 403)
        form = await read_form(request, FORM_LIMIT)
        self._parts.sessions.check_csrf(request, form, sign_in)
        return sign_in, given(form)

    async def carried_out(self, request: Request, who: Identity, acts_on: ActsOn, do: Callable[[], Done]) -> Done:
        """What `do` (blocking) gives, once it is on the disk that this person does it.

        Raises TrailUnwritable, and NotShown where it was not done after all.
        """
        recorder = self._parts.recorder
        asked = recorder.asked(request, who, acts_on)
        await recorder.received(asked)
        try:
            done = await asyncio.to_thread(do)
        except NotShown as error:
            await recorder.finished(asked, Deny(message=str(error), code=error.code), error.code)
            raise NotShown(str(error), error.code, recorded=True) from None
        except StoreUnavailable as error:
            log.error("nothing is done: %s", error)
            await recorder.finished(asked, Failed(message=SILENT), 503)
            raise NotShown(SILENT, 503, recorded=True) from None
        await recorder.finished(asked, Permitted(because="console session"), 200)
        return done

    async def refused(self, request: Request, who: Identity | None, acts_on: ActsOn, error: NotShown) -> None:
        """Record that this was not done. Raises TrailUnwritable."""
        asked = self._parts.recorder.asked(request, who, acts_on)
        await self._parts.recorder.finished(asked, Deny(message=str(error), code=error.code), error.code)

    def _problem(self, request: Request, code: int, sentence: str) -> Response:
        return self._parts.pages.problem(request, code, sentence[:1].upper() + sentence[1:], way_on="/")

    def _to_sign_in(self, request: Request) -> Response:
        query: bytes = request.scope["query_string"]
        if len(query) > QUERY_LIMIT:
            raise NotShown("This address is too long. Begin again.", 413)
        here = request.url.path + (f"?{query.decode('ascii', 'replace')}" if query else "")
        return RedirectResponse(f"/sign-in?return_to={quote(here, safe='')}", 303)
