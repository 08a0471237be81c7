"""What RBAC gives to a ServiceAccount: the roles and bindings of a cluster, read as its authorizer reads them.

Which subjects mean an account, and where a role then holds, follows `appliesTo` and `VisitRulesFor` in
k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go. Who may start pods or mint tokens somewhere can become every
account there, so that their rights count as its own. Other authorizers of a cluster are not read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from narrowgate.core.rights import EVERYTHING, Right, is_baseline

OBJECTS_LIMIT: Final = 50_000
"""Roles and bindings, of each kind: ten times what large clusters have. More than these are not read."""

RIGHTS_LIMIT: Final = 5_000
"""Rights of one account that are looked at; an account with more of them is taken for one that may do anything."""

RBAC_READING: Final = tuple(
    Right(verb, "rbac.authorization.k8s.io", resource)
    for verb in ("list",)
    for resource in ("clusterrolebindings", "clusterroles", "rolebindings", "roles")
)
"""To know what accounts may do: reads roles, changes nothing."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of an object's metadata."""

    name: str = ""
    namespace: str = ""


class PolicyRule(msgspec.Struct, frozen=True, rename="camel"):
    """k8s.io/api/rbac/v1 `PolicyRule`."""

    verbs: tuple[str, ...] | None = None
    api_groups: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    resource_names: tuple[str, ...] | None = None
    urls: tuple[str, ...] | None = msgspec.field(default=None, name="nonResourceURLs")

    def rights(self) -> Iterable[Right]:
        """Each combination by itself."""
        names = self.resource_names or ()
        for verb in self.verbs or ():
            for path in self.urls or ():
                yield Right(verb, path=path)
            for group in self.api_groups or ():
                for resource in self.resources or ():
                    yield Right(verb, group, resource, names)


class Role(msgspec.Struct, frozen=True, rename="camel"):
    """A Role, or, without a namespace, a ClusterRole."""

    metadata: Metadata
    rules: tuple[PolicyRule, ...] | None = None


class RoleRef(msgspec.Struct, frozen=True, rename="camel"):
    """Which role a binding binds."""

    kind: str
    name: str


class BoundTo(msgspec.Struct, frozen=True, rename="camel"):
    """k8s.io/api/rbac/v1 `Subject`."""

    kind: str
    name: str
    namespace: str = ""


class Binding(msgspec.Struct, frozen=True, rename="camel"):
    """A RoleBinding, or, without a namespace, a ClusterRoleBinding."""

    metadata: Metadata
    role_ref: RoleRef
    subjects: tuple[BoundTo, ...] | None = None

    def __str__(self) -> str:
        here = self.metadata
        return f"RoleBinding {here.namespace}/{here.name}" if here.namespace else f"ClusterRoleBinding {here.name}"


class HeldRight(msgspec.Struct, frozen=True):
    """A right of an account, where it holds, and by what."""

    right: Right
    namespace: str
    """Empty: everywhere, and for what is in no namespace."""
    by: str
    """`RoleBinding ci/x`."""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ("" if self.right.path else " everywhere")
        return f"{self.right}{where} ({self.by})"


class Account(NamedTuple):
    """A ServiceAccount by its name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class TooManyRights(Exception):
    """An account has more rights than are looked at."""


_POD_MAKERS: Final = frozenset(
    {
        ("", "pods"),
        ("", "replicationcontrollers"),
        # A StatefulSet's pods are made of the revision that it is at.
        ("apps", "controllerrevisions"),
        ("apps", "daemonsets"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("batch", "cronjobs"),
        ("batch", "jobs"),
    }
)
_WRITES: Final = frozenset({"create", "update", "patch", EVERYTHING})
_IMPERSONATED: Final = frozenset({("", "serviceaccounts"), ("", "users")})
_TOKENS: Final = frozenset({("", "serviceaccounts/token")})
_SECRETS: Final = frozenset({("", "secrets")})
_SIGNERS: Final = frozenset({("certificates.k8s.io", "signers")})
_SESSIONS: Final = frozenset(("", name) for name in ("pods/exec", "pods/attach", "pods/portforward", "nodes/proxy"))


def makes_pods(right: Right) -> bool:
    """Whether whoever has the right can start a pod of its own making."""
    if right.path or right.verb not in _WRITES:
        return False
    return _is_among(right, _POD_MAKERS)


def becomes_others(right: Right) -> bool:
    """Whether whoever has the right can act as other accounts: by a pod of theirs, a token, or a certificate."""
    if makes_pods(right):
        return True
    # To get into a pod is to have its token, or to speak to what lends it; `impersonate` and a token say so themselves.
    # GET opens sessions as well (by WebSocket, before Kubernetes 1.35), and the kubelet's own by `nodes/proxy`.
    tokens = right.verb in ("create", EVERYTHING) and _is_among(right, _TOKENS)
    # The cluster fills a Secret of the right type and annotation with a token of the account that it names.
    tokens = tokens or (right.verb in _WRITES and _is_among(right, _SECRETS))
    tokens = tokens or (right.verb in ("create", "get", EVERYTHING) and _is_among(right, _SESSIONS))
    tokens = tokens or (
        right.verb in ("update", "patch", EVERYTHING)
        and _is_among(right, frozenset({("", "pods/ephemeralcontainers")}))
    )
    # An account is a user as well, by the name that tokens of it have; and so it is called in certificates.
    signs = right.verb in ("approve", "sign", EVERYTHING) and _is_among(right, _SIGNERS)
    return tokens or signs or (right.verb in ("impersonate", EVERYTHING) and _is_among(right, _IMPERSONATED))


def _account_called(user: str) -> Account | None:
    """The account whose user name that is; None where it is nobody's."""
    words = user.split(":")
    is_account = words[:2] == ["system", "serviceaccount"] and len(words) == 4
    return Account(words[2], words[3]) if is_account else None


