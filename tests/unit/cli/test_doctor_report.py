"""When all is well, and when it is not known."""

from __future__ import annotations

import pytest

from narrowgate.cli.doctor_report import Line, Outcome, is_well, plain

OK, FINDING, UNKNOWN = Outcome.OK, Outcome.FINDING, Outcome.NOT_TRIED


def line(outcome: Outcome, *, counts: bool = True) -> Line:
    return Line(check="c", where="w", outcome=outcome, found="f", counts=counts)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], False),
        ([line(OK)], True),
        ([line(OK), line(FINDING)], False),
        ([line(OK), line(UNKNOWN)], False),
        ([line(OK), line(UNKNOWN, counts=False)], True),
        ([line(UNKNOWN, counts=False)], False),
    ],
)
def test_all_is_well_only_where_something_was_tried_and_nothing_was_found(lines: list[Line], expected: bool) -> None:
    assert is_well(lines) is expected


def test_nothing_that_a_file_or_server_says_moves_the_cursor() -> None:
    assert plain("a\x1b[2Jb\n") == "a?[2Jb?"
