"""The gate's accounts in a cluster, and the RBAC they need: no wider than the policies, printed as manifests.

Two ways for the gate to reach a cluster without holding more than it hands on (`upstream.mode`):

* **impersonate**: one account that can do nothing but impersonate the identities and groups the gate knows. What those
  may do is RBAC of their own, bound to their names in the cluster (`upstream_names`), made from the policies.
* **serviceAccount**: one account for each policy, with the RBAC of that policy; the gate's own account can only mint
  their tokens.

RBAC is coarser than a policy. Where it cannot say what a rule says, the role says less, and a remark tells what was
left out; only three things it says wider, because nothing would work otherwise, and all stay fenced by the gate: a
condition (`when`) is not in the role, neither are deny rules, and what is given for a task or after an approval is in
it at all times. Remarks say those as well.

An empty `resourceNames` means every name (k8s.io/api/rbac/v1 `PolicyRule`): a rule with nobody to name is not written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from narrowgate.core.account_rights import RBAC_READING
from narrowgate.core.deletion_rights import deleting_rules, not_named
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.intent import GATE_GROUP
from narrowgate.core.known_resources import CLUSTER_SCOPED
from narrowgate.core.policy import BUILT_IN, EVERYTHING, Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.rights import lineage_rights
from narrowgate.core.upstream_names import EXTRA_KEYS, EXTRA_PREFIX, PREFIX, upstream_groups, upstream_user

RBAC_GROUP = "rbac.authorization.k8s.io"
AUTHENTICATION_GROUP = "authentication.k8s.io"

GATE_ACCOUNT = "narrowgate"
"""Name of the gate's own ServiceAccount."""

RESOURCE_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
"""What `*` is spelled out as where RBAC has no wildcard: in the middle of `impersonate-on:user-info:<verb>`."""

DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version", "/version/")
"""What the gate lets through for whoever holds anything (rule `narrowgate/discovery`)."""

TOKEN_REVIEWER = "narrowgate:token-reviewer"
"""Name of the role with which the gate's account asks whose ServiceAccount token it was shown."""

TOKEN_RENEWER = "narrowgate:token-renewer"
"""Name of the role with which the gate's account renews its own token."""

SECRET_READER = "narrowgate:secret-reader"
"""Name of the role with which the gate's account reads the Secrets whose values it masks in text."""

RBAC_READER = "narrowgate:rbac-reader"
"""Name of the role with which the gate's account reads what ServiceAccounts may do that pods run as."""

LINEAGE_READER = "narrowgate:lineage-reader"
"""Name of the role with which the gate's account looks who had pods made."""

WORKLOAD_DELETER = "narrowgate:workload-deleter"
"""Name of the role with which the gate's account deletes what tasks leave behind."""

REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews")

Document = dict[str, Any]
"""A Kubernetes object as plain JSON values."""


class Manifests(msgspec.Struct, frozen=True):
    """What to apply, in the order in which to apply it, and what people should know about it."""

    objects: tuple[Document, ...]
    remarks: tuple[str, ...]


def impersonation_manifests(
    cluster: str,
    policies: Sequence[Policy],
    identities: Iterable[Identity],
    account_namespace: str,
    *,
    constrained: bool = False,
    cluster_scoped: Container[tuple[str, str]] = CLUSTER_SCOPED,
) -> Manifests:
    """The account for mode `impersonate`, its fence, and a role for each policy bound to the policy's subjects.

    `identities` are the registered ones; those that policies name are added. With `constrained` the fence is written
    for KEP-5284 (beta in Kubernetes 1.36): the account may use a foreign name only for what the policies allow.
    `cluster_scoped` are the resources known to live in no namespace, as (group, plural); a doubt is left out.
    """
    here = _for_cluster(cluster, policies)
    known = _known_identities(cluster, here, identities)
    users = sorted({upstream_user(identity) for identity in known})
    groups = sorted({group for identity in known for group in upstream_groups(identity)} | _named_groups(here))
    roles = [_roles_of(policy, cluster_scoped) for policy in here]
    fence = _constrained_fence(users, groups) if constrained else _legacy_fence(users, groups)
    account = _account(GATE_ACCOUNT, account_namespace)
    subject = [_account_subject(GATE_ACCOUNT, account_namespace)]
    objects = [_namespace(account_namespace), account]
    if users:
        objects += _cluster_role("narrowgate:impersonator", fence, subject)
    if constrained and users:
        objects += _bound("narrowgate:impersonate-on", _impersonate_on(roles), subject)
    remarks = [remark for role in roles for remark in role.remarks]
    for policy, role in zip(here, roles, strict=True):
        bound_to = _subjects_in_cluster(policy, groups)
        if bound_to and not role.empty:
            objects += _bound(f"narrowgate:policy:{policy.name}", role, bound_to)
    if not users:
        remarks.append(f"nobody may be impersonated: no agent is registered and no policy names anyone on {cluster}")
    return Manifests(tuple(objects), tuple(remarks))


