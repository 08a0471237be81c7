"""Policies that work and give more than people mean to, or guard less: found, and said with what to write instead.

What can never match is not here but refused when the file is read (`rule_file`). Each finding has a stable `check`, so
that a pipeline can single one out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from narrowgate.core.entry_lint import gift_remarks, guard_remarks
from narrowgate.core.mask_lint import Remark, mask_remarks
from narrowgate.core.policy import EVERYTHING, Effect, Policy, Rule, SubjectKind

_READS: Final = frozenset({"get", "list", "watch"})
_CHANGES_NOTHING: Final = _READS | {"use", "head", "options"}
_RBAC: Final = frozenset({"roles", "rolebindings", "clusterroles", "clusterrolebindings"})
_SHELLS: Final = ("pods/exec", "pods/attach", "pods/ephemeralcontainers")
"""Roads to a command line in a pod that is there already (kubectl exec, attach, debug)."""

_OWNED_BY_NOBODY: Final = frozenset({SubjectKind.PERSON, SubjectKind.SERVICE_ACCOUNT})
"""Nobody answers for these; groups may hold agents."""

_PEOPLE: Final = frozenset({SubjectKind.PERSON, SubjectKind.GROUP})
"""Who takes emergencies: people, by name or in a group."""

_SCALED: Final = frozenset({"deployments", "replicasets", "replicationcontrollers", "statefulsets"})

_REVEALED_BY: Final = {
    "get": ("list", "watch"),
    "delete": ("deletecollection",),
    "update": ("patch",),
}
"""What else does the thing a guard withholds."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to think about. `rule` is empty where it is about the policy as a whole."""

    check: str
    file: str
    line: int
    policy: str
    rule: str = ""
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        name = f"{self.policy}/{self.rule}" if self.rule else self.policy
        return f"{place}{name}: {self.message}" + (f", {self.suggestion}" if self.suggestion else "")


def lint(policies: Iterable[Policy]) -> list[Finding]:
    """Everything worth a second look: policy by policy, in the order they are written, then masks and reveals, of which
    the policies say something together.
    """
    listed = list(policies)
    found = [finding for policy in listed for finding in _policy_findings(policy)]
    return found + [
        Finding(
            check=check,
            file=policy.file,
            line=one.line,
            policy=policy.name,
            rule=one.id,
            message=message,
            suggestion=suggestion,
        )
        for policy, one, (check, message, suggestion) in mask_remarks(listed)
    ]


def _policy_findings(policy: Policy) -> Iterator[Finding]:
    for check, message, suggestion in _about_policy(policy):
        yield Finding(
            check=check,
            file=policy.file,
            line=policy.line,
            policy=policy.name,
            message=message,
            suggestion=suggestion,
        )
    for rule in policy.rules:
        for look in _LOOKS_AT_GUARDS if rule.guards else _LOOKS_AT_GIFTS:
            for check, message, suggestion in look(rule):
                yield Finding(
                    check=check,
                    file=policy.file,
                    line=rule.line,
                    policy=policy.name,
                    rule=rule.id,
                    message=message,
                    suggestion=suggestion,
                )


def _about_policy(policy: Policy) -> Iterator[Remark]:
    gives = [rule for rule in policy.rules if not rule.guards]
    if gives and EVERYTHING in policy.clusters:
        yield "every-cluster", "gives access to every cluster, the ones added later too", "name them"
    everyone = sorted(subject.kind.value for subject in policy.subjects if subject.name == EVERYTHING)
    if gives and everyone:
        yield "every-subject", f"gives access to every {' and every '.join(everyone)}", "name them"
    kept_out = [rule.id for rule in policy.rules if rule.approval is not None and rule.approval.not_by_owner]
    if kept_out and all(subject.kind in _OWNED_BY_NOBODY for subject in policy.subjects):
        yield (
            "no-owner",
            f"keeps out whoever answers for the agent (notByOwner: {', '.join(kept_out)}), and is about no agents",
            "leave notByOwner out, or name agents",
        )
    emergencies = [rule.id for rule in policy.rules if rule.review is not None]
    if emergencies and not any(subject.kind in _PEOPLE for subject in policy.subjects):
        yield (
            "no-people",
            f"is for emergencies of people ({', '.join(emergencies)}), and names none",
            "name people or groups; nobody takes an emergency for an agent",
        )
    standing = [rule.id for rule in policy.rules if rule.effect is Effect.ALLOW and not _only_reads(rule)]
    if standing:
        yield (
            "no-expiry",
            f"allows changes at any time, with no end: {', '.join(standing)}",
            "effect: grantable with a maxDuration would end by itself",
        )


def _wildcards(rule: Rule) -> Iterator[Remark]:
    if EVERYTHING in rule.verbs:
        among = "" if rule.non_resource_urls else ", escalate and impersonate among them"
        yield "wildcard-verbs", f"allows every verb{among}", "name the verbs"
    if EVERYTHING in rule.resources:
        yield "wildcard-resources", "is about every resource and every subresource, Secrets and exec too", "name them"
    if EVERYTHING in rule.api_groups:
        yield "wildcard-groups", "is about every API group, the ones installed later too", "name the groups"
    if EVERYTHING in rule.non_resource_urls:
        yield "wildcard-urls", "is about every path", "name the paths"


