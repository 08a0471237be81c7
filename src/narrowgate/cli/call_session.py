"""A task's or a sign-in's session, found in the record: its calls, and of their recordings what stands among them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import msgspec
import orjson

from narrowgate.cli.agent_options import opened_store
from narrowgate.cli.audit_place import progress_of, worded
from narrowgate.cli.output import note
from narrowgate.cli.session_place import SessionPlace
from narrowgate.core.audit import timestamp
from narrowgate.core.audit_query import AuditQuery, SeesAll, query_of
from narrowgate.core.call_timeline import Call, call_of, credential_of
from narrowgate.core.moment import moment_text
from narrowgate.core.recording import BodyData, Ended, Exited, Header, Kind
from narrowgate.core.session_story import MICROSECONDS, command_text, length_text, place_text
from narrowgate.core.session_timeline import Line, Timeline
from narrowgate.core.stream_events import Direction
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.port import NoSuchRecording
from narrowgate.recordings.reading import Recording
from narrowgate.store.port import NotThere
from narrowgate.trail.index import Found, Index

MOST_CALLS: Final = 10_000
"""Of one session that are told, the latest: a task that asks for more has run for days."""

MOST_TEXT: Final = 200
"""Lines of one recording that stand in the timeline of its session; `sessions replay` of the recording has all."""

_ID: Final = re.compile(r"[a-z2-7]{16}")
"""Ids of tasks and of sign-ins: 80 random bits in base32. Those of requests have other lengths, and hyphens."""

_UNREADABLE = (RecordingDamaged, RecordingKeyMissing, NewerRecording, NoSuchRecording, OSError)


class CallSession(msgspec.Struct, frozen=True):
    """A session of calls."""

    id: str
    sort: str
    """`task` or `signIn`."""
    told: tuple[str, ...]
    """Whose it is and what for, in sentences."""
    calls: tuple[Call, ...]
    """In their order."""
    is_whole: bool = True
    """Whether there are no more than these."""


def find_call_session(place: SessionPlace, text: str) -> CallSession | None:
    """The session of the task or sign-in with this id; None where there is none. Raises StoreUnavailable."""
    if not _ID.fullmatch(text):
        return None
    with opened_store(place.config) as store:
        try:
            task = store.tasks.get(text)
            told = [
                f"Task {task.id} of {task.kind.value.lower()}:{task.name} on cluster {task.cluster}: {task.purpose}.",
                f"Asked for by {task.requested_by} at {moment_text(task.requested_at)}; it is {task.state.value}.",
            ]
        except NotThere:
            told = []
        try:
            sign_in = store.sign_ins.get(text)
        except NotThere:
            sign_in = None
    if sign_in is not None:
        # Not before it, nor after it can have ended; which credential it was, each entry says.
        since, until = timestamp(sign_in.created_at).decode(), timestamp(sign_in.expires_at + 1).decode()
        query = query_of({"who": f"person:{sign_in.person}", "since": since, "until": until}, time.time())
        told = [f"Sign-in {sign_in.id} of person:{sign_in.person}, at {moment_text(sign_in.created_at)}."]
        return _session(place, text, "signIn", told, query)
    session = _session(place, text, "task", told, query_of({"task": text}, time.time()))
    if told or session.calls:
        # The store forgets a task long before the record does.
        return session if told else msgspec.structs.replace(session, told=(f"Task {text}.",))
    return None


def _session(place: SessionPlace, session: str, sort: str, told: list[str], query: AuditQuery) -> CallSession:
    calls: list[Call] = []
    is_whole = True
    if place.trail.is_dir():
        with worded(), closing(Index.open(place.trail)) as index:
            with progress_of("indexing") as progress:
                if not index.update(progress):
                    note("the search index is behind; another process is filling it, so look again in a while")
            for found in _latest(index, query, session if sort == "signIn" else ""):
                if len(calls) == MOST_CALLS:
                    is_whole = False
                    break
                calls.append(call_of(found.entry, found.events))
    calls.sort(key=lambda call: (call.entry.received_at, call.entry.writer, call.entry.seq))
    return CallSession(session, sort, tuple(told), tuple(calls), is_whole)


def _latest(index: Index, query: AuditQuery, credential: str) -> Iterator[Found]:
    for one in index.search(query, SeesAll()):
        found = index.with_events(one)
        if not credential or credential_of(found.events) == credential:
            yield found


def with_bodies(place: SessionPlace, call: Call) -> Call:
    """The call with the bodies that are in its recording, where they are whole."""
    if not call.recording:
        return call
    try:
        with place.open(call.recording) as recording:
            if recording.header.kind is not Kind.API:
                return call
            sent, answered = (_body(recording, way) for way in (Direction.TO_POD, Direction.FROM_POD))
    except _UNREADABLE:
        return call
    return msgspec.structs.replace(
        call,
        sent=call.sent if sent is None else sent,
        answered=call.answered if answered is None else answered,
    )


def _body(recording: Recording, way: Direction) -> Any:
    """A body as values; None where it is none, or was cut, so that it is no JSON."""
    parts = (entry.what for entry in recording.entries() if isinstance(entry.what, BodyData))
    try:
        return orjson.loads(b"".join(part.data for part in parts if part.direction is way))
    except orjson.JSONDecodeError:
        return None


def recording_text(place: SessionPlace, call: Call) -> str:
    """What the recording of a call is of, and how it ended; empty where there is none."""
    if not call.recording:
        return ""
    try:
        with place.open(call.recording) as recording:
            last = list(recording.last_entries())
            length = length_text(last[-1].at / MICROSECONDS) if last else "0s"
            what = f"{_what(recording.header)}, {length}{_end(last)}"
            return f"recorded: {what}: narrowgate sessions replay {call.entry.audit_id}"
    except _UNREADABLE as error:
        return f"its recording cannot be read: {error}"


def _what(header: Header) -> str:
    if header.kind is Kind.API:
        return "its bodies"
    command = f" `{command_text(header.command)}`" if header.command else ""
    return f"{header.kind.value}{command} in {place_text(header)}"


def _end(last: list[Any]) -> str:
    for entry in last:
        if isinstance(entry.what, Exited) and entry.what.code is not None:
            return f", exit code {entry.what.code}"
    return "" if any(isinstance(entry.what, Ended) for entry in last) else ", no end yet"


def recorded_lines(place: SessionPlace, call: Call) -> list[Line]:
    """The beginning of what a call's recording says, line by line; nothing of bodies."""
    if not call.recording:
        return []
    lines: list[Line] = []
    try:
        with place.open(call.recording) as recording:
            if recording.header.kind is Kind.API:
                return []
            timeline = Timeline(has_terminal=recording.header.tty)
            for entry in recording.entries():
                lines += timeline.feed(entry)
                if len(lines) > MOST_TEXT:
                    break
            lines += timeline.rest()
    except _UNREADABLE:
        # `recording_text` says so.
        return lines[:MOST_TEXT]
    more = [Line(lines[MOST_TEXT].at, "-", "... and more, see the recording")] if len(lines) > MOST_TEXT else []
    return [*lines[:MOST_TEXT], *more]
