"""The rulebook: what it finds for whom, and that its memory has limits."""

from __future__ import annotations

import pytest
from tests.deciding import agent, asks, person, policy, rule

from narrowgate.core.conditions import ObjectNeeds
from narrowgate.core.identity import chain_of
from narrowgate.core.matching import question_of
from narrowgate.core.rulebook import MAX_CANDIDATES, MAX_HOLDINGS, MAX_SPREAD, Rulebook, compile_policies

READS = rule("allow", "get list", "pods", namespaces="ci", id="reads")


def test_two_policies_of_one_name_are_no_rulebook() -> None:
    with pytest.raises(ValueError, match="same name"):
        compile_policies([policy(READS), policy(READS)], 1)


def test_the_order_of_policies_changes_nothing() -> None:
    one, other = policy(READS, name="one"), policy(READS, name="other")
    found = [compile_policies(order, 1).holding(agent(), "prod").rules for order in ([one, other], [other, one])]
    assert [rule.ref for rule in found[0]] == [rule.ref for rule in found[1]]


def test_holding_something_means_being_allowed_something() -> None:
    book = compile_policies([policy(READS), policy(rule("grantable", "get", "pods"), name="g", subjects="Person/a")], 1)
    assert book.holds_anything(chain_of(agent()), "prod")
    assert not book.holds_anything(chain_of(agent()), "staging")
    assert not book.holds_anything(chain_of(person("a")), "prod")
    assert not book.holds_anything(chain_of(person("a"), agent()), "prod")


def test_clusters_are_those_where_something_is_held_or_offered() -> None:
    book = compile_policies(
        [
            policy(READS, name="a", clusters="prod"),
            policy(rule("approve", "get", "secrets"), name="b", clusters="staging"),
            policy(rule("deny", "get", "secrets"), name="c", clusters="dev"),
        ],
        1,
    )
    assert book.clusters_of(agent(), ["staging", "dev", "prod", "other"]) == ["staging", "prod"]
    assert book.clusters_of(agent("nobody"), ["staging", "dev", "prod"]) == []


def test_objects_are_needed_where_a_rule_in_question_looks_at_them() -> None:
    book = compile_policies(
        [
            policy(
                READS,
                rule("deny", "create", "pods", when="has(object.spec)", id="new"),
                rule("deny", "update", "pods", when="object.spec != oldObject.spec", id="both", names="web"),
                rule("allow", "delete", "pods", namespaces="ci", when="has(oldObject.spec)", id="old"),
                rule("deny", "patch", "pods", when="request.name == 'x'", id="neither"),
            ),
            policy(rule("deny", "get", "pods", when="has(object.spec)"), name="alices", subjects="Person/alice"),
        ],
        1,
    )
    wanted = {
        "create": ObjectNeeds(True, False),
        "update": ObjectNeeds(True, True),
        "delete": ObjectNeeds(False, True),
        "patch": ObjectNeeds(False, False),
        "get": ObjectNeeds(False, False),
    }
    for verb, needs in wanted.items():
        assert book.object_needs(chain_of(agent()), asks(verb, "pods", "web", namespace="ci")) == needs
    chain = chain_of(person("alice"), agent())
    assert book.object_needs(chain, asks("get", "pods", "web", namespace="ci")) == ObjectNeeds(True, False)


def test_rules_for_a_namespace_are_those_that_matter_in_it() -> None:
    book = compile_policies(
        [
            policy(
                READS,
                rule("allow", "get", "nodes", id="nodes"),
                rule("allow", "get", "secrets", namespaces="prod", id="elsewhere"),
                rule("allow", "get", "services", namespaces="*", id="everywhere"),
                rule("deny", "get", "configmaps", namespaces="prod", id="guard"),
            )
        ],
        3,
    )
    here = [str(found.ref) for found in book.rules_for(agent(), "prod", "ci")]
    assert here == ["test/everywhere", "test/nodes", "test/reads", "narrowgate/discovery", "narrowgate/reviews"]
    everywhere = [str(found.ref) for found in book.rules_for(agent(), "prod", "")]
    assert everywhere == ["test/everywhere", "test/guard", "test/nodes", "narrowgate/discovery", "narrowgate/reviews"]
    assert book.rules_for(agent(), "staging", "ci") == []
    assert book.rules_for(agent(), "prod", "ci")[0].ref.revision == 3


def test_what_is_remembered_stays_within_limits_and_stays_right() -> None:
    book = compile_policies([policy(READS, subjects="Agent/*")], 1)
    for number in range(MAX_HOLDINGS + 10):
        assert book.holding(agent(f"a{number}"), "prod").holds
    assert len(book._holdings) <= MAX_HOLDINGS
    holding = book.holding(agent(), "prod")
    for number in range(MAX_CANDIDATES + 10):
        question = question_of(asks("get", "pods", "x", namespace=f"n{number}"))
        assert holding.candidates(question).plain is None
        assert holding.candidates(question_of(asks("get", "pods", "x", namespace="ci"))).plain is not None
    assert len(holding._candidates) <= MAX_CANDIDATES


def test_identities_that_differ_in_groups_hold_different_things() -> None:
    book = compile_policies([policy(READS, subjects="Group/sre")], 1)
    assert book.holding(agent(groups=("sre",)), "prod").holds
    assert not book.holding(agent(), "prod").holds
    assert book.holding(agent(groups=("sre",)), "prod").holds


def test_a_rule_with_very_long_lists_is_found_as_any_other() -> None:
    many = " ".join(f"n{number}" for number in range(MAX_SPREAD + 1))
    for one in (rule("allow", "get", "pods", namespaces=many, id="wide"), rule("deny", "get", "pods", namespaces=many)):
        holding = compile_policies([policy(one)], 1).holding(agent(), "prod")
        for namespace, speaks in (("n7", True), ("other", False), ("", one.guards)):
            found = holding.candidates(question_of(asks("get", "pods", "x", namespace=namespace)))
            assert bool(found.allow or found.deny) is speaks


def told_rulebook(*rows: tuple[str, str]) -> Rulebook:
    policies = [
        policy(READS, name=f"p{number}", subjects=f"Group/{group}", clusters=clusters)
        for number, (group, clusters) in enumerate(rows)
    ]
    return compile_policies(policies, 1)


def test_a_cluster_is_told_of_those_groups_of_a_person_that_a_policy_names_there() -> None:
    rulebook = told_rulebook(("sre", "prod"), ("dev", "staging"), ("ops", "*"))
    alice = person("alice", "all-staff", "ops", "dev", "sre")
    assert rulebook.told_groups(alice, "prod") == ("ops", "sre")
    assert rulebook.told_groups(alice, "staging") == ("ops", "dev")
    assert rulebook.told_groups(alice, "other") == ("ops",)


def test_an_agents_groups_are_told_all_because_all_are_registered() -> None:
    assert told_rulebook(("sre", "prod")).told_groups(agent(groups=("a", "b")), "prod") == ("a", "b")
