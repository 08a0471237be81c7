"""What the gate's account must be able to delete: what may be created under tasks whose end deletes it, no more."""

from __future__ import annotations

from typing import Any

from narrowgate.core.deletion_rights import deleting_rules, deletion_rights, not_named
from narrowgate.core.policy import Effect, OnEnd, Policy, Rule

ENDS = Rule(
    id="ends",
    effect=Effect.GRANTABLE,
    verbs=("get",),
    api_groups=("",),
    resources=("pods",),
    namespaces=("ci",),
    max_duration=60.0,
    on_end=OnEnd.DELETE_WORKLOADS,
)


def policy(*rules: Rule, name: str = "p", clusters: tuple[str, ...] = ("dev",)) -> Policy:
    return Policy(name=name, subjects=(), clusters=clusters, rules=rules)


def gives(verbs: str, groups: str, resources: str, **more: Any) -> Rule:
    given = {"effect": Effect.ALLOW, "namespaces": ("ci",), **more}
    listed = tuple("" if group == "core" else group for group in groups.split())
    return Rule(id="gives", verbs=tuple(verbs.split()), api_groups=listed, resources=tuple(resources.split()), **given)


def rights(*rules: Rule) -> list[str]:
    return [str(right) for right in deletion_rights("dev", [policy(*rules)])]


def test_where_no_rule_deletes_nothing_need_be_deleted() -> None:
    assert rights(gives("*", "*", "*")) == []
    assert not_named([policy(gives("*", "*", "*"))]) == ()


def test_it_is_what_may_be_created_of_workloads_and_nothing_beside() -> None:
    made = gives("create get", "batch core", "jobs pods/log configmaps secrets pods")
    assert rights(ENDS, made) == ["delete pods", "delete jobs.batch"]
    assert rights(ENDS, gives("get delete", "batch", "jobs")) == []
    assert rights(ENDS, gives("create", "batch", "jobs", effect=Effect.DENY)) == []


def test_whatever_writes_may_create_by_an_apply() -> None:
    for verb in ("create", "update", "patch", "*"):
        assert rights(ENDS, gives(verb, "apps", "deployments")) == ["delete deployments.apps"], verb


def test_custom_resources_are_those_that_are_written_out() -> None:
    assert rights(ENDS, gives("create", "example.com", "teams teams/status")) == ["delete teams.example.com"]
    assert rights(ENDS, gives("create", "narrowgate.dev", "hostaccess")) == []
    wide = rights(ENDS, gives("create", "*", "*"))
    assert "delete jobs.batch" in wide
    assert not any("*" in right or "secrets" in right for right in wide)
    (remark,) = not_named([policy(ENDS, gives("create", "*", "*"))])
    assert remark.startswith("p/gives: to delete custom resources")


def test_namespaces_and_names_stay_as_they_are() -> None:
    (rule,) = deleting_rules([policy(ENDS, gives("patch", "apps", "deployments", names=("web",)))])
    assert (rule.verbs, rule.namespaces, rule.names) == (("delete",), ("ci",), ("web",))


def test_policies_of_other_clusters_say_nothing() -> None:
    other = policy(ENDS, gives("create", "batch", "jobs"), clusters=("prod",))
    assert deletion_rights("dev", [other]) == ()
    assert [str(right) for right in deletion_rights("prod", [other])] == ["delete jobs.batch"]
