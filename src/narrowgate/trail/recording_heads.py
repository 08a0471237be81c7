"""What the trail says of recordings: of one, every head that its journals hold; of all, how far each has come."""

from __future__ import annotations

from collections.abc import Callable
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


def furthest_heads(folder: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, list[RecordingHead]]:
    """Of every recording that the trail speaks of, by name, the heads that say most: the furthest, and every end.

    A head stands for all before it, so what these do not say no other one does. Some 300 bytes of memory for each
    recording. `progress` is told bytes done and in all. Raises OSError.
    """
    segments = [segment.path for writer in writers_of(folder) for segment in segments_of(folder / writer)]
    sizes = {path: _size(path) for path in segments}
    found: dict[str, list[RecordingHead]] = {}
    done, total = 0, sum(sizes.values())
    for path in segments:
        try:
            for _, line in complete_lines(path):
                if _MARK in line and (head := _head(line)) is not None:
                    found[head.name] = _with(found.get(head.name, []), head)
        except FileNotFoundError:
            # Retention of a running gate took it meanwhile.
            pass
        done += sizes[path]
        if progress is not None:
            progress(done, total)
    return found


_MARK = f'"{Payload.RECORDING.value}":'.encode()


def _with(heads: list[RecordingHead], one: RecordingHead) -> list[RecordingHead]:
    furthest = max((head.blocks for head in heads), default=0)
    if one in heads or (one.blocks < furthest and not one.finished):
        return heads
    return [*(head for head in heads if head.finished or head.blocks >= one.blocks), one]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _head(line: bytes) -> RecordingHead | None:
    try:
        framed = frame(line)
        return msgspec.json.decode(framed.payload, type=RecordingHead) if framed.kind is Payload.RECORDING else None
    except (BrokenLine, msgspec.DecodeError, UnicodeDecodeError):
        return None
