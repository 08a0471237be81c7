"""Calls about sessions: which execs, attaches and port-forwards there are, and the end of one that runs.

They are found in the record, so that the gate knows of those that are not recorded as well, and of those in its other
processes. What they carried is in their recordings, which the command line reads (`narrowgate sessions`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.records import opened_index, sight_of
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import AuditQuery, Unsearchable, query_of
from narrowgate.trail.index import Found

_LIST = "sessions"

MOST_LOOKED_AT = 10_000
"""Sessions that are looked through for those that run: the newest, and one process holds fewer connections."""

_MOST_NUMBER = (1 << 63) - 1

_SESSIONS = (frozenset({"rpods"}), frozenset({"sexec", "sattach", "sportforward"}), frozenset({"x101"}))
"""Facts of the requests that began a session: into a pod, and answered with 101."""


class SessionQuery(Page, frozen=True, forbid_unknown_fields=True):
    """Which sessions; every condition must hold."""

    who: Annotated[str, msgspec.Meta(description="The user, or anybody in the chain: agent:ci, or just ci.")] = ""
    cluster: Annotated[str, msgspec.Meta(description="Name of the cluster.")] = ""
    namespace: Annotated[str, msgspec.Meta(description="Namespace of the pod.")] = ""
    pod: Annotated[str, msgspec.Meta(description="Name of the pod.")] = ""
    task: Annotated[str, msgspec.Meta(description="The task it belongs to.")] = ""
    since: Annotated[str, msgspec.Meta(description="Not before: 10m, 2h, or RFC 3339.")] = ""
    running: Annotated[bool, msgspec.Meta(description="Only those that run now.")] = False


class EndBecause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a session is ended."""

    because: Annotated[str, msgspec.Meta(max_length=200, description="One line; the record keeps it.")] = ""


class SessionDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One session. Moments are RFC 3339."""

    id: str
    """The audit id of its request."""
    user: str
    chain: tuple[str, ...]
    owner: str
    kind: str
    """`exec`, `attach`, `portforward`."""
    cluster: str
    namespace: str
    pod: str
    command: tuple[str, ...]
    """Of exec, as far as the record has it."""
    task: str
    rule: str
    began_at: str
    ended_at: str | None
    """None while it runs, and for good where its gate was killed."""
    ended_because: str


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of sessions, newest first."""

    items: tuple[SessionDocument, ...]
    metadata: ListMeta


def list_sessions(parts: ApiParts, sent: Sent) -> Answered:
    """The sessions that match, of those that the caller may see."""
    asked: SessionQuery = sent.query
    sight = sight_of(sent)
    words = {"who": asked.who, "cluster": asked.cluster, "namespace": asked.namespace, "name": asked.pod}
    query = _query(words | {"task": asked.task, "since": asked.since}, sent.now)
    behind = _number(read_token(asked, _LIST))
    with opened_index(parts) as (index, _):
        answers: Iterator[Found] = index.search(query, sight, behind=behind)
        if asked.running:
            answers = (one for one in itertools.islice(answers, MOST_LOOKED_AT) if not one.entry.finished_at)
        found = list(itertools.islice(answers, asked.limit + 1))
    shown, meta = page_of(found, asked, _LIST, lambda one: str(one.number))
    return Answered(document=SessionList(items=tuple(_document(one.entry) for one in shown), metadata=meta))


def end_session(parts: ApiParts, sent: Sent) -> Answered:
    """End a session. Whoever may not see it is told what they would be told if it were not there."""
    asked: EndBecause = sent.body
    if not asked.because.isprintable():
        raise Problem(Trouble.INVALID, "because: write one line")
    session, sight = sent.path["id"], sight_of(sent)
    with opened_index(parts) as (index, _):
        found = next(index.search(_query({"id": session}, sent.now), sight), None)
    if found is None:
        more = "" if sent.reaches_all else " of yours, or of an agent you answered for"
        raise Problem(
            Trouble.NOT_FOUND,
            f'there is no session "{session}"{more}; look at the list, which has new ones after a few seconds',
        )
    if found.entry.finished_at:
        raise Problem(Trouble.CONFLICT, f"this session was over at {found.entry.finished_at}")
    parts.store.session_ends.end(session, asked.because, by=sent.by, at=sent.now)
    return Answered(document=_document(found.entry))


def _query(words: dict[str, str], now: float) -> AuditQuery:
    try:
        query = query_of(words, now)
    except Unsearchable as error:
        raise Problem(Trouble.INVALID, f"`{'pod' if error.word == 'name' else error.word}`: {error}") from None
    return msgspec.structs.replace(query, conditions=(*query.conditions, *_SESSIONS))


def _number(behind: str) -> int | None:
    if not behind:
        return None
    if not behind.isascii() or not behind.isdigit() or int(behind) > _MOST_NUMBER:
        raise Problem(Trouble.UNREADABLE, "`continue` is not one that this gate gave out; begin anew")
    return int(behind)


def _document(entry: AuditEntry) -> SessionDocument:
    return SessionDocument(
        id=entry.audit_id,
        user=entry.user,
        chain=entry.chain,
        owner=entry.owner,
        kind=entry.subresource,
        cluster=entry.cluster,
        namespace=entry.namespace,
        pod=entry.name,
        command=_command(entry.request_uri),
        task=entry.task,
        rule=entry.rule,
        began_at=entry.received_at,
        ended_at=entry.finished_at or None,
        ended_because=entry.reason if entry.finished_at else "",
    )


def _command(uri: str) -> tuple[str, ...]:
    try:
        return tuple(value for key, value in parse_qsl(urlsplit(uri).query) if key == "command")
    except ValueError:
        return ()
