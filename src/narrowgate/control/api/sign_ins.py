"""Calls about people's sign-ins: what runs, from where, and its end."""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.identity import Kind
from narrowgate.core.moment import moment_text
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import NotThere

_LIST = "sign-ins"


class SignInQuery(Page, frozen=True, forbid_unknown_fields=True):
    """Which sign-ins."""

    person: Annotated[str, msgspec.Meta(description="Only this person's.")] = ""
    running: Annotated[bool, msgspec.Meta(description="Only those that run now.")] = False


class SignInDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One sign-in. Moments are RFC 3339."""

    id: str
    person: str
    groups: tuple[str, ...]
    source: str
    """Who vouched: `oidc:<name>`, `saml:<name>`, `link`."""
    client: Client
    created_at: str
    renewed_at: str
    expires_at: str
    source_ip: str
    user_agent: str
    ended_at: str | None
    ended_because: str
    current: bool
    """Whether this very call came by it."""


class SignInList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of sign-ins, newest first."""

    items: tuple[SignInDocument, ...]
    metadata: ListMeta


def list_sign_ins(parts: ApiParts, sent: Sent) -> Answered:
    """All sign-ins, or the caller's own."""
    query: SignInQuery = sent.query
    person = query.person
    if not sent.reaches_all:
        who = sent.caller.identity
        if who.kind is not Kind.PERSON:
            # An agent or workload may be called what a person is called; it has no sign-ins all the same.
            return Answered(document=SignInList(items=(), metadata=ListMeta()))
        if person not in ("", who.name):
            raise Problem(Trouble.FORBIDDEN, "only an admin sees the sign-ins of others; leave `person` out")
        person = who.name
    found = parts.store.sign_ins.listed(
        person,
        running_at=sent.now if query.running else None,
        limit=query.limit + 1,
        behind=_place(read_token(query, _LIST)),
    )
    shown, meta = page_of(found, query, _LIST, lambda one: f"{one.created_at!r} {one.id}")
    return Answered(document=SignInList(items=tuple(_document(one, sent) for one in shown), metadata=meta))


def end_sign_in(parts: ApiParts, sent: Sent) -> Answered:
    """End a sign-in; what it renewed or opened ends within a second."""
    wanted = sent.path["id"]
    who = sent.caller.identity
    try:
        sign_in = parts.store.sign_ins.get(wanted)
    except NotThere:
        sign_in = None
    own = sign_in is not None and who.kind is Kind.PERSON and sign_in.person == who.name
    if sign_in is None or not (sent.reaches_all or own):
        more = "" if sent.reaches_all else ", or it is not yours"
        raise Problem(Trouble.NOT_FOUND, f'there is no sign-in "{wanted}"{more}; look at the list of sign-ins')
    parts.store.sign_ins.end(sign_in.id, f"ended by {sent.by}", by=sent.by, at=sent.now)
    return Answered()


def _place(behind: str) -> tuple[float, str] | None:
    if not behind:
        return None
    at, _, last = behind.partition(" ")
    try:
        return float(at), last
    except ValueError:
        raise Problem(Trouble.UNREADABLE, "`continue` is not one that this gate gave out; begin anew") from None


def _document(sign_in: SignIn, sent: Sent) -> SignInDocument:
    return SignInDocument(
        id=sign_in.id,
        person=sign_in.person,
        groups=sign_in.groups,
        source=sign_in.source,
        client=sign_in.client,
        created_at=moment_text(sign_in.created_at),
        renewed_at=moment_text(sign_in.renewed_at),
        expires_at=moment_text(sign_in.expires_at),
        source_ip=sign_in.source_ip,
        user_agent=sign_in.user_agent,
        ended_at=None if sign_in.ended_at is None else moment_text(sign_in.ended_at),
        ended_because=sign_in.ended_because,
        current=sign_in.id == sent.caller.identity.credential,
    )
