"""Workloads, proven by the projected ServiceAccount token of a registered cluster.

A token proves a workload of the one cluster that signed it, and opens that one. It is good while its keys verify it and
its cluster, asked again every half minute, still knows the pod and the ServiceAccount that it is bound to.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

import msgspec

from narrowgate.authenticators.bound_token import LEGACY_ISSUER, BoundToken, is_account_token, read_bound_token
from narrowgate.authenticators.cluster_tokens import ClusterKeys, ClusterSilent, ClusterTokens, TokenReview
from narrowgate.authenticators.jwks import TokenRefused, UnknownKey, unverified_claims
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected, Unavailable
from narrowgate.authenticators.service_account_rules import ServiceAccountRules, Verify
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.names import name_problem

PROVEN_BY = "service-account"

JWT_BEGIN = "ey"
"""What every JWT begins with: `{` and a quotation mark or space, in base64url."""

MOST_REMEMBERED = 10_000
"""Tokens whose answer is remembered, each with about a kilobyte: one of each active pod, and a bound for a flood."""

FRESH_SECONDS = 30.0
"""How long an answer is given again before keys and cluster are asked anew. With what others remember on top (ten
seconds in the API server, ten in `proxy/recent.py`) a deleted pod ends within a minute."""

USABLE_SECONDS = 40.0
"""A good answer is given for so long where the cluster cannot be asked: one lost call must not end all watches."""

RECHECK_SECONDS = 10.0
"""How often a stream that runs on a token asks again here."""

REFUSED_SECONDS = 5.0
"""How long a refusal that took keys or a review is given again: an API server may learn of a new pod a moment late."""

SILENT_SECONDS = 1.0
"""How long it is said that a cluster is silent before it is asked again."""

MOST_ASKED = 256
"""Tokens that are looked at for the first time, or again, at once; whoever comes beyond that is told to come again."""

CLOCK_SKEW = 10.0
"""Seconds by which a cluster's clock may be ahead of ours; an end is an end."""

LONGEST_ERROR = 200
"""Characters of a cluster's own words that are passed on."""

EXTRA_PREFIX = "authentication.kubernetes.io/"
"""Begins the keys of a review's `extra` (k8s.io/apiserver/pkg/authentication/serviceaccount/util.go)."""

_NOT_MINE = NotMine()
_sha256 = hashlib.sha256


class _Known(msgspec.Struct):
    """An answer, and how long it is given again. All times are Unix seconds."""

    answer: Identity | Rejected | Unavailable
    since: float
    """When it was found out."""
    fresh_until: float


class _Asking(msgspec.Struct):
    """One token that is being looked at, by however many callers at once."""

    lock: asyncio.Lock
    callers: int = 0


