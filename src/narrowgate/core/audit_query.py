"""A question to the record as a value: read from what people type, and compared with entries.

Here belongs what may be asked and what it means. A question is a list of conditions that must all hold, each a set of
facts (`core/audit_entry.py`) of which one is enough; the search index answers exactly that, and `matches` is what it
is held against.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import assert_never

import msgspec

from narrowgate.core.audit import timestamp
from narrowgate.core.audit_entry import APPROVED, AuditEntry, facts_of
from narrowgate.core.duration import seconds_of

SHORTEST_TEXT = 3
"""Characters of a text that is looked for: the text index knows runs of three."""

LONGEST_TEXT = 256
"""Characters of a text that is looked for. Recorded text is indexed in pieces that overlap by as much."""

LONGEST_WORD = 512
"""Characters of any other word of a question; names in Kubernetes have at most 253."""

LATEST = 4_102_444_800.0
"""Unix seconds of the year 2100: a later time is a slip of the pen."""

DECISIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "allowed": ("allow",),
        "denied": ("deny", "malformed"),
        "waited": ("needs-approval", APPROVED),
        "failed": ("error",),
        # The trail's own words, each by itself.
        "allow": ("allow",),
        "deny": ("deny",),
        "needs-approval": ("needs-approval",),
        "malformed": ("malformed",),
        "error": ("error",),
    }
)
"""What may be said of a decision, and the facts it stands for. A request that waited and was then allowed is both."""

KINDS = ("agent", "person", "serviceaccount", "system")
"""What a name may stand behind: somebody who asks for `ci` means any of them."""


class Unsearchable(Exception):
    """A question that cannot be asked; `word` is the part of it that is wrong, the message says what to write."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. Every condition must hold; without any, everything is found."""

    since: str = ""
    """Not received before this; times are as the trail writes them and sort as text."""
    until: str = ""
    """Received before this."""
    conditions: tuple[frozenset[str], ...] = ()
    """Of each at least one fact must hold."""
    audit_id: str = ""
    text: str = ""
    """Somewhere in what was recorded of it, whatever the case of its letters."""


class SeesAll(msgspec.Struct, frozen=True):
    """Whoever asks may see the whole record."""


class SeesOwn(msgspec.Struct, frozen=True):
    """A person who may see what they did, and what was done by agents that they answered for at that time."""

    person: str
    groups: frozenset[str] = frozenset()


Sight = SeesAll | SeesOwn
"""How much of the record somebody sees; it is part of every search."""


def query_of(words: Mapping[str, str], now: float) -> AuditQuery:
    """The question that these words put; an empty word says nothing. `now` is in Unix seconds.

    Known are the keys of `WORDS`. Raises Unsearchable, worded for whoever typed it.
    """
    said = {word: text for word, text in words.items() if text}
    for word, text in said.items():
        if word not in WORDS:
            raise Unsearchable(word, f'"{word}" is nothing that can be searched by; known are {", ".join(WORDS)}')
        if len(text) > LONGEST_WORD:
            raise Unsearchable(word, f"this is longer than {LONGEST_WORD} characters; shorten it")
    since = _moment("since", said, now)
    until = _moment("until", said, now)
    if since and until and until <= since:
        raise Unsearchable("until", "this is not later than `since`, so that nothing can lie between; turn them round")
    return AuditQuery(
        since=since,
        until=until,
        conditions=tuple(frozenset(facts) for facts in (*_conditions(said), *_of_object(said))),
        audit_id=said.get("id", ""),
        text=_text(said.get("text", "")),
    )


def conditions_of(query: AuditQuery, sight: Sight) -> tuple[frozenset[str], ...]:
    """All that must hold: what is asked, and what whoever asks may see."""
    match sight:
        case SeesAll():
            return query.conditions
        case SeesOwn(person, groups):
            name = f"person:{person}"
            own = {f"w{name}", f"o{name}", *(f"ogroup:{group}" for group in groups)}
            return (*query.conditions, frozenset(own))
        case _:
            assert_never(sight)


def matches(query: AuditQuery, sight: Sight, entry: AuditEntry) -> bool:
    """Whether the entry is an answer. The text is not looked at: the record does not hold it."""
    if query.audit_id and entry.audit_id != query.audit_id:
        return False
    if entry.received_at < query.since or (query.until and entry.received_at >= query.until):
        return False
    facts = facts_of(entry)
    return not any(facts.isdisjoint(condition) for condition in conditions_of(query, sight))


