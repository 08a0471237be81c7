"""What a verification can find, and where."""

from __future__ import annotations

import enum
from pathlib import Path

import msgspec


class Trouble(enum.Enum):
    """What is wrong at a place; the words are what `audit verify` prints."""

    EDITED = "edited"
    REWRITTEN = "rewritten"
    DELETED = "deleted entry"
    REORDERED = "out of order"
    REPEATED = "repeated entry"
    ADDED = "added entry"
    CUT_TAIL = "cut tail"
    MISSING_SEGMENT = "missing segment"
    MISSING_JOURNAL = "missing journal"
    MISSING_CHECKPOINTS = "missing checkpoints"
    BAD_SIGNATURE = "bad signature"


class Finding(msgspec.Struct, frozen=True):
    """One thing that should not be."""

    trouble: Trouble
    file: Path
    line: int | None
    """From 1, as editors count; None where the whole file is meant."""
    seq: int | None
    """Number of the entry in its journal; None where that cannot be said."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}" + (f", line {self.line}" if self.line is not None else "")
        entry = f" (entry {self.seq})" if self.seq is not None else ""
        return f"{place}{entry}: {self.trouble.value}: {self.message}"
