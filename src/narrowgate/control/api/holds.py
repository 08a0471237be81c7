"""Calls about holds: what keeps the recording of a session, whatever retention says, until somebody lifts it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.records import opened_index, sight_of
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.audit_query import Unsearchable, query_of
from narrowgate.core.moment import moment_of, moment_text
from narrowgate.recordings.names import is_recording_name
from narrowgate.recordings.port import Hold, NoSuchRecording, RecordingStore, RecordingsUnavailable

_DAY_SECONDS = 86_400


class HoldBecause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a recording must be kept."""

    because: Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="One line; the record keeps it.")]


class HoldDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A hold on a recording. Moments are RFC 3339."""

    session: str
    by: str
    because: str
    at: str


def hold_session(parts: ApiParts, sent: Sent) -> Answered:
    """Put the recording of a session on hold; the newest hold counts."""
    asked: HoldBecause = sent.body
    if not asked.because.strip() or not asked.because.isprintable():
        raise Problem(Trouble.INVALID, "because: write one line")
    store = _store(parts)
    hold = Hold(by=sent.by, reason=asked.because, at=moment_text(sent.now))
    for name in _names(parts, sent):
        try:
            store.hold(name, hold)
        except NoSuchRecording:
            continue
        except RecordingsUnavailable as error:
            raise Problem(Trouble.UNAVAILABLE, str(error)) from None
        return Answered(document=_document(sent.path["id"], hold))
    raise Problem(
        Trouble.CONFLICT,
        "this session has no recording in the store: it was not recorded, its recording was removed, or is on its way "
        "while the session runs and some seconds after",
    )


def lift_hold(parts: ApiParts, sent: Sent) -> Answered:
    """Let go of a hold."""
    store = _store(parts)
    try:
        for name in _names(parts, sent):
            hold = store.held(name)
            if hold is not None:
                store.lift(name)
                return Answered(document=_document(sent.path["id"], hold))
    except RecordingsUnavailable as error:
        raise Problem(Trouble.UNAVAILABLE, str(error)) from None
    raise Problem(Trouble.CONFLICT, "the recording of this session is not on hold")


def _store(parts: ApiParts) -> RecordingStore:
    if parts.recordings is None:
        raise Problem(Trouble.UNAVAILABLE, "this gate keeps no recordings")
    return parts.recordings


def _names(parts: ApiParts, sent: Sent) -> list[str]:
    """What the recording of the session may be called: it begins with its request or, around midnight, a day later."""
    session = sent.path["id"]
    try:
        query = query_of({"id": session}, sent.now)
    except Unsearchable as error:
        raise Problem(Trouble.INVALID, f"`id`: {error}") from None
    with opened_index(parts) as (index, _):
        found = next(index.search(query, sight_of(sent)), None)
    if found is None:
        raise Problem(
            Trouble.NOT_FOUND, f'there is no session "{session}"; new ones are in the list after a few seconds'
        )
    began = moment_of(found.entry.received_at)
    days = (moment_text(began + more)[:10] for more in (0, _DAY_SECONDS))
    return [name for day in days if is_recording_name(name := f"{day}/{session}.recording")]


def _document(session: str, hold: Hold) -> HoldDocument:
    return HoldDocument(session=session, by=hold.by, because=hold.reason, at=hold.at)
