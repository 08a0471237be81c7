from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.writes import info_of

from narrowgate.core.decision import Deny, NeedsApproval, RuleRef
from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.reviews import (
    PAIRS_LIMIT,
    RULES_LIMIT,
    GrantedRule,
    access_review_answer,
    is_access_review,
    is_rules_review,
    review_intent,
    review_namespace,
    rules_intersection,
    rules_review_answer,
)

RULE = RuleRef("base", "read-pods")
NODES = ResourceType(group="", version="v1", resource="nodes", kind="Node", namespaced=False, verbs=())
PODS = ResourceType(group="", version="v1", resource="pods", kind="Pod", namespaced=True, verbs=())


def review(**attributes: str) -> dict[str, Any]:
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {"resourceAttributes": attributes},
    }


def granted(verbs: str, resources: str = "", names: str | None = None, **more: Any) -> GrantedRule:
    """`granted("get,list", "pods,deployments.apps")`: resources of one group, `*.*` for all groups."""
    plurals = resources.split(",") if resources else []
    groups = {plural.partition(".")[2] for plural in plurals}
    return GrantedRule(
        verbs=tuple(verbs.split(",")),
        api_groups=tuple(groups),
        resources=tuple(plural.partition(".")[0] for plural in plurals),
        names=None if names is None else tuple(names.split(",")),
        **more,
    )


def listed(*rules: GrantedRule, **more: Any) -> dict[str, Any]:
    """The same rules as a cluster lists them."""
    return {
        "resourceRules": [
            {"verbs": [*r.verbs], "apiGroups": [*r.api_groups], "resources": [*r.resources]}
            | ({"resourceNames": [*r.names]} if r.names else {})
            for r in rules
            if r.resources
        ],
        "nonResourceRules": [
            {"verbs": [*r.verbs], "nonResourceURLs": [*r.non_resource_urls]} for r in rules if r.non_resource_urls
        ],
        "incomplete": False,
        **more,
    }


def test_only_reviews_of_oneself_in_v1_are_answered_by_the_gate():
    def group(resource: str) -> RequestInfo:
        return info_of("create", f"{resource}.authorization.k8s.io", namespace="")

    assert is_access_review(group("selfsubjectaccessreviews"))
    assert is_rules_review(group("selfsubjectrulesreviews"))
    assert not is_access_review(group("subjectaccessreviews"))
    assert not is_access_review(group("selfsubjectrulesreviews"))
    older = info_of("create", "selfsubjectaccessreviews.authorization.k8s.io", namespace="", version="v1beta1")
    assert not is_access_review(older)


def test_a_question_becomes_the_request_it_asks_about():
    intent = review_intent(
        "prod", review(verb="patch", group="apps", version="v1", resource="deployments", subresource="scale",
                       namespace="ci", name="web")
    )  # fmt: skip
    assert intent.cluster == "prod"
    assert intent.namespaced
    assert intent.info == RequestInfo(
        is_resource_request=True, path="", verb="patch", api_group="apps", api_version="v1", namespace="ci",
        resource="deployments", subresource="scale", name="web",
    )  # fmt: skip


@pytest.mark.parametrize(("resource", "namespaced"), [("pods", True), ("nodes", False), ("unknown", False)])
def test_discovery_says_whether_a_question_without_namespace_is_about_all_of_them(resource: str, namespaced: bool):
    assert review_intent("c", review(verb="list", resource=resource), Discovery([NODES, PODS])).namespaced is namespaced


def test_a_question_about_a_stream_is_about_create():
    assert review_intent("c", review(verb="get", resource="pods", subresource="exec")).info.verb == "create"


