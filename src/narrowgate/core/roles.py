"""Roles in the gate itself: who may administer it, write its policies, answer its questions, read its record.

They say nothing about clusters: what anybody may do there is for policies. A `member` is everybody who proved who they
are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from narrowgate.core.identity import Identity, Kind


class Role(enum.Enum):
    """What somebody is in the gate."""

    ADMIN = "admin"
    """Everything but what needs another person: agents, clusters, sign-ins, roles of people."""
    POLICY_AUTHOR = "policy-author"
    APPROVER = "approver"
    AUDITOR = "auditor"
    MEMBER = "member"


class RoleBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A role of groups and people, from the configuration."""

    role: Role
    groups: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


def roles_of(who: Identity, bindings: Iterable[RoleBinding], given: Iterable[tuple[str, str]] = ()) -> frozenset[Role]:
    """What `who` is: by binding, and by what was `given` (person, role) by name. Everybody is a member.

    Agents and workloads are members and nothing else, whatever their groups are called: no agent administers, approves
    or reads the record.
    """
    if who.kind is not Kind.PERSON:
        return frozenset({Role.MEMBER})
    bound = {
        binding.role
        for binding in bindings
        if who.name in binding.people or not set(binding.groups).isdisjoint(who.groups)
    }
    known = {role.value: role for role in Role}
    by_name = {known[role] for person, role in given if person == who.name and role in known}
    return frozenset({Role.MEMBER} | bound | by_name)
