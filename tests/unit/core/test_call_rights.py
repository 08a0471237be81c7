"""The table of who may call what, and the two questions that are asked of it."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from narrowgate.core.agent import AgentRecord
from narrowgate.core.call_rights import RIGHTS, Action, Reach, Right, answers_for, right_of, roles_for
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import Role


def test_no_role_is_no_right() -> None:
    assert [right_of(action, ()) for action in Action] == [None] * len(Action)


def test_every_action_has_a_row_and_no_row_is_empty() -> None:
    assert set(RIGHTS) == set(Action)
    assert all(RIGHTS.values())


def test_a_member_reaches_only_what_is_their_own() -> None:
    reached = {action: right_of(action, {Role.MEMBER}) for action in Action}
    assert {right.reach for right in reached.values() if right is not None} == {Reach.OWN}


def test_only_admins_give_anybody_anything() -> None:
    giving = (Action.GIVE_ROLE, Action.TAKE_ROLE, Action.CREATE_AGENT, Action.CHANGE_AGENT, Action.ADD_AGENT_KEY)
    assert {action: roles_for(action) for action in giving} == dict.fromkeys(giving, (Role.ADMIN,))


def test_no_combination_of_roles_reaches_further_than_its_furthest_member() -> None:
    combined = chain.from_iterable(combinations(Role, count) for count in range(len(Role) + 1))
    for roles in combined:
        for action in Action:
            single = [right.reach for role in roles if (right := right_of(action, {role})) is not None]
            right = right_of(action, roles)
            assert (right.reach if right else None) == max(single, default=None)


def test_a_right_says_what_it_rests_on() -> None:
    assert right_of(Action.LIST_AGENTS, {Role.MEMBER, Role.AUDITOR}) == Right(Reach.ALL, Role.AUDITOR)
    assert str(right_of(Action.LIST_AGENTS, set(Role))) == "role admin"
    assert str(right_of(Action.LIST_AGENTS, {Role.MEMBER})) == "role member, for what is their own"


@pytest.mark.parametrize(
    ("kind", "name", "groups", "owner", "answers"),
    [
        (Kind.PERSON, "alice", (), "person:alice", True),
        (Kind.PERSON, "alice", ("sre",), "group:sre", True),
        (Kind.PERSON, "sre", (), "group:sre", False),
        (Kind.PERSON, "bob", ("alice",), "person:alice", False),
        (Kind.PERSON, "Alice", (), "person:alice", False),
        (Kind.PERSON, "alice", (), "alice", False),
        (Kind.PERSON, "a:b", (), "person:a:b", True),
        (Kind.AGENT, "alice", ("sre",), "person:alice", False),
        (Kind.AGENT, "bot", ("sre",), "group:sre", False),
        (Kind.WORKLOAD, "ci/runner", ("sre",), "group:sre", False),
    ],
)
def test_people_answer_for_an_agent_by_name_or_group(
    kind: Kind, name: str, groups: tuple[str, ...], owner: str, answers: bool
) -> None:
    agent = AgentRecord(
        name="bot",
        owner=owner,
        purpose="p",
        cluster="c",
        credential_id="",
        credential_hash=b"",
        created_at=0,
        expires_at=1,
    )
    who = Identity(kind=kind, name=name, groups=groups, proven_by="oidc:corp", credential="c")
    assert answers_for(who, agent) is answers
