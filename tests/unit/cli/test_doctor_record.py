"""What was tried is looked up in the record, and what is not there as it happened is a finding."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.recorded import BEGAN, a_record

from narrowgate.cli.doctor_record import recorded
from narrowgate.cli.doctor_report import Outcome
from narrowgate.cli.doctor_tries import Came, Request, Tried, Tries

OK, FINDING, NOT_TRIED = Outcome.OK, Outcome.FINDING, Outcome.NOT_TRIED


def tried(path: str, came: Came) -> Tried:
    return Tried(Request(f"try {path}", "GET", path), came, "said")


@pytest.mark.parametrize(
    ("tries", "allowed", "denied"),
    [
        ([("/1", Came.OPENED), ("/2", Came.REFUSED)], OK, OK),
        ([("/2", Came.REFUSED), ("/2", Came.REFUSED)], NOT_TRIED, OK),
        # Nothing was answered, so that nothing need be there.
        ([("/9", Came.UNKNOWN)], NOT_TRIED, NOT_TRIED),
        ([("/1", Came.OPENED), ("/9", Came.OPENED)], FINDING, NOT_TRIED),
        # What was refused must not stand there as allowed, nor the other way round.
        ([("/1", Came.REFUSED), ("/2", Came.OPENED)], FINDING, FINDING),
        # A request that never ended was not answered by this record.
        ([("/5", Came.OPENED)], FINDING, NOT_TRIED),
    ],
)
def test_each_request_must_be_there_as_it_came_out(
    tmp_path: Path, tries: list[tuple[str, Came]], allowed: Outcome, denied: Outcome
) -> None:
    a_record(tmp_path)
    made = Tries(tuple(tried(*one) for one in tries), "t", BEGAN)
    lines = recorded(tmp_path / "trail", "here", made, wait=0.0)
    assert [(line.check, line.outcome) for line in lines] == [
        ("allowed path recorded", allowed),
        ("denied path recorded", denied),
    ]
    assert not any(line.counts for line in lines if line.outcome is NOT_TRIED)


def test_requests_of_others_do_not_stand_for_ours(tmp_path: Path) -> None:
    a_record(tmp_path)
    for made in (
        Tries((tried("/1", Came.OPENED),), "somebody else", BEGAN),
        Tries((tried("/1", Came.OPENED),), "t", BEGAN + 100),
    ):
        first, _ = recorded(tmp_path / "trail", "here", made, wait=0.0)
        assert (first.outcome, "not in the record: try /1" in first.found) == (FINDING, True)
