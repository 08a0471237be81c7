"""A session is named by its id, or by a beginning or end of it that is no other one's."""

from __future__ import annotations

import itertools
import os

import msgspec
import pytest
from tests.recorded_sessions import BEGAN, header
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate

from narrowgate.cli.failure import Failed
from narrowgate.cli.session_place import SessionPlace, opened_place


@pytest.fixture
def place(recorded: SessionGate) -> SessionPlace:
    return opened_place(str(recorded.config))


@pytest.mark.parametrize(
    ("said", "session"),
    [(FIRST, FIRST), ("6", FIRST), ("77a", SECOND), ("77b", RUNNING), ("3", RUNNING), ("-0001", FIRST)],
)
def test_a_beginning_or_an_end_is_enough(place: SessionPlace, said: str, session: str) -> None:
    assert place.find(said) == f"2026-11-18/{session}.recording"


def test_a_part_of_several_is_refused_with_their_names(place: SessionPlace) -> None:
    with pytest.raises(Failed, match=f"part of {SECOND}, {RUNNING}: write more"):
        place.find("77")


@pytest.mark.parametrize("said", ["", "nope", "../../etc/passwd", "*"])
def test_what_is_no_session_is_refused(place: SessionPlace, said: str) -> None:
    with pytest.raises(Failed, match="no recorded session is"):
        place.find(said)


def test_which_one_runs_is_known(place: SessionPlace) -> None:
    assert [place.is_live(place.find(one)) for one in (FIRST, SECOND, RUNNING)] == [False, False, True]


def test_the_record_vouches_for_what_it_has_seen(place: SessionPlace) -> None:
    name = place.find(FIRST)
    with place.open(name) as recording:
        heads = place.vouched(name, recording.header)
        assert [head.finished for head in heads] == [True]
        assert recording.check(heads).finished


def test_the_newest_are_told_without_opening_all(recorded: SessionGate) -> None:
    sessions = [f"99{number:04d}" for number in range(200)]
    for number, session in enumerate(sessions):
        began = BEGAN + number * 300_000_000
        path = recorded.record(session, of=msgspec.structs.replace(header(), began=began))
        # The store has each when it ended.
        ends = began / 1_000_000 + 2
        os.utime(path, (ends, ends))
    for each in (FIRST, SECOND):
        (path,) = (recorded.data / "recordings").rglob(f"{each}*")
        os.utime(path, (BEGAN / 1_000_000 + 90, BEGAN / 1_000_000 + 90))
    place = opened_place(str(recorded.config))
    found = [one.session for one in place.listed()]
    dated = [one for one in found if one in sessions]
    assert dated == sessions[::-1]
    assert sorted(found) == sorted([*sessions, FIRST, SECOND, RUNNING])
    for session in sessions[:100]:
        (path,) = (recorded.data / "recordings").rglob(f"{session}*")
        # Whoever opens one of these finds rubbish; the newest do not need them.
        path.write_bytes(b"rubbish")
        os.utime(path, (BEGAN / 1_000_000, BEGAN / 1_000_000))
    newest = list(itertools.islice(place.listed(), 20))
    assert [one.session for one in newest if one.session != RUNNING][:19] == sessions[:-20:-1]