def service_account_manifests(
    cluster: str,
    policies: Sequence[Policy],
    account_namespace: str,
    *,
    cluster_scoped: Container[tuple[str, str]] = CLUSTER_SCOPED,
) -> Manifests:
    """The accounts for mode `serviceAccount`: one for each policy with its RBAC, and the gate's own to mint tokens."""
    here = _for_cluster(cluster, policies)
    # The built-in rules have an account too, without a role: discovery is open to whoever is authenticated.
    names = [policy_account(policy) for policy in (BUILT_IN, *(policy.name for policy in here))]
    objects = [_namespace(account_namespace), _account(GATE_ACCOUNT, account_namespace)]
    objects += [_account(name, account_namespace) for name in names]
    remarks: list[str] = []
    mint = _rule(["create"], [""], ["serviceaccounts/token"], names)
    subject = [_account_subject(GATE_ACCOUNT, account_namespace)]
    objects += _namespaced_role("narrowgate:tokens", account_namespace, [mint], subject)
    if not here:
        remarks.append(f"no policy speaks for cluster {cluster}: nothing but discovery passes")
    for policy, name in zip(here, names[1:], strict=True):
        role = _roles_of(policy, cluster_scoped)
        remarks += role.remarks
        if not role.empty:
            objects += _bound(f"narrowgate:policy:{policy.name}", role, [_account_subject(name, account_namespace)])
    return Manifests(tuple(objects), tuple(remarks))


def with_token_reviews(made: Manifests, account_namespace: str) -> Manifests:
    """The same, and the right to ask the cluster about its ServiceAccounts' tokens: to create TokenReviews, no more."""
    rules = [_rule(["create"], [AUTHENTICATION_GROUP], ["tokenreviews"], None)]
    role = _cluster_role(TOKEN_REVIEWER, rules, [_account_subject(GATE_ACCOUNT, account_namespace)])
    return Manifests((*made.objects, *role), made.remarks)


def with_secret_reading(made: Manifests, account_namespace: str) -> Manifests:
    """The same, and the right to list and watch all Secrets, whose values the gate then masks wherever they appear."""
    rules = [_rule(["list", "watch"], [""], ["secrets"], None)]
    role = _cluster_role(SECRET_READER, rules, [_account_subject(GATE_ACCOUNT, account_namespace)])
    return Manifests((*made.objects, *role), made.remarks)


def with_lineage(made: Manifests, account_namespace: str, owners: Iterable[tuple[str, str]] = ()) -> Manifests:
    """The same, and the right to read pods and what owns them, so that each is placed in the chain that had it made.

    `owners` are an operator's resources that own workloads, as (group, plural).
    """
    rules = [_rule([right.verb], [right.group], [right.resource], None) for right in lineage_rights(owners)]
    role = _cluster_role(LINEAGE_READER, rules, [_account_subject(GATE_ACCOUNT, account_namespace)])
    return Manifests((*made.objects, *role), made.remarks)


def with_workload_deletion(
    made: Manifests,
    cluster: str,
    policies: Sequence[Policy],
    account_namespace: str,
    *,
    cluster_scoped: Container[tuple[str, str]] = CLUSTER_SCOPED,
) -> Manifests:
    """The same, and the right to delete what tasks leave behind, where a policy says that it is deleted."""
    here = _for_cluster(cluster, policies)
    rules = deleting_rules(here)
    if not rules:
        return made
    role = _roles_of(Policy(name=BUILT_IN, subjects=(), clusters=(cluster,), rules=rules), cluster_scoped)
    objects = _bound(WORKLOAD_DELETER, role, [_account_subject(GATE_ACCOUNT, account_namespace)])
    return Manifests((*made.objects, *objects), (*made.remarks, *not_named(here), *role.remarks))


