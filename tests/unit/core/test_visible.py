"""What of a list may be seen: by namespace and name, piece by piece, and when it is not told apart any more."""

from __future__ import annotations

import pytest
from tests.deciding import NOW, agent, answer, asks, person, policy, rule

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Deny
from narrowgate.core.grants import Grant, granted_rule
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.masking.choosing import Where
from narrowgate.core.policy import Policy, Rule
from narrowgate.core.rule_ref import RuleRef
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.visible import MOST_PLACES, Part, Visible

EVERYWHERE = rule("allow", "get list watch", "pods", namespaces="*", id="everywhere")
IN_CI = rule("allow", "get list watch", "pods", namespaces="ci", id="in-ci")
NAMED = rule("allow", "get list watch", "pods", namespaces="prod", names="web db", id="named")
WEB_ANYWHERE = rule("allow", "get list watch", "pods", namespaces="*", names="web", id="web")


def seen(what: Intent, *policies: Policy, by: Identity | None = None) -> Visible:
    decision = answer(what, *policies, by=by)
    assert isinstance(decision, Allow), decision
    assert decision.visible is not None, "all of it is allowed"
    return decision.visible


def shown(visible: Visible, *places: str) -> list[str]:
    """Which of `namespace/name` are shown."""
    return [place for place in places if visible.shows(Where(*place.split("/")))]


def test_a_list_over_all_namespaces_shows_those_that_are_covered() -> None:
    visible = seen(asks("list", "pods"), policy(IN_CI, NAMED))
    assert shown(visible, "ci/x", "prod/web", "prod/x", "other/web") == ["ci/x", "prod/web"]
    assert visible.parts() == (Part("ci", None), Part("prod", "db"), Part("prod", "web"))
    assert set(visible.rules) == {RuleRef("test", "in-ci", 7), RuleRef("test", "named", 7)}


def test_what_a_deny_rule_names_is_left_out_of_the_rest() -> None:
    visible = seen(asks("watch", "pods"), policy(EVERYWHERE, rule("deny", "*", "pods", names="vault")))
    assert shown(visible, "ci/vault", "ci/x") == ["ci/x"]
    assert visible.parts() == (Part(),)


def test_what_may_not_be_got_is_not_listed() -> None:
    for verb in ("list", "watch"):
        visible = seen(asks(verb, "pods"), policy(EVERYWHERE, rule("deny", "get", "pods", names="vault")))
        assert shown(visible, "ci/vault", "ci/x") == ["ci/x"]


def test_a_name_in_any_namespace_is_a_part_of_its_own_and_belongs_to_the_first() -> None:
    visible = seen(asks("list", "pods"), policy(WEB_ANYWHERE, IN_CI))
    anywhere, there = visible.parts()
    assert (anywhere, there) == (Part(None, "web"), Part("ci", None))
    assert visible.shown_in(anywhere)(Where("ci", "web"))
    assert not visible.shown_in(there)(Where("ci", "web"))
    assert visible.shown_in(there)(Where("ci", "x"))


def test_a_list_of_one_namespace_shows_nothing_of_another() -> None:
    visible = seen(asks("list", "pods", namespace="prod"), policy(NAMED))
    assert shown(visible, "prod/web", "ci/web") == ["prod/web"]
    assert visible.parts() == (Part(None, "db"), Part(None, "web"))


@pytest.mark.parametrize("where", [Where(None, "web"), Where("prod", None), Where("prod", ""), Where("", "web")])
def test_what_does_not_say_where_it_is_is_not_shown(where: Where) -> None:
    assert not seen(asks("list", "pods"), policy(NAMED)).shows(where)


def test_namespaces_are_listed_as_they_are_got() -> None:
    visible = seen(asks("list", "namespaces"), policy(rule("allow", "get list", "namespaces", namespaces="ci prod")))
    assert [name for name in ("ci", "prod", "other") if visible.shows(Where("", name))] == ["ci", "prod"]
    assert visible.parts() == (Part(None, "ci"), Part(None, "prod"))


def test_a_condition_is_asked_for_every_object() -> None:
    own = rule("allow", "get list", "pods", namespaces="*", when="request.name.startsWith('my-')")
    visible = seen(asks("list", "pods"), policy(own))
    assert shown(visible, "ci/my-web", "ci/web", "prod/my-web") == ["ci/my-web", "prod/my-web"]


def test_a_condition_that_cannot_be_decided_hides() -> None:
    visible = seen(asks("list", "pods"), policy(EVERYWHERE, rule("deny", "get", "pods", when="object.spec.x == 1")))
    assert shown(visible, "ci/x") == []