class ServiceAccounts:
    """An authenticator, one per process: it outlives every snapshot, because nothing in the gate's store changes it."""

    def __init__(self, rules: ServiceAccountRules, clusters: Mapping[str, ClusterTokens]) -> None:
        """`clusters` by their registered names; only those that the rules name are asked."""
        self._rules = rules
        self._clusters = {name: clusters[name] for name in rules.clusters}
        self._keys = {name: ClusterKeys(name, tokens) for name, tokens in self._clusters.items()}
        self._good: dict[bytes, _Known] = {}
        self._bad: dict[bytes, _Known] = {}
        self._asking: dict[bytes, _Asking] = {}

    def __len__(self) -> int:
        """Tokens remembered."""
        return len(self._good) + len(self._bad)

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        token = presented.bearer
        if not token.startswith(JWT_BEGIN) or not token.isascii():
            return _NOT_MINE
        digest = _sha256(token.encode("ascii")).digest()
        known = self._good.get(digest)
        # Written so that a time that is no number (NaN), or that went back, finds nothing.
        if known is not None and known.since <= now < known.fresh_until:
            return known.answer
        try:
            claims = unverified_claims(token)
        except TokenRefused as error:
            # Whoever might be asked next could read it no better.
            return Rejected(f"this token {error.reason}")
        if not is_account_token(claims):
            return _NOT_MINE
        try:
            bound = read_bound_token(claims)
            _check_time(bound, now)
        except TokenRefused as error:
            # Of a cluster that is not registered it may still be a token for somebody else here.
            return Rejected(f"this token {error.reason}") if self._may_be_mine(claims) else _NOT_MINE
        return await self._asked_once(token, digest, bound, now)

    def _may_be_mine(self, claims: Mapping[str, Any]) -> bool:
        issuer = claims.get("iss")
        return issuer == LEGACY_ISSUER or any(keys.told_issuer in ("", issuer) for keys in self._keys.values())

    async def _asked_once(self, token: str, digest: bytes, bound: BoundToken, now: float) -> Answer:
        """Look at a token, or wait for whoever does so already."""
        asking = self._asking.get(digest)
        if asking is None:
            if len(self._asking) >= MOST_ASKED:
                too_many = Unavailable("too many tokens are being verified at once; try again")
                return self._still_good(digest, bound, now) or too_many
            asking = self._asking[digest] = _Asking(asyncio.Lock())
        asking.callers += 1
        try:
            async with asking.lock:
                return self._recalled(digest, now) or self._kept(digest, bound, await self._ask(token, bound, now), now)
        finally:
            asking.callers -= 1
            if not asking.callers:
                del self._asking[digest]

    def _recalled(self, digest: bytes, now: float) -> Answer | None:
        for known in (self._good.get(digest), self._bad.get(digest)):
            if known is not None and known.since <= now < known.fresh_until:
                return known.answer
        return None

    def _kept(self, digest: bytes, bound: BoundToken, answer: Answer, now: float) -> Answer:
        """Remember an answer; what a silent cluster said a moment ago still holds."""
        match answer:
            case Identity():
                _keep(self._good, digest, _Known(answer, now, min(now + FRESH_SECONDS, bound.expires_at)))
            case Rejected():
                self._good.pop(digest, None)
                _keep(self._bad, digest, _Known(answer, now, now + REFUSED_SECONDS))
            case Unavailable():
                if still_good := self._still_good(digest, bound, now):
                    return still_good
                _keep(self._bad, digest, _Known(answer, now, now + SILENT_SECONDS))
            case NotMine():
                pass
            case _:
                assert_never(answer)
        return answer

    def _still_good(self, digest: bytes, bound: BoundToken, now: float) -> Identity | None:
        """Who it was a moment ago, where nobody can say who it is now; for the next moment it is not asked again."""
        good = self._good.get(digest)
        if good is None or not isinstance(good.answer, Identity):
            return None
        usable_until = min(good.since + USABLE_SECONDS, bound.expires_at)
        if not good.since <= now < usable_until:
            return None
        good.fresh_until = min(now + SILENT_SECONDS, usable_until)
        return good.answer

    async def _ask(self, token: str, bound: BoundToken, now: float) -> Answer:
        try:
            cluster = await self._cluster_of(token, bound, now)
            if cluster is None:
                return _NOT_MINE
            self._check(bound)
            if Verify.TOKEN_REVIEW in self._rules.verify:
                review = await self._clusters[cluster].review(token, self._rules.audience)
                if problem := _disagreement(bound, review, self._rules.audience):
                    raise TokenRefused(problem)
        except ClusterSilent as error:
            return Unavailable(str(error))
        except TokenRefused as error:
            return Rejected(f"this token {error.reason}")
        return _identity(bound, cluster, token)

    def _check(self, bound: BoundToken) -> None:
        """Whether such a workload may come with such a token. Raises TokenRefused."""
        if bound.audiences != (self._rules.audience,):
            # One that is for the API server as well would be a credential for the cluster in the gate's hands.
            raise TokenRefused(
                f"of {bound.name} is for {', '.join(bound.audiences)[:200]}, not for {self._rules.audience} alone; "
                f"project one with audience {self._rules.audience} into the pod"
            )
        if problem := name_problem(bound.name):
            raise TokenRefused(f"is of a workload that cannot be let in, its name {problem}; give it another")

    # --- whose token it is

    async def _cluster_of(self, token: str, bound: BoundToken, now: float) -> str | None:
        """The one cluster that signs like this; None where none has such an issuer.

        Several clusters may well have one and the same issuer, their keys tell them apart. Raises TokenRefused,
        ClusterSilent.
        """
        by_keys = Verify.KEYS in self._rules.verify
        told = [name for name, keys in self._keys.items() if keys.told_issuer == bound.issuer]
        if by_keys and told and (found := await self._signer(token, told, now)):
            # Nobody waits for a cluster that has nothing to do with it.
            return found
        mine, silent = await self._of_issuer(bound.issuer, now)
        if by_keys and (found := await self._signer(token, [name for name in mine if name not in told], now)):
            return found
        if silent is not None and (by_keys or not mine):
            raise silent
        if not mine:
            return None
        if by_keys:
            raise TokenRefused("is not signed by a key of its cluster; read the file again, the kubelet renews it")
        if len(mine) > 1 or silent is not None:
            raise TokenRefused(
                f"may be of several clusters ({', '.join(sorted(mine))}); the gate's operator must let keys tell them "
                "apart (serviceAccounts.verify: [keys, tokenReview])"
            )
        return mine[0]

    async def _of_issuer(self, issuer: str, now: float) -> tuple[list[str], ClusterSilent | None]:
        """The clusters with this issuer, and why another one could not be asked."""
        mine: list[str] = []
        silent: ClusterSilent | None = None
        for name, keys in self._keys.items():
            try:
                if await keys.issuer(now) == issuer:
                    mine.append(name)
            except ClusterSilent as error:
                silent = error
        return mine, silent

    async def _signer(self, token: str, clusters: Iterable[str], now: float) -> str | None:
        """The one of these clusters whose keys verify it; None where none does. Raises TokenRefused."""
        found: list[str] = []
        for name in clusters:
            try:
                await self._keys[name].verified(token, now)
            except (UnknownKey, ClusterSilent):
                continue
            found.append(name)
        if len(found) > 1:
            raise TokenRefused(
                f"is signed by a key that several clusters have ({', '.join(found)}); the gate's operator names one of "
                "them in serviceAccounts.clusters, or gives each its own key"
            )
        return found[0] if found else None


