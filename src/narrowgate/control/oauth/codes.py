"""Authorization codes: kept for a minute, good once, and telling of whoever uses one again (RFC 6749, 4.1.2)."""

from __future__ import annotations

import asyncio
import contextlib
import functools

import msgspec

from narrowgate.control.callers import identity_of
from narrowgate.control.oauth.addresses import CLIENT_ID
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.authorization_requests import AuthorizationRequest
from narrowgate.control.oauth.cli_sign_ins import (
    ENDED_BY,
    Allowed,
    CLISignIns,
    NewSignIn,
    creates,
)
from narrowgate.control.oauth.parameters import Parameters, check_no_scope, check_public_client, required
from narrowgate.control.oauth.secret_texts import CODE, is_verifier_of
from narrowgate.control.oauth.targets import Target, target_of
from narrowgate.control.oauth.work import Call, Work
from narrowgate.store.port import NotThere, Store

CODE_SECONDS = 60.0
"""The browser hands it to a program on the same machine, which comes at once (RFC 6749, 4.1.2: ten minutes at most)."""

REPLAYED = "its authorization code was used twice"

_CODE = "oauth-code"
_USED = "oauth-code-used"
_AGAIN = "sign in again with `narrowgate login`"


class KeptCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a code stands for."""

    client_id: str
    redirect_uri: str
    challenge: str
    allowed: Allowed


class UsedCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a code."""

    sign_in: str
    """The id of the sign-in that it made; empty where it was spoilt by whoever could not prove to have asked for it."""
    again: bool = False
    """Whether it was shown once more."""


class Codes:
    """Makes codes, and takes them for sign-ins. All calls may raise StoreUnavailable."""

    def __init__(self, store: Store, sign_ins: CLISignIns, url: str) -> None:
        """`url`: the control port's."""
        self._store = store
        self._sign_ins = sign_ins
        self._url = url

    def new(self, request: AuthorizationRequest, allowed: Allowed, now: float) -> str:
        """A code for what this person has just allowed. Blocking."""
        code = CODE.new(allowed.sign_in)
        kept = KeptCode(CLIENT_ID, request.redirect_uri, request.challenge, allowed)
        self._store.once.put(_CODE, code, _text(kept), expires_at=now + CODE_SECONDS, now=now)
        return code

    async def prove(self, parameters: Parameters, call: Call) -> Work:
        """That a code is good, and whoever brings it asked for it (RFC 6749, 4.1.3; RFC 7636, 4.6). Raises Refused."""
        check_public_client(parameters)
        check_no_scope(parameters)
        shown = _Shown(required(parameters, "code"), required(parameters, "redirect_uri"), parameters["client_id"])
        verifier = required(parameters, "code_verifier")
        target = target_of(parameters, self._url)
        if problem := CODE.problem(shown.code):
            raise Refused("invalid_grant", f"this authorization code {problem}; {_AGAIN}")
        return await asyncio.to_thread(self._proven, shown, verifier, target, call)

    def _proven(self, shown: _Shown, verifier: str, target: Target, call: Call) -> Work:
        self._refuse_used(shown.code, call.now)
        found = self._store.once.look(_CODE, shown.code, now=call.now)
        if found is None:
            raise Refused("invalid_grant", f"this authorization code expired, or is not of this gate; {_AGAIN}")
        kept = msgspec.json.decode(found, type=KeptCode)
        mine = (shown.client_id, shown.redirect_uri) == (kept.client_id, kept.redirect_uri)
        if not mine or not is_verifier_of(verifier, kept.challenge):
            # Whoever has the code and not the verifier has taken it on its way: it is worth nothing from here on.
            self._use(shown.code, UsedCode(sign_in=""), call.now + CODE_SECONDS, call.now)
            sentence = f"redirect_uri or code_verifier is not what this code was asked for with; {_AGAIN}"
            raise Refused("invalid_grant", sentence).of(None, creates(kept.allowed.sign_in))
        new = self._sign_ins.prepared(kept.allowed, target, call)
        take = functools.partial(self._take, shown.code, new, call.now)
        return Work(identity_of(new.sign_in), creates(new.sign_in.id), "authorization code", take)

    def _take(self, code: str, new: NewSignIn, now: float) -> dict[str, object]:
        used = UsedCode(sign_in=new.sign_in.id)
        if not self._use(code, used, new.sign_in.expires_at, now):
            self._refuse_used(code, now)
        self._sign_ins.keep(new, now)
        # Whoever shows the code at this very moment marks it first and ends the sign-in then. Either the mark is seen
        # here, or the sign-in was there to be ended.
        if self._store.once.look(_USED, code, now=now) != _text(used):
            self._refuse_used(code, now)
        return new.answer

    def _use(self, code: str, used: UsedCode, until: float, now: float) -> bool:
        return self._store.once.put(_USED, code, _text(used), expires_at=until, now=now)

    def _refuse_used(self, code: str, now: float) -> None:
        """Raise Refused where the code was used before, and end the sign-in that was made from it."""
        found = self._store.once.look(_USED, code, now=now)
        if found is None:
            return
        used = msgspec.json.decode(found, type=UsedCode)
        self._store.once.change(_USED, code, _text(UsedCode(used.sign_in, again=True)), now=now)
        if used.sign_in:
            with contextlib.suppress(NotThere):
                self._store.sign_ins.end(used.sign_in, REPLAYED, by=ENDED_BY, at=now)
        sentence = f"this authorization code was used before, so what was made from it is ended; {_AGAIN}"
        raise Refused("invalid_grant", sentence).of(None, creates(used.sign_in))


class _Shown(msgspec.Struct, frozen=True):
    """What came with a code."""

    code: str
    redirect_uri: str
    client_id: str


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
