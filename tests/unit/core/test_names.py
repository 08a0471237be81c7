"""Which names an identity may have: examples. The law over all text is in tests/property."""

from __future__ import annotations

import pytest

from narrowgate.core.names import agent_name_problem, groups_problem, name_problem, owner_problem, valid_name


@pytest.mark.parametrize(
    "name", ["alice", "alice@example.com", "Ältere Dame", "ns/default", "systemic", "my:system:x", "a b"]
)
def test_ordinary_names_are_valid(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("system:masters", "reserved"),
        ("SYSTEM:masters", "reserved"),
        ("sYsTeM:", "reserved"),
        (" system:masters", "reserved"),
        ("ｓｙｓｔｅｍ：masters", "reserved"),
        ("a\r\nImpersonate-User: admin", "control"),
        ("a\0", "control"),
        ("a\u202eb", "invisible"),
        ("a\u200bb", "invisible"),
        ("\ud800", "invisible"),
        ("a ", "space"),
        ("a" * 254, "longer"),
    ],
)
def test_names_that_could_mean_something_else_are_not(name: str, why: str) -> None:
    assert why in name_problem(name)


@pytest.mark.parametrize("name", ["a", "ci-bot", "0", "a" * 63])
def test_agents_are_named_like_dns_labels(name: str) -> None:
    assert agent_name_problem(name) == ""


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a" * 64, "system:x", "a/b", "a\n"])
def test_other_agent_names_are_refused_in_words(name: str) -> None:
    assert agent_name_problem(name)


@pytest.mark.parametrize("owner", ["person:alice", "group:sre", "person:a@b.c", "person:oidc:x"])
def test_an_owner_is_a_person_or_a_group(owner: str) -> None:
    assert owner_problem(owner) == ""


@pytest.mark.parametrize(
    "owner", ["", "alice", "agent:x", "person:", "Person:a", "group:system:masters", "person:a\nb"]
)
def test_nobody_else_is_an_owner(owner: str) -> None:
    assert owner_problem(owner)


def test_a_wrong_group_is_named_and_their_number_is_limited() -> None:
    assert groups_problem(("a", "b")) == groups_problem(()) == ""
    assert '"system:masters"' in groups_problem(("a", "system:masters"))
    assert "65 groups" in groups_problem(str(number) for number in range(65))
