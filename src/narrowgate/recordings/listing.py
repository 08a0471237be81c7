"""Which recordings there are, newest first, wherever each of them is by now."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from narrowgate.recordings.names import FINISHED, LIVE, name_in_spool
from narrowgate.recordings.port import RecordingStore
from narrowgate.recordings.spool import is_written


def live_names(spools: Path) -> set[str]:
    """Those that are being written, or that a killed gate left. `spools` is `<dataDir>/spool`. Raises OSError."""
    return _names(spools, LIVE)


def written_names(spools: Path) -> set[str]:
    """Those that a process of this machine writes now: without what a killed gate left. Raises OSError."""
    written = [folder for folder in spools.glob("*/") if is_written(folder)]
    return {name for folder in written for name in _names_in(folder, LIVE)}


def days_of(store: RecordingStore, spools: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Each day of which there is something (`2026-11-21`), newest first, with the names of all that began on it, and
    when each of them began at the latest: Unix seconds, by the clock of the store.

    Raises RecordingsUnavailable, OSError.
    """
    # The spool first: a recording goes from there to the store, and never back.
    near = _names(spools, LIVE) | _names(spools, FINISHED)
    days = {_day(name) for name in near} | set(store.days())
    for day in sorted(days, reverse=True):
        names = {each.name: each.modified for each in store.of_day(day)}
        yield day, dict(sorted((names | {name: math.inf for name in near if _day(name) == day}).items()))


def session_of(name: str) -> str:
    """The session that a recording of this name is of."""
    return name.rpartition("/")[2].removesuffix(FINISHED)


def _day(name: str) -> str:
    return name.partition("/")[0]


def _names(spools: Path, suffix: str) -> set[str]:
    return {name for folder in spools.glob("*/") for name in _names_in(folder, suffix)}


def _names_in(folder: Path, suffix: str) -> set[str]:
    found = (name_in_spool(path) for path in folder.glob(f"*{suffix}"))
    return {name for name in found if name is not None}
