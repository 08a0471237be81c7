"""The API calls of a session, as lines that stand in time: who asked what, what was decided, what it changed.

A session is what was done with one task, or with one sign-in of a person. Calls are told from the record's events;
where those hold bodies (`core/body_levels.py`), a write is told with what it changed: what it made of its object, held
against the last that the session saw of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.object_difference import difference

MOST_LINES: Final = 60
"""Lines of what one call changed: a screen. The record has all of it."""

MOST_OBJECTS: Final = 10_000
"""Objects that are remembered to be held against; more than a task of days looks at."""

DENIED: Final = frozenset({"deny", "malformed"})
"""Decisions after which nothing was done."""

_WORDS: Final = {"deny": "DENIED", "malformed": "REFUSED", "needs-approval": "ASKED PEOPLE", "error": "FAILED"}
"""What stands before a call that was not simply let through; so that nobody needs colours to see it."""

_OURS: Final = "narrowgate.dev/"
_WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_OK: Final = range(200, 300)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, with what the record has of its bodies."""

    entry: AuditEntry
    recording: str = ""
    """The name of its recording: of a session in a pod, or of bodies that are too large for the record."""
    sent: Any = None
    """The object or patch that was sent, masked; None where none is kept."""
    answered: Any = None
    """The same of what was answered."""
    said: tuple[str, ...] = ()
    """Why a body is not here, in the record's words."""

    @property
    def is_denied(self) -> bool:
        """Whether it was refused."""
        return self.entry.decision in DENIED


class _Status(msgspec.Struct):
    message: str = ""


class _Bodies(msgspec.Struct, rename="camel"):
    annotations: dict[str, str] = {}
    request_object: Any = None
    response_object: Any = None
    response_status: _Status = msgspec.field(default_factory=_Status)


_decode = msgspec.json.Decoder(_Bodies).decode


def call_of(entry: AuditEntry, events: Iterable[bytes]) -> Call:
    """The call that these events are of, oldest first. What of them cannot be read is left out."""
    sent = answered = None
    recording, said = "", dict[str, None]()
    for event in events:
        try:
            told = _decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        sent = sent if told.request_object is None else told.request_object
        answered = answered if told.response_object is None else told.response_object
        recording = told.annotations.get(f"{_OURS}recording", recording)
        for whose in ("request", "response"):
            if why := told.annotations.get(f"{_OURS}{whose}-object"):
                said[f"{whose} body {why}"] = None
    return Call(entry=entry, recording=recording, sent=sent, answered=answered, said=tuple(said))


def credential_of(events: Iterable[bytes]) -> str:
    """With which credential a request came, by its public id; empty where that is not said."""
    for event in events:
        try:
            told = _decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if credential := told.annotations.get(f"{_OURS}credential"):
            return credential
    return ""


def call_text(call: Call) -> str:
    """What was asked and what became of it, on one line. Texts of callers stand in it as they came."""
    entry = call.entry
    sender = entry.user or "nobody who proved it"
    behind = f" (for {', '.join(entry.chain[:-1])})" if len(entry.chain) > 1 else ""
    word = f"{_WORDS[entry.decision]} " if entry.decision in _WORDS else ""
    code = str(entry.code) if entry.code else ""
    over = "" if entry.finished_at else "not over" if not code else f"{code}, not over"
    why = entry.reason if entry.decision != "allow" else ""
    approved = f", approval {entry.approval}" if entry.approval else ""
    rule = f" by {entry.rule}" if entry.rule else ""
    outcome = " ".join(part for part in (over or code, f"{entry.decision or '-'}{rule}{approved}") if part)
    return f"{word}{sender}{behind} {entry.verb} {what_text(entry)}: {outcome}" + (f": {why}" if why else "")


def what_text(entry: AuditEntry) -> str:
    """What a request is about: `deployments.apps/scale ci/web`, or its address."""
    if not entry.resource:
        return entry.request_uri
    what = entry.resource + (f".{entry.api_group}" if entry.api_group else "")
    what += f"/{entry.subresource}" if entry.subresource else ""
    place = "/".join(part for part in (entry.namespace, entry.name) if part)
    return f"{what} {place}".strip()


