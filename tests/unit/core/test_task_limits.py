"""Limits of tasks: the smaller one counts, and what is handed out at a time adds up to no more than the limit."""

from __future__ import annotations

import pytest

from narrowgate.core.task_limits import (
    SILENT_SECONDS,
    STALE_SECONDS,
    TELL_SECONDS,
    Limits,
    block_of,
    is_within,
    least,
    limit_problem,
    limits_of,
)


def test_the_least_of_limits_counts_and_none_is_no_limit() -> None:
    assert least(None, 5, 3) == 3
    assert least(None, None) is None
    assert least() is None


@pytest.mark.parametrize(
    ("limit", "bound", "within"),
    [(None, None, True), (5, None, True), (None, 5, False), (5, 5, True), (6, 5, False), (1, 5, True)],
)
def test_no_limit_is_wider_than_every_limit(limit: int | None, bound: int | None, within: bool) -> None:
    assert is_within(limit, bound) is within


def test_a_task_without_numbers_has_no_limits() -> None:
    assert limits_of("t1", None, None) is None
    assert limits_of("t1", 3, None) == Limits("t1", 3, None)
    assert limits_of("t1", None, 3) == Limits("t1", None, 3)


@pytest.mark.parametrize("limit", [0, -1, 11])
def test_a_limit_is_a_number_that_lets_something_through(limit: int) -> None:
    assert limit_problem("maxStreams", limit, 10) == "maxStreams: write a whole number from 1 to 10"
    assert (limit_problem("maxStreams", None, 10), limit_problem("maxStreams", 10, 10)) == ("", "")


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 50, 200, 1_000])
def test_blocks_add_up_to_the_limit_and_shrink_towards_it(limit: int) -> None:
    left, blocks = limit, list[int]()
    while block := block_of(left):
        blocks.append(block)
        left -= block
    assert (left, sum(blocks)) == (0, limit)
    assert blocks == sorted(blocks, reverse=True)
    # Near the end each is handed out by itself: what another process has in hand is nobody's loss.
    assert blocks[-min(limit, 8) :] == [1] * min(limit, 8)


def test_nothing_is_handed_out_of_what_is_less_than_nothing() -> None:
    assert (block_of(0), block_of(-5)) == (0, 0)


def test_a_process_that_cannot_tell_ends_its_streams_before_others_forget_them() -> None:
    assert TELL_SECONDS < SILENT_SECONDS < STALE_SECONDS