def _is_among(right: Right, places: frozenset[tuple[str, str]]) -> bool:
    for group, resource in places:
        subresource = resource.partition("/")[2]
        if right.group in (EVERYTHING, group) and right.resource in (EVERYTHING, resource, f"*/{subresource or '-'}"):
            return True
    return False


class ClusterRights:
    """The roles and bindings of a cluster at one moment. Never changed, but for what it remembers."""

    def __init__(self, roles: Iterable[Role], bindings: Iterable[Binding]) -> None:
        self._roles: Final = {(role.metadata.namespace, role.metadata.name): role.rules or () for role in roles}
        self._accounts: Final[dict[str, set[Account]]] = defaultdict(set)
        self._by_subject: Final[dict[tuple[str, str], list[Binding]]] = defaultdict(list)
        for binding in bindings:
            for subject in binding.subjects or ():
                self._file(subject, binding)
        self._found: Final[dict[Account, tuple[HeldRight, ...]]] = {}

    def rights_of(self, account: Account) -> tuple[HeldRight, ...]:
        """All that the account may do which not everybody may, also by becoming others. Raises TooManyRights."""
        found = self._found.get(account)
        if found is None:
            found = self._found[account] = self._closure(account)
        return found

    def _file(self, subject: BoundTo, binding: Binding) -> None:
        if subject.kind == "ServiceAccount":
            account = Account(subject.namespace or binding.metadata.namespace, subject.name)
            self._accounts[account.namespace].add(account)
            self._by_subject["User", f"system:serviceaccount:{account.namespace}:{account.name}"].append(binding)
        elif subject.kind in ("User", "Group"):
            self._by_subject[subject.kind, subject.name].append(binding)
            words = subject.name.split(":")
            if subject.kind == "User" and words[:2] == ["system", "serviceaccount"] and len(words) == 4:
                self._accounts[words[2]].add(Account(words[2], words[3]))
            elif subject.kind == "Group" and words[:2] == ["system", "serviceaccounts"] and len(words) == 3:
                # Any account there has it, and this one is there.
                self._accounts[words[2]].add(Account(words[2], "default"))

    def _closure(self, account: Account) -> tuple[HeldRight, ...]:
        seen, waiting = {account}, [account]
        found: dict[HeldRight, None] = {}
        while waiting:
            for held in self._own(waiting.pop()):
                found[held] = None
                if len(found) > RIGHTS_LIMIT:
                    raise TooManyRights
                if becomes_others(held.right):
                    others = self._others(held) - seen
                    seen |= others
                    waiting += sorted(others)
        return tuple(found)

    def _others(self, held: HeldRight) -> set[Account]:
        """The accounts where the right holds, as far as some binding gives them, or all of them, anything."""
        namespaces = [held.namespace] if held.namespace else list(self._accounts)
        if held.right.names and held.right.resource.startswith("serviceaccounts"):
            return {Account(namespace, name) for namespace in namespaces for name in held.right.names}
        if held.right.names and held.right.resource == "users":
            return {account for name in held.right.names if (account := _account_called(name)) is not None}
        return {account for namespace in namespaces for account in self._accounts.get(namespace, ())}

    def _own(self, account: Account) -> Iterable[HeldRight]:
        for binding in self._bindings_of(account):
            namespace = binding.metadata.namespace
            role = (namespace if binding.role_ref.kind == "Role" else "", binding.role_ref.name)
            for rule in self._roles.get(role, ()):
                for right in rule.rights():
                    # A RoleBinding gives no path (VisitRulesFor asks for those in all namespaces alone).
                    if not is_baseline(right) and not (namespace and right.path):
                        yield HeldRight(right, namespace, str(binding))

    def _bindings_of(self, account: Account) -> Sequence[Binding]:
        """k8s.io/apiserver/pkg/authentication/serviceaccount `MakeUsername`, `MakeGroupNames`."""
        subjects = [
            ("User", f"system:serviceaccount:{account.namespace}:{account.name}"),
            ("Group", "system:serviceaccounts"),
            ("Group", f"system:serviceaccounts:{account.namespace}"),
            ("Group", "system:authenticated"),
        ]
        return [binding for subject in subjects for binding in self._by_subject.get(subject, ())]
