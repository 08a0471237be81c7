"""What somebody is in the gate."""

from __future__ import annotations

import pytest

from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import LINK, LOCAL_ADMIN, Role, RoleBinding, grant_problem, has_admin, roles_of

BINDINGS = (
    RoleBinding(role=Role.ADMIN, groups=("admins",)),
    RoleBinding(role=Role.AUDITOR, people=("otto",), groups=("audit",)),
)


def who(name: str, *groups: str, kind: Kind = Kind.PERSON, proven_by: str = "oidc:corp") -> Identity:
    return Identity(kind=kind, name=name, groups=groups, proven_by=proven_by, credential="c")


def test_everybody_is_a_member_and_nothing_more_by_themselves() -> None:
    assert roles_of(who("mia"), BINDINGS, [("zoe", "admin")]) == {Role.MEMBER}
    assert roles_of(who("mia"), ()) == {Role.MEMBER}


def test_roles_of_groups_people_and_names_add_up() -> None:
    everything = roles_of(who("otto", "admins"), BINDINGS, [("otto", "approver"), ("otto", "approver")])
    assert everything == {Role.MEMBER, Role.ADMIN, Role.AUDITOR, Role.APPROVER}


@pytest.mark.parametrize("kind", [Kind.AGENT, Kind.WORKLOAD])
@pytest.mark.parametrize("proven_by", ["agent-credential", LINK])
def test_agents_and_workloads_are_members_whatever_they_are_called(kind: Kind, proven_by: str) -> None:
    same = who("otto", "admins", "audit", kind=kind, proven_by=proven_by)
    assert roles_of(same, BINDINGS, [("otto", "admin")]) == {Role.MEMBER}


def test_a_role_that_this_version_does_not_know_is_none() -> None:
    assert roles_of(who("mia"), (), [("mia", "emperor"), ("mia", "Admin"), ("mia", "")]) == {Role.MEMBER}


def test_names_and_groups_are_compared_to_the_letter() -> None:
    assert roles_of(who("Otto", "Admins", "admin", "otto"), BINDINGS) == {Role.MEMBER}


def test_the_link_makes_an_admin_by_how_one_came_and_never_by_the_name() -> None:
    assert roles_of(who(LOCAL_ADMIN, proven_by=LINK), ()) == {Role.MEMBER, Role.ADMIN}
    assert roles_of(who(LOCAL_ADMIN), (), []) == {Role.MEMBER}


@pytest.mark.parametrize(
    ("person", "role", "sentence"),
    [
        ("zoe", Role.MEMBER, "everybody is a member"),
        ("", Role.ADMIN, "is empty"),
        ("a\nb", Role.ADMIN, "control or invisible"),
        (LOCAL_ADMIN, Role.ADMIN, "one-time link"),
        ("bot", Role.AUDITOR, "is an agent"),
        ("agent:bot", Role.AUDITOR, "write the name alone"),
    ],
)
def test_what_cannot_be_given_is_said_why(person: str, role: Role, sentence: str) -> None:
    assert sentence in grant_problem(person, role, ["bot"])


def test_people_are_given_roles_by_the_names_their_provider_gives_them() -> None:
    assert [grant_problem(name, Role.ADMIN, ["bot"]) for name in ("zoe", "oidc:zoe", "https://idp/zoe", "z@corp")] == [
        ""
    ] * 4


def test_an_admin_is_there_by_configuration_or_by_name() -> None:
    assert has_admin(BINDINGS, ())
    assert has_admin((), [("zoe", "admin")])
    assert not has_admin(BINDINGS[1:], [("zoe", "auditor")])
