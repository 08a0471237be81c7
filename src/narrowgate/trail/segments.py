"""Where the trail's files are, and how the end of one is read: shared by who writes and who reads them.

<folder>/checkpoints.jsonl            signed heads of all writers
<folder>/<writer>/00000001.jsonl      segments, oldest first
<folder>/<writer>/00000001.torn-4711  what a crash left of a last line, at that offset
<folder>/<writer>/lock                held by the process that writes
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from narrowgate.core.audit_chain import LINE_LIMIT

CHECKPOINTS = "checkpoints.jsonl"
OLDER_CHECKPOINTS = "checkpoints.old.jsonl"
CHECKPOINTS_LOCK = "checkpoints.lock"
"""Held by who adds a checkpoint, shared by who reads them all."""

_FIRST_REACH = 16 * 1024
"""Bytes from the end that are read first: about ten events."""

_NAME = re.compile(r"\d{8,18}\.jsonl")


class Segment(msgspec.Struct, frozen=True, order=True):
    """One file of a journal."""

    number: int
    path: Path


class Tail(msgspec.Struct, frozen=True):
    """The end of a file: its last whole line (None where it has none), and what follows that without a line break."""

    whole_bytes: int
    last: bytes | None
    torn: bytes


def segment_path(folder: Path, number: int) -> Path:
    """The file of segment `number` in a writer's folder."""
    return folder / f"{number:08d}.jsonl"


def segments_of(folder: Path) -> list[Segment]:
    """A writer's segments, oldest first. Raises FileNotFoundError where there is no such writer."""
    return sorted(
        Segment(int(path.stem), path) for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_file()
    )


def writers_of(folder: Path) -> list[str]:
    """The names of all journals in a trail's folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def first_line_of(path: Path) -> bytes:
    """The first line of a segment, at most `LINE_LIMIT` bytes of it."""
    with path.open("rb") as file:
        return file.readline(LINE_LIMIT)


def tail_of(path: Path) -> Tail:
    """Read the end of a segment; a few KB where its lines are whole, at worst the whole (bounded) segment."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        reach = _FIRST_REACH
        while True:
            start = max(0, size - reach)
            file.seek(start)
            window = file.read(size - start)
            whole, line_break, torn = window.rpartition(b"\n")
            before = whole.rfind(b"\n")
            if start == 0 or before >= 0:
                break
            reach *= 8
    if not line_break:
        return Tail(0, None, window)
    return Tail(size - len(torn), whole[before + 1 :] + b"\n", torn)
