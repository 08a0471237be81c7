"""Text put into a text index without a recording, for tests of what searches it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from narrowgate.core.recorded_text import Passage, Stream
from narrowgate.trail.text_file import State
from narrowgate.trail.text_writer import TextWriter

DAY = "2026-11-18"
BEGAN = 1_795_000_000_000_000
"""On that day, Unix microseconds."""


def name_of(session: str) -> str:
    return f"{DAY}/{session}.recording"


def put_text(trail: Path, session: str, *texts: str, began: int = BEGAN) -> None:
    """Take in a recording of which each text was written a second after the one before."""
    with closing(TextWriter.open(trail, "test")) as writer:
        writer.expect([name_of(session)])
        growing = writer.begin(name_of(session), began, is_encrypted=False)
        for second, text in enumerate(texts):
            growing.add([Passage(second * 1_000_000, Stream.OUTPUT, text)])
            writer.store(growing)
        writer.settle(growing, State.WHOLE)
