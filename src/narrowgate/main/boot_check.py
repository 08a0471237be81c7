"""Before serving: an account that impersonates must be able to do nothing else.

Whoever can impersonate and read, say, Secrets would make every mistake of the gate's a breach. So the gate asks the API
server what its own account may do, and refuses to start when that is more than impersonating and what any
authenticated identity may do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.excess import excess_of
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

NAMESPACES_ASKED = ("default", "kube-system")
"""Rules are reviewed per namespace; a role bound in another one shows in `narrowgate clusters check`."""


class AccountTooWide(Exception):
    """The impersonating account can do more than impersonate; the text says what, and what to do."""


async def refuse_wide_accounts(clusters: Iterable[Cluster]) -> None:
    """Check every cluster in mode `impersonate`. Raises AccountTooWide, also when that cannot be found out."""
    for cluster in clusters:
        if cluster.access.mode is not UpstreamMode.IMPERSONATE:
            continue
        for namespace in NAMESPACES_ASKED:
            excess = excess_of(await _rules_in(cluster, namespace))
            if excess:
                raise AccountTooWide(
                    f"cluster {cluster.name!r}: the gate's account may do more than impersonate: "
                    f"{'; '.join(excess[:5])}. Take that away (`narrowgate clusters manifests` prints the account as it should "
                    "be), "
                    "or write upstream: {mode: credential}"
                )


async def _rules_in(cluster: Cluster, namespace: str) -> dict[str, Any]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    try:
        status, _, answer = await cluster.call("POST", path, body=orjson.dumps(review))
    except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady) as error:
        raise AccountTooWide(f"cluster {cluster.name!r}: what its account may do cannot be checked: {error}") from None
    if status != 201:
        raise AccountTooWide(
            f"cluster {cluster.name!r}: what its account may do cannot be checked: the API server answers {status}"
        )
    rules: dict[str, Any] = orjson.loads(answer)["status"]
    return rules
