"""The port towards a registered cluster that vouches for its own tokens, and what is remembered of its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from narrowgate.authenticators.jwks import KeySet, KeySetInvalid, UnknownKey, verified

ALGORITHMS = ("RS256", "ES256", "ES384", "ES512")
"""What the API server signs with (k8s.io/kubernetes/pkg/serviceaccount/jwt.go: RSA is RS256, curves by their size)."""

KEYS_SECONDS = 300.0
"""How long fetched keys are used before they are fetched again: a key that was taken away is good for no longer."""

UNKNOWN_KEY_SECONDS = 5.0
"""Least time between two fetches for the sake of a key that is not known: whoever makes one up decides nothing."""

MAX_KEY_AGE = 900.0
"""Keys that cannot be fetched again are used for so long; their cluster being away, little can be done with them."""


class ClusterSilent(Exception):
    """The cluster cannot be asked now; the text is for the caller and says which cluster, and why."""


class TokenReview(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster answers about a token (`status` of k8s.io/api/authentication/v1 TokenReview)."""

    authenticated: bool = False
    audiences: tuple[str, ...] = ()
    username: str = ""
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}
    error: str = ""


class ClusterTokens(Protocol):
    """One registered cluster, as far as its ServiceAccounts' tokens go. Each call asks the cluster."""

    async def issuer(self) -> str:
        """`issuer` of its discovery document. Raises ClusterSilent."""
        ...

    async def keys(self) -> bytes:
        """Its JWK Set. Raises ClusterSilent."""
        ...

    async def review(self, token: str, audience: str) -> TokenReview:
        """Its verdict on a token for `audience`. Raises ClusterSilent."""
        ...


class ClusterKeys:
    """Issuer and keys of one cluster, fetched when they are needed and remembered for a while. One per process."""

    def __init__(self, cluster: str, tokens: ClusterTokens) -> None:
        self._cluster = cluster
        self._tokens = tokens
        self._issuer = ""
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._trouble = ""
        self._fetching = asyncio.Lock()

    @property
    def told_issuer(self) -> str:
        """The issuer as it was told last, however long ago; empty before the first time."""
        return self._issuer

    async def issuer(self, now: float) -> str:
        """The `iss` of its tokens. Raises ClusterSilent."""
        await self._fresh(now)
        return self._issuer

    async def verified(self, token: str, now: float) -> dict[str, Any]:
        """The claims of a token that one of its keys signed. Raises UnknownKey, TokenRefused, ClusterSilent."""
        keys = await self._fresh(now)
        try:
            return verified(token, keys, ALGORITHMS)
        except UnknownKey:
            # It may be new: keys are changed by restarting API servers.
            newer = await self._fresh(now, within=UNKNOWN_KEY_SECONDS)
            if newer is keys:
                raise
            return verified(token, newer, ALGORITHMS)

    async def _fresh(self, now: float, within: float = KEYS_SECONDS) -> KeySet:
        """Keys that were fetched at most so many seconds before `now`, where the cluster can be asked."""
        if self._keys is not None and self._fetched_at <= now < self._fetched_at + within:
            return self._keys
        async with self._fetching:
            # Written so that a time that is no number (NaN) counts as long ago, here and above.
            if not self._tried_at <= now < self._tried_at + min(within, UNKNOWN_KEY_SECONDS):
                await self._fetch(now)
        if self._keys is None or not self._fetched_at <= now < self._fetched_at + MAX_KEY_AGE:
            raise ClusterSilent(self._trouble)
        return self._keys

    async def _fetch(self, now: float) -> None:
        self._tried_at = now
        try:
            issuer, keys = await self._tokens.issuer(), KeySet.of(await self._tokens.keys())
        except ClusterSilent as error:
            self._trouble = str(error)
        except KeySetInvalid as error:
            self._trouble = f"cluster {self._cluster}: the keys that it publishes {error}"
        else:
            self._issuer, self._keys, self._fetched_at = issuer, keys, now
            self._trouble = ""
