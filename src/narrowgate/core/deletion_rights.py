"""What the gate's account has to be able to delete, where rules say that what tasks leave behind is deleted.

No more than the policies let somebody create there, of what counts as a workload: Kubernetes' own kinds by name, and
those of other groups that are written out. What is only meant by a wildcard is left out, and said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from narrowgate.core.intent import GATE_GROUP
from narrowgate.core.lineage import POD_MAKERS, WRITES
from narrowgate.core.policy import EVERYTHING, Effect, OnEnd, Policy, Rule
from narrowgate.core.rights import Right
from narrowgate.core.uses import BUILT_IN_GROUPS


def deletes_workloads(policies: Iterable[Policy]) -> bool:
    """Whether any of these policies has the gate delete what tasks leave behind."""
    return any(rule.on_end is OnEnd.DELETE_WORKLOADS for policy in policies for rule in policy.rules)


def deleting_rules(policies: Sequence[Policy]) -> tuple[Rule, ...]:
    """As rules, what is to be deleted: of one cluster's policies all that lets somebody create workloads.

    Any policy counts, not only that whose rule deletes: under one task several rules may let something be created,
    and for the pods that come of it those of their ServiceAccounts do. None where nothing is deleted at all.
    """
    if not deletes_workloads(policies):
        return ()
    found = [deleting for policy in policies for rule in policy.rules for deleting in _deleting(rule)]
    return tuple(dict.fromkeys(found))


def not_named(policies: Sequence[Policy]) -> tuple[str, ...]:
    """What of that no role can name, as remarks for people."""
    if not deletes_workloads(policies):
        return ()
    return tuple(
        f"{policy.name}/{rule.id}: to delete custom resources that tasks leave behind is left out, because their "
        "groups are not written out; name them in apiGroups"
        for policy in policies
        for rule in policy.rules
        if _creates(rule) and EVERYTHING in rule.api_groups
    )


def deletion_rights(cluster: str, policies: Sequence[Policy]) -> tuple[Right, ...]:
    """The same as rights, wherever they hold."""
    here = [policy for policy in policies if not {cluster, EVERYTHING}.isdisjoint(policy.clusters)]
    return tuple(
        Right("delete", group, resource, rule.names or ())
        for rule in deleting_rules(here)
        for group in rule.api_groups
        for resource in rule.resources
    )


def _creates(rule: Rule) -> bool:
    gives = rule.effect is not Effect.DENY and not rule.non_resource_urls
    return gives and not {*WRITES, EVERYTHING}.isdisjoint(rule.verbs)


def _deleting(rule: Rule) -> Iterable[Rule]:
    """A rule for each group whose workloads may be created by this one."""
    if not _creates(rule):
        return
    named = tuple(resource for resource in rule.resources if "/" not in resource)
    for group in sorted({group for group, _ in POD_MAKERS}):
        if group in rule.api_groups or EVERYTHING in rule.api_groups:
            known = sorted(name for of, name in POD_MAKERS if of == group)
            yield from _in(group, tuple(name for name in known if name in named or EVERYTHING in named), rule)
    for group in rule.api_groups:
        if group not in BUILT_IN_GROUPS and group not in (EVERYTHING, GATE_GROUP):
            yield from _in(group, named, rule)


def _in(group: str, resources: tuple[str, ...], rule: Rule) -> Iterable[Rule]:
    if resources:
        yield Rule(
            id="delete",
            effect=Effect.ALLOW,
            verbs=("delete",),
            api_groups=(group,),
            resources=resources,
            namespaces=rule.namespaces,
            names=rule.names,
        )
