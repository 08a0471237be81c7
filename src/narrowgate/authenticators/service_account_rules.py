"""How projected ServiceAccount tokens of the registered clusters are taken, as configured."""

from __future__ import annotations

import enum

import msgspec


class Verify(enum.Enum):
    """Who says that a token is good."""

    TOKEN_REVIEW = "tokenReview"
    """Its cluster (`authentication.k8s.io/v1` TokenReview), which also knows that the pod is still there."""
    KEYS = "keys"
    """The cluster's public keys alone: a deleted pod's token stays good until it expires."""


class ServiceAccountRules(msgspec.Struct, frozen=True, kw_only=True):
    """For all clusters alike."""

    audience: str = "narrowgate"
    """What a token must be for (`audience` of the projected volume): never the API server's own."""
    verify: tuple[Verify, ...] = (Verify.KEYS, Verify.TOKEN_REVIEW)
    """All of these must agree."""
    clusters: tuple[str, ...] = ()
    """Whose tokens are taken; empty never happens here: the configuration fills in all."""

    lineage: bool = True
    """Whether a pod speaks for those who had it made through the gate as well. False: it is just its ServiceAccount."""
    lineage_owners: tuple[tuple[str, str], ...] = ()
    """Operators' resources that own workloads, as (group, plural), which the gate's account may look at for that."""

    @property
    def placing(self) -> tuple[str, ...]:
        """The clusters whose pods are placed."""
        return self.clusters if self.lineage else ()

    @property
    def reviewing(self) -> tuple[str, ...]:
        """The clusters that are asked about tokens: the gate's account must be allowed to, there."""
        return self.clusters if Verify.TOKEN_REVIEW in self.verify else ()
