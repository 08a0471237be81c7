"""RBAC from policies: what is said, what is left out, and what is never said by accident."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.manifests import (
    Manifests,
    impersonation_manifests,
    manifests_yaml,
    service_account_manifests,
    with_lineage,
    with_rbac_reading,
    with_secret_reading,
    with_token_reviews,
)
from narrowgate.core.policy import Effect, Policy, Rule, Subject, SubjectKind
from narrowgate.core.upstream_names import upstream_extra

CI = Subject(SubjectKind.AGENT, "ci")


def rule(**given: Any) -> Rule:
    return Rule(
        **{
            "id": "read",
            "effect": Effect.ALLOW,
            "verbs": ("get", "list"),
            "api_groups": ("",),
            "resources": ("pods",),
            "namespaces": ("dev",),
            **given,
        }
    )


def policy(*rules: Rule, subjects: tuple[Subject, ...] = (CI,), clusters: tuple[str, ...] = ("prod",)) -> Policy:
    return Policy(name="base", subjects=subjects, clusters=clusters, rules=rules)


def agent(name: str, *, cluster: str = "", groups: tuple[str, ...] = ()) -> Identity:
    return Identity(kind=Kind.AGENT, name=name, groups=groups, cluster=cluster, proven_by="test", credential="c1")


def accounts(*policies: Policy) -> Manifests:
    return service_account_manifests("prod", policies, "narrowgate")


def impersonation(*policies: Policy, known: tuple[Identity, ...] = (), constrained: bool = False) -> Manifests:
    return impersonation_manifests("prod", policies, known, "narrowgate", constrained=constrained)


def of_kind(manifests: Manifests, kind: str) -> list[dict[str, Any]]:
    return [one for one in manifests.objects if one["kind"] == kind]


def rules_named(manifests: Manifests, kind: str, name: str) -> list[dict[str, Any]]:
    return [rule for one in of_kind(manifests, kind) if one["metadata"]["name"] == name for rule in one["rules"]]


def test_an_allow_rule_becomes_a_role_in_each_of_its_namespaces() -> None:
    made = accounts(policy(rule(namespaces=("dev", "ci"))))
    places = {one["metadata"]["namespace"]: one["rules"] for one in of_kind(made, "Role")}
    expected = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    assert places["dev"] == expected
    assert places["ci"] == expected
    assert of_kind(made, "ClusterRole") == []


def test_everywhere_becomes_a_cluster_role() -> None:
    made = accounts(policy(rule(namespaces=("*",))))
    assert rules_named(made, "ClusterRole", "narrowgate:policy:base") == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    ]


def test_names_become_resource_names() -> None:
    made = accounts(policy(rule(verbs=("get",), names=("web",))))
    assert rules_named(made, "Role", "narrowgate:policy:base")[0]["resourceNames"] == ["web"]


def test_a_rule_without_names_has_no_resource_names_and_one_with_none_is_not_written() -> None:
    assert "resourceNames" not in rules_named(accounts(policy(rule())), "Role", "narrowgate:policy:base")[0]
    assert of_kind(accounts(policy(rule(names=()))), "RoleBinding") == of_kind(accounts(policy()), "RoleBinding")


def test_creating_by_name_is_said_to_be_left_out() -> None:
    made = accounts(policy(rule(verbs=("create",), names=("web",))))
    assert any("base/read: creating by name is left out" in remark for remark in made.remarks)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"resources": ("namespaces",)}, ["ci", "dev"]),
        ({"resources": ("*",), "verbs": ("*",), "api_groups": ("*",)}, ["ci", "dev"]),
        ({"resources": ("namespaces",), "names": ("dev", "other")}, ["dev"]),
        ({"resources": ("namespaces",), "names": ("other",)}, None),
        ({"resources": ("namespaces",), "verbs": ("get",)}, None),
        ({"resources": ("namespaces",), "api_groups": ("apps",)}, None),
        ({"resources": ("pods",)}, None),
    ],
)
def test_namespaces_are_listed_by_name_outside_of_themselves(given: dict[str, Any], names: list[str] | None) -> None:
    made = accounts(policy(rule(namespaces=("ci", "dev"), **given)))
    found = rules_named(made, "ClusterRole", "narrowgate:policy:base")
    assert [one["resourceNames"] for one in found] == ([] if names is None else [names])
    assert {verb for one in found for verb in one["verbs"]} <= {"list", "watch"}


def test_without_namespaces_only_what_is_known_to_be_cluster_scoped_is_said() -> None:
    made = accounts(policy(rule(resources=("nodes", "pods", "*", "widgets"), namespaces=None)))
    assert [one["resources"] for one in rules_named(made, "ClusterRole", "narrowgate:policy:base")] == [["nodes"]]
    assert [remark.rpartition(" ")[2] for remark in made.remarks] == ["pods", "*", "widgets"]


def test_what_is_denied_is_in_no_role() -> None:
    made = accounts(policy(rule(id="never", effect=Effect.DENY)))
    assert rules_named(made, "Role", "narrowgate:policy:base") == []
    assert made.remarks == ("base/never: RBAC cannot deny; the gate refuses this, the cluster might not",)


@pytest.mark.parametrize(
    ("effect", "remark"),
    [
        (Effect.GRANTABLE, "base/read: RBAC knows no tasks; the gate alone holds this until one is granted"),
        (Effect.APPROVE, "base/read: RBAC asks nobody; the gate alone holds this until people say yes"),
    ],
)
def test_what_is_given_for_a_task_or_after_an_approval_is_in_the_role_as_what_is_allowed(
    effect: Effect, remark: str
) -> None:
    # Else the cluster would refuse what the gate has let through.
    held, allowed = accounts(policy(rule(effect=effect))), accounts(policy(rule()))
    assert rules_named(held, "Role", "narrowgate:policy:base") == rules_named(allowed, "Role", "narrowgate:policy:base")
    assert rules_named(held, "Role", "narrowgate:policy:base") != []
    assert held.remarks == (remark,)


def test_a_condition_is_said_to_be_the_gates_alone() -> None:
    assert accounts(policy(rule(when="object.x == 1"))).remarks == (
        "base/read: RBAC has no conditions; the gate alone holds `when`",
    )


def test_what_is_done_inside_a_pod_is_said_to_be_the_gates_alone() -> None:
    inside = rule(verbs=("create",), resources=("pods/exec",), commands=(("ls",),), pod_labels=(("app", "web"),))
    assert accounts(policy(inside)).remarks == (
        "base/read: RBAC sees no commands, containers or labels; the gate alone does",
        "base/read: whoever is let in by labels needs a rule to get pods as well",
    )


def test_paths_become_a_cluster_role() -> None:
    paths = rule(
        verbs=("get",), api_groups=(), resources=(), namespaces=None, non_resource_urls=("/metrics", "/logs/*")
    )
    assert rules_named(accounts(policy(paths)), "ClusterRole", "narrowgate:policy:base") == [
        {"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]}
    ]


def test_the_gates_own_resources_mean_nothing_to_the_cluster() -> None:
    both = rule(api_groups=("narrowgate.dev", ""), resources=("hostaccess", "pods"))
    assert rules_named(accounts(policy(both)), "Role", "narrowgate:policy:base")[0]["apiGroups"] == [""]
    alone = accounts(policy(rule(api_groups=("narrowgate.dev",), resources=("hostaccess",))))
    assert rules_named(alone, "Role", "narrowgate:policy:base") == []


def account_names(made: Manifests) -> list[str]:
    return [one["metadata"]["name"] for one in of_kind(made, "ServiceAccount")]


def test_policies_of_other_clusters_are_left_alone() -> None:
    elsewhere = accounts(policy(rule(), clusters=("stage",)))
    assert elsewhere.remarks == ("no policy speaks for cluster prod: nothing but discovery passes",)
    assert "narrowgate-base" not in account_names(elsewhere)
    assert "narrowgate-base" in account_names(accounts(policy(rule(), clusters=("*",))))


def test_each_policy_has_an_account_and_the_gate_may_only_mint_their_tokens() -> None:
    made = accounts(policy(rule()))
    assert account_names(made) == ["narrowgate", "narrowgate-narrowgate", "narrowgate-base"]
    assert rules_named(made, "Role", "narrowgate:tokens") == [
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts/token"],
            "verbs": ["create"],
            "resourceNames": ["narrowgate-narrowgate", "narrowgate-base"],
        }
    ]


def test_the_account_of_the_built_in_rules_has_no_role() -> None:
    bound = [one["subjects"] for one in of_kind(accounts(policy(rule())), "RoleBinding")]
    assert [subject["name"] for subjects in bound for subject in subjects] == ["narrowgate", "narrowgate-base"]


def test_impersonation_is_fenced_to_the_known_names() -> None:
    made = impersonation(policy(rule()), known=(agent("bot", groups=("night",)), agent("far", cluster="stage")))
    fence = rules_named(made, "ClusterRole", "narrowgate:impersonator")
    named = {one["resources"][0]: one.get("resourceNames") for one in fence}
    assert named["users"] == ["narrowgate:agent:bot", "narrowgate:agent:ci"]
    assert named["groups"] == ["narrowgate:agents", "narrowgate:group:night"]
    assert {verb for one in fence for verb in one["verbs"]} == {"impersonate"}


def test_nobody_known_means_nobody_may_be_impersonated_rather_than_everybody() -> None:
    made = impersonation(policy(rule(), subjects=(Subject(SubjectKind.AGENT, "*"),)))
    assert rules_named(made, "ClusterRole", "narrowgate:impersonator") == []
    assert made.remarks[-1].startswith("nobody may be impersonated")


def test_no_rule_of_any_manifest_has_an_empty_list_of_names() -> None:
    group_only = policy(rule(), subjects=(Subject(SubjectKind.GROUP, "night"),))
    for made in (
        impersonation(),
        impersonation(group_only),
        impersonation(group_only, constrained=True),
        accounts(),
        accounts(policy(rule(names=()))),
    ):
        every = [one for kind in ("Role", "ClusterRole") for item in of_kind(made, kind) for one in item["rules"]]
        assert [one for one in every if one.get("resourceNames") == []] == []


def test_roles_are_bound_to_the_subjects_as_the_cluster_sees_them() -> None:
    everyone = (
        CI,
        Subject(SubjectKind.AGENT, "*"),
        Subject(SubjectKind.GROUP, "night"),
        Subject(SubjectKind.SERVICE_ACCOUNT, "ci/runner"),
    )
    binding = of_kind(impersonation(policy(rule(), subjects=everyone)), "RoleBinding")[0]
    assert [(one["kind"], one["name"]) for one in binding["subjects"]] == [
        ("User", "narrowgate:agent:ci"),
        ("Group", "narrowgate:agents"),
        ("Group", "narrowgate:group:night"),
        ("User", "narrowgate:serviceaccount:ci/runner"),
    ]


def test_every_group_is_bound_one_by_one_because_rbac_has_no_such_wildcard() -> None:
    anyone = policy(rule(), subjects=(Subject(SubjectKind.GROUP, "*"),))
    binding = of_kind(impersonation(anyone, known=(agent("bot", groups=("a", "b")),)), "RoleBinding")[0]
    assert [one["name"] for one in binding["subjects"]] == ["narrowgate:group:a", "narrowgate:group:b"]


def test_constrained_impersonation_never_grants_the_legacy_verb() -> None:
    made = impersonation(policy(rule(verbs=("*",))), constrained=True)
    verbs = {
        verb
        for kind in ("Role", "ClusterRole")
        for item in of_kind(made, kind)
        for one in item["rules"]
        for verb in one["verbs"]
    }
    assert "impersonate" not in verbs
    assert "impersonate:user-info" in verbs
    assert "impersonate-on:user-info:deletecollection" in verbs
    assert not any("*" in verb for verb in verbs - {"*"})


def test_constrained_impersonation_is_for_what_the_policies_allow_where_they_allow_it() -> None:
    made = impersonation(policy(rule(namespaces=("dev",), names=("web",), verbs=("get",))), constrained=True)
    places = {
        one["metadata"]["namespace"]: one["rules"]
        for one in of_kind(made, "Role")
        if "impersonate-on" in one["metadata"]["name"]
    }
    assert places == {
        "dev": [
            {
                "apiGroups": [""],
                "resources": ["pods"],
                "verbs": ["impersonate-on:user-info:get"],
                "resourceNames": ["web"],
            }
        ]
    }


def test_asking_about_tokens_is_one_right_more_for_the_gates_own_account_and_no_other() -> None:
    for made in (impersonation(policy(rule())), accounts(policy(rule())), impersonation()):
        more = with_token_reviews(made, "narrowgate")
        assert more.objects[: len(made.objects)] == made.objects
        role, binding = more.objects[len(made.objects) :]
        assert role["rules"] == [
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
        ]
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "narrowgate", "namespace": "narrowgate"}]


def test_reading_pods_and_what_owns_them_is_for_the_gates_own_account_and_no_other() -> None:
    made = impersonation(policy(rule()))
    role, binding = with_lineage(made, "narrowgate", [("example.com", "databases")]).objects[len(made.objects) :]
    read = {(one["apiGroups"][0], one["resources"][0], one["verbs"][0]) for one in role["rules"]}
    assert {("", "pods", "watch"), ("apps", "replicasets", "list"), ("example.com", "databases", "get")} <= read
    assert {verb for _, _, verb in read} == {"get", "list", "watch"}
    assert not {resource for _, resource, _ in read} & {"*", "secrets", "pods/log", "pods/exec"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "narrowgate", "namespace": "narrowgate"}]


def test_reading_secrets_is_one_right_more_for_the_gates_own_account_and_no_other() -> None:
    made = impersonation(policy(rule()))
    role, binding = with_secret_reading(made, "narrowgate").objects[len(made.objects) :]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "narrowgate", "namespace": "narrowgate"}]


def test_reading_roles_is_one_right_more_for_the_gates_own_account_and_no_other() -> None:
    made = impersonation(policy(rule()))
    role, binding = with_rbac_reading(made, "narrowgate").objects[len(made.objects) :]
    assert role["rules"] == [
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterrolebindings", "clusterroles", "rolebindings", "roles"],
            "verbs": ["list"],
        }
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "narrowgate", "namespace": "narrowgate"}]


def test_everything_that_goes_along_with_an_impersonated_request_is_within_the_fence() -> None:
    pod = (("node", "n"), ("pod", "web"), ("pod-uid", "u"))
    sender = Identity(kind=Kind.WORKLOAD, name="ci/x", proven_by="test", credential="c", claims=pod)
    sent = {key for key, _ in upstream_extra(chain_of(sender), "r")}
    for constrained in (False, True):
        made = impersonation(policy(rule()), known=(sender,), constrained=constrained)
        fence = rules_named(made, "ClusterRole", "narrowgate:impersonator")
        allowed = {one.removeprefix("userextras/") for each in fence for one in each["resources"]}
        assert sent <= allowed


def test_the_yaml_reads_back_as_the_objects_with_the_remarks_on_top() -> None:
    made = impersonation(policy(rule(when="object.x == 1")))
    text = manifests_yaml(made)
    assert text.startswith("# base/read: RBAC has no conditions")
    assert tuple(yaml.safe_load_all(text)) == made.objects
    assert "&id" not in text
