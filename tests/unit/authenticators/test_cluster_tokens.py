"""How long a cluster's issuer and keys are remembered, and when it is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from joserfc.jwk import ECKey
from tests.told_cluster import ISSUER, ToldCluster

from narrowgate.authenticators.cluster_tokens import (
    KEYS_SECONDS,
    MAX_KEY_AGE,
    UNKNOWN_KEY_SECONDS,
    ClusterKeys,
    ClusterSilent,
)
from narrowgate.authenticators.jwks import UnknownKey

NOW = 5_000.0
_Value = TypeVar("_Value")


def run(one: Coroutine[Any, Any, _Value]) -> _Value:
    return asyncio.run(one)


def test_issuer_and_keys_are_fetched_once_and_remembered() -> None:
    cluster = ToldCluster()
    keys = ClusterKeys("prod", cluster)
    assert keys.told_issuer == ""
    for step in range(20):
        assert run(keys.issuer(NOW + step)) == ISSUER
        assert run(keys.verified(cluster.token(), NOW + step))["sub"] == "system:serviceaccount:ci:deployer"
    assert cluster.keys_asked == 1
    assert keys.told_issuer == ISSUER
    run(keys.issuer(NOW + KEYS_SECONDS))
    assert cluster.keys_asked == 2


def test_many_who_ask_at_once_fetch_once() -> None:
    cluster = ToldCluster()
    keys = ClusterKeys("prod", cluster)

    async def at_once() -> None:
        await asyncio.gather(*(keys.issuer(NOW) for _ in range(50)))

    run(at_once())
    assert cluster.keys_asked == 1


def test_an_unknown_key_is_looked_for_but_not_again_and_again() -> None:
    cluster = ToldCluster()
    keys = ClusterKeys("prod", cluster)
    run(keys.issuer(NOW))
    cluster.key = ECKey.generate_key("P-256", {"kid": "new"})
    with pytest.raises(UnknownKey):
        run(keys.verified(cluster.token(), NOW + UNKNOWN_KEY_SECONDS))
    assert cluster.keys_asked == 2
    cluster.published.append(cluster.key)
    with pytest.raises(UnknownKey):
        run(keys.verified(cluster.token(), NOW + UNKNOWN_KEY_SECONDS + 1))
    assert cluster.keys_asked == 2
    assert run(keys.verified(cluster.token(), NOW + 2 * UNKNOWN_KEY_SECONDS))
    assert cluster.keys_asked == 3


def test_a_silent_cluster_is_said_so_and_asked_again_after_a_moment() -> None:
    cluster = ToldCluster()
    cluster.silent = "cluster 'prod' is away"
    keys = ClusterKeys("prod", cluster)
    for _ in range(3):
        with pytest.raises(ClusterSilent, match="is away"):
            run(keys.issuer(NOW))
    cluster.silent = ""
    with pytest.raises(ClusterSilent):
        run(keys.issuer(NOW + UNKNOWN_KEY_SECONDS - 1))
    assert run(keys.issuer(NOW + UNKNOWN_KEY_SECONDS)) == ISSUER


def test_old_keys_serve_for_a_while_and_no_longer() -> None:
    cluster = ToldCluster()
    keys = ClusterKeys("prod", cluster)
    run(keys.issuer(NOW))
    cluster.silent = "cluster 'prod' is away"
    assert run(keys.verified(cluster.token(), NOW + MAX_KEY_AGE - 1))
    with pytest.raises(ClusterSilent):
        run(keys.verified(cluster.token(), NOW + MAX_KEY_AGE))
    assert keys.told_issuer == ISSUER


def test_keys_that_are_no_keys_are_silence() -> None:
    class Nonsense(ToldCluster):
        async def keys(self) -> bytes:
            return b"nonsense"

    with pytest.raises(ClusterSilent, match="cluster prod: the keys that it publishes"):
        run(ClusterKeys("prod", Nonsense()).issuer(NOW))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_time_that_is_none_makes_nothing_good(odd: float) -> None:
    cluster = ToldCluster()
    keys = ClusterKeys("prod", cluster)
    run(keys.issuer(NOW))
    with pytest.raises(ClusterSilent):
        run(keys.issuer(odd))
    assert run(keys.issuer(NOW)) == ISSUER
