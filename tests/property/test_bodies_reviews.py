"""Laws of rules reviews: what the list says is what both sides allow, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.core.reviews import GrantedRule, rules_intersection

VERBS = ("get", "list", "delete")
GROUPS = ("", "apps")
RESOURCES = ("pods", "pods/log", "secrets")
NAMES = ("a", "b", "")
PATHS = ("/api", "/healthz", "/healthz/etcd")


class Asked(NamedTuple):
    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""


QUESTIONS = [Asked(v, g, r, n) for v in VERBS for g in GROUPS for r in RESOURCES for n in NAMES]
QUESTIONS += [Asked(v, path=p) for v in VERBS for p in PATHS]


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(tuple)


RULES = st.one_of(
    st.builds(
        GrantedRule,
        verbs=some(*VERBS, "*"),
        api_groups=some(*GROUPS, "*"),
        resources=some(*RESOURCES, "*", "*/log"),
        names=st.none() | some("a", "b"),
    ),
    st.builds(GrantedRule, verbs=some(*VERBS, "*"), non_resource_urls=some(*PATHS, "*", "/healthz*", "/healthz/*")),
)
LISTS = st.lists(RULES, max_size=4)


def matches(rule: dict[str, Any], asked: Asked) -> bool:
    """Kubernetes' own reading of one listed rule (evaluation_helpers.go), written down a second time."""
    if not {asked.verb, "*"} & {*rule["verbs"]}:
        return False
    if asked.path:
        urls = rule.get("nonResourceURLs", ())
        return any(u in ("*", asked.path) or (u[-1:] == "*" and asked.path.startswith(u.rstrip("*"))) for u in urls)
    if not {asked.group, "*"} & {*rule.get("apiGroups", ())}:
        return False
    wanted = {asked.resource, "*"} | ({"*/" + asked.resource.split("/")[1]} if "/" in asked.resource else set())
    names = rule.get("resourceNames") or ()
    return bool(wanted & {*rule["resources"]}) and (not names or asked.name in names)


def as_listed(rules: Sequence[GrantedRule]) -> dict[str, Any]:
    return {
        "resourceRules": [
            {"verbs": [*r.verbs], "apiGroups": [*r.api_groups], "resources": [*r.resources],
             "resourceNames": [*(r.names or ())]}
            for r in rules if r.resources
        ],
        "nonResourceRules": [
            {"verbs": [*r.verbs], "nonResourceURLs": [*r.non_resource_urls]} for r in rules if r.non_resource_urls
        ],
        "incomplete": False,
    }  # fmt: skip


def allows(status: dict[str, Any], asked: Asked) -> bool:
    listed = status["nonResourceRules"] if asked.path else status["resourceRules"]
    return any(matches(rule, asked) for rule in listed)


@given(LISTS, LISTS)
def test_the_list_allows_what_both_allow_and_nothing_else(ours: list[GrantedRule], theirs: list[GrantedRule]):
    status = rules_intersection(ours, [], as_listed(theirs))
    assert not status["incomplete"]
    for asked in QUESTIONS:
        both = allows(as_listed(ours), asked) and allows(as_listed(theirs), asked)
        assert allows(status, asked) == both, asked


@given(LISTS, LISTS)
def test_a_complete_list_allows_nothing_that_is_denied(ours: list[GrantedRule], denied: list[GrantedRule]):
    everything = GrantedRule(verbs=("*",), api_groups=("*",), resources=("*",))
    anywhere = GrantedRule(verbs=("*",), non_resource_urls=("*",))
    status = rules_intersection(ours, denied, as_listed([everything, anywhere]))
    for asked in QUESTIONS:
        left = allows(as_listed(ours), asked) and not allows(as_listed(denied), asked)
        assert allows(status, asked) or not left, asked
        if not status["incomplete"]:
            assert allows(status, asked) == left, asked


@given(LISTS, LISTS)
def test_the_order_of_rules_changes_nothing_that_is_allowed(ours: list[GrantedRule], theirs: list[GrantedRule]):
    status = rules_intersection(ours, [], as_listed(theirs))
    turned = rules_intersection(ours[::-1], [], as_listed(theirs[::-1]))
    assert [allows(status, asked) for asked in QUESTIONS] == [allows(turned, asked) for asked in QUESTIONS]