def with_rbac_reading(made: Manifests, account_namespace: str) -> Manifests:
    """The same, and the right to list roles and bindings, by which the gate knows what ServiceAccounts may do."""
    resources = [right.resource for right in RBAC_READING]
    rules = [_rule(["list"], [RBAC_GROUP], resources, None)]
    role = _cluster_role(RBAC_READER, rules, [_account_subject(GATE_ACCOUNT, account_namespace)])
    return Manifests((*made.objects, *role), made.remarks)


def with_token_renewal(made: Manifests, account_namespace: str) -> Manifests:
    """The same, and the right to mint tokens of the gate's own account, and of no other, so that none has to live
    long (TokenRequest, KEP-1205)."""
    mint = _rule(["create"], [""], ["serviceaccounts/token"], [GATE_ACCOUNT])
    subject = [_account_subject(GATE_ACCOUNT, account_namespace)]
    return Manifests(
        (*made.objects, *_namespaced_role(TOKEN_RENEWER, account_namespace, [mint], subject)), made.remarks
    )


def policy_account(policy: str) -> str:
    """Name of the ServiceAccount that stands for a policy in mode `serviceAccount`."""
    return f"narrowgate-{policy}"


def manifests_yaml(manifests: Manifests) -> str:
    """Write manifests for `kubectl apply -f -`, the remarks as comments on top."""
    remarks = "".join(f"# {remark}\n" for remark in manifests.remarks)
    documents: str = yaml.dump_all(manifests.objects, Dumper=_Plain, sort_keys=False, explicit_start=True)
    return remarks + documents


