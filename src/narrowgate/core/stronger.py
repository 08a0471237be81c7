"""Whether an account can do more than somebody: each of its rights, asked of what the other holds by the policies.

Whoever starts a pod, or gets into one, can do what its ServiceAccount may do at the API server, past the gate. In doubt
the account can do more: a wildcard covers nothing that any guard reaches, what is given on a condition or only in a
part of pods is not given, and what somebody may only read masked it may not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from narrowgate.core.account_rights import HeldRight, makes_pods
from narrowgate.core.identity import Identity
from narrowgate.core.intent import GATE_GROUP, Intent
from narrowgate.core.judging import Evidence, Grants, covers_of
from narrowgate.core.known_resources import CLUSTER_SCOPED
from narrowgate.core.masking.built_in import SECRET_DATA
from narrowgate.core.masking.choosing import Where
from narrowgate.core.matching import Question
from narrowgate.core.policy import EVERYTHING
from narrowgate.core.rights import Right
from narrowgate.core.rulebook import Holding

_VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "use")
_READS: Final = frozenset({"get", "list", "watch", EVERYTHING})
_OF_PODS: Final = (
    (GATE_GROUP, "hostaccess", "use"),
    ("", "secrets", "get"),
    ("", "configmaps", "get"),
    ("", "persistentvolumeclaims", "get"),
)
"""What whoever makes pods past the gate may use in their templates, of any name."""


class Holder(msgspec.Struct, frozen=True):
    """Somebody, and what it holds."""

    identity: Identity
    holding: Holding
    grants: Grants | None

    def exceeded_by(self, rights: Iterable[HeldRight], what: Intent) -> Iterator[HeldRight]:
        """Those of the rights that this one does not have on the cluster of `what`, as far as anybody can tell."""
        evidence = Evidence(msgspec.structs.replace(what, object=None, old_object=None, held=None, pods=None))
        for held in rights:
            if not all(self._has(question, evidence) for question in questions_of(held)) or self._reads_less(held):
                yield held

    def holds_everything(self, what: Intent) -> bool:
        """Whether no account could do more."""
        rights = (Right(EVERYTHING, EVERYTHING, EVERYTHING), Right(EVERYTHING, path=EVERYTHING))
        return next(self.exceeded_by((HeldRight(right, "", "") for right in rights), what), None) is None

    def _has(self, question: Question, evidence: Evidence) -> bool:
        is_wide = EVERYTHING in (question.group, question.resource)
        if is_wide and any(rule.guards and not rule.rule.reveals for rule in self.holding.rules):
            return False
        found = self.holding.candidates(question)
        guards = (rule for rule in (*found.deny, *found.approve) if not rule.rule.reveals)
        if any(rule.guards_name(question) for rule in guards):
            # Whatever its condition: the account will ask for whatever it likes.
            return False
        giving = covers_of(self.holding, self.identity, question, evidence, self.grants)
        return any(rule.is_whole for rule, _ in giving)

    def _reads_less(self, held: HeldRight) -> bool:
        """Whether something of what the right shows is masked for this one, in ways that matter."""
        right = held.right
        if right.path or right.verb not in _READS:
            return False
        is_wide = EVERYTHING in (right.group, right.resource)
        masks = self.holding.masks_on(*(("", "secrets") if is_wide else (right.group, right.resource)))
        if masks is None:
            return False
        of_secrets = is_wide or right.resource == "secrets"
        places = [Where(held.namespace or None, name) for name in right.names or (None,)]
        found = [mask for place in places for mask in masks.held(place, ())]
        # Masks that the gate brings along look through everything for what seems secret; here is where it is.
        return any(mask.fields or (of_secrets and mask.rule == SECRET_DATA) for mask in found)


def questions_of(held: HeldRight) -> Iterator[Question]:
    """What somebody must be allowed, all of it, for the right to be none that it lacks."""
    right, namespace = held.right, held.namespace
    if right.path:
        yield Question((right.verb,), path=right.path, same_risk=("get", "post", "put", "patch", "delete"))
        return
    base, _, subresource = right.resource.partition("/")
    if namespace and (right.group, base) in CLUSTER_SCOPED and base != "namespaces":
        # A RoleBinding gives nothing outside of its namespace.
        return
    namespaced = (right.group, base) not in CLUSTER_SCOPED
    for name in right.names or (namespace if base == "namespaces" else "",):
        yield Question(
            verbs=(right.verb,),
            group=right.group,
            resource=base,
            subresource=subresource,
            namespace=namespace or (name if base == "namespaces" else ""),
            namespaced=namespaced,
            name=name,
            same_risk=_VERBS if right.verb == EVERYTHING else (),
        )
    if makes_pods(right):
        for group, resource, verb in _OF_PODS:
            yield Question((verb,), group, resource, "", namespace, True, "")
