"""What RBAC gives to an account, by itself and by becoming others."""

from __future__ import annotations

import pytest

from narrowgate.core import account_rights
from narrowgate.core.account_rights import (
    Account,
    Binding,
    BoundTo,
    ClusterRights,
    Metadata,
    PolicyRule,
    Role,
    RoleRef,
    TooManyRights,
    becomes_others,
    makes_pods,
)
from narrowgate.core.rights import Right

BUILDER = Account("ci", "builder")


def role(name: str, verbs: str, resources: str, *, namespace: str = "", group: str = "", names: str = "") -> Role:
    rule = PolicyRule(tuple(verbs.split()), (group,), tuple(resources.split()), tuple(names.split()) or None)
    return Role(Metadata(name, namespace), (rule,))


def binding(name: str, to: Role, *subjects: BoundTo, namespace: str = "") -> Binding:
    kind = "Role" if to.metadata.namespace else "ClusterRole"
    return Binding(Metadata(name, namespace), RoleRef(kind, to.metadata.name), subjects)


def account(name: str, namespace: str = "ci") -> BoundTo:
    return BoundTo("ServiceAccount", name, namespace)


def held(rights: ClusterRights, who: Account = BUILDER) -> list[str]:
    return sorted(map(str, rights.rights_of(who)))


SECRETS = role("secrets", "get", "secrets", namespace="ci")
NODES = role("nodes", "list", "nodes")
EXEC = role("exec", "create", "pods/exec", namespace="ci")


@pytest.mark.parametrize(
    "subject",
    [
        account("builder"),
        BoundTo("ServiceAccount", "builder"),
        BoundTo("User", "system:serviceaccount:ci:builder"),
        BoundTo("Group", "system:serviceaccounts"),
        BoundTo("Group", "system:serviceaccounts:ci"),
        BoundTo("Group", "system:authenticated"),
    ],
)
def test_a_binding_means_an_account_by_any_of_its_names(subject: BoundTo) -> None:
    rights = ClusterRights([SECRETS], [binding("b", SECRETS, subject, namespace="ci")])
    assert held(rights) == ["get secrets in ci (RoleBinding ci/b)"]


@pytest.mark.parametrize(
    "subject",
    [
        account("builder", "other"),
        account("other"),
        BoundTo("User", "builder"),
        BoundTo("Group", "builder"),
        BoundTo("Group", "system:serviceaccounts:other"),
    ],
)
def test_a_binding_for_others_gives_an_account_nothing(subject: BoundTo) -> None:
    assert held(ClusterRights([SECRETS], [binding("b", SECRETS, subject, namespace="ci")])) == []


def test_a_cluster_role_holds_where_it_is_bound() -> None:
    everywhere = ClusterRights([NODES], [binding("b", NODES, account("builder"))])
    assert held(everywhere) == ["list nodes everywhere (ClusterRoleBinding b)"]
    here = ClusterRights([NODES], [binding("b", NODES, account("builder"), namespace="ci")])
    assert held(here) == ["list nodes in ci (RoleBinding ci/b)"]


def test_what_everybody_may_do_and_roles_that_are_gone_count_for_nothing() -> None:
    discovery = Role(Metadata("discovery"), (PolicyRule(("get",), urls=("/api", "/healthz")),))
    gone = role("gone", "*", "*")
    bindings = [binding(name, to, account("builder")) for name, to in (("a", discovery), ("b", gone))]
    assert held(ClusterRights([discovery], bindings)) == []


def test_a_path_is_given_by_a_cluster_role_binding_alone() -> None:
    logs = Role(Metadata("logs"), (PolicyRule(("get",), urls=("/logs/*",)),))
    assert held(ClusterRights([logs], [binding("b", logs, account("builder"), namespace="ci")])) == []
    assert held(ClusterRights([logs], [binding("b", logs, account("builder"))])) == [
        "get /logs/* (ClusterRoleBinding b)"
    ]


@pytest.mark.parametrize(
    ("verbs", "resources", "group"),
    [
        ("create", "pods", ""),
        ("patch", "deployments", "apps"),
        ("create", "controllerrevisions", "apps"),
        ("create", "pods/exec", ""),
        ("get", "pods/exec", ""),
        ("get", "pods/attach", ""),
        ("create", "pods/portforward", ""),
        ("patch", "pods/ephemeralcontainers", ""),
        ("update", "*/ephemeralcontainers", "*"),
        ("create", "serviceaccounts/token", ""),
        ("impersonate", "serviceaccounts", ""),
        ("*", "*", "*"),
    ],
)
def test_who_can_become_others_there_has_what_they_have(verbs: str, resources: str, group: str) -> None:
    becoming = role("becoming", verbs, resources, namespace="ci", group=group)
    rights = ClusterRights(
        [becoming, SECRETS],
        [
            binding("a", becoming, account("builder"), namespace="ci"),
            binding("b", SECRETS, account("strong"), namespace="ci"),
            binding("c", SECRETS, account("elsewhere", "other"), namespace="ci"),
        ],
    )
    assert "get secrets in ci (RoleBinding ci/b)" in held(rights)
    assert "get secrets in ci (RoleBinding ci/c)" not in held(rights)


