"""Laws of who acts for whom: a claim is read or refused, and whoever acts adds nobody's rights to anybody's.

Also of tokens of accounts: one that can do nothing more than somebody is somebody's to have, and the other way round.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.deciding import agent, answer, asks, person, policy, rule

from narrowgate.core.account_rights import Account
from narrowgate.core.actor_claims import ActorsMalformed, actor_claims, is_named, read_actors, read_may_act
from narrowgate.core.decision import Allow
from narrowgate.core.identity import chain_of
from narrowgate.core.policy import Rule
from narrowgate.core.policy_rights import policy_rights
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.stronger import Holder

ISSUER = "https://issuer.example"
VERBS, RESOURCES, NAMESPACES = ("get", "list", "delete"), ("pods", "configmaps"), ("ci", "qa")
NAMES = st.text("abc", min_size=1, max_size=2)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["sub", "iss", "act", "may_act", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def some(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True).map(" ".join)


@st.composite
def gives(draw: st.DrawFn) -> Rule:
    return rule("allow", draw(some(VERBS)), draw(some(RESOURCES)), namespaces=draw(some(NAMESPACES)))


def numbered(rules: list[Rule]) -> list[Rule]:
    return [msgspec.structs.replace(one, id=f"r{number}") for number, one in enumerate(rules)]


@given(ANYTHING, st.integers(0, 4))
def test_any_claim_is_read_or_refused_and_never_more_than_may_act(claim: Any, most: int) -> None:
    try:
        found = read_actors({"sub": "alice", "act": claim}, ISSUER, most)
    except ActorsMalformed:
        return
    assert 1 <= len(found) <= most
    assert all(isinstance(one["sub"], str) and one["sub"] for one in found)
    assert all(one.get("iss", ISSUER) == ISSUER for one in found)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_what_is_told_of_a_chain_is_read_from_it_again(names: list[str]) -> None:
    chain = chain_of(*(agent(name) for name in names))
    claims = json.loads(json.dumps(actor_claims(chain)))
    assert [claims["sub"], *(one["sub"] for one in read_actors(claims, ISSUER, 5))] == [str(one) for one in chain]


@given(ANYTHING, ANYTHING)
def test_whoever_may_act_is_named_by_all_that_is_said_or_not_at_all(claim: Any, other: Any) -> None:
    try:
        party = read_may_act({"may_act": claim})
    except ActorsMalformed:
        return
    assert party is not None
    whole = {"iss": ISSUER, **party}
    assert is_named(party, {**whole, "more": 1}, ISSUER)
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        assert not is_named(party, less, ISSUER)
        changed = {**whole, name: other}
        if json.dumps(changed, sort_keys=True) != json.dumps(whole, sort_keys=True):
            assert not is_named(party, changed, ISSUER)


@given(st.lists(gives(), min_size=1, max_size=3), st.lists(gives(), min_size=1, max_size=3))
def test_whoever_acts_for_somebody_may_do_what_both_may_and_nothing_else(ours: list[Rule], theirs: list[Rule]) -> None:
    policies = [policy(*ours, name="a", subjects="Person/alice"), policy(*theirs, name="b", subjects="Agent/bot")]
    alice, bot = person("alice"), agent("bot")
    for verb in VERBS:
        for resource in RESOURCES:
            for namespace in NAMESPACES:
                what = asks(verb, resource, "" if verb == "list" else "x", namespace=namespace)
                alone = [isinstance(answer(what, *policies, by=who), Allow) for who in (alice, bot)]
                assert isinstance(answer(what, *policies, by=chain_of(alice, bot)), Allow) is all(alone)


@given(st.lists(gives(), max_size=3), st.lists(gives(), min_size=1, max_size=3))
def test_an_account_exceeds_somebody_where_it_may_do_something_that_they_may_not(
    ours: list[Rule], theirs: list[Rule]
) -> None:
    mine = policy(*numbered(ours), name="mine", subjects="Agent/bot")
    its = policy(*numbered(theirs), name="its", subjects="ServiceAccount/ci/worker")
    book = compile_policies([one for one in (mine, its) if one.rules], 1)
    what = asks("create", "serviceaccounts/token", "worker", namespace="ci")
    holder = Holder(agent("bot"), book.holding(agent("bot"), "prod"), None)
    rights = policy_rights(book, Account("ci", "worker"), "prod")
    exceeded = next(holder.exceeded_by(rights, what), None) is not None
    wanted = {(v, r, n) for one in theirs for v in one.verbs for r in one.resources for n in one.namespaces or ()}
    had = {(v, r, n) for one in ours for v in one.verbs for r in one.resources for n in one.namespaces or ()}
    # Each right is asked about as one question, which one rule has to cover; these have one verb, resource, place.
    assert exceeded is (not wanted <= had)
