"""Which clusters' pods are placed in the chain that had them made, and what a process needs for that."""

from __future__ import annotations

from collections.abc import Mapping

from narrowgate.config import Authentication
from narrowgate.core.rights import Right, lineage_rights
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.lineage import Lineage
from narrowgate.proxy.lineage_writes import LineageWrites
from narrowgate.store.port import Store


def placed_clusters(rules: Authentication, clusters: Mapping[str, Cluster]) -> dict[str, Cluster]:
    """Those whose ServiceAccounts are let in: where no pod can come, nobody has to know who had it made."""
    accounts = rules.service_accounts
    return {name: clusters[name] for name in accounts.placing} if accounts is not None else {}


def placing_rights(rules: Authentication) -> dict[str, tuple[Right, ...]]:
    """What the gate's account needs for that, by cluster."""
    accounts = rules.service_accounts
    if accounts is None:
        return {}
    return dict.fromkeys(accounts.placing, lineage_rights(accounts.lineage_owners))


def lineage_of(store: Store, rules: Authentication, clusters: Mapping[str, Cluster]) -> Lineage:
    """What the process knows of who had pods made. Made within the event loop."""
    return Lineage(store.lineage, placed_clusters(rules, clusters))


def lineage_writes(store: Store, rules: Authentication, clusters: Mapping[str, Cluster]) -> LineageWrites:
    """What keeps who has pods made."""
    return LineageWrites(store.lineage, placed_clusters(rules, clusters))
