"""Chains as claims: the root is the subject, and whoever acts for it is nested, the last one outermost."""

from __future__ import annotations

from tests.deciding import agent, person

from narrowgate.core.actor_claims import actor_claims
from narrowgate.core.identity import chain_of


def test_whoever_acts_for_themselves_has_no_actor() -> None:
    assert actor_claims(chain_of(person("alice"))) == {"sub": "person:alice"}


def test_actors_are_nested_with_the_last_one_outermost() -> None:
    chain = chain_of(agent("bot"), agent("bot/a"), agent("bot/a/b"))
    assert actor_claims(chain) == {
        "sub": "agent:bot",
        "act": {"sub": "agent:bot/a/b", "act": {"sub": "agent:bot/a"}},
    }
