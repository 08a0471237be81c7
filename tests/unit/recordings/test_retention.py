"""Whose time is over; with holds and on every store in tests/contract/test_recording_stores.py."""

from __future__ import annotations

import os
from pathlib import Path

from tests.recorded_sessions import begin

from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.retention import remove_old

NAME = "2026-11-18/one.recording"


def test_age_counts_from_when_a_recording_came_and_not_from_its_day(tmp_path: Path) -> None:
    """A session may last for days: what began long ago may have ended a moment ago."""
    live = begin(tmp_path, session="one")
    live.finish()
    path = tmp_path / "2026-11-18.one.recording"
    came = 1_800_000_000.0
    os.utime(path, (came, came))
    store = FolderStore(tmp_path / "kept")
    store.put(NAME, path)
    assert remove_old(store, 3600.0, came + 3600.0, 10) == ()
    assert remove_old(store, 3600.0, came + 3601.0, 10) == (NAME,)
    assert remove_old(store, 3600.0, came + 3601.0, 10) == ()
