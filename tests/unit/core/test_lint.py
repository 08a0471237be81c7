"""Lint: what is worth a second look, and what is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, policy, rule

from narrowgate.core.lint import lint
from narrowgate.core.policy import Policy, Rule


def checks(*rules: Rule, **more: Any) -> list[tuple[str, str]]:
    return [(finding.rule, finding.check) for finding in lint([policy(*rules, **more)])]


@pytest.mark.parametrize(
    ("one", "check"),
    [
        (rule("allow", "*", "pods", namespaces="ci"), "wildcard-verbs"),
        (rule("allow", "get", "*", namespaces="ci"), "wildcard-resources"),
        (rule("allow", "get", "pods", groups="*", namespaces="ci"), "wildcard-groups"),
        (rule("allow", "get", urls="*"), "wildcard-urls"),
        (rule("grantable", "get", "pods", namespaces="*"), "every-namespace"),
        (rule("allow", "get", "*"), "cluster-scoped-only"),
        (rule("allow", "get", "secrets", namespaces="ci"), "secrets"),
        (rule("allow", "bind", "clusterroles", groups="rbac.authorization.k8s.io"), "admin-in-disguise"),
        (
            rule("allow", "create", "rolebindings", groups="rbac.authorization.k8s.io", namespaces="ci"),
            "admin-in-disguise",
        ),
        (rule("allow", "create", "serviceaccounts/token", namespaces="ci"), "admin-in-disguise"),
        (rule("allow", "get", "nodes/proxy"), "admin-in-disguise"),
        (rule("allow", "approve", "signers", groups="certificates.k8s.io"), "admin-in-disguise"),
        (rule("allow", "create", "pods/exec", namespaces="ci"), "standing-shell"),
        (rule("allow", "list", "pods", namespaces="ci", names="web"), "names-on-collections"),
        (rule("deny", "get", "secrets"), "guard-gap"),
        (rule("deny", "delete", "namespaces"), "guard-gap"),
        (rule("deny", "create", "pods/exec"), "guard-gap"),
        (rule("deny", "update patch", "deployments", groups="apps"), "guard-gap"),
    ],
)
def test_a_rule_worth_a_second_look_is_found(one: Rule, check: str) -> None:
    assert (one.id, check) in checks(one)


@pytest.mark.parametrize(
    "one",
    [
        rule("allow", "get list watch", "pods pods/log", namespaces="ci"),
        rule("allow", "get", "secrets", namespaces="ci", names="deploy-key"),
        rule("allow", "get", "nodes"),
        rule("allow", "use", "serviceaccounts", namespaces="ci", names="web"),
        rule("deny", "*", "*", groups="*"),
        rule("deny", "get list watch", "secrets"),
        rule("deny", "create patch update", "pods/exec pods/attach pods/ephemeralcontainers"),
        rule("approve", "get", "secrets", namespaces="ci"),
        rule("grantable", "patch", "deployments", groups="apps", namespaces="ci"),
    ],
)
def test_a_narrow_rule_is_left_alone(one: Rule) -> None:
    assert checks(one) == []


def test_a_policy_for_everybody_or_everywhere_is_found() -> None:
    reads = rule("allow", "get", "pods", namespaces="ci")
    assert checks(reads, clusters="*") == [("", "every-cluster")]
    assert checks(reads, subjects="Agent/*") == [("", "every-subject")]
    assert checks(rule("deny", "delete deletecollection", "pods"), clusters="*", subjects="Agent/*") == []


def test_standing_changes_are_found_once_for_a_policy() -> None:
    found = lint(
        [
            policy(
                rule("allow", "patch", "pods", namespaces="ci", id="a"),
                rule("allow", "create", "pods", namespaces="ci", id="b"),
            )
        ]
    )
    assert [str(finding) for finding in found] == [
        "test.yaml:1: test: allows changes at any time, with no end: a, b, "
        "effect: grantable with a maxDuration would end by itself"
    ]


def test_a_finding_says_where_it_is() -> None:
    one = rule("allow", "get", "pods", namespaces="*", line=12, id="wide")
    (finding,) = lint([policy(one)])
    assert str(finding) == (
        "test.yaml:12: test/wide: holds in every namespace, kube-system too, name the namespaces it is needed in"
    )


def test_nothing_is_said_about_nothing() -> None:
    assert lint([]) == []
    assert lint([Policy(name="x", subjects=(), clusters=())]) == []


def test_keeping_out_an_owner_that_nobody_has_is_found() -> None:
    kept_out = msgspec.structs.replace(TWO_OF_SRE, not_by_owner=True)
    one = msgspec.structs.replace(rule("approve", "get", "secrets", namespaces="ci"), approval=kept_out)
    assert checks(one, subjects="Person/ada ServiceAccount/ci/runner") == [("", "no-owner")]
    # A group may hold agents.
    for subjects in ("Agent/ci", "Group/workers", "Person/ada Agent/ci"):
        assert checks(one, subjects=subjects) == []


def test_an_emergency_that_nobody_could_take_is_found() -> None:
    one = rule("grantable", "get", "pods", namespaces="ci", review=TWO_OF_SRE)
    for subjects in ("Agent/ci", "ServiceAccount/ci/runner Agent/ci"):
        assert checks(one, subjects=subjects) == [("", "no-people")]
    for subjects in ("Person/ada", "Group/workers Agent/ci"):
        assert checks(one, subjects=subjects) == []