def _check_time(bound: BoundToken, now: float) -> None:
    """Raises TokenRefused unless the token is valid at `now`."""
    # Written so that a time that is no number (NaN) counts as past the end.
    if not now < bound.expires_at:
        # A date beyond the year 9999 cannot be written, and is not past: `read_bound_token` has bounded it.
        ended = datetime.fromtimestamp(bound.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise TokenRefused(f"of {bound.name} expired on {ended}; read the file again, the kubelet renews it")
    if now < bound.not_before - CLOCK_SKEW:
        raise TokenRefused(f"of {bound.name} is not valid yet; set the clocks of cluster and gate right")


def _keep(known: dict[bytes, _Known], digest: bytes, what: _Known) -> None:
    known.pop(digest, None)
    if len(known) >= MOST_REMEMBERED:
        # The oldest goes: a dict keeps the order in which keys came.
        del known[next(iter(known))]
    known[digest] = what


def _disagreement(bound: BoundToken, review: TokenReview, audience: str) -> str:
    """Why a review does not vouch for a token; empty when it does. Worded to follow "this token"."""
    if not review.authenticated:
        reason = "".join(letter for letter in review.error if letter.isprintable())[:LONGEST_ERROR]
        return f"of {bound.name} is not accepted by its cluster ({reason or 'no reason given'}); read the file again"
    # An API server that heeds no audiences says so by naming none: such a yes is for tokens of its own.
    if audience not in review.audiences:
        return f"of {bound.name} is not for {audience}, its cluster says; project one with that audience into the pod"
    said: dict[str, str] = {key: values[0] for key, values in review.extra.items() if len(values) == 1}
    claimed = {
        "pod-name": bound.pod.name if bound.pod else None,
        "pod-uid": bound.pod.uid if bound.pod else None,
        "node-name": bound.node.name if bound.node else None,
        "credential-id": f"JTI={bound.id}",
    }
    # Older API servers do not tell everything; what is told must be what is claimed.
    agreed = all(said.get(EXTRA_PREFIX + key, value) == value for key, value in claimed.items())
    if (review.username, review.uid) == (bound.username, bound.account.uid) and agreed:
        return ""
    return f"of {bound.name} is of somebody else, its cluster says; read the file again"


def _identity(bound: BoundToken, cluster: str, token: str) -> Identity:
    claims = {"issuer": bound.issuer, "serviceaccount-uid": bound.account.uid}
    if bound.pod is not None:
        claims |= {"pod": bound.pod.name, "pod-uid": bound.pod.uid}
    if bound.node is not None:
        claims["node"] = bound.node.name
    return Identity(
        kind=Kind.WORKLOAD,
        name=bound.name,
        proven_by=PROVEN_BY,
        # Before Kubernetes 1.29 tokens have no id of their own.
        credential=f"sa-{bound.id or _sha256(token.encode('ascii')).hexdigest()[:20]}",
        claims=tuple(sorted(claims.items())),
        cluster=cluster,
        expires_at=bound.expires_at,
        recheck_seconds=RECHECK_SECONDS,
    )
