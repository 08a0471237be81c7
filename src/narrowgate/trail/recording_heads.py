"""What the trail says of recordings: the heads that its journals vouch for, to hold a recording against.

Nothing is judged here: whether the journals themselves are what the gate wrote is `trail/verify.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from narrowgate.core.audit_chain import BrokenLine, NewerFormat, Payload, frame, payload_of
from narrowgate.core.recording import RecordingHead
from narrowgate.trail.read import complete_lines
from narrowgate.trail.segments import segments_of, writers_of

_SAYS = b'"recording":{'
"""In each line that is looked for; most lines are events and are not taken apart."""


def recording_heads(folder: Path, name: str) -> list[RecordingHead]:
    """All heads of one recording in a trail's folder, in the order of each journal. Reads all of it: some tenths of a
    second for each GB. Lines that cannot be read are left out: `verify` tells of them. Raises OSError.
    """
    return [head for head in all_recording_heads(folder) if head.name == name]


def all_recording_heads(folder: Path) -> Iterator[RecordingHead]:
    """The heads of all recordings, journal by journal. Raises OSError."""
    for writer in writers_of(folder):
        for segment in segments_of(folder / writer):
            try:
                for _, line in complete_lines(segment.path):
                    head = _head(line) if _SAYS in line else None
                    if head is not None:
                        yield head
            except FileNotFoundError:
                # Retention of a running gate took it meanwhile.
                continue


def _head(line: bytes) -> RecordingHead | None:
    try:
        framed = frame(line)
        return payload_of(framed, RecordingHead, "") if framed.kind is Payload.RECORDING else None
    except (BrokenLine, NewerFormat):
        return None
