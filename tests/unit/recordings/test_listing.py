"""Recordings are listed wherever they are, each once, newest day first."""

from __future__ import annotations

import math
from pathlib import Path

from tests.recorded_sessions import a_session, header

from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.listing import days_of, live_names, session_of, written_names
from narrowgate.recordings.spool import Spool

DAY = "2026-11-18"


def listed(store: FolderStore, spools: Path) -> list[tuple[str, list[str]]]:
    return [(day, list(names)) for day, names in days_of(store, spools)]


def test_each_is_listed_once_on_all_its_way(tmp_path: Path) -> None:
    spools, store = tmp_path / "spool", FolderStore(tmp_path / "kept")
    assert list(days_of(store, spools)) == []
    spool = Spool.open(spools, "gate-0", ())
    for number in range(3):
        live = spool.begin(header(f"s{number}"), bytes(16))
        live.write(a_session())
        if number:
            live.finish()
        else:
            live.close()
    names = [f"{DAY}/s{number}.recording" for number in range(3)]
    assert listed(store, spools) == [(DAY, names)]
    store.put(names[1], next(each.path for each in spool.finished() if each.name == names[1]))
    assert listed(store, spools) == [(DAY, names)]
    assert live_names(spools) == written_names(spools) == {names[0]}
    for each in spool.finished():
        spool.send(each, store)
    ((_, latest),) = days_of(store, spools)
    assert latest[names[0]] == math.inf
    assert {latest[name] for name in names[1:]} == {each.modified for each in store.of_day(DAY)}
    assert [session_of(name) for name in names] == ["s0", "s1", "s2"]
    spool.close()
    assert live_names(spools) == {names[0]}
    assert written_names(spools) == set()


def test_the_newest_day_comes_first_and_other_files_do_not(tmp_path: Path) -> None:
    spools, store = tmp_path / "spool", FolderStore(tmp_path / "kept")
    (spools / "gate-0").mkdir(parents=True)
    for name in ("2026-01-02.a.recording", "2026-03-01.b.live", "lock", "probe", "2026-03-01.b.tail0"):
        (spools / "gate-0" / name).touch()
    assert [day for day, _ in days_of(store, spools)] == ["2026-03-01", "2026-01-02"]
