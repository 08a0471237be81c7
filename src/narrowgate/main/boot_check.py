"""Before serving: an account that impersonates must be able to do nothing else.

Whoever can impersonate and read, say, Secrets would make every mistake of the gate's a breach. So the gate asks the API
server what its own account may do, and refuses to start when that is more than impersonating the names it is fenced to
and what any authenticated identity may do, to list roles and bindings, to ask whose a token is and who had its pod made
where it takes ServiceAccounts' tokens, and to read Secrets where it masks their values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import orjson

from narrowgate.core.account_rights import RBAC_READING
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.rights import SECRET_READING, TOKEN_REVIEWS, Right, beyond, is_fenced, is_impersonation, rights_of
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

NAMESPACES_ASKED = ("default", "kube-system")
"""Rules are reviewed per namespace; a role bound in another one shows in `narrowgate clusters check`."""
NAMED = 5
"""Rights that the error names; the rest is for `clusters check`."""


class AccountTooWide(Exception):
    """The impersonating account can do more than impersonate; the text says what, and what to do."""


async def refuse_wide_accounts(
    clusters: Iterable[Cluster], reviewing: Collection[str] = (), placing: Mapping[str, Sequence[Right]] | None = None
) -> None:
    """Check every cluster in mode `impersonate`; `reviewing` names those that are asked about tokens, `placing` what is
    needed where it is looked who had pods made.

    Raises AccountTooWide, also when that cannot be found out.
    """
    for cluster in clusters:
        if cluster.access.mode is not UpstreamMode.IMPERSONATE:
            continue
        besides = [TOKEN_REVIEWS] if cluster.name in reviewing else []
        besides += RBAC_READING
        besides += (placing or {}).get(cluster.name, ())
        besides += SECRET_READING if cluster.access.masks_known_values else ()
        for namespace in NAMESPACES_ASKED:
            if excess := excess_of(await _status_in(cluster, namespace), besides):
                raise AccountTooWide(
                    f"cluster {cluster.name!r}: the gate's account may do more than impersonate whom it should: "
                    f"{'; '.join(excess[:NAMED])}. Take that away (`narrowgate clusters manifests {cluster.name}` "
                    "prints the account as it should be), or write upstream: {mode: credential}"
                )


def excess_of(status: dict[str, Any], besides: Sequence[Right] = ()) -> list[str]:
    """What the account may do beyond impersonating and `besides`, in words, from a SelfSubjectRulesReview's status.

    Empty when nothing. An incomplete answer counts as excess: what is not known to be narrow is not.
    """
    rules = [*(status.get("resourceRules") or []), *(status.get("nonResourceRules") or [])]
    rights = beyond(rights_of(rules), besides)
    found = [str(right) for right in rights if not (is_impersonation(right) and is_fenced(right))]
    if status.get("incomplete"):
        found.append(f"the API server could not tell everything ({status.get('evaluationError') or 'no reason given'})")
    return found


async def _status_in(cluster: Cluster, namespace: str) -> dict[str, Any]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    unknown = f"cluster {cluster.name!r}: what its account may do cannot be checked"
    try:
        code, _, answer = await cluster.call("POST", path, body=orjson.dumps(review))
    except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady) as error:
        raise AccountTooWide(f"{unknown}: {error}") from None
    if code != 201:
        raise AccountTooWide(f"{unknown}: the API server answers {code}")
    status: dict[str, Any] = orjson.loads(answer)["status"]
    return status
