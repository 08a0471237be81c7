"""What a killed gate left, finished. Kills and full disks are in tests/fault."""

from __future__ import annotations

from pathlib import Path

from tests.recorded_sessions import KEY, PACKING, a_session, begin, header, read

from narrowgate.core.recording import Entry
from narrowgate.recordings.recovery import finish_cut, recover


def test_one_that_had_its_last_entry_gets_no_other_end(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.write(a_session())
    live.close()
    (head,) = recover(tmp_path, (KEY,), PACKING).finished
    assert head.finished
    (path,) = tmp_path.iterdir()
    assert read(path, KEY) == [Entry(0, header()), *a_session()]


def test_one_that_only_lacked_its_name_keeps_every_byte(tmp_path: Path) -> None:
    live = begin(tmp_path, KEY)
    live.write(a_session())
    expected = live.finish()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.rename(path.with_suffix(".live"))
    assert recover(tmp_path, (KEY,), PACKING).finished == (expected,)
    assert path.read_bytes() == content


def test_a_session_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-18.x.live"
    path.touch()
    assert finish_cut(path, (), PACKING) is None
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_put_aside_and_tails_of_finished_ones_go(tmp_path: Path) -> None:
    (tmp_path / "stray.live").write_bytes(b"x")
    live = begin(tmp_path)
    live.finish()
    (tmp_path / "2026-11-18.6b2a1f9e-0001.tail0").write_bytes(b"x")
    found = recover(tmp_path, (), PACKING)
    assert (len(found.finished), len(found.problems)) == (0, 1)
    assert {each.name for each in tmp_path.iterdir()} == {"stray.unreadable", "2026-11-18.6b2a1f9e-0001.recording"}
