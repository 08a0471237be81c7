"""Explaining: every rule that was considered, and what it said."""

from __future__ import annotations

from tests.deciding import NOW, TWO_OF_SRE, agent, asks, person, policy, rule, uses

from narrowgate.core.explain import Explanation, explain
from narrowgate.core.identity import Identity, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Policy
from narrowgate.core.rulebook import compile_policies


def explained(what: Intent, *policies: Policy, by: tuple[Identity, ...] = (agent(),)) -> Explanation:
    return explain(chain_of(*by), what, compile_policies(policies, 4), NOW)


def test_each_rule_says_why_it_does_not_match() -> None:
    why = {
        "verb": (rule("allow", "list", "pods", namespaces="ci", id="verb"), "its verbs are list"),
        "resource": (rule("allow", "get", "pods/log", namespaces="ci", id="resource"), "its resources are others"),
        "scope": (rule("allow", "get", "pods", namespaces="a b", id="scope"), "its namespaces are a, b"),
        "unscoped": (
            rule("allow", "get", "pods", id="unscoped"),
            "without namespaces it is about cluster-scoped resources alone",
        ),
        "name": (rule("allow", "get", "pods", namespaces="ci", names="db", id="name"), "its names are db"),
        "path": (rule("allow", "get", urls="/metrics", id="path"), "it is about paths"),
        "false": (rule("allow", "get", "pods", namespaces="ci", when="request.name == 'a'", id="false"), "is not met"),
        "error": (
            rule("allow", "get", "pods", namespaces="ci", when="has(object.a.b)", id="error"),
            "its condition cannot be decided",
        ),
    }
    found = explained(asks("get", "pods", "web", namespace="ci"), policy(*(one for one, _ in why.values())))
    assert found.answer == "deny"
    said = {rule.rule: rule for rule in found.parts[0].rules if rule.policy == "test"}
    assert said.keys() == why.keys()
    for name, (_, expected) in why.items():
        assert expected in said[name].why
        assert not said[name].matches


def test_rules_that_match_say_what_they_do() -> None:
    rules = policy(
        rule("allow", "get", "pods", namespaces="ci"),
        rule("deny", "get", "pods", when="has(object.a.b)"),
        rule("approve", "get", "pods"),
        rule("grantable", "get", "pods", namespaces="ci"),
        rule("grantable", "get", "pods", namespaces="ci", id="glass", review=TWO_OF_SRE),
    )
    found = explained(asks("get", "pods", "web", namespace="ci"), rules)
    assert (found.answer, found.rule, found.revision) == ("deny", "test/deny-it", 4)
    said = {rule.rule: rule.why for rule in found.parts[0].rules if rule.matches}
    assert said["allow-it"] == "covers"
    assert said["deny-it"].startswith("refuses, because its condition cannot be decided")
    assert said["approve-it"] == "holds for approval"
    assert said["grantable-it"] == "could be granted to a task; permits nothing by itself"
    assert said["glass"] == "could be taken by a person in an emergency; permits nothing by itself"


def test_policies_about_others_are_passed_over() -> None:
    found = explained(
        asks("get", "pods", "web", namespace="ci"),
        policy(rule("allow", "get", "pods", namespaces="ci"), name="mine", subjects="Agent/* Group/x"),
        policy(rule("allow", "get", "pods"), name="theirs", subjects="Person/ci Group/* Agent/other"),
        policy(rule("allow", "get", "pods"), name="elsewhere", clusters="staging dev"),
    )
    assert found.answer == "allow"
    assert {(one.policy, one.why) for one in found.passed_over} == {
        ("theirs", "its subjects are others"),
        ("elsewhere", "its clusters are staging, dev"),
    }


def test_every_member_and_everything_used_is_a_part() -> None:
    found = explained(
        asks("create", "pods", "web", namespace="ci", uses=(uses("secrets", "db"),)),
        policy(rule("allow", "create", "pods", namespaces="ci"), subjects="Agent/ci Person/alice"),
        by=(person("alice"), agent()),
    )
    assert [(part.member, part.asks) for part in found.parts] == [
        ('person "alice"', 'create pods "web" in namespace "ci"'),
        ('person "alice"', 'use or get secrets "db" in namespace "ci"'),
        ('agent "ci"', 'create pods "web" in namespace "ci"'),
        ('agent "ci"', 'use or get secrets "db" in namespace "ci"'),
    ]
    assert found.parts[1].because == "spec.template.spec.volumes[0]"


def test_as_text_it_begins_with_the_answer_and_marks_what_matches() -> None:
    reads = rule("allow", "get", "pods", namespaces="ci", id="reads", line=8)
    text = str(explained(asks("get", "pods", "web", namespace="ci"), policy(reads, rule("deny", "list", "pods"))))
    assert text.splitlines()[:6] == [
        "allow: rule test/reads covers it",
        'agent "ci": get pods "web" in namespace "ci"',
        "    deny      test/deny-it (test.yaml:0): its verbs are list",
        "  * allow     test/reads (test.yaml:8): covers",
        "    allow     narrowgate/discovery: it is about paths",
        "    allow     narrowgate/reviews: its resources are others",
    ]
    assert 'agent "ci": masked in the answer' in text


def test_there_is_nothing_to_mask_in_an_answer_that_never_comes() -> None:
    found = explained(asks("get", "secrets", "x", namespace="ci"), policy(rule("deny", "get", "secrets")))
    assert (found.answer, found.masked.masks) == ("deny", ())
    assert "mask" not in str(found)


def test_a_question_for_people_is_told_as_one() -> None:
    found = explained(asks("get", "secrets", "x", namespace="ci"), policy(rule("approve", "get", "secrets")))
    assert (found.answer, found.rule) == ("needsApproval", "test/approve-it")
