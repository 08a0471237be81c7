"""Tokens of one issuer (JWT, RFC 7519): whether one is good, and whom it stands for. Remembers what it found out.

A token is remembered by its SHA-256 with the identity that it gave, never beyond its end, and only for as long as the
issuer's keys are the ones that it was verified by. A verified token needs its issuer no more: whoever is known stays so
while the issuer is away. Clocks may differ where a token begins; where it ends no difference is granted, so that
nothing here outlives it.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from narrowgate.authenticators.claims import ClaimReader, User, recorded, shown
from narrowgate.authenticators.issuer_keys import IssuerKeys, IssuerUnreachable
from narrowgate.authenticators.jwks import TokenRefused, UnknownKey, verified
from narrowgate.authenticators.jwt_issuer import JWTIssuer
from narrowgate.authenticators.port import Rejected, Unavailable
from narrowgate.core.actor_claims import ACT, ActorsMalformed, read_actors
from narrowgate.core.identity import Identity

PROVEN_BY = "jwt"

MOST_REMEMBERED = 10_000
"""Good tokens of one issuer, each with one to four kilobytes: one of each active client, and a bound on what a flood of
them can take."""

MOST_REFUSED = 1_000
"""Bad tokens: a client that keeps on trying costs a look-up, and nobody can push the good ones out with bad ones."""

REFUSED_SECONDS = 10.0
"""For so long a bad token is known to be bad; it may become good, for example where it begins later."""

RECHECK_SECONDS = 60.0
"""A stream is held against the issuer's keys so often (they are fetched no oftener): a removed key ends it."""

LATEST = 253_402_300_799
"""Unix seconds, the end of the year 9999: a later time is no time that anybody meant."""

_CREDENTIAL_BYTES = 10
"""80 bits of the token's hash name it in the record: they tell tokens apart, and nobody finds the token by them."""


class _Good(NamedTuple):
    identity: Identity
    expires_at: float
    generation: int
    """Of the keys that verified it."""


class _Bad(NamedTuple):
    answer: Rejected
    until: float
    generation: int


