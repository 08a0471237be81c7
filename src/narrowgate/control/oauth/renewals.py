"""Renewing a sign-in: each renewal gives a new secret, and an old one that is used again ends it all.

A secret that was replaced is taken for a minute more, because an answer may be lost on its way; whoever uses it later
tells that there are two who have it, one of them a thief (RFC 9700, section 4.14.2). Every secret that was replaced is
remembered, not the last one alone: a thief who renews twice would otherwise push the real one out of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools

import msgspec

from narrowgate.authenticators.secret_form import secret_hash
from narrowgate.control.callers import identity_of
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.cli_sign_ins import ENDED_BY
from narrowgate.control.oauth.parameters import Parameters, check_no_scope, check_public_client, required
from narrowgate.control.oauth.secret_texts import REFRESH
from narrowgate.control.oauth.targets import Target, issue_for_sign_in, target_of, token_answer
from narrowgate.control.oauth.throttle import Throttle
from narrowgate.control.oauth.work import Call, Work
from narrowgate.core.audit import ActsOn
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import NotThere, Store

GRACE_SECONDS = 60.0
"""From the replacing of a secret until its use ends the sign-in: a client without an answer asks again within these."""

MOST_TRIES = 4
"""At putting a new secret in the place of the current one; each fails only where somebody else renewed in between."""

BURST = 30
SECONDS_EACH = 10.0
"""Renewals of one sign-in: so many at once, and one more every so many seconds. Each leaves a row until the sign-in
ends; kubectl renews once an hour for each cluster."""

USED_TWICE = "a secret of it was used again after it was replaced: somebody has a copy"

_REPLACED = "oauth-refresh-replaced"
_AGAIN = "sign in again with `narrowgate login`"


class Replaced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret that another one took the place of."""

    sign_in: str
    at: float
    """Unix seconds."""


class Renewals:
    """Takes secrets for new ones. All calls may raise StoreUnavailable."""

    def __init__(self, store: Store, issuer: AccessIssuer, url: str) -> None:
        """`url`: the control port's."""
        self._store = store
        self._issuer = issuer
        self._url = url
        self._throttle = Throttle(BURST, SECONDS_EACH)

    async def prove(self, parameters: Parameters, call: Call) -> Work:
        """That a secret renews a sign-in that runs (RFC 6749, section 6). Raises Refused."""
        check_public_client(parameters)
        check_no_scope(parameters)
        secret = required(parameters, "refresh_token")
        target = target_of(parameters, self._url)
        if problem := REFRESH.problem(secret):
            raise Refused("invalid_grant", f"this refresh token {problem}; {_AGAIN}")
        hashed = secret_hash(secret)
        sign_in = await asyncio.to_thread(self._standing, hashed, call.now)
        if wait := self._throttle.wait(sign_in.id, call.now):
            sentence = "this sign-in was renewed too often; keep an access credential for as long as it is good"
            raise Refused("temporarily_unavailable", sentence, code=429, wait=wait, quiet=True)
        self._throttle.count(sign_in.id, call.now)
        renew = functools.partial(self._renew, hashed, target, call.now)
        return Work(identity_of(sign_in), _issues(sign_in), "refresh token", renew)

    async def find(self, secret: str, now: float) -> SignIn | None:
        """The running sign-in whose secret this is, or was; None where there is none."""
        if REFRESH.problem(secret):
            return None
        found = await asyncio.to_thread(self._sign_in_of, secret_hash(secret), now)
        return None if found is None or found.ended_at is not None else found

    def _renew(self, hashed: bytes, target: Target, now: float) -> dict[str, object]:
        for _ in range(MOST_TRIES):
            sign_in = self._standing(hashed, now)
            # The credential first: where there is none to be had, the secret stays as it is.
            issued = issue_for_sign_in(self._issuer, sign_in, target, now)
            new = REFRESH.new(sign_in.id)
            if self._replace(sign_in, secret_hash(new), now):
                return token_answer(issued, now, refresh=new)
        raise Refused("temporarily_unavailable", "others renew this sign-in now; try again", code=503, wait=1)

    def _replace(self, sign_in: SignIn, new_hash: bytes, now: float) -> bool:
        """Put a new secret in the place of the current one; False where it is not the current one any more."""
        key, replaced = sign_in.secret_hash.hex(), _text(Replaced(sign_in.id, now))
        # Remembered before it happens: there is no moment in which a replaced secret is known to nobody. Where it is
        # remembered already, somebody failed before the next line, or is about to lose against us: the minute is new.
        if not self._store.once.put(_REPLACED, key, replaced, expires_at=sign_in.expires_at, now=now):
            self._store.once.change(_REPLACED, key, replaced, now=now)
        return self._store.sign_ins.renew(sign_in.id, sign_in.secret_hash, new_hash, at=now)

    def _standing(self, hashed: bytes, now: float) -> SignIn:
        """The sign-in that this secret may renew now. Raises Refused, and ends it where the secret is a copy's."""
        sign_in = self._sign_in_of(hashed, now)
        if sign_in is None:
            raise Refused("invalid_grant", f"this refresh token is not of this gate, or of long ago; {_AGAIN}")
        who, issues = identity_of(sign_in), _issues(sign_in)
        if sign_in.ended_at is not None:
            raise Refused("invalid_grant", f"this sign-in ended: {sign_in.ended_because}; {_AGAIN}").of(who, issues)
        if not now < sign_in.expires_at:
            raise Refused("invalid_grant", f"this sign-in is over; {_AGAIN}").of(who, issues)
        if sign_in.secret_hash == hashed:
            return sign_in
        replaced = self._replaced(hashed, now)
        # A secret that is neither current nor remembered as replaced was replaced by the last renewal.
        replaced_at = sign_in.renewed_at if replaced is None else replaced.at
        if now - replaced_at <= GRACE_SECONDS:
            return sign_in
        self._store.sign_ins.end(sign_in.id, USED_TWICE, by=ENDED_BY, at=now)
        sentence = f"this refresh token was replaced before, so its sign-in is ended: somebody has a copy; {_AGAIN}"
        raise Refused("invalid_grant", sentence).of(who, issues)

    def _sign_in_of(self, hashed: bytes, now: float) -> SignIn | None:
        """The command line's sign-in whose secret this is, or ever was."""
        with contextlib.suppress(NotThere):
            sign_in = self._store.sign_ins.by_secret(hashed)
            return sign_in if sign_in.client is Client.CLI else None
        replaced = self._replaced(hashed, now)
        if replaced is None:
            return None
        with contextlib.suppress(NotThere):
            return self._store.sign_ins.get(replaced.sign_in)
        return None

    def _replaced(self, hashed: bytes, now: float) -> Replaced | None:
        found = self._store.once.look(_REPLACED, hashed.hex(), now=now)
        return None if found is None else msgspec.json.decode(found, type=Replaced)


def _issues(sign_in: SignIn) -> ActsOn:
    return ActsOn(verb="create", resource="accesscredentials", name=sign_in.id)


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
