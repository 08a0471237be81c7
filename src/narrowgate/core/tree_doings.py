"""What the members of a tree did, sorted out of the record: how often they asked, and what they had under way.

Here belongs what a tree says of entries. Which entries belong to which member, whoever reads the record knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec

from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.call_timeline import what_text
from narrowgate.core.session_story import command_text

MOST_STREAMS: Final = 10
"""Streams of one member that are told, those that run before those that are over: more make no tree."""

LONGEST_WHAT: Final = 300
"""Characters of what a stream is; its session has all of a command."""

REFUSED: Final = frozenset({"deny", "malformed", "needs-approval"})
"""Decisions by which a request was not let through; one that runs has none yet."""

_SESSIONS: Final = frozenset({"exec", "attach", "portforward"})
_ERRORS: Final = 400
_SWITCHED: Final = 101
_YES: Final = frozenset({"1", "t", "true"})


class Did(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the record has of somebody's requests to the cluster."""

    requests: int
    """Those that the record was read of."""
    denied: int
    """Of these, those that were not let through."""
    last_at: str
    """When the last of them came, RFC 3339; empty where there was none."""
    is_cut_off: bool
    """Whether there are more than were read: then the numbers are of the newest."""


class Stream(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request that went on for a while, or was recorded: a session in a pod, a log, a watch."""

    id: str
    """The audit id of its request, and the id of its session."""
    kind: str
    """`exec`, `attach`, `portforward`, `log`, `watch`; of others their verb."""
    what: str
    """What it is about: `ci/web-0`, with the command of an exec."""
    began_at: str
    ended_at: str | None
    """Null while it runs, and for good where its gate was killed."""
    recording: str
    """The name of its recording; empty where there is none, and while it runs."""
    is_named: bool
    """Whether the tree was asked for by it."""


class Doings(msgspec.Struct, frozen=True, kw_only=True):
    """What one member did."""

    did: Did
    streams: tuple[Stream, ...] = ()
    """Those that run first, then the newest."""
    more_streams: int = 0
    """Those left out."""
    runs_on: str = ""
    """The node that the cluster vouched for when it last asked; pods only."""


def doings_of(entries: Sequence[AuditEntry], *, named: str = "", is_cut_off: bool = False) -> Doings:
    """What these entries of one member say, newest first; `named` is the audit id that the tree was asked for by."""
    asked = [entry for entry in entries if entry.cluster]
    streams = sorted(
        (_stream(entry, named) for entry in asked if entry.audit_id == named or _is_told(entry)),
        key=lambda stream: (not stream.is_named, stream.ended_at is not None),
    )
    return Doings(
        did=Did(
            requests=len(asked),
            denied=sum(entry.decision in REFUSED for entry in asked),
            last_at=asked[0].received_at if asked else "",
            is_cut_off=is_cut_off,
        ),
        streams=tuple(streams[:MOST_STREAMS]),
        more_streams=max(0, len(streams) - MOST_STREAMS),
        runs_on=next((entry.node for entry in asked if entry.node), ""),
    )


def by_pod(entries: Iterable[AuditEntry]) -> dict[str, list[AuditEntry]]:
    """Entries by the UID of the pod that sent them, in their order; those of nobody's pod are left out."""
    found: dict[str, list[AuditEntry]] = {}
    for entry in entries:
        if entry.pod_uid:
            found.setdefault(entry.pod_uid, []).append(entry)
    return found


def stream_text(stream: Stream) -> str:
    """One stream on one line: ``exec `ls` in ci/web-0, since 2026-01-01T00:00:00Z  0000000001d``."""
    until = "" if stream.ended_at is None else f" until {to_the_second(stream.ended_at)}"
    recorded = ", recorded" if stream.recording else ""
    since = "from" if until else "since"
    return f"{stream.kind} {stream.what}, {since} {to_the_second(stream.began_at)}{until}{recorded}  {stream.id}"


def _is_told(entry: AuditEntry) -> bool:
    """Whether it is a stream that somebody asks about: every session in a pod; of all else what runs or is recorded."""
    if entry.decision != "allow" or not 0 < entry.code < _ERRORS:
        return False
    if entry.subresource in _SESSIONS:
        return entry.code == _SWITCHED
    return bool(entry.recording) or (not entry.finished_at and (entry.verb == "watch" or _follows(entry)))


def _follows(entry: AuditEntry) -> bool:
    """Whether it is a log that goes on as it comes."""
    return entry.subresource == "log" and not _YES.isdisjoint(parse_qs(_query(entry.request_uri)).get("follow", ()))


def _query(uri: str) -> str:
    try:
        return urlsplit(uri).query
    except ValueError:
        return ""


def _stream(entry: AuditEntry, named: str) -> Stream:
    in_pod = entry.subresource in _SESSIONS or entry.subresource == "log"
    command = tuple(value for key, value in parse_qsl(_query(entry.request_uri)) if key == "command")
    what = f"{entry.namespace}/{entry.name}" if in_pod else what_text(entry)
    if command and entry.subresource == "exec":
        what = f"`{command_text(command)}` in {what}"
    return Stream(
        id=entry.audit_id,
        kind=entry.subresource if in_pod else entry.verb,
        what=what if len(what) <= LONGEST_WHAT else what[: LONGEST_WHAT - 3] + "...",
        began_at=entry.received_at,
        ended_at=entry.finished_at or None,
        recording=entry.recording,
        is_named=entry.audit_id == named,
    )


def to_the_second(moment: str) -> str:
    """A moment of the record without its fraction."""
    return f"{moment[:19]}Z"
