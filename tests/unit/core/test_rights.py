"""What an account may do beyond what is needed: read from its own rules, compared right by right."""

from __future__ import annotations

import pytest

from narrowgate.core.rights import Right, beyond, is_fenced, is_impersonation, rights_of

ADMIN = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]
READ_PODS = [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]


def test_rules_are_spelled_out_as_single_rights() -> None:
    assert [str(right) for right in rights_of([*READ_PODS, {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}])] == [
        "get pods",
        "list pods",
        "get /metrics",
    ]


def test_an_admin_is_wider_than_any_need() -> None:
    assert [str(right) for right in beyond(rights_of(ADMIN), rights_of(READ_PODS))] == ["everything", "* *"]


def test_an_admin_lacks_nothing() -> None:
    needed = [*READ_PODS, {"verbs": ["get"], "nonResourceURLs": ["/logs/*"]}]
    assert beyond(rights_of(needed), rights_of(ADMIN)) == []


def test_what_everybody_may_do_says_nothing_about_an_account() -> None:
    everybody = [
        {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"]},
        {"verbs": ["get"], "nonResourceURLs": ["/api/*", "/openid/v1/jwks"]},
    ]
    assert beyond(rights_of(everybody), []) == []


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        (Right("get", "", "pods"), Right("get", "", "pods", ("web",)), True),
        (Right("get", "", "pods", ("web",)), Right("get", "", "pods"), False),
        (Right("get", "", "pods", ("web", "db")), Right("get", "", "pods", ("db",)), True),
        (Right("get", "", "pods", ("web",)), Right("get", "", "pods", ("web", "db")), False),
        (Right("get", "*", "*"), Right("get", "apps", "deployments/scale"), True),
        (Right("get", "*", "*/scale"), Right("get", "apps", "deployments/scale"), True),
        (Right("get", "*", "*/scale"), Right("get", "apps", "deployments"), False),
        (Right("get", "apps", "deployments"), Right("get", "apps", "deployments/scale"), False),
        (Right("get", "", "pods"), Right("get", "apps", "pods"), False),
        (Right("get", "", "pods"), Right("*", "", "pods"), False),
        (Right("get", path="/logs/*"), Right("get", path="/logs/kubelet.log"), True),
        (Right("get", path="/logs"), Right("get", path="/logs/kubelet.log"), False),
        (Right("*", "*", "*"), Right("get", path="/logs"), False),
    ],
)
def test_one_right_covers_another_as_rbac_would(wide: Right, narrow: Right, covered: bool) -> None:
    assert (beyond([narrow], [wide]) == []) is covered


def test_everything_is_not_mistaken_for_impersonation() -> None:
    assert not is_impersonation(Right("*", "", "users"))
    assert is_impersonation(Right("impersonate", "", "users"))
    assert is_impersonation(Right("impersonate-on:user-info:get", "", "pods"))
    assert not is_impersonation(Right("impersonates", "", "users"))


def test_impersonation_without_names_is_not_fenced() -> None:
    assert not is_fenced(Right("impersonate", "", "users"))
    assert is_fenced(Right("impersonate", "", "users", ("narrowgate:agent:ci",)))
    assert is_fenced(Right("impersonate", "authentication.k8s.io", "userextras/narrowgate.dev/chain"))


@pytest.mark.parametrize("odd", [None, "x", {}, {"verbs": None}, {"verbs": [1], "resources": ["pods"]}])
def test_an_odd_rule_gives_no_right(odd: object) -> None:
    assert rights_of([odd]) == []
