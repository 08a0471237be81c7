"""Chains as claims: the root is the subject, and whoever acts for it is nested, the last one outermost."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deciding import agent, person

from narrowgate.core.actor_claims import ActorsMalformed, actor_claims, is_named, read_actors, read_may_act
from narrowgate.core.identity import chain_of

ISSUER = "https://issuer.example"


def actors(claims: Any, most: int = 3) -> list[str]:
    return [str(one["sub"]) for one in read_actors(claims, ISSUER, most)]


def test_whoever_acts_for_themselves_has_no_actor() -> None:
    assert actor_claims(chain_of(person("alice"))) == {"sub": "person:alice"}


def test_actors_are_nested_with_the_last_one_outermost() -> None:
    chain = chain_of(agent("bot"), agent("bot/a"), agent("bot/a/b"))
    assert actor_claims(chain) == {
        "sub": "agent:bot",
        "act": {"sub": "agent:bot/a/b", "act": {"sub": "agent:bot/a"}},
    }


def test_the_first_to_act_is_read_first() -> None:
    assert actors({"sub": "alice"}) == []
    assert actors({"sub": "alice", "act": {"sub": "b", "act": {"sub": "a", "iss": ISSUER}}}) == ["a", "b"]


def test_what_is_written_is_what_is_read() -> None:
    chain = chain_of(agent("bot"), agent("bot/a"), agent("bot/a/b"))
    assert actors(actor_claims(chain)) == [str(member) for member in chain[1:]]


@pytest.mark.parametrize("most", [0, 1, 2])
def test_more_of_them_than_there_may_be_are_refused(most: int) -> None:
    nested: dict[str, Any] = {"sub": "alice"}
    for number in range(most + 1):
        inner = nested.pop("act", None)
        nested["act"] = {"sub": f"a{number}"} | ({} if inner is None else {"act": inner})
    with pytest.raises(ActorsMalformed, match=f"than the {most} that may"):
        actors(nested, most)
    assert len(actors(nested, most + 1)) == most + 1


@pytest.mark.parametrize(
    "act",
    [
        None,
        "bob",
        [],
        [{"sub": "bob"}],
        1,
        {},
        {"sub": ""},
        {"sub": None},
        {"sub": 1},
        {"sub": ["bob"]},
        {"sub": "b" * 256},
        {"iss": ISSUER},
        {"sub": "bob", "iss": None},
        {"sub": "bob", "iss": [ISSUER]},
        {"sub": "bob", "act": None},
        {"sub": "bob", "act": {"act": {"sub": "carol"}}},
    ],
)
def test_what_does_not_say_who_acts_is_refused(act: Any) -> None:
    with pytest.raises(ActorsMalformed):
        actors({"sub": "alice", "act": act})
    if not isinstance(act, dict) or "act" not in act:
        with pytest.raises(ActorsMalformed):
            read_may_act({"sub": "alice", "may_act": act})


@pytest.mark.parametrize("act", [{"sub": "b", "iss": "https://x"}, {"sub": "b", "act": {"sub": "a", "iss": ""}}])
def test_an_issuer_speaks_for_its_own_alone(act: Any) -> None:
    with pytest.raises(ActorsMalformed, match="another issuer"):
        actors({"sub": "alice", "act": act})


@pytest.mark.parametrize(
    ("party", "actor", "named"),
    [
        ({"sub": "bot"}, {"sub": "bot", "iss": ISSUER, "aud": "x"}, True),
        ({"sub": "bot"}, {"sub": "bot", "iss": "https://other"}, False),
        ({"sub": "bot"}, {"sub": "bot"}, False),
        ({"sub": "bot", "iss": "https://other"}, {"sub": "bot", "iss": "https://other"}, True),
        ({"sub": "bot", "iss": "https://other"}, {"sub": "bot", "iss": ISSUER}, False),
        ({"sub": "bot"}, {"sub": "bot2", "iss": ISSUER}, False),
        ({"sub": "bot", "env": "prod"}, {"sub": "bot", "iss": ISSUER, "env": "prod"}, True),
        ({"sub": "bot", "env": "prod"}, {"sub": "bot", "iss": ISSUER, "env": "test"}, False),
        ({"sub": "bot", "env": "prod"}, {"sub": "bot", "iss": ISSUER}, False),
        ({"sub": "bot", "admin": 1}, {"sub": "bot", "iss": ISSUER, "admin": True}, False),
        ({"sub": "bot", "roles": [1]}, {"sub": "bot", "iss": ISSUER, "roles": [True]}, False),
        ({"sub": "bot", "roles": {"a": 1, "b": 2}}, {"sub": "bot", "iss": ISSUER, "roles": {"b": 2, "a": 1}}, True),
        ({"sub": "bot", "env": None}, {"sub": "bot", "iss": ISSUER}, False),
    ],
)
def test_only_whoever_has_every_claim_is_the_one_who_may_act(party: Any, actor: Any, named: bool) -> None:
    assert is_named(party, actor, ISSUER) is named


def test_nobody_is_named_where_nothing_is_said() -> None:
    assert read_may_act({"sub": "alice"}) is None
    assert read_may_act({"sub": "alice", "may_act": {"sub": "bot"}}) == {"sub": "bot"}


def test_what_is_nested_too_deeply_to_be_compared_names_nobody() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert not is_named({"sub": "bot", "x": deep}, {"sub": "bot", "iss": ISSUER, "x": deep}, ISSUER)
