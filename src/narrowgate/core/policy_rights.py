"""What the gate's own policies give to a ServiceAccount, in the form of the rights that RBAC gives to it.

Whoever holds a token of an account for the gate's audience comes as that account, and speaks for nobody else. What is
given on a condition is given here: whoever holds the token chooses what it asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from narrowgate.core.account_rights import RIGHTS_LIMIT, Account, HeldRight, TooManyRights
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.matching import CompiledRule
from narrowgate.core.policy import BUILT_IN, EVERYTHING, Effect
from narrowgate.core.rights import Right, is_baseline
from narrowgate.core.rulebook import Rulebook


def policy_rights(rulebook: Rulebook, account: Account, cluster: str) -> tuple[HeldRight, ...]:
    """What allow rules give to the account on the cluster at any time, but for what everybody may. Tasks are no
    workload's, and what people are asked about they see. Raises TooManyRights.
    """
    who = Identity(kind=Kind.WORKLOAD, name=str(account), proven_by="", credential="", cluster=cluster)
    found: dict[HeldRight, None] = {}
    for rule in rulebook.holding(who, cluster).rules:
        if rule.effect is not Effect.ALLOW or rule.ref.policy == BUILT_IN:
            continue
        for held in _rights(rule):
            if not is_baseline(held.right):
                found[held] = None
            if len(found) > RIGHTS_LIMIT:
                raise TooManyRights
    return tuple(found)


def _rights(compiled: CompiledRule) -> Iterator[HeldRight]:
    rule = compiled.rule
    by = f"rule {rule.id} of policy {compiled.ref.policy}"
    for verb, path in product(rule.verbs, rule.non_resource_urls):
        yield HeldRight(Right(verb, path=path), "", by)
    everywhere = rule.namespaces is None or EVERYTHING in rule.namespaces
    namespaces = ("",) if everywhere else rule.namespaces or ()
    for verb, group, resource, namespace in product(rule.verbs, rule.api_groups, rule.resources, namespaces):
        yield HeldRight(Right(verb, group, resource, rule.names or ()), namespace, by)
