"""The trail's events read back in order, for search and export. Nothing is judged here: that is `trail/verify.py`."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

import msgspec

from narrowgate.core.audit_chain import LINE_LIMIT, BrokenLine, Payload, frame
from narrowgate.trail.segments import segments_of, writers_of


class EventLine(msgspec.Struct, frozen=True):
    """One audit event and where it stands."""

    at: str
    """Its stageTimestamp, as written: sorts as text."""
    writer: str
    segment: int
    seq: int
    event: bytes
    """The event's JSON."""


def events(folder: Path, since: str = "", until: str = "~") -> Iterator[EventLine]:
    """All events of all writers with `since` <= stageTimestamp < `until`, merged by time; streaming.

    Within one writer the order is the journal's. Lines that cannot be read are left out: `verify` tells of them.
    Raises OSError.
    """
    journals = [_of_writer(folder, writer, since, until) for writer in writers_of(folder)]
    return heapq.merge(*journals, key=lambda line: line.at)


def complete_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Whole lines of a segment from `offset` on, each with the offset behind it."""
    with path.open("rb") as file:
        file.seek(offset)
        while (line := file.readline(LINE_LIMIT)).endswith(b"\n"):
            offset += len(line)
            yield offset, line


def line_at(path: Path, offset: int) -> bytes:
    """The line that begins at `offset`; without a line break at its end where it is not whole. Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.readline(LINE_LIMIT)


class _Stage(msgspec.Struct):
    stageTimestamp: str = ""  # noqa: N815 (Kubernetes' name)


_stage = msgspec.json.Decoder(_Stage)


def _of_writer(folder: Path, writer: str, since: str, until: str) -> Iterator[EventLine]:
    for segment in segments_of(folder / writer):
        try:
            for _, line in complete_lines(segment.path):
                framed = _event(line)
                if framed is not None and since <= framed[1] < until:
                    yield EventLine(framed[1], writer, segment.number, framed[0], framed[2])
        except FileNotFoundError:
            # Retention of a running gate took it meanwhile.
            continue


def _event(line: bytes) -> tuple[int, str, bytes] | None:
    try:
        framed = frame(line)
        if framed.kind is not Payload.EVENT:
            return None
        return framed.seq, _stage.decode(framed.payload).stageTimestamp, framed.payload
    except (BrokenLine, msgspec.DecodeError, UnicodeDecodeError):
        return None
