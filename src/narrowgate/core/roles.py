"""Roles in the gate itself: who may administer it, write its policies, answer its questions, read its record.

They say nothing about clusters: what anybody may do there is for policies. A `member` is everybody who proved who they
are.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable

import msgspec

from narrowgate.core.identity import Identity, Kind
from narrowgate.core.names import name_problem

LINK = "link"
"""`Identity.proven_by` of whoever came by the one-time link of the host; no provider is called so (`oidc:<name>`)."""

LOCAL_ADMIN = "admin@local"
"""Who signs in by the link at a gate without an identity provider."""


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
    if who.proven_by == LINK:
        # By how they came, and never by the name: an identity provider may have somebody who is called the same.
        return frozenset({Role.MEMBER, Role.ADMIN})
    bound = {
        binding.role
        for binding in bindings
        if who.name in binding.people or not set(binding.groups).isdisjoint(who.groups)
    }
    known = {role.value: role for role in Role}
    by_name = {known[role] for person, role in given if person == who.name and role in known}
    return frozenset({Role.MEMBER} | bound | by_name)


def grant_problem(person: str, role: Role, agents: Collection[str]) -> str:
    """Why `role` cannot be given to `person` by name; empty when it can. `agents` are the names of all agents."""
    if role is Role.MEMBER:
        return "everybody is a member; give another role"
    if problem := name_problem(person):
        return f'"{person}" {problem}'
    if person == LOCAL_ADMIN:
        return f"{LOCAL_ADMIN} is who comes by the one-time link, and nothing else; name somebody who signs in"
    if person in agents:
        return f'"{person}" is an agent, and agents have no roles; name a person'
    if person.startswith(("person:", "agent:", "group:")):
        return f'"{person}" is not how a person is named here; write the name alone, as `whoami` has it'
    return ""


def has_admin(bindings: Iterable[RoleBinding], given: Iterable[tuple[str, str]]) -> bool:
    """Whether anybody is an admin, by configuration or by name: then nobody becomes the first one any more."""
    return any(binding.role is Role.ADMIN for binding in bindings) or any(role == Role.ADMIN.value for _, role in given)
