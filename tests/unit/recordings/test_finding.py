"""A recording is found where it is: in a spool while it is written and while it waits, then in its store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, a_session, header

from narrowgate.recordings.finding import open_recording
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.port import NoSuchRecording
from narrowgate.recordings.spool import Spool

NAME = "2026-11-18/6b2a1f9e-0001.recording"


def test_it_is_found_on_all_its_way(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "kept")
    spools = tmp_path / "spool"

    def held() -> tuple[int, bool]:
        with open_recording(NAME, store, spools, (KEY,)) as recording:
            return len(list(recording.entries())), recording.finished

    with pytest.raises(NoSuchRecording):
        held()
    Spool.open(spools, "gate-0", (KEY,)).close()
    spool = Spool.open(spools, "gate-1", (KEY,))
    live = spool.begin(header(), bytes(16))
    live.write(a_session()[:2])
    assert held() == (3, False)
    live.write(a_session()[2:])
    live.finish()
    assert held() == (8, True)
    (waiting,) = spool.finished()
    spool.send(waiting, store)
    assert held() == (8, True)
    spool.close()


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "2026-11-18/../x.recording", "2026-11-18/x.live"])
def test_nothing_else_is_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoSuchRecording), open_recording(name, FolderStore(tmp_path), tmp_path, ()):
        raise AssertionError("it was found")
