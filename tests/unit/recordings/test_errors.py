"""Errors say what was refused, where, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from narrowgate.recordings.errors import RecordingUnwritable


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "x"), "/r: the recording cannot be written: no space left on device; free some space"),
        (OSError(errno.EIO, "x"), "/r: the recording cannot be written: input/output error; check the disk"),
        (OSError("odd"), "/r: the recording cannot be written: odd; check the disk"),
    ],
)
def test_what_the_system_refused_is_said_with_what_to_do(error: OSError, text: str) -> None:
    assert str(RecordingUnwritable.by(Path("/r"), error)) == text
