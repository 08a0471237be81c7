"""What the trail says of one recording: every head that its journals hold, for `Recording.check`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from narrowgate.core.audit_chain import BrokenLine, Payload, frame
from narrowgate.core.recording import RecordingHead
from narrowgate.trail.read import complete_lines
from narrowgate.trail.segments import segments_of, writers_of


def heads_of(folder: Path, name: str, began: float) -> list[RecordingHead]:
    """The heads of the recording `name`, in the order of each journal. `began` is in Unix seconds: files that nobody
    has written to since then are not looked at. Raises OSError.

    The lines are taken as they stand: whether they were changed is what `trail/verify.py` tells.
    """
    wanted = name.encode()
    found: list[RecordingHead] = []
    for writer in writers_of(folder):
        for segment in segments_of(folder / writer):
            try:
                if segment.path.stat().st_mtime < began:
                    continue
                found += [
                    head
                    for _, line in complete_lines(segment.path)
                    if wanted in line and (head := _head(line)) is not None and head.name == name
                ]
            except FileNotFoundError:
                # Retention of a running gate took it meanwhile.
                continue
    return found


def _head(line: bytes) -> RecordingHead | None:
    try:
        framed = frame(line)
        return msgspec.json.decode(framed.payload, type=RecordingHead) if framed.kind is Payload.RECORDING else None
    except (BrokenLine, msgspec.DecodeError, UnicodeDecodeError):
        return None
