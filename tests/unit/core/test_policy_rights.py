"""What policies give to an account, as rights."""

from __future__ import annotations

import pytest
from tests.deciding import policy, rule

from narrowgate.core.account_rights import RIGHTS_LIMIT, Account, TooManyRights
from narrowgate.core.policy import Policy, Rule
from narrowgate.core.policy_rights import policy_rights
from narrowgate.core.rulebook import compile_policies

WORKER = Account("ci", "worker")


def given(*policies: Policy, cluster: str = "prod") -> list[str]:
    return sorted(str(held) for held in policy_rights(compile_policies(policies, 1), WORKER, cluster))


def to_worker(*rules: Rule, subjects: str = "ServiceAccount/ci/worker") -> Policy:
    return policy(*rules, name="workers", subjects=subjects)


def test_each_allow_rule_is_as_many_rights_as_it_says() -> None:
    some = rule("allow", "get list", "secrets", namespaces="ci shop", id="some")
    assert given(to_worker(some)) == [
        "get secrets in ci (rule some of policy workers)",
        "get secrets in shop (rule some of policy workers)",
        "list secrets in ci (rule some of policy workers)",
        "list secrets in shop (rule some of policy workers)",
    ]


def test_everywhere_names_and_paths_are_kept() -> None:
    wide = rule("allow", "*", "*", namespaces="*", groups="*", id="all")
    named = rule("allow", "get", "secrets", namespaces="ci", names="a b", id="named")
    paths = rule("allow", "get", urls="/logs/*", id="paths")
    nodes = rule("allow", "get", "nodes", id="nodes")
    assert given(to_worker(wide, named, paths, nodes)) == [
        "everything everywhere (rule all of policy workers)",
        "get /logs/* (rule paths of policy workers)",
        "get nodes everywhere (rule nodes of policy workers)",
        "get secrets (a, b) in ci (rule named of policy workers)",
    ]


def test_a_condition_is_no_bound_for_whoever_chooses_what_is_asked() -> None:
    when = rule("allow", "create", "configmaps", namespaces="ci", id="when", when="object.metadata.name == 'a'")
    assert given(to_worker(when)) == ["create configmaps in ci (rule when of policy workers)"]


@pytest.mark.parametrize("subjects", ["ServiceAccount/ci/other", "ServiceAccount/shop/worker", "Agent/ci", "Group/ci"])
def test_what_others_have_is_not_its_own(subjects: str) -> None:
    assert given(to_worker(rule("allow", "get", "secrets", namespaces="ci"), subjects=subjects)) == []


def test_what_all_accounts_have_is() -> None:
    rules = to_worker(rule("allow", "get", "secrets", namespaces="ci", id="r"), subjects="ServiceAccount/*")
    assert given(rules) == ["get secrets in ci (rule r of policy workers)"]


def test_what_denies_or_asks_or_everybody_may_gives_nothing() -> None:
    rules = [
        rule("deny", "get", "secrets", namespaces="ci", id="deny"),
        rule("approve", "get", "configmaps", namespaces="ci", id="asks"),
        rule("grantable", "get", "pods", namespaces="ci", id="task"),
        rule("allow", "create", "selfsubjectaccessreviews", groups="authorization.k8s.io", id="reviews"),
    ]
    assert given(to_worker(*rules)) == []


def test_more_than_can_be_looked_at_is_said() -> None:
    verbs = " ".join(f"v{number}" for number in range(RIGHTS_LIMIT + 1))
    with pytest.raises(TooManyRights):
        given(to_worker(rule("allow", verbs, "secrets", namespaces="ci")))
