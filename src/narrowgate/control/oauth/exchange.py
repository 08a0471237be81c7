"""Access credentials for workloads and programs that bring a token of their own (RFC 8693, token exchange).

Nothing is stored: the token is checked now, and what is given for it is short. The gate's own credentials are no
subject: an access credential must not become one for another cluster, nor an agent's secret be turned into something
that outlives its rotation. Whoever acts for somebody (`act`, `may_act`) gets a credential that says so.
"""

from __future__ import annotations

import msgspec

from narrowgate.control.issuing import AccessIssuer
from narrowgate.control.oauth.acting import TOKEN_TYPES, Acting
from narrowgate.control.oauth.addresses import CLIENT_ID, TOKEN_ACCESS, TOKEN_ID, TOKEN_JWT
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, check_no_scope, required
from narrowgate.control.oauth.targets import issue_for_identity, target_of, token_answer
from narrowgate.control.oauth.work import Call, Work
from narrowgate.core.actor_claims import actor_claims
from narrowgate.core.audit import ActsOn
from narrowgate.core.identity import Identity, Kind, chain_behind

WORKLOAD_SECONDS = 900.0
"""Longest that a workload's access credential is good: its cluster may say that the pod is gone, and nobody asks it
again for a credential that the gate made. A stream that was begun with it lasts no longer."""

UNUSED = ("audience", "client_secret", "client_assertion")
"""Parameters of RFC 8693 and of client authentication that would mean something else than what is done here."""


class Exchange:
    """Gives access credentials for tokens that the gate takes."""

    def __init__(self, acting: Acting, issuer: AccessIssuer, url: str) -> None:
        """`url`: the control port's."""
        self._acting = acting
        self._issuer = issuer
        self._url = url

    async def prove(self, parameters: Parameters, call: Call) -> Work:
        """That the token is good for somebody (RFC 8693, section 2.1). Raises Refused."""
        token = _subject_token(parameters)
        target = target_of(parameters, self._url)
        subject = _bounded(await self._acting.known(token, "subject_token", call.now), call.now)
        who = await self._acting.chain(subject, parameters, call.now)
        issued = issue_for_identity(self._issuer, who, target, call.now)
        acts_on = ActsOn(verb="create", resource="accesscredentials", name=issued.id)
        answer = token_answer(issued, call.now, exchanged=True)
        if who.on_behalf_of:
            answer |= actor_claims(chain_behind(who))
        return Work(who, acts_on, "token exchange", lambda: answer)


def _subject_token(parameters: Parameters) -> str:
    """The token to exchange. Raises Refused."""
    if parameters.get("client_id", CLIENT_ID) != CLIENT_ID:
        raise Refused("invalid_client", f"there is no such client: leave client_id out, or say {CLIENT_ID}", code=401)
    check_no_scope(parameters)
    if unused := [name for name in UNUSED if name in parameters]:
        raise Refused("invalid_request", f"{unused[0]} has no meaning here: leave it out")
    if parameters.get("requested_token_type", TOKEN_ACCESS) != TOKEN_ACCESS:
        raise Refused("invalid_request", f"requested_token_type must be {TOKEN_ACCESS}")
    if required(parameters, "subject_token_type") not in TOKEN_TYPES:
        raise Refused("invalid_request", f"subject_token_type must be {TOKEN_JWT} or {TOKEN_ID}")
    return required(parameters, "subject_token")


def _bounded(who: Identity, now: float) -> Identity:
    """`who`, ending when a credential made for them must end at the latest. Raises Refused where nothing says when."""
    if who.expires_at is None:
        raise Refused("invalid_request", "the subject_token has no end; only one that expires is exchanged").of(who)
    if who.kind is not Kind.WORKLOAD:
        return who
    return msgspec.structs.replace(who, expires_at=min(who.expires_at, now + WORKLOAD_SECONDS))