def test_of_a_chain_each_must_see_it() -> None:
    rules = (
        policy(IN_CI, NAMED, name="theirs", subjects="Person/ada"),
        policy(rule("allow", "get list", "pods", namespaces="prod"), name="mine"),
    )
    decision = answer(asks("list", "pods"), *rules, by=chain_of(person("ada"), agent()))
    assert isinstance(decision, Allow)
    assert decision.visible is not None
    assert shown(decision.visible, "ci/x", "prod/web", "prod/x") == ["prod/web"]


def test_what_people_must_be_asked_about_is_not_shown_unasked() -> None:
    held = rule("approve", "get list", "pods", namespaces="prod")
    assert shown(seen(asks("list", "pods"), policy(EVERYWHERE, held)), "prod/web", "ci/x") == ["ci/x"]


def test_what_a_task_grants_is_shown_until_it_ends() -> None:
    grant = Grant(
        task="t-1",
        kind=Kind.AGENT,
        name="ci",
        cluster="prod",
        rules=(granted_rule(rule("allow", "get list", "pods", namespaces="prod"), "t-1"),),
        begins_at=NOW - 1,
        ends_at=NOW + 30,
    )
    book = compile_policies([policy(IN_CI, rule("grantable", "get list", "pods", namespaces="prod"))], 7)
    sender = agent(task="t-1")
    decision = decide(chain_of(sender), asks("list", "pods"), book, (grant,), (), NOW)
    assert isinstance(decision, Allow)
    assert decision.visible is not None
    assert shown(decision.visible, "ci/x", "prod/x", "other/x") == ["ci/x", "prod/x"]
    assert (decision.tasks, decision.deadline) == (("t-1",), NOW + 30)


def test_what_shows_nothing_is_refused_with_its_reason() -> None:
    for rules in (policy(IN_CI), policy(EVERYWHERE, rule("deny", "get", "pods", namespaces="prod"))):
        refused = answer(asks("list", "pods", namespace="prod"), rules)
        assert isinstance(refused, Deny)
        assert 'list pods in namespace "prod"' in refused.message


def test_deleting_a_collection_is_never_done_in_part() -> None:
    everything = rule("allow", "*", "pods", namespaces="*")
    for guard in (rule("deny", "deletecollection", "pods", names="web"), rule("deny", "delete", "pods", names="web")):
        assert isinstance(answer(asks("deletecollection", "pods", namespace="ci"), policy(everything, guard)), Deny)
    assert isinstance(answer(asks("deletecollection", "pods"), policy(IN_CI)), Deny)


def test_more_places_than_can_be_told_apart_are_refused() -> None:
    names = " ".join(f"n{number}" for number in range(64))
    rules = [
        rule("allow", "get list", "pods", namespaces=f"ns{number}", names=names, id=f"r{number}")
        for number in range(MOST_PLACES // 64)
    ]
    assert isinstance(answer(asks("list", "pods"), policy(*rules)), Deny)
    assert isinstance(answer(asks("list", "pods", namespace="ns1"), policy(*rules)), Allow)


@pytest.mark.parametrize(
    ("other", "same"), [((IN_CI, NAMED), True), ((IN_CI,), False), ((IN_CI, NAMED, WEB_ANYWHERE), False)]
)
def test_it_is_equal_to_what_shows_the_same_by_the_same_rules(other: tuple[Rule, ...], same: bool) -> None:
    first = seen(asks("list", "pods"), policy(IN_CI, NAMED))
    book = compile_policies([policy(*other), policy(EVERYWHERE, name="theirs", subjects="Agent/another")], 8)
    decision = decide(chain_of(agent()), asks("list", "pods"), book, (), (), NOW)
    assert isinstance(decision, Allow)
    assert (decision.visible == first) is same


def test_each_part_is_given_by_a_rule_of_its_own() -> None:
    others = policy(NAMED, WEB_ANYWHERE, name="others")
    visible = seen(asks("list", "pods"), policy(IN_CI, name="first"), others)
    given = {part: str(visible.covering(part)) for part in visible.parts()}
    assert given == {
        Part(None, "web"): "others/web",
        Part("ci", None): "first/in-ci",
        Part("prod", "db"): "others/named",
    }


def test_a_part_of_one_namespace_is_given_by_what_gives_it_there() -> None:
    visible = seen(asks("list", "pods", namespace="prod"), policy(NAMED), policy(WEB_ANYWHERE, name="others"))
    assert {part: str(visible.covering(part)) for part in visible.parts()} == {
        Part(None, "db"): "test/named",
        Part(None, "web"): "others/web",
    }


def test_a_part_that_covers_names_given_elsewhere_is_given_by_what_gives_the_rest() -> None:
    named = rule("allow", "get list", "pods", namespaces="ci", names="a", id="a")
    visible = seen(asks("list", "pods"), policy(named, name="a-first"), policy(IN_CI, name="whole"))
    (part,) = visible.parts()
    assert (part, str(visible.covering(part))) == (Part("ci", None), "whole/in-ci")