class TokenVerifier:
    """Verifies the tokens of one issuer. One per process: it outlives every snapshot."""

    def __init__(self, issuer: JWTIssuer, keys: IssuerKeys) -> None:
        """Raises core.conditions.ConditionInvalid for an expression that cannot be compiled."""
        self.issuer = issuer
        self.keys = keys
        self._reader = ClaimReader(issuer)
        self._good: dict[bytes, _Good] = {}
        self._bad: dict[bytes, _Bad] = {}

    def __len__(self) -> int:
        return len(self._good) + len(self._bad)

    async def verify(self, token: str, now: float, *, audience: str | None = None, nonce: str = "") -> Identity:
        """Whom `token` stands for at `now` (Unix seconds). Raises TokenRefused or IssuerUnreachable.

        `audience` is for ID tokens: the one that it must be for (our client id), instead of those configured; then
        `azp` must name it as well where there are several (OpenID Connect Core 1.0, section 3.1.3.7). With `nonce`, it
        must carry that one. An agent's identity still has to be held against its record.
        """
        keys = await self.keys.current()
        try:
            claims = verified(token, keys, self.issuer.algorithms)
        except UnknownKey:
            newer = await self.keys.newer(keys)
            if newer is None:
                raise
            claims = verified(token, newer, self.issuer.algorithms)
        expires_at = self._check(claims, now, audience)
        if nonce and claims.get("nonce") != nonce:
            raise TokenRefused("is not the answer to this sign-in (nonce); sign in again")
        actors = self._actors(claims, is_of_sign_in=audience is not None)
        subject = self._identity(token, claims, self._reader.user(claims), expires_at)
        return self._acting(subject, actors)

    def remembered(self, digest: bytes, now: float) -> Identity | Rejected | None:
        """What was found out about the token with this SHA-256; None where nothing is known that still holds."""
        good = self._good.get(digest)
        if good is not None:
            # Written so that a time that is no number (NaN) counts as expired.
            if not now < good.expires_at:
                return Rejected(f"this token {_expired(good.expires_at)}")
            if good.generation == self.keys.generation:
                return good.identity
            del self._good[digest]
            return None
        bad = self._bad.get(digest)
        if bad is not None and now < bad.until and bad.generation == self.keys.generation:
            return bad.answer
        return None

    async def answer(self, token: str, digest: bytes, now: float) -> Identity | Rejected | Unavailable:
        """Whom `token`, whose SHA-256 is `digest`, stands for; remembered from now on."""
        try:
            identity = await self.verify(token, now)
        except TokenRefused as error:
            refused = Rejected(f"this token {error.reason}")
            _make_room(self._bad, MOST_REFUSED)
            self._bad[digest] = _Bad(refused, now + REFUSED_SECONDS, self.keys.generation)
            return refused
        except IssuerUnreachable as error:
            return Unavailable(error.reason)
        assert identity.expires_at is not None  # _identity sets it
        _make_room(self._good, MOST_REMEMBERED)
        self._good[digest] = _Good(identity, identity.expires_at, self.keys.generation)
        return identity

    def _check(self, claims: Mapping[str, Any], now: float, audience: str | None) -> float:
        """When it ends (Unix seconds); that it is by this issuer, for this gate, and good now. Raises TokenRefused."""
        if claims.get("iss") != self.issuer.url:
            raise TokenRefused(f'is not issued by "{self.issuer.url}"; get one from there')
        self._check_audience(claims, audience)
        expires_at = _seconds(claims, "exp")
        if expires_at is None:
            raise TokenRefused("has no end (exp); get one that has")
        # Each comparison is written so that a time that is no number counts against the token.
        if not now < expires_at:
            raise TokenRefused(_expired(expires_at))
        for member in ("nbf", "iat"):
            begins_at = _seconds(claims, member)
            if begins_at is not None and not begins_at <= now + self.issuer.clock_skew:
                raise TokenRefused(f"is not valid yet ({member}); see that the clocks are right")
        return expires_at

    def _check_audience(self, claims: Mapping[str, Any], audience: str | None) -> None:
        written = claims.get("aud")
        listed = [written] if isinstance(written, str) else written
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise TokenRefused("has no audience (aud) that can be read; get one that is for this gate")
        wanted = self.issuer.audiences if audience is None else (audience,)
        if not set(listed) & set(wanted):
            known = " or ".join(f'"{one}"' for one in wanted)
            raise TokenRefused(f"is for another audience; get one for {known}")
        if audience is not None and (len(listed) > 1 or "azp" in claims) and claims.get("azp") != audience:
            raise TokenRefused("was given to another client (azp); sign in again")

    def _actors(self, claims: Mapping[str, Any], *, is_of_sign_in: bool) -> tuple[Mapping[str, Any], ...]:
        """Who acts for the subject, the first of them first. Raises TokenRefused, as for an ID token of a sign-in: a
        session of the subject would be had by somebody else.
        """
        if ACT in claims and is_of_sign_in:
            raise TokenRefused("is used by somebody who acts for its subject (act); sign in in your own name")
        if ACT in claims and self.issuer.actors is None:
            raise TokenRefused(
                "is used by somebody who acts for its subject (act), which is not taken from its issuer here; get one "
                "of your own, or have whoever runs this gate set actors for this issuer"
            )
        try:
            return read_actors(claims, self.issuer.url, self.issuer.longest_chain - 1)
        except ActorsMalformed as error:
            raise TokenRefused(f"{error}; get another one") from None

    def _acting(self, subject: Identity, actors: Sequence[Mapping[str, Any]]) -> Identity:
        """Whoever acts last, on behalf of the subject and of all that acted before."""
        members = [subject]
        for about in actors:
            assert self.issuer.actors is not None  # _actors has seen to it
            user = self._reader.actor(about)
            facts = [("issuer", self.issuer.url), ("subject", recorded(about["sub"], "act.sub"))]
            facts += [("uid", user.uid)] if user.uid else []
            actor = msgspec.structs.replace(
                subject,
                kind=self.issuer.actors,
                name=user.name,
                groups=user.groups,
                claims=tuple(sorted([*facts, *((key, value) for key, values in user.extra for value in values)])),
            )
            if any(str(actor) == str(member) for member in members):
                raise TokenRefused(f'names "{shown(actor.name)}" twice among those who act (act); get another one')
            members.append(actor)
        return subject if len(members) == 1 else msgspec.structs.replace(members[-1], on_behalf_of=tuple(members[:-1]))

    def _identity(self, token: str, claims: Mapping[str, Any], user: User, expires_at: float) -> Identity:
        facts = [("issuer", self.issuer.url)]
        if isinstance(claims.get("sub"), str):
            facts.append(("subject", recorded(claims["sub"], "sub")))
        if user.uid:
            facts.append(("uid", user.uid))
        facts += [(key, value) for key, values in user.extra for value in values]
        digest = hashlib.sha256(token.encode("ascii")).digest()
        return Identity(
            kind=self.issuer.subject,
            name=user.name,
            groups=user.groups,
            proven_by=PROVEN_BY,
            credential=base64.b32encode(digest[:_CREDENTIAL_BYTES]).decode().lower(),
            claims=tuple(sorted(facts)),
            expires_at=expires_at,
            recheck_seconds=RECHECK_SECONDS,
        )


def _seconds(claims: Mapping[str, Any], member: str) -> float | None:
    """A NumericDate (RFC 7519, section 2); None where it is not there. Raises TokenRefused for what is none."""
    if member not in claims:
        return None
    value = claims[member]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= LATEST or not math.isfinite(value):
        raise TokenRefused(f"has a time ({member}) that is no number of seconds since 1970; get another one")
    return float(value)


def _expired(expires_at: float) -> str:
    ended = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"expired on {ended}; get a new one"


def _make_room(remembered: dict[bytes, Any], most: int) -> None:
    if len(remembered) >= most:
        # The oldest goes: a dict keeps the order in which keys came.
        del remembered[next(iter(remembered))]
