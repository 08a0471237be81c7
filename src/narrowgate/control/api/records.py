"""Calls about the record: who did what when, of what the caller may see.

A person without a role sees what they did themselves, and what was done by agents that they answered for at that time:
the entry says who did, so that an agent of the same name made later shows nothing of the one before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import AuditQuery, SeesAll, SeesOwn, Sight, Unsearchable, query_of
from narrowgate.core.found_text import FoundEntry
from narrowgate.core.identity import Kind
from narrowgate.trail.index import Found, Index
from narrowgate.trail.index_file import IndexUnusable
from narrowgate.trail.text_file import TextUnusable
from narrowgate.trail.text_index import TextCounts
from narrowgate.trail.text_search import TextSearch, text_search, with_places

_LIST = "records"

MOST_PIECES = 20_000
"""Pieces of recorded text that one search reads, of 16,384 characters each: about a second of a processor, which a text
costs whose characters stand everywhere, and never together."""

_MOST_NUMBER = (1 << 63) - 1
"""No request has a higher number in the index."""


class RecordQuery(Page, frozen=True, forbid_unknown_fields=True):
    """What to look for; every condition must hold."""

    who: Annotated[str, msgspec.Meta(description="The user, or anybody in the chain: agent:ci, or just ci.")] = ""
    kind: Annotated[str, msgspec.Meta(description="What the sender is: agent, person, serviceaccount.")] = ""
    owner: Annotated[str, msgspec.Meta(description="Who answered for the sender: person:alice, group:sre.")] = ""
    since: Annotated[str, msgspec.Meta(description="Not before: 10m, 2h, or RFC 3339.")] = ""
    until: Annotated[str, msgspec.Meta(description="Before: 10m, 2h, or RFC 3339.")] = ""
    cluster: Annotated[str, msgspec.Meta(description="Name of the cluster.")] = ""
    namespace: Annotated[str, msgspec.Meta(description="Namespace of the object.")] = ""
    object: Annotated[str, msgspec.Meta(description="Type and name: deployments.apps/web.")] = ""
    resource: Annotated[str, msgspec.Meta(description="Type: pods, pods/exec, deployments.apps.")] = ""
    name: Annotated[str, msgspec.Meta(description="Name of the object.")] = ""
    verb: Annotated[str, msgspec.Meta(description="get, list, create, delete, ...")] = ""
    decision: Annotated[str, msgspec.Meta(description="denied, allowed, waited, failed.")] = ""
    code: Annotated[str, msgspec.Meta(description="HTTP status: 403, or 4xx.")] = ""
    rule: Annotated[str, msgspec.Meta(description="The rule that decided, or its policy.")] = ""
    task: Annotated[str, msgspec.Meta(description="The task it belongs to.")] = ""
    approval: Annotated[str, msgspec.Meta(description="The approval that it had, or waits for.")] = ""
    source: Annotated[str, msgspec.Meta(description="The address it came from.")] = ""
    text: Annotated[str, msgspec.Meta(description="Text that programs wrote or read in its recording.")] = ""
    noticed: Annotated[
        bool, msgspec.Meta(description="Only what revealed a credential in two places, or in others' hands.")
    ] = False


class TextsSearched(TextCounts, frozen=True, kw_only=True, rename="camel"):
    """How many recordings of this gate a search for a text looked through, whoever may see them."""

    is_kept: bool
    """Whether this gate keeps text of recordings to search in."""
    is_cut_off: bool
    """Whether more recordings hold it than a search looks at: only the newest were, so write more of it."""


class RecordList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of requests, newest first."""

    items: tuple[FoundEntry, ...]
    metadata: ListMeta
    bytes_behind: int
    """Bytes of the record that the search does not know yet; they grow where the gate is busier than it."""
    texts: TextsSearched | msgspec.UnsetType = msgspec.UNSET
    """Where a text was looked for: in how many recordings, and in how many not."""


class RecordDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One request in full."""

    entry: AuditEntry
    events: tuple[dict[str, Any], ...]
    """All that the record has of it, oldest first: Events of `audit.k8s.io/v1`."""


def list_records(parts: ApiParts, sent: Sent) -> Answered:
    """The requests that match, of those that the caller may see."""
    asked: RecordQuery = sent.query
    sight = sight_of(sent)
    words = msgspec.structs.asdict(asked)
    for of_the_page in ("limit", "continue_"):
        del words[of_the_page]
    words["noticed"] = "true" if asked.noticed else ""
    query = _query(words, sent.now)
    behind = _number(read_token(asked, _LIST))
    with opened_index(parts) as (index, folder), ExitStack() as opened:
        texts = opened.enter_context(text_search(folder, query.text, MOST_PIECES)) if query.text else None
        answers = index.search(query, sight, behind=behind, texts=None if texts is None else texts.sessions)
        found = list(itertools.islice(with_places(answers, texts), asked.limit + 1))
        lag = index.behind()
        searched = msgspec.UNSET if texts is None else _searched(texts)
    shown, meta = page_of(found, asked, _LIST, lambda one: str(one.number))
    items = tuple(one.entry for one in shown)
    return Answered(document=RecordList(items=items, metadata=meta, bytes_behind=lag, texts=searched))


def get_record(parts: ApiParts, sent: Sent) -> Answered:
    """One request by its audit id. Whoever may not see it is told what they would be told if it were not there."""
    audit_id, sight = sent.path["id"], sight_of(sent)
    query = _query({"id": audit_id}, sent.now)
    with opened_index(parts) as (index, _):
        found = next(index.search(query, sight), None)
        if found is None:
            more = "" if sent.reaches_all else " of yours, or of an agent you answered for"
            raise Problem(Trouble.NOT_FOUND, f'the record has no request "{audit_id}"{more}; look at the list')
        return Answered(document=_document(index.with_events(found)))


def _document(found: Found) -> RecordDocument:
    events = tuple(msgspec.json.decode(event, type=dict[str, Any]) for event in found.events)
    return RecordDocument(entry=found.entry, events=events)


def sight_of(sent: Sent) -> Sight:
    """What of the record the caller may see. Raises Problem where that is nothing."""
    if sent.reaches_all:
        return SeesAll()
    who = sent.caller.identity
    if who.kind is not Kind.PERSON:
        # An agent may be called what another was called before it.
        raise Problem(Trouble.FORBIDDEN, "only people look at the record; whoever answers for you can")
    return SeesOwn(who.name, frozenset(who.groups))


def _query(words: dict[str, str], now: float) -> AuditQuery:
    try:
        return query_of(words, now)
    except Unsearchable as error:
        raise Problem(Trouble.INVALID, f"`{error.word}`: {error}") from None


def _number(behind: str) -> int | None:
    if not behind:
        return None
    if not behind.isascii() or not behind.isdigit() or int(behind) > _MOST_NUMBER:
        raise Problem(Trouble.UNREADABLE, "`continue` is not one that this gate gave out; begin anew")
    return int(behind)


@contextmanager
def opened_index(parts: ApiParts) -> Iterator[tuple[Index, Path]]:
    """The search index as it is: another part of the process keeps it up to date. Raises Problem."""
    if parts.trail is None:
        raise Problem(Trouble.UNAVAILABLE, "this gate keeps no record that can be searched here")
    if not parts.searching.acquire(blocking=False):
        raise Problem(Trouble.BUSY, "the gate is busy with other searches; ask again", {"Retry-After": "1"})
    try:
        with closing(Index.open(parts.trail)) as index:
            if index.in_memory:
                raise IndexUnusable(f"{parts.trail} cannot be written, so that no search index can be kept in it")
            yield index, parts.trail
    except (IndexUnusable, TextUnusable, OSError) as error:
        raise Problem(Trouble.UNAVAILABLE, f"the record cannot be searched now: {error}") from None
    finally:
        parts.searching.release()


def _searched(texts: TextSearch) -> TextsSearched:
    counts = texts.counts()
    known = {} if counts is None else msgspec.structs.asdict(counts)
    return TextsSearched(**known, is_kept=counts is not None, is_cut_off=texts.is_full)
