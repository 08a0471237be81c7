"""How much wider an account's rights in a cluster are than the policies need. Values in, findings out.

The account's rights are what `SelfSubjectRulesReview` says of it, in its own words (`verbs`, `apiGroups`, `resources`,
`resourceNames`, `nonResourceURLs`); what is needed are the rules of the manifests that the policies lead to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from narrowgate.core.upstream_names import EXTRA_PREFIX, PREFIX

EVERYTHING = "*"

BASELINE_RESOURCES = {
    "authorization.k8s.io": {"selfsubjectaccessreviews", "selfsubjectrulesreviews"},
    "authentication.k8s.io": {"selfsubjectreviews"},
}
"""What every authenticated account may do (ClusterRole system:basic-user): to have it says nothing about an account."""

BASELINE_PATHS = (
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
)
"""What everybody may read: system:discovery, system:public-info-viewer, system:service-account-issuer-discovery."""


class Right(msgspec.Struct, frozen=True):
    """One thing that may be done: a verb on a resource of a group (with names, or any), or on a path."""

    verb: str
    group: str = ""
    resource: str = ""
    names: tuple[str, ...] = ()
    """Empty: any name."""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        if (self.verb, self.group, self.resource) == (EVERYTHING, EVERYTHING, EVERYTHING) and not self.names:
            return "everything"
        thing = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {thing}" + (f" ({', '.join(self.names)})" if self.names else "")


TOKEN_REVIEWS = Right("create", "authentication.k8s.io", "tokenreviews")
"""To ask a cluster whose token it is: reads nothing, changes nothing. The gate's account has it where it takes
ServiceAccounts' tokens."""

SECRET_READING = (Right("list", "", "secrets"), Right("watch", "", "secrets"))
"""To know the values that are masked in text. The gate's account has it where a cluster is registered so."""


LINEAGE_FOLLOWED = (("", "pods"), ("apps", "replicasets"), ("batch", "jobs"))
"""What the gate's account reads and watches where pods are placed in the chain that had them made."""

LINEAGE_OWNERS = (
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
)
"""What it gets, because it owns something of those, and lists, where a write that was never answered named none."""


def lineage_rights(owners: Iterable[tuple[str, str]] = ()) -> tuple[Right, ...]:
    """What the gate's account needs to know who had pods made; `owners` are an operator's resources that own
    workloads, as (group, plural)."""
    followed = [Right(verb, group, name) for group, name in LINEAGE_FOLLOWED for verb in ("get", "list", "watch")]
    above = [Right(verb, group, name) for group, name in (*LINEAGE_OWNERS, *owners) for verb in ("get", "list")]
    return (*followed, *above)


def rights_of(rules: Iterable[Any]) -> list[Right]:
    """Spell out rules as RBAC and SelfSubjectRulesReview write them, each combination as one right."""
    found: list[Right] = []
    for rule in rules:
        verbs = _texts(rule, "verbs")
        names = tuple(_texts(rule, "resourceNames"))
        found += [Right(verb, path=path) for path in _texts(rule, "nonResourceURLs") for verb in verbs]
        found += [
            Right(verb, group, resource, names)
            for group in _texts(rule, "apiGroups")
            for resource in _texts(rule, "resources")
            for verb in verbs
        ]
    return found


def beyond(rights: Iterable[Right], needed: Sequence[Right]) -> list[Right]:
    """The rights that nothing needed covers and that not everybody has anyhow, in their order, each once."""
    return [one for one in dict.fromkeys(rights) if not is_baseline(one) and not any(_covers(n, one) for n in needed)]


_EXTRAS = "userextras/"


def is_impersonation(right: Right) -> bool:
    """Whether a right is to speak in another's name and nothing else; `*` is far more than that."""
    return right.verb == "impersonate" or right.verb.startswith(("impersonate:", "impersonate-on:"))


def is_fenced(right: Right) -> bool:
    """Whether an impersonation right is limited to the gate's own names; extra values can be so by their key alone.

    A list of names is no fence by itself: `system:masters` is a name, too.
    """
    if right.verb.startswith("impersonate-on:"):
        return True
    if right.resource.startswith(_EXTRAS):
        return right.resource.startswith(_EXTRAS + EXTRA_PREFIX)
    return bool(right.names) and all(name.startswith(PREFIX) for name in right.names)


def _covers(wide: Right, narrow: Right) -> bool:
    if wide.verb not in (EVERYTHING, narrow.verb):
        return False
    if wide.path or narrow.path:
        return _path_covers(wide.path, narrow.path)
    if wide.group not in (EVERYTHING, narrow.group) or not _resource_covers(wide.resource, narrow.resource):
        return False
    return not wide.names or (bool(narrow.names) and set(narrow.names) <= set(wide.names))


def _resource_covers(wide: str, narrow: str) -> bool:
    if wide in (EVERYTHING, narrow):
        return True
    # `*/scale`: that subresource of everything.
    return wide.startswith("*/") and "/" in narrow and narrow.partition("/")[2] == wide[2:]


def _path_covers(wide: str, narrow: str) -> bool:
    if not wide or not narrow:
        return False
    return wide == narrow or (wide.endswith("*") and narrow.startswith(wide[:-1]))


def is_baseline(right: Right) -> bool:
    """Whether every authenticated account has this right."""
    if right.path:
        return right.verb == "get" and right.path in BASELINE_PATHS
    known = right.resource in BASELINE_RESOURCES.get(right.group, set())
    return known and right.verb == "create"


def _texts(rule: Any, key: str) -> list[str]:
    value = rule.get(key) if isinstance(rule, dict) else None
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
