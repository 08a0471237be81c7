"""Which clusters' pods are placed in the chain that had them made, and what a process needs for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narrowgate.config import Authentication
from narrowgate.core.deletion_rights import deletion_rights
from narrowgate.core.policy import Policy
from narrowgate.core.rights import Right, lineage_rights
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.lineage import Lineage
from narrowgate.proxy.lineage_writes import LineageWrites
from narrowgate.store.port import Store


def placed_clusters(rules: Authentication, clusters: Mapping[str, Cluster]) -> dict[str, Cluster]:
    """Those whose ServiceAccounts are let in: where no pod can come, nobody has to know who had it made."""
    accounts = rules.service_accounts
    return {name: clusters[name] for name in accounts.placing} if accounts is not None else {}


def placing_rights(rules: Authentication, policies: Sequence[Policy] = ()) -> dict[str, tuple[Right, ...]]:
    """What the gate's account needs for that, by cluster, and to delete what these policies say that it deletes."""
    accounts = rules.service_accounts
    if accounts is None:
        return {}
    reads = lineage_rights(accounts.lineage_owners)
    return {cluster: (*reads, *deletion_rights(cluster, policies)) for cluster in accounts.placing}


def lineage_of(store: Store, rules: Authentication, clusters: Mapping[str, Cluster]) -> Lineage:
    """What the process knows of who had pods made. Made within the event loop."""
    return Lineage(store.lineage, placed_clusters(rules, clusters))


def lineage_writes(store: Store, rules: Authentication, clusters: Mapping[str, Cluster]) -> LineageWrites:
    """What keeps who has pods made."""
    return LineageWrites(store.lineage, placed_clusters(rules, clusters))
