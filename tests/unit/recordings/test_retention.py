"""Whose time is over; with holds and on every store in tests/contract/test_recording_stores.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, begin

from narrowgate.core.recording import Kind
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.retention import Kept, KnownKinds, remove_old

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
    hour, kinds = Kept(3600.0), KnownKinds(store, ())
    assert remove_old(store, hour, came + 3600.0, 10, kinds) == ()
    assert remove_old(store, hour, came + 3601.0, 10, kinds) == (NAME,)
    assert remove_old(store, hour, came + 3601.0, 10, kinds) == ()


def came_at(folder: Path, store: FolderStore, session: str, came: float) -> str:
    live = begin(folder, KEY, session)
    name = live.finish().name
    path = folder / f"2026-11-18.{session}.recording"
    os.utime(path, (came, came))
    store.put(name, path)
    return name


def test_one_whose_kind_nobody_can_read_is_kept_as_long_as_any(tmp_path: Path) -> None:
    store, came = FolderStore(tmp_path / "kept"), 1_800_000_000.0
    name = came_at(tmp_path, store, "one", came)
    kept, without_key = Kept(3600.0, {Kind.EXEC: 60.0, Kind.LOG: 7200.0}), KnownKinds(store, ())
    assert remove_old(store, kept, came + 7000.0, 10, without_key) == ()
    assert remove_old(store, Kept(None, {Kind.EXEC: 60.0}), came + 1e9, 10, without_key) == ()
    assert remove_old(store, kept, came + 61.0, 10, KnownKinds(store, (KEY,))) == (name,)
    name = came_at(tmp_path, store, "two", came)
    assert remove_old(store, kept, came + 7201.0, 10, without_key) == (name,)


def test_what_is_removed_is_forgotten_and_what_is_known_is_not_read_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "kept")
    kinds = KnownKinds(store, (KEY,))
    name = came_at(tmp_path, store, "one", 1.0)
    assert kinds.of(name) is Kind.EXEC
    store.remove(name)
    assert kinds.of(name) is Kind.EXEC
    kinds.forget(name)
    assert kinds.of(name) is None


@pytest.mark.parametrize(
    ("kept", "shortest"),
    [
        (Kept(), None),
        (Kept(5.0), 5.0),
        (Kept(5.0, {Kind.LOG: 3.0}), 3.0),
        (Kept(None, {Kind.LOG: 3.0, Kind.EXEC: 9.0}), 3.0),
        (Kept(5.0, {Kind.LOG: 9.0}), 5.0),
    ],
)
def test_none_goes_that_is_younger_than_the_shortest_time(kept: Kept, shortest: float | None) -> None:
    assert kept.shortest == shortest
    assert all(of is None or (shortest is not None and of >= shortest) for of in map(kept.of, (None, *Kind)))