class _Plain(yaml.SafeDumper):
    """YAML as people write it: every value written out, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (PyYAML's signature)
        return True


class _Roles(msgspec.Struct, frozen=True):
    """What one policy gives (at any time, for a task, or after an approval) as RBAC, and what could not be said."""

    everywhere: tuple[Document, ...]
    by_namespace: Mapping[str, tuple[Document, ...]]
    remarks: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not self.everywhere and not self.by_namespace


def _roles_of(policy: Policy, cluster_scoped: Container[tuple[str, str]]) -> _Roles:
    everywhere: list[Document] = []
    by_namespace: dict[str, list[Document]] = defaultdict(list)
    remarks: list[str] = []
    for rule in policy.rules:
        if rule.effect is Effect.DENY:
            remarks.append(f"{policy.name}/{rule.id}: RBAC cannot deny; the gate refuses this, the cluster might not")
            continue
        remarks += _coarser(policy, rule)
        if rule.non_resource_urls:
            everywhere.append({"nonResourceURLs": list(rule.non_resource_urls), "verbs": list(rule.verbs)})
        elif rule.namespaces is None:
            written, left_out = _cluster_scoped_only(rule, cluster_scoped)
            everywhere += written
            remarks += [f"{policy.name}/{rule.id}: left out, not known to be cluster-scoped: {one}" for one in left_out]
        elif EVERYTHING in rule.namespaces:
            everywhere += _rules_for(rule)
        else:
            everywhere += _listed_namespaces(rule, rule.namespaces)
            for namespace in rule.namespaces:
                by_namespace[namespace] += _rules_for(rule)
    frozen = {namespace: tuple(rules) for namespace, rules in sorted(by_namespace.items()) if rules}
    return _Roles(tuple(everywhere), frozen, tuple(remarks))


def _coarser(policy: Policy, rule: Rule) -> list[str]:
    """Say what RBAC cannot express of one rule that is not a deny rule."""
    remarks = []
    if rule.effect is Effect.GRANTABLE:
        remarks.append(f"{policy.name}/{rule.id}: RBAC knows no tasks; the gate alone holds this until one is granted")
    if rule.effect is Effect.APPROVE:
        remarks.append(f"{policy.name}/{rule.id}: RBAC asks nobody; the gate alone holds this until people say yes")
    if rule.when:
        remarks.append(f"{policy.name}/{rule.id}: RBAC has no conditions; the gate alone holds `when`")
    if rule.looks_inside:
        remarks.append(f"{policy.name}/{rule.id}: RBAC sees no commands, containers or labels; the gate alone does")
    if rule.pod_labels is not None:
        remarks.append(f"{policy.name}/{rule.id}: whoever is let in by labels needs a rule to get pods as well")
    creates = any(verb in ("create", EVERYTHING) for verb in rule.verbs)
    if rule.names is not None and creates and any("/" not in resource for resource in rule.resources):
        remarks.append(
            f"{policy.name}/{rule.id}: creating by name is left out, RBAC cannot fence it; to allow it, add a rule "
            "with the verb create and without names"
        )
    return remarks


def _rules_for(rule: Rule) -> list[Document]:
    # The gate's own virtual resources mean nothing to the cluster.
    groups = [group for group in rule.api_groups if group != GATE_GROUP]
    if not groups or rule.names == ():
        return []
    return [_rule(rule.verbs, groups, rule.resources, rule.names)]


def _listed_namespaces(rule: Rule, namespaces: Sequence[str]) -> list[Document]:
    """Namespace objects are got in themselves and listed in none: by name, which a field selector gives such a list."""
    is_about_them = not {"", EVERYTHING}.isdisjoint(rule.api_groups) and not {"namespaces", EVERYTHING}.isdisjoint(
        rule.resources
    )
    verbs = [verb for verb in ("list", "watch") if verb in rule.verbs or EVERYTHING in rule.verbs]
    names = [name for name in namespaces if rule.names is None or name in rule.names]
    return [_rule(verbs, [""], ["namespaces"], names)] if is_about_them and verbs and names else []


def _cluster_scoped_only(rule: Rule, cluster_scoped: Container[tuple[str, str]]) -> tuple[list[Document], list[str]]:
    """A rule without namespaces speaks for cluster-scoped resources alone; a ClusterRole would speak for all."""
    written: list[Document] = []
    left_out: list[str] = []
    for group in rule.api_groups:
        if group == GATE_GROUP:
            continue
        known = [one for one in rule.resources if (group, one.partition("/")[0]) in cluster_scoped]
        left_out += [f"{one}.{group}" if group else one for one in rule.resources if one not in known]
        if known and rule.names != ():
            written.append(_rule(rule.verbs, [group], known, rule.names))
    return written, left_out


def _for_cluster(cluster: str, policies: Sequence[Policy]) -> list[Policy]:
    return [policy for policy in policies if cluster in policy.clusters or EVERYTHING in policy.clusters]


_KINDS = {
    SubjectKind.AGENT: Kind.AGENT,
    SubjectKind.PERSON: Kind.PERSON,
    SubjectKind.SERVICE_ACCOUNT: Kind.WORKLOAD,
}


def _named_identity(subject: Subject) -> Identity:
    return Identity(kind=_KINDS[subject.kind], name=subject.name, proven_by="policy", credential="")


def _known_identities(cluster: str, policies: Sequence[Policy], registered: Iterable[Identity]) -> list[Identity]:
    """Everybody the gate may speak for on this cluster: who is registered for it, and whom a policy names."""
    named = [
        _named_identity(subject)
        for policy in policies
        for subject in policy.subjects
        if subject.kind is not SubjectKind.GROUP and subject.name != EVERYTHING
    ]
    return [*(identity for identity in registered if identity.cluster in ("", cluster)), *named]


def _named_groups(policies: Sequence[Policy]) -> set[str]:
    return {
        f"{PREFIX}group:{subject.name}"
        for policy in policies
        for subject in policy.subjects
        if subject.kind is SubjectKind.GROUP and subject.name != EVERYTHING
    }


def _subjects_in_cluster(policy: Policy, groups: Sequence[str]) -> list[Document]:
    """The subjects of a policy as RBAC subjects; `*` of a kind is the group that everyone of that kind is in."""
    found: list[tuple[str, str]] = []
    for subject in policy.subjects:
        match subject:
            case Subject(kind=SubjectKind.GROUP, name="*"):
                found += [("Group", group) for group in groups if group.startswith(f"{PREFIX}group:")]
            case Subject(kind=SubjectKind.GROUP, name=name):
                found.append(("Group", f"{PREFIX}group:{name}"))
            case Subject(name="*"):
                found.append(("Group", upstream_groups(_named_identity(subject))[0]))
            case _:
                found.append(("User", upstream_user(_named_identity(subject))))
    return [{"apiGroup": RBAC_GROUP, "kind": kind, "name": name} for kind, name in dict.fromkeys(found)]


def _legacy_fence(users: Sequence[str], groups: Sequence[str]) -> list[Document]:
    return _fence("", "impersonate", users, groups)


def _constrained_fence(users: Sequence[str], groups: Sequence[str]) -> list[Document]:
    # k8s.io/apiserver/pkg/endpoints/filters/impersonation/mode.go: users and groups move to authentication.k8s.io.
    return _fence(AUTHENTICATION_GROUP, "impersonate:user-info", users, groups)


def _fence(group: str, verb: str, users: Sequence[str], groups: Sequence[str]) -> list[Document]:
    rules = [
        _rule([verb], [group], ["users"], users),
        _rule([verb], [group], ["groups"], groups),
        _rule([verb], [AUTHENTICATION_GROUP], [f"userextras/{EXTRA_PREFIX}{key}" for key in EXTRA_KEYS], None),
    ]
    return [rule for rule in rules if rule.get("resourceNames") != []]


def _impersonate_on(roles: Iterable[_Roles]) -> _Roles:
    """What the account may do in a foreign name: what some policy allows, and what every client asks first."""
    everywhere: list[Document] = [
        {"nonResourceURLs": list(DISCOVERY), "verbs": _on(["get"])},
        _rule(_on(["create"]), ["authorization.k8s.io"], REVIEWS, None),
        _rule(_on(["create"]), [AUTHENTICATION_GROUP], ["selfsubjectreviews"], None),
    ]
    by_namespace: dict[str, tuple[Document, ...]] = {}
    for role in roles:
        everywhere += [_on_rule(rule) for rule in role.everywhere]
        for namespace, rules in role.by_namespace.items():
            by_namespace[namespace] = by_namespace.get(namespace, ()) + tuple(_on_rule(rule) for rule in rules)
    return _Roles(tuple(everywhere), by_namespace, ())


def _on_rule(rule: Document) -> Document:
    return {**rule, "verbs": _on(rule["verbs"])}


def _on(verbs: Iterable[str]) -> list[str]:
    spelled = [one for verb in verbs for one in (RESOURCE_VERBS if verb == EVERYTHING else (verb,))]
    return [f"impersonate-on:user-info:{verb}" for verb in dict.fromkeys(spelled)]


def _rule(
    verbs: Iterable[str], groups: Iterable[str], resources: Iterable[str], names: Iterable[str] | None
) -> Document:
    rule: Document = {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}
    return rule if names is None else {**rule, "resourceNames": list(names)}


def _bound(name: str, role: _Roles, subjects: Sequence[Document]) -> list[Document]:
    objects = _cluster_role(name, role.everywhere, subjects) if role.everywhere else []
    for namespace, rules in role.by_namespace.items():
        objects += _namespaced_role(name, namespace, rules, subjects)
    return objects


def _cluster_role(name: str, rules: Sequence[Document], subjects: Sequence[Document]) -> list[Document]:
    return [
        _object("ClusterRole", _meta(name), rules=list(rules)),
        _object("ClusterRoleBinding", _meta(name), roleRef=_role_ref("ClusterRole", name), subjects=list(subjects)),
    ]


def _namespaced_role(
    name: str, namespace: str, rules: Sequence[Document], subjects: Sequence[Document]
) -> list[Document]:
    return [
        _object("Role", _meta(name, namespace), rules=list(rules)),
        _object("RoleBinding", _meta(name, namespace), roleRef=_role_ref("Role", name), subjects=list(subjects)),
    ]


def _object(kind: str, metadata: Document, **fields: Any) -> Document:
    return {"apiVersion": f"{RBAC_GROUP}/v1", "kind": kind, "metadata": metadata, **fields}


def _meta(name: str, namespace: str = "") -> Document:
    labels = {"app.kubernetes.io/managed-by": "narrowgate"}
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}


def _role_ref(kind: str, name: str) -> Document:
    return {"apiGroup": RBAC_GROUP, "kind": kind, "name": name}


def _namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(name)}


def _account(name: str, namespace: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _meta(name, namespace),
        # No pod runs as it: its tokens are minted by TokenRequest.
        "automountServiceAccountToken": False,
    }


def _account_subject(name: str, namespace: str) -> Document:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}