def test_who_reaches_the_kubelets_has_what_every_account_has() -> None:
    kubelets = role("kubelets", "get", "nodes/proxy")
    rights = ClusterRights(
        [kubelets, SECRETS],
        [binding("a", kubelets, account("builder")), binding("b", SECRETS, account("strong"), namespace="ci")],
    )
    assert "get secrets in ci (RoleBinding ci/b)" in held(rights)


@pytest.mark.parametrize(("verb", "becomes"), [("create", True), ("patch", True), ("update", True), ("list", False)])
def test_who_writes_secrets_has_tokens_of_every_account_put_into_them(verb: str, becomes: bool) -> None:
    writes, maps = role("writes", verb, "secrets"), role("maps", "get", "configmaps", namespace="ci")
    rights = ClusterRights(
        [writes, maps],
        [binding("a", writes, account("builder")), binding("b", maps, account("strong"), namespace="ci")],
    )
    assert ("get configmaps in ci (RoleBinding ci/b)" in held(rights)) is becomes


@pytest.mark.parametrize("verb", ["approve", "sign", "*"])
def test_who_may_say_yes_to_certificates_becomes_whoever_they_are_about(verb: str) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    signers = role("signers", verb, "signers", group="certificates.k8s.io", names=signer)
    rights = ClusterRights(
        [signers, SECRETS],
        [binding("a", signers, account("builder")), binding("b", SECRETS, account("strong"), namespace="ci")],
    )
    assert "get secrets in ci (RoleBinding ci/b)" in held(rights)


@pytest.mark.parametrize(
    ("names", "becomes"),
    [
        ("", True),
        ("system:serviceaccount:ci:strong", True),
        ("ada system:serviceaccount:ci:strong", True),
        ("system:serviceaccount:other:strong system:serviceaccount:ci strong", False),
    ],
)
def test_who_may_impersonate_a_user_becomes_the_account_of_that_name(names: str, becomes: bool) -> None:
    users = role("users", "impersonate", "users", names=names)
    rights = ClusterRights(
        [users, SECRETS],
        [binding("a", users, account("builder")), binding("b", SECRETS, account("strong"), namespace="ci")],
    )
    assert ("get secrets in ci (RoleBinding ci/b)" in held(rights)) is becomes


@pytest.mark.parametrize(
    "becoming", [role("pods", "create", "pods"), role("tokens", "create", "serviceaccounts/token", names="any")]
)
def test_what_all_accounts_of_a_namespace_have_is_had_by_who_becomes_one_of_them(becoming: Role) -> None:
    group = BoundTo("Group", "system:serviceaccounts:other")
    rights = ClusterRights(
        [becoming, SECRETS, NODES],
        [binding("a", becoming, account("builder")), binding("b", NODES, group)],
    )
    assert "list nodes everywhere (ClusterRoleBinding b)" in held(rights)


def test_a_token_of_one_account_makes_nobody_another() -> None:
    tokens = role("tokens", "create", "serviceaccounts/token", namespace="ci", names="weak")
    bindings = [
        binding("a", tokens, account("builder"), namespace="ci"),
        binding("b", SECRETS, account("strong"), namespace="ci"),
    ]
    assert held(ClusterRights([tokens, SECRETS], bindings)) == [
        "create serviceaccounts/token (weak) in ci (RoleBinding ci/a)"
    ]


def test_accounts_that_can_become_each_other_are_looked_at_once() -> None:
    bindings = [
        binding("a", EXEC, account("builder"), namespace="ci"),
        binding("b", EXEC, account("other"), namespace="ci"),
    ]
    assert len(held(ClusterRights([EXEC], bindings))) == 2


def test_more_rights_than_can_be_looked_at_are_not_looked_at() -> None:
    many = role("many", "get", " ".join(f"r{number}" for number in range(account_rights.RIGHTS_LIMIT + 1)))
    with pytest.raises(TooManyRights):
        ClusterRights([many], [binding("b", many, account("builder"))]).rights_of(BUILDER)


def test_reading_pods_makes_none() -> None:
    assert not makes_pods(Right("get", "", "pods"))
    assert not becomes_others(Right("get", "", "serviceaccounts"))
    assert not becomes_others(Right("create", "", "pods/eviction"))
