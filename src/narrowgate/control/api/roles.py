"""Calls about roles in the gate. Nobody changes what they are themselves, and only people are anything."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.moment import moment_text
from narrowgate.core.roles import Role, grant_problem
from narrowgate.store.port import NotThere, RoleGrant

_LIST = "roles"
_SEPARATOR = "\n"
"""Between the parts of an item's place; no name holds a control character."""


class Holder(enum.Enum):
    """Who holds a role."""

    GROUP = "Group"
    PERSON = "Person"


class RoleDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One role of one person or group."""

    role: Role
    kind: Holder
    name: str
    given_by: str = ""
    """Empty where the configuration gives it: there it is changed, not here."""
    given_at: str | None = None
    """RFC 3339."""


class RoleList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of roles. What everybody is (`member`) is not listed."""

    items: tuple[RoleDocument, ...]
    metadata: ListMeta


class NewRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role for a person."""

    person: Annotated[str, msgspec.Meta(description="As `whoami` names them, without `person:`.")]
    role: Role


def list_roles(parts: ApiParts, sent: Sent) -> Answered:
    """Who is what, by configuration and by name."""
    page: Page = sent.query
    behind = read_token(page, _LIST)
    found = sorted((_configured(parts) | _given(parts)), key=_place)
    shown, meta = page_of([one for one in found if _place(one) > behind], page, _LIST, _place)
    return Answered(document=RoleList(items=tuple(shown), metadata=meta))


def give_role(parts: ApiParts, sent: Sent) -> Answered:
    """Give a role to a person by name."""
    asked: NewRole = sent.body
    _refuse_own(sent, asked.person)
    if problem := grant_problem(asked.person, asked.role, [agent.name for agent in parts.store.agents()]):
        raise Problem(Trouble.INVALID, problem)
    grant = RoleGrant(person=asked.person, role=asked.role.value, given_by=sent.by, given_at=sent.now)
    parts.store.roles.give(grant)
    return Answered(document=_of_grant(grant))


def take_role(parts: ApiParts, sent: Sent) -> Answered:
    """Take a role that was given by name."""
    person, role = sent.path["person"], sent.path["role"]
    _refuse_own(sent, person)
    try:
        parts.store.roles.take(person, role, by=sent.by, at=sent.now)
    except NotThere as error:
        more = "; what the configuration gives is taken there"
        raise Problem(Trouble.NOT_FOUND, f"{error}{more}") from None
    return Answered()


def _refuse_own(sent: Sent, person: str) -> None:
    if person == sent.caller.identity.name:
        raise Problem(Trouble.FORBIDDEN, "nobody changes their own roles; ask another admin")


def _configured(parts: ApiParts) -> set[RoleDocument]:
    return {
        RoleDocument(role=binding.role, kind=kind, name=name)
        for binding in parts.bindings
        for kind, names in ((Holder.GROUP, binding.groups), (Holder.PERSON, binding.people))
        for name in names
    }


def _given(parts: ApiParts) -> set[RoleDocument]:
    known = {role.value for role in Role}
    # A role that a newer version wrote is none here (`core.roles.roles_of` says the same).
    return {_of_grant(grant) for grant in parts.store.roles.listed() if grant.role in known}


def _of_grant(grant: RoleGrant) -> RoleDocument:
    return RoleDocument(
        role=Role(grant.role),
        kind=Holder.PERSON,
        name=grant.person,
        given_by=grant.given_by,
        given_at=moment_text(grant.given_at),
    )


def _place(one: RoleDocument) -> str:
    return _SEPARATOR.join((one.role.value, one.kind.value, one.name, one.given_by))
