"""Who asks whether people have answered is told to wait, each task by itself, whatever the clock does."""

from __future__ import annotations

import pytest

from narrowgate.control.api.collect_pace import INTERVAL_SECONDS, MOST_REMEMBERED, CollectPace

NOW = 1_000.0


def test_the_first_question_is_never_too_fast_and_the_next_one_within_an_interval_is() -> None:
    pace = CollectPace()
    assert [pace.is_too_fast("t", NOW), pace.is_too_fast("u", NOW), pace.is_too_fast("t", NOW + 0.1)] == [
        False,
        False,
        True,
    ]
    assert not pace.is_too_fast("t", NOW + 0.1 + INTERVAL_SECONDS)


def test_whoever_does_not_slow_down_is_told_so_again() -> None:
    pace = CollectPace()
    assert [pace.is_too_fast("t", NOW + number) for number in range(4)] == [False, True, True, True]


@pytest.mark.parametrize("back", [0.5, 5_000.0])
def test_a_clock_that_is_set_back_makes_nobody_wait(back: float) -> None:
    pace = CollectPace()
    pace.is_too_fast("t", NOW)
    assert not pace.is_too_fast("t", NOW - back)


def test_so_many_are_remembered_and_no_more() -> None:
    pace = CollectPace()
    for number in range(MOST_REMEMBERED + 1):
        assert not pace.is_too_fast(str(number), NOW)
    assert not pace.is_too_fast("0", NOW)
    assert pace.is_too_fast(str(MOST_REMEMBERED), NOW)