class Changes:
    """Takes the calls of a session in their order, and says what each changed."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], Any] = {}

    def lines(self, call: Call) -> list[str]:
        """What this call changed, line by line; nothing for reads, and where no body is kept."""
        told = list(self._told(call))
        more = len(told) - MOST_LINES
        lines = [*told[:MOST_LINES], f"... and {more} more lines"] if more > 0 else told
        if call.entry.verb in _WRITES:
            lines += [f"({why})" for why in call.said]
        return lines

    def _told(self, call: Call) -> Iterator[str]:
        entry, after = call.entry, _object_of(call)
        if entry.verb not in _WRITES:
            self._remember_read(call)
            return
        key = _key(entry, after if after is not None else call.sent)
        before = self._seen.get(key)
        if entry.verb == "delete":
            self._seen.pop(key, None)
            return
        if after is not None:
            self._remember(key, after)
        if call.is_denied or entry.decision == "needs-approval":
            yield from _sent_lines(call, "it would have sent")
        elif after is not None and before is not None:
            changed = list(difference(before, _bare(after), status=False))
            yield from changed or ["~ nothing of it is another than before"]
        else:
            yield from _sent_lines(call, "it sent")

    def _remember_read(self, call: Call) -> None:
        found = _object_of(call)
        if found is None:
            return
        items = found.get("items") if str(found.get("kind", "")).endswith("List") else None
        for one in items if isinstance(items, list) else [found]:
            if isinstance(one, dict):
                self._remember(_key(call.entry, one), one)

    def _remember(self, key: tuple[str, ...], document: Any) -> None:
        if len(self._seen) >= MOST_OBJECTS:
            self._seen.clear()
        self._seen[key] = _bare(document)


def _bare(document: dict[str, Any]) -> dict[str, Any]:
    """Without what it is, which objects in a list do not say."""
    return {name: value for name, value in document.items() if name not in ("kind", "apiVersion")}


def _object_of(call: Call) -> dict[str, Any] | None:
    """What was answered, where that is an object or a list of such."""
    found = call.answered
    if not isinstance(found, dict) or call.entry.code not in _OK or found.get("kind") in ("Status", "Table"):
        return None
    return found


def _key(entry: AuditEntry, document: Any) -> tuple[str, ...]:
    """What tells objects apart: a create, and an item of a list, have their name in what is written of them alone."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    named = metadata if isinstance(metadata, dict) else {}
    return (
        entry.cluster,
        entry.api_group,
        entry.resource,
        entry.subresource,
        str(named.get("namespace") or entry.namespace),
        str(entry.name or named.get("name", "")),
    )


def _sent_lines(call: Call, said: str) -> Iterator[str]:
    if call.sent is None:
        return
    yield f"{said}:"
    if isinstance(call.sent, dict):
        yield from difference({"metadata": {}}, _bare(call.sent), status=True)
        return
    for operation in call.sent if isinstance(call.sent, list) else [call.sent]:
        yield f"+ {json.dumps(operation, ensure_ascii=False)}"


def summary(calls: Sequence[Call]) -> list[str]:
    """How many there were, and what became of them, in sentences."""
    if not calls:
        return ["The record has no request of it."]
    first, last = calls[0].entry, calls[-1].entry
    told = [f"{_count(len(calls), 'request')} from {first.received_at[:19]}Z to {last.received_at[:19]}Z."]
    denied = sum(call.is_denied for call in calls)
    writes = [call for call in calls if call.entry.verb in _WRITES and not call.is_denied]
    asked = sum(call.entry.decision == "needs-approval" or bool(call.entry.approval) for call in calls)
    failed = sum(call.entry.decision == "error" for call in calls)
    parts = [
        f"{denied} denied" if denied else "None was denied",
        f"{len(writes)} could change something" if writes else "none could change anything",
        *([f"{asked} asked people"] if asked else []),
        *([f"{failed} failed"] if failed else []),
    ]
    told.append(", ".join(parts) + ".")
    recorded = sum(bool(call.recording) for call in calls)
    if recorded:
        told.append(f"{_count(recorded, 'recording')} {'belongs' if recorded == 1 else 'belong'} to it.")
    return told


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