def test_a_question_about_a_path_is_about_no_resource():
    intent = review_intent("c", {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}})
    assert (intent.info.is_resource_request, intent.info.path, intent.info.verb) == (False, "/metrics", "get")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (None, 415),
        ([], 400),
        ({}, 400),
        ({"spec": {}}, 400),
        ({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {}}}, 400),
        ({"spec": {"resourceAttributes": []}}, 400),
        ({"spec": {"resourceAttributes": {"verb": 1}}}, 400),
    ],
)
def test_what_asks_about_not_exactly_one_thing_is_refused(document: Any, code: int):
    with pytest.raises(Malformed) as caught:
        review_intent("c", document)
    assert caught.value.code == code


def test_rules_are_asked_for_in_a_namespace():
    assert review_namespace({"spec": {"namespace": "ci"}}) == "ci"
    with pytest.raises(Malformed, match="no namespace"):
        review_namespace({"spec": {}})


def test_what_a_rule_denies_is_denied_with_the_rule():
    asked = review(verb="get", resource="secrets")
    answer = access_review_answer(asked, Deny(message="rule read-pods of policy base denies it", rule=RULE), None)
    assert answer == {
        **asked,
        "status": {
            "allowed": False,
            "denied": True,
            "reason": "narrowgate: rule read-pods of policy base denies it",
        },
    }


def test_what_nothing_allows_is_not_allowed_and_not_denied():
    answer = access_review_answer(review(verb="get"), Deny(message="no rule allows it"), {"allowed": True})
    assert answer["status"] == {"allowed": False, "reason": "narrowgate: no rule allows it"}


def test_what_people_must_allow_is_not_allowed():
    answer = access_review_answer(review(verb="get"), NeedsApproval(message="held", rule=RULE), {"allowed": True})
    assert answer["status"] == {"allowed": False, "reason": "narrowgate: held (rule base/read-pods)"}


def test_resources_that_both_give_are_given():
    ours = [granted("get,list,watch", "pods,services"), granted("patch", "deployments.apps")]
    theirs = listed(granted("list,get,delete", "services,secrets"), granted("patch", "deployments.apps", "web"))
    assert rules_intersection(ours, [], theirs) == {
        "resourceRules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["services"]},
            {"verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"]},
        ],
        "nonResourceRules": [],
        "incomplete": False,
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        (granted("*", "*.*"), granted("get", "pods"), [granted("get", "pods")]),
        (granted("get", "pods"), granted("*", "*.*"), [granted("get", "pods")]),
        (granted("*", "*.*"), granted("*", "*.*"), [granted("*", "*.*")]),
        (granted("get", "pods"), granted("get", "pods.metrics.k8s.io"), []),
        (granted("get", "*/log"), granted("get", "pods/log"), [granted("get", "pods/log")]),
        (granted("get", "pods/exec"), granted("get", "*/log"), []),
        (granted("get", "pods"), granted("get", "pods/log"), []),
        (granted("get", "pods"), granted("list", "pods"), []),
        (granted("get", "pods", "a,b"), granted("get", "pods", "b,c"), [granted("get", "pods", "b")]),
        (granted("get", "pods", "a"), granted("get", "pods", "b"), []),
        (granted("get", "pods", "a"), granted("get", "pods"), [granted("get", "pods", "a")]),
        (granted("get", non_resource_urls=("/healthz/*",)), granted("get", non_resource_urls=("/healthz/etcd", "/x")),
         [granted("get", non_resource_urls=("/healthz/etcd",))]),
        (granted("get", non_resource_urls=("/api",)), granted("*", non_resource_urls=("*",)),
         [granted("get", non_resource_urls=("/api",))]),
        (granted("get", "*.*"), granted("get", non_resource_urls=("*",)), []),
    ],
)  # fmt: skip
def test_wildcards_meet_what_they_match(ours: GrantedRule, theirs: GrantedRule, both: list[GrantedRule]):
    assert rules_intersection([ours], [], listed(theirs)) == listed(*both)


def test_an_empty_list_of_names_gives_nothing():
    nothing = GrantedRule(verbs=("get",), api_groups=("",), resources=("pods",), names=())
    assert rules_intersection([nothing], [], listed(granted("get", "pods")))["resourceRules"] == []


