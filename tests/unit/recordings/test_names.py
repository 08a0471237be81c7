"""What recordings are called, and what they cannot be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import header

from narrowgate.recordings.names import (
    FINISHED,
    LIVE,
    is_day,
    is_recording_name,
    name_in_spool,
    recording_name,
    spool_path,
)

NAME = "2026-11-18/6b2a1f9e-0001.recording"


def test_a_recording_is_called_by_its_day_and_its_session() -> None:
    assert recording_name(header()) == NAME
    assert is_recording_name(NAME)
    path = spool_path(Path("/spool"), NAME, LIVE)
    assert path == Path("/spool/2026-11-18.6b2a1f9e-0001.live")
    assert name_in_spool(path) == name_in_spool(path.with_suffix(FINISHED)) == NAME


@pytest.mark.parametrize("session", ["", ".", "..", "a/b", "a.b", "-a", "a" * 65, "a\n", "a b", "ä", "a\0"])
def test_a_session_that_could_be_a_path_names_nothing(session: str) -> None:
    with pytest.raises(ValueError, match="cannot name a recording"):
        recording_name(header(session))
    assert not is_recording_name(f"2026-11-18/{session}.recording")


@pytest.mark.parametrize("began", [2**62, -(2**62)])
def test_a_time_outside_all_calendars_names_nothing(began: int) -> None:
    with pytest.raises(ValueError, match=r"year|no time"):
        recording_name(msgspec.structs.replace(header(), began=began))


@pytest.mark.parametrize("name", ["lock", "probe", "2026-11-18.live", "2026-11-18..live", "x.6b2a.live", ".hold-abc"])
def test_other_files_of_a_spool_are_no_recordings(name: str) -> None:
    assert name_in_spool(Path("/spool") / name) is None


def test_days_are_days() -> None:
    assert is_day("2026-11-18")
    assert not is_day("2026-11-18\n")
    assert not is_day("lost+found")