def moment_before(text: str, now: float) -> str:
    """A time as people say it, as the trail writes it: how long ago (`10m`, `2h`, `7d`), or RFC 3339 (UTC where it
    names no offset). Raises ValueError, worded for whoever wrote it.
    """
    try:
        ago = now - seconds_of(text)
    except ValueError:
        ago = None
    if ago is not None:
        return _written(text, ago)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text[:64]!r} is no time; write how long ago (10m, 2h, 7d) or RFC 3339 (2026-01-31T12:00:00Z)"
        ) from None
    return _written(text, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _written(text: str, at: float) -> str:
    if at < 0:
        raise ValueError(f"{text[:64]!r} lies before 1970; write a later time")
    if at >= LATEST:
        raise ValueError(f"{text[:64]!r} lies after 2100; write an earlier time")
    return timestamp(at).decode()


def _moment(word: str, said: Mapping[str, str], now: float) -> str:
    if word not in said:
        return ""
    try:
        return moment_before(said[word], now)
    except ValueError as error:
        raise Unsearchable(word, str(error)) from None


_PLAIN = {
    "kind": "k",
    "cluster": "c",
    "namespace": "n",
    "name": "m",
    "verb": "v",
    "rule": "p",
    "task": "t",
    "approval": "q",
    "source": "i",
    "owner": "o",
}
"""Words whose value is a fact as it stands."""

WORDS = (
    "who", "since", "until", "cluster", "namespace", "object", "resource", "name", "verb", "decision", "rule", "task",
    "approval", "code", "source", "kind", "owner", "id", "noticed", "text",
)  # fmt: skip
"""Everything that can be searched by."""

_CODE = re.compile(r"[1-5](?:xx|\d\d)", re.ASCII)

_OBJECT = re.compile(r"([^/.\s]+)(?:\.([^/\s]+))?/([^/\s]+)")


def _conditions(said: Mapping[str, str]) -> list[set[str]]:
    found = [{_PLAIN[word] + text} for word, text in said.items() if word in _PLAIN]
    if who := said.get("who"):
        found.append({f"w{who}", *(f"w{kind}:{who}" for kind in KINDS)})
    if decision := said.get("decision"):
        if decision not in DECISIONS:
            raise Unsearchable("decision", f'"{decision}" is no decision; write one of {", ".join(DECISIONS)}')
        found.append({f"d{fact}" for fact in DECISIONS[decision]})
    if code := said.get("code"):
        if not _CODE.fullmatch(code):
            raise Unsearchable("code", f'"{code}" is no HTTP status; write 403, or 4xx for all that begin so')
        found.append({f"x{code}"})
    if "noticed" in said:
        found.append({"z"})
    return found


def _of_object(said: Mapping[str, str]) -> list[set[str]]:
    """What `object` (type and name, as kubectl writes them) and `resource` (type and subresource) say."""
    found: list[set[str]] = []
    if whole := said.get("object"):
        if "resource" in said or "name" in said:
            raise Unsearchable("object", "this says resource and name already; leave the others out")
        match = _OBJECT.fullmatch(whole)
        if match is None:
            raise Unsearchable("object", f'"{whole}" is no object; write its type and name, like deployments/web')
        resource, group, name = match.groups()
        found += [{f"r{resource}"}, {f"m{name}"}] + ([{f"g{group}"}] if group else [])
    if kind := said.get("resource"):
        named, _, subresource = kind.partition("/")
        resource, _, group = named.partition(".")
        if not resource:
            raise Unsearchable("resource", f'"{kind}" is no resource; write pods, pods/exec or deployments.apps')
        found += [{f"r{resource}"}] + ([{f"g{group}"}] if group else [])
        found += [{f"s{subresource}"}] if subresource else []
    return found


def _text(text: str) -> str:
    if not text:
        return ""
    if not SHORTEST_TEXT <= len(text) <= LONGEST_TEXT or "\0" in text:
        raise Unsearchable("text", f"a text to look for has {SHORTEST_TEXT} to {LONGEST_TEXT} characters")
    return text