ALL = granted("*", "*.*")


@pytest.mark.parametrize(
    ("rule", "deny", "left"),
    [
        (granted("get,delete", "pods,secrets"), granted("delete", "pods"),
         [granted("get", "pods"), granted("get,delete", "secrets")]),
        (granted("get", "pods,secrets"), granted("*", "secrets"), [granted("get", "pods")]),
        (granted("get", "pods"), granted("*", "*.*"), []),
        (granted("get", "pods/log"), granted("get", "*/log"), []),
        (granted("get", "pods"), granted("delete", "pods"), [granted("get", "pods")]),
        (granted("get", "pods", "a"), granted("get", "pods", "a,b"), []),
        (granted("get", non_resource_urls=("/a/b", "/c")), granted("get", non_resource_urls=("/a/*",)),
         [granted("get", non_resource_urls=("/c",))]),
    ],
)  # fmt: skip
def test_a_deny_rule_is_taken_out(rule: GrantedRule, deny: GrantedRule, left: list[GrantedRule]):
    answer = rules_intersection([rule], [deny], listed(ALL, granted("*", non_resource_urls=("*",))))
    assert answer == listed(*left)


@pytest.mark.parametrize(
    ("rule", "deny"),
    [
        (granted("*", "pods"), granted("delete", "pods")),
        (granted("get", "*.*"), granted("get", "secrets")),
        (granted("get", "pods"), granted("get", "pods", "a")),
        (granted("get", "pods"), granted("get", "pods", conditional=True)),
        (granted("get", non_resource_urls=("*",)), granted("get", non_resource_urls=("/a",))),
    ],
)
def test_a_deny_rule_that_cannot_be_written_makes_the_list_incomplete(rule: GrantedRule, deny: GrantedRule):
    answer = rules_intersection([rule], [deny], listed(ALL, granted("*", non_resource_urls=("*",))))
    assert answer["incomplete"]
    assert "deny rule" in answer["evaluationError"]
    assert {**answer, "incomplete": False} == {**listed(rule), "evaluationError": answer["evaluationError"]}


def test_conditions_and_doubts_of_the_cluster_make_the_list_incomplete():
    theirs = listed(ALL, incomplete=True, evaluationError="webhook away")
    answer = rules_intersection([granted("get", "pods", conditional=True)], [], theirs)
    assert answer["incomplete"]
    assert "webhook away" in answer["evaluationError"]
    assert "condition" in answer["evaluationError"]


@pytest.mark.parametrize("theirs", [None, {}])
def test_a_cluster_that_does_not_answer_gives_nothing(theirs: dict[str, Any] | None):
    assert rules_intersection([ALL], [], theirs) == {
        "resourceRules": [],
        "nonResourceRules": [],
        "incomplete": True,
        "evaluationError": "the cluster did not answer",
    }


def test_the_same_rule_is_listed_once():
    theirs = listed(granted("get", "pods"), granted("get", "pods"))
    assert len(rules_intersection([granted("get", "pods")], [], theirs)["resourceRules"]) == 1


def test_a_list_has_an_end():
    ours = [granted("get", f"r{n}") for n in range(RULES_LIMIT + 10)]
    answer = rules_intersection(ours, [], listed(ALL))
    assert answer["incomplete"]
    assert len(answer["resourceRules"]) <= RULES_LIMIT + 1
    assert "more than" in answer["evaluationError"]


def test_comparing_has_an_end():
    many = [granted("get", "pods", f"n{n}") for n in range(500)]
    assert len(many) ** 2 > PAIRS_LIMIT
    assert "pairs" in rules_intersection(many, [], listed(*many))["evaluationError"]


def test_the_answer_keeps_the_question():
    asked = {"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"namespace": "ci"}}
    assert rules_review_answer(asked, {"incomplete": False}) == {
        **asked,
        "metadata": {},
        "status": {"incomplete": False},
    }