def _namespaces(rule: Rule) -> Iterator[Remark]:
    if rule.namespaces is not None and EVERYTHING in rule.namespaces:
        yield "every-namespace", "holds in every namespace, kube-system too", "name the namespaces it is needed in"
    if rule.namespaces is None and EVERYTHING in rule.resources:
        yield (
            "cluster-scoped-only",
            "has no namespaces, so it is about cluster-scoped resources alone",
            'write namespaces: [...], or ["*"] for everything',
        )


def _powers(rule: Rule) -> Iterator[Remark]:
    verbs = set(rule.verbs)
    risky = sorted(verbs & {"bind", "escalate", "impersonate"})
    if risky:
        yield "admin-in-disguise", f"gives {', '.join(risky)}, with which one can become anybody", ""
    bases = {resource.partition("/")[0] for resource in rule.resources}
    writes = not _only_reads(rule)
    if writes and bases & _RBAC:
        yield "admin-in-disguise", "lets roles or bindings be written", "deny it, or hold it with effect: approve"
    if "serviceaccounts/token" in rule.resources and writes:
        yield "admin-in-disguise", "lets tokens of ServiceAccounts be made", "name the accounts"
    if "signers" in rule.resources and verbs & {"approve", "sign", EVERYTHING}:
        yield "admin-in-disguise", "lets certificates be made, by which one can be anybody", "leave that to people"
    if "nodes/proxy" in rule.resources:
        yield "admin-in-disguise", "reaches the kubelet, where a GET can run commands unrecorded", "leave it out"
    if "secrets" in rule.resources and (verbs & _READS or EVERYTHING in verbs) and rule.names is None:
        yield (
            "secrets",
            "lets every Secret in its scope be read: people see the values, agents the keys and masked values",
            "name them, or hold reads with effect: approve",
        )
    shells = [resource for resource in rule.resources if resource in _SHELLS]
    is_narrow = rule.names is not None or rule.commands is not None or rule.pod_labels is not None
    if shells and rule.effect is Effect.ALLOW and not is_narrow:
        yield "standing-shell", f"opens {', '.join(shells)} to every pod in its scope, at any time", "name the pods"


def _names_of_collections(rule: Rule) -> Iterator[Remark]:
    # A watch by name is what kubectl does for one object, so that it is no surprise.
    unnamed = [verb for verb in ("list", "deletecollection") if verb in rule.verbs]
    if rule.names is not None and unnamed:
        yield (
            "names-on-collections",
            f"names objects, so {', '.join(unnamed)} is covered only when it selects metadata.name",
            "give it a rule without names if whole lists are meant",
        )


def _guard_gaps(rule: Rule) -> Iterator[Remark]:
    """Guards that leave another road to the same thing."""
    if EVERYTHING in rule.verbs or rule.effect is not Effect.DENY:
        return
    for verb, others in _REVEALED_BY.items():
        missing = [other for other in others if other not in rule.verbs]
        if verb in rule.verbs and missing and rule.resources:
            does = "reveals" if verb == "get" else "does"
            yield "guard-gap", f"guards {verb}, and {' or '.join(missing)} {does} the same", f"add {', '.join(missing)}"


def _shell_gaps(rule: Rule) -> Iterator[Remark]:
    named = [resource for resource in rule.resources if resource in _SHELLS]
    missing = [resource for resource in _SHELLS if resource not in rule.resources]
    if named and missing and rule.effect is Effect.DENY:
        yield "guard-gap", f"guards {', '.join(named)}, and {' or '.join(missing)} opens a shell too", "add it"


def _scale_gaps(rule: Rule) -> Iterator[Remark]:
    """A guard over `deployments` says nothing about `deployments/scale`, which changes the same object."""
    writes = {"update", "patch", EVERYTHING} & set(rule.verbs)
    if not writes or rule.when or rule.effect is not Effect.DENY or "*/scale" in rule.resources:
        return
    for resource in _SCALED & set(rule.resources):
        if f"{resource}/scale" not in rule.resources:
            yield (
                "guard-gap",
                f"guards {resource}, and {resource}/scale changes the same object",
                f"add {resource}/scale",
            )


_LOOKS_AT_GIFTS: Final[Sequence[Callable[[Rule], Iterator[Remark]]]] = (
    _wildcards,
    _namespaces,
    _powers,
    _names_of_collections,
    gift_remarks,
)
_LOOKS_AT_GUARDS: Final[Sequence[Callable[[Rule], Iterator[Remark]]]] = (
    _guard_gaps,
    _shell_gaps,
    _scale_gaps,
    guard_remarks,
)


def _only_reads(rule: Rule) -> bool:
    return set(rule.verbs) <= _CHANGES_NOTHING
