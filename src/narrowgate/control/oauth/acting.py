"""Who may act for the subject of a token (`may_act`, RFC 8693, section 4.4), and proves it by a token of its own.

A token that names somebody is exchanged by nobody else, and for nothing but delegated access: what comes of it speaks
for the subject and for whoever acts, and each of them is judged.
"""

from __future__ import annotations

import re
from typing import Final, assert_never

import msgspec

from narrowgate.authenticators.jwks import unverified_claims
from narrowgate.authenticators.port import NotMine, Presented, Rejected, Unavailable
from narrowgate.control.oauth.addresses import TOKEN_ACCESS, TOKEN_ID, TOKEN_JWT
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, required
from narrowgate.control.oauth.parts import Subjects
from narrowgate.core.actor_claims import ActorsMalformed, is_named, read_may_act
from narrowgate.core.identity import Identity, Kind, chain_behind

TOKEN_TYPES: Final = (TOKEN_JWT, TOKEN_ID, TOKEN_ACCESS)
"""What a subject or actor token may be called; it is read the same way whatever it is called."""

ACTOR: Final = ("actor_token", "actor_token_type")

JWT: Final = re.compile(r"[-A-Za-z0-9_]+\.[-A-Za-z0-9_]+\.[-A-Za-z0-9_]+", re.ASCII)
"""The compact form of a signed token (RFC 7515, section 7.1)."""


class Acting:
    """Finds out for whom what a token is exchanged for will speak."""

    def __init__(self, subjects: Subjects, longest_chain: int) -> None:
        """A chain has `longest_chain` members at most."""
        self._subjects = subjects
        self._longest = longest_chain

    async def known(self, token: str, name: str, now: float) -> Identity:
        """Whom the token stands for at `now` (Unix seconds); `name` is the parameter's. Raises Refused."""
        if JWT.fullmatch(token) is None:
            sentence = f"the {name} is no signed JWT; what the gate itself gave out cannot be exchanged"
            raise Refused("invalid_request", sentence)
        answer = await self._subjects.authenticator().authenticate(Presented(bearer=token), now)
        match answer:
            case Identity():
                return answer
            case Rejected():
                # RFC 8693, section 2.2.2: a token that is not good is an invalid request.
                raise Refused("invalid_request", f"the {name} is not good: {answer.reason}")
            case NotMine():
                raise Refused("invalid_request", f"the {name} is of no issuer that this gate knows")
            case Unavailable():
                raise Refused("temporarily_unavailable", answer.reason, code=503, wait=5)
            case _:
                assert_never(answer)

    async def chain(self, who: Identity, parameters: Parameters, now: float) -> Identity:
        """`who`, whom the subject token was found to stand for, or somebody on its behalf. Raises Refused."""
        # The token is good as a whole, or nobody would have been found.
        claims = unverified_claims(required(parameters, "subject_token"))
        try:
            party = read_may_act(claims)
        except ActorsMalformed as error:
            raise Refused("invalid_request", f"the subject_token {error}; get another one").of(who) from None
        if party is None:
            if given := [name for name in ACTOR if name in parameters]:
                sentence = f"{given[0]} has no meaning here: the subject_token names nobody who may act (may_act)"
                raise Refused("invalid_request", sentence).of(who)
            return who
        if "actor_token" not in parameters:
            sentence = "the subject_token is exchanged by whoever its may_act names: send an actor_token of theirs"
            raise Refused("invalid_request", sentence).of(who)
        if required(parameters, "actor_token_type") not in TOKEN_TYPES:
            raise Refused("invalid_request", f"actor_token_type must be {TOKEN_JWT} or {TOKEN_ID}").of(who)
        token = required(parameters, "actor_token")
        actor = await self.known(token, "actor_token", now)
        if not is_named(party, unverified_claims(token), str(claims.get("iss", ""))):
            sentence = "the actor_token is of somebody else than the one whom may_act of the subject_token names"
            raise Refused("invalid_request", sentence).of(who)
        return self._acting(actor, who)

    def _acting(self, actor: Identity, who: Identity) -> Identity:
        """The actor on behalf of all for whom the subject token speaks. Raises Refused."""
        if actor.on_behalf_of:
            raise Refused("invalid_request", "the actor_token is used by somebody who acts for another itself").of(who)
        if actor.kind is Kind.WORKLOAD:
            # It speaks for whoever had its pod made, and for nobody else.
            raise Refused("invalid_request", "a workload acts for nobody: send an actor_token of an agent").of(who)
        behind = tuple(msgspec.structs.replace(one, on_behalf_of=()) for one in chain_behind(who))
        if any(str(one) == str(actor) for one in behind):
            raise Refused("invalid_request", f"{actor} is in the chain of the subject_token already").of(who)
        if len(behind) + 1 > self._longest:
            sentence = f"chains have {self._longest} members at most here (tasks.maxDepth): this one would be longer"
            raise Refused("invalid_request", sentence).of(who)
        return msgspec.structs.replace(actor, on_behalf_of=behind)
