"""How long a receiver is left alone after a failure."""

from __future__ import annotations

import pytest

from narrowgate.control.notifications.outcomes import LONGEST_ASKED_SECONDS, LONGEST_WAIT_SECONDS, NotNow, pause_seconds

FAILED = NotNow(trouble="it answered 503")


@pytest.mark.parametrize(
    ("attempts", "longest"), [(1, 1.0), (2, 2.0), (5, 16.0), (9, 256.0), (10, 300.0), (10_000, 300.0)]
)
def test_the_wait_doubles_up_to_five_minutes_and_chance_takes_half_of_it(attempts: int, longest: float) -> None:
    assert pause_seconds(attempts, FAILED, 1.0) == longest
    assert pause_seconds(attempts, FAILED, 0.0) == longest / 2
    assert longest <= LONGEST_WAIT_SECONDS


@pytest.mark.parametrize(("asked", "given"), [(30.0, 30.0), (0.0, 1.0), (1e9, LONGEST_ASKED_SECONDS)])
def test_a_receiver_that_asks_for_a_pause_gets_it_within_reason(asked: float, given: float) -> None:
    assert pause_seconds(1, NotNow(trouble="it answered 429", wait=asked), 0.5) == given
