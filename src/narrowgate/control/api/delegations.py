"""Calls about delegations: a person says who answers in their place while they are away, and takes it back.

Only they themselves say so, from a sign-in of theirs that runs: what is passed on are groups that it tells of.
"""

from __future__ import annotations

import secrets
from typing import Annotated

import msgspec

from narrowgate.control.api.approvals import require_sign_in
from narrowgate.control.api.calls import PREFIX, Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.delegation import LONGEST_COMMENT, Delegation, delegation_problem
from narrowgate.core.delegation_document import DelegationDocument, delegation_document
from narrowgate.core.identity import Kind
from narrowgate.core.moment import moment_of
from narrowgate.store.approvals import groups_now
from narrowgate.store.people import groups_of_absent
from narrowgate.store.port import ChangedMeanwhile, NotThere

MOST_KEPT = 50
"""Delegations of one person that are kept, those of the last month among them: nobody is away more often."""

MOST_GROUPS = 64
"""Of one delegation: as many as a person's sign-in has (`core.names`)."""

_LIST = "delegations"


class DelegationQuery(Page, frozen=True, forbid_unknown_fields=True):
    """Which delegations."""

    all: Annotated[bool, msgspec.Meta(description="Those that are over, too.")] = False


class NewDelegation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That somebody answers in the caller's place."""

    to: Annotated[str, msgspec.Meta(min_length=1, description="Who: the name of their sign-ins at this gate.")]
    until: Annotated[str, msgspec.Meta(description="Until when, RFC 3339; 30 days after its beginning at most.")]
    from_: Annotated[str | None, msgspec.Meta(description="From when, RFC 3339; left out: from now.")] = msgspec.field(
        name="from", default=None
    )
    groups: Annotated[
        Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_GROUPS)] | None,
        msgspec.Meta(description="For these of yours; left out: for all."),
    ] = None
    comment: Annotated[str, msgspec.Meta(max_length=LONGEST_COMMENT, description="One line.")] = ""


class DelegationList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of delegations, by id."""

    items: tuple[DelegationDocument, ...]
    metadata: ListMeta


def list_delegations(parts: ApiParts, sent: Sent) -> Answered:
    """Those by and to the caller; all, for whoever sees all."""
    query: DelegationQuery = sent.query
    behind = read_token(query, _LIST)
    who = sent.caller.identity
    own = {who.name} if who.kind is Kind.PERSON else set[str]()
    known = parts.store.delegations.listed(None if sent.reaches_all else own)
    found = [one for one in known if one.id > behind and (query.all or not one.is_over(sent.now))]
    shown, meta = page_of(found, query, _LIST, lambda one: one.id)
    return Answered(document=DelegationList(items=tuple(_document(parts, one, sent) for one in shown), metadata=meta))


def delegate(parts: ApiParts, sent: Sent) -> Answered:
    """Say who answers in one's place."""
    asked: NewDelegation = sent.body
    who = sent.caller.identity
    if who.kind is not Kind.PERSON:
        raise Problem(Trouble.FORBIDDEN, f"{who} answers nothing, so nobody answers in its place: only people do")
    require_sign_in(parts, who, sent.now)
    own = groups_now(parts.store.sign_ins, (who.name,), sent.now).get(who.name, frozenset())
    made = Delegation(
        id=secrets.token_hex(8),
        person=who.name,
        delegate=asked.to,
        groups=tuple(sorted(own if asked.groups is None else set(asked.groups))),
        made_at=sent.now,
        begins_at=sent.now if asked.from_ is None else _moment("from", asked.from_),
        ends_at=_moment("until", asked.until),
        comment=asked.comment,
    )
    if problem := delegation_problem(made, own):
        raise Problem(Trouble.INVALID, problem)
    if not parts.store.sign_ins.listed(asked.to, limit=1):
        # A name that nobody has is a typing mistake, and must not become somebody's later on.
        raise Problem(Trouble.INVALID, "to: nobody of this name has signed in here lately; `narrowgate whoami` says it")
    with parts.requesting:
        if sum(one.person == who.name for one in parts.store.delegations.listed({who.name})) >= MOST_KEPT:
            raise Problem(Trouble.CONFLICT, f"you have delegated {MOST_KEPT} times within a month; ask an admin")
        parts.store.delegations.add(made, by=sent.by, at=sent.now)
    return Answered(document=_document(parts, made, sent), headers={"Location": f"{PREFIX}/delegations/{made.id}"})


def end_delegation(parts: ApiParts, sent: Sent) -> Answered:
    """Take it back; nothing that was said in one's place counts any more, where it is not used yet."""
    wanted, who = sent.path["id"], sent.caller.identity
    try:
        was = parts.store.delegations.get(wanted)
    except NotThere:
        was = None
    own = was is not None and who.kind is Kind.PERSON and was.person == who.name
    if was is None or not (sent.reaches_all or own):
        more = "" if sent.reaches_all else ", or it is not yours to end"
        raise Problem(Trouble.NOT_FOUND, f'there is no delegation "{wanted}"{more}; look at the list of delegations')
    if was.is_over(sent.now):
        return Answered(document=_document(parts, was, sent))
    ended = msgspec.structs.replace(was, ended_at=sent.now, ended_by=sent.by)
    try:
        parts.store.delegations.change(ended, was=was, by=sent.by, at=sent.now)
    except ChangedMeanwhile:
        # Nothing but its end ever changes one: somebody else was faster.
        ended = parts.store.delegations.get(wanted)
    return Answered(document=_document(parts, ended, sent))


def _document(parts: ApiParts, delegation: Delegation, sent: Sent) -> DelegationDocument:
    return delegation_document(
        delegation, groups_of_absent(parts.store.sign_ins, delegation.person, sent.now), sent.now
    )


def _moment(field: str, text: str) -> float:
    try:
        return moment_of(text)
    except ValueError as error:
        raise Problem(Trouble.INVALID, f"{field}: {error}") from None
