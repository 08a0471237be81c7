"""The sign-ins of the command line: how one begins from what a person allowed in their browser."""

from __future__ import annotations

import msgspec

from narrowgate.authenticators.secret_form import secret_hash
from narrowgate.control.callers import identity_of
from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.secret_texts import REFRESH
from narrowgate.control.oauth.targets import Target, issue_for_sign_in, token_answer
from narrowgate.control.oauth.work import Call
from narrowgate.core.audit import ActsOn
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import AlreadyThere, NotThere, Store

ENDED_BY = "narrowgate"
"""Who ended a sign-in whose secret or code was used twice: the gate by itself."""


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's yes: they let the command line sign in as them."""

    sign_in: str
    """The id that the new sign-in will have: the yes and what came of it have one name in the record."""
    console: str
    """The id of the console session in which it was said."""


class NewSignIn(msgspec.Struct, frozen=True):
    """A sign-in that is not in the store yet, and the answer that whoever asked gets once it is."""

    sign_in: SignIn
    answer: dict[str, object]


class CLISignIns:
    """Makes them. All calls are blocking and may raise StoreUnavailable."""

    def __init__(self, store: Store, issuer: AccessIssuer, longest: float) -> None:
        """`longest`: seconds that a person stays signed in."""
        self._store = store
        self._issuer = issuer
        self._longest = longest

    def prepared(self, allowed: Allowed, target: Target, call: Call) -> NewSignIn:
        """The sign-in that comes of this yes. Raises Refused: the session in which it was said is over, no such target.

        It ends when that session would: it is then that the identity provider has to be asked again.
        """
        console = self._console(allowed, call.now)
        secret = REFRESH.new(allowed.sign_in)
        sign_in = SignIn(
            id=allowed.sign_in,
            person=console.person,
            groups=console.groups,
            source=console.source,
            claims=console.claims,
            client=Client.CLI,
            secret_hash=secret_hash(secret),
            renewed_at=call.now,
            created_at=call.now,
            expires_at=min(call.now + self._longest, console.expires_at),
            source_ip=call.source_ip,
            user_agent=call.user_agent,
        )
        # The credential now: where there is none to be had, nothing is used up.
        issued = issue_for_sign_in(self._issuer, sign_in, target, call.now)
        return NewSignIn(sign_in, token_answer(issued, call.now, refresh=secret))

    def keep(self, new: NewSignIn, now: float) -> None:
        """Put it into the store. Raises Refused where one came of this yes already."""
        try:
            self._store.sign_ins.add(new.sign_in, by=str(identity_of(new.sign_in)), at=now)
        except AlreadyThere:
            raise Refused("invalid_grant", "this was used already; sign in again with `narrowgate login`") from None

    def _console(self, allowed: Allowed, now: float) -> SignIn:
        try:
            console = self._store.sign_ins.get(allowed.console)
        except NotThere:
            console = None
        if console is None or console.ended_at is not None or not now < console.expires_at:
            sentence = "the browser session in which this was allowed is over; sign in again with `narrowgate login`"
            raise Refused("access_denied", sentence)
        return console


def creates(sign_in_id: str) -> ActsOn:
    """What the record says of a call that makes this sign-in."""
    return ActsOn(verb="create", resource="signins", name=sign_in_id)
