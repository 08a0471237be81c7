"""The clusters of one process, with the accounts that the gate has there."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from narrowgate.config import Config, cluster_access
from narrowgate.keys import Keys
from narrowgate.main.own_tokens import own_tokens, read_token
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.known_values import KnownSecrets
from narrowgate.proxy.own_token import OwnToken
from narrowgate.proxy.state import ServedCluster


class Clusters(msgspec.Struct, frozen=True):
    """Each cluster by its name, four times over."""

    by_name: Mapping[str, Cluster]
    served: Mapping[str, ServedCluster]
    own_tokens: Mapping[str, OwnToken]
    """Only those whose token the gate renews itself; each has to be followed."""
    known_secrets: Mapping[str, KnownSecrets]
    """Only those whose Secrets' values are masked in text; each has to be followed."""


def connected(config: Config, keys: Keys) -> Clusters:
    """The clusters of the configuration; nothing is connected to yet. Raises ConfigError."""
    seconds = config.limits.connect_timeout
    by_name = {entry.name: Cluster(cluster_access(entry), connect_seconds=seconds) for entry in config.clusters}
    tokens = own_tokens(by_name.values(), config, keys)
    served = {
        name: ServedCluster(cluster, account_for(cluster, read_token, tokens.get(name)))
        for name, cluster in by_name.items()
    }
    known = {name: KnownSecrets(cluster) for name, cluster in by_name.items() if cluster.access.masks_known_values}
    return Clusters(by_name, served, tokens, known)
