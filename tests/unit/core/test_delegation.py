"""What may be delegated, for how long, and when it counts."""

from __future__ import annotations

import math

import msgspec
import pytest

from narrowgate.core.delegation import LATEST_BEGIN, LONGEST_SECONDS, Delegation, delegation_problem

NOW = 1_000_000.0
DAY = 86_400.0
OWN = frozenset({"sre", "security"})
AWAY = Delegation(
    id="d1", person="alice", delegate="bob", groups=("sre",), made_at=NOW, begins_at=NOW, ends_at=NOW + DAY
)


def changed(**other: object) -> Delegation:
    return msgspec.structs.replace(AWAY, **other)


def test_a_day_in_the_place_of_somebody_can_be_delegated() -> None:
    assert delegation_problem(AWAY, OWN) == ""
    longest = changed(begins_at=NOW + LATEST_BEGIN, ends_at=NOW + LATEST_BEGIN + LONGEST_SECONDS)
    assert delegation_problem(longest, OWN) == ""


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"delegate": "alice"}, "to: name somebody else"),
        ({"groups": ()}, "you are in no group"),
        ({"groups": ("sre", "admins")}, 'you are not in "admins" by your sign-in; you are in: security, sre'),
        ({"comment": "two\nlines"}, "comment: write one line"),
        ({"comment": "x" * 201}, "comment: write one line"),
        ({"begins_at": NOW - 61}, "from: it begins now"),
        ({"begins_at": NOW + LATEST_BEGIN + 1}, "from: it begins now"),
        ({"begins_at": math.nan}, "from: it begins now"),
        ({"ends_at": NOW}, "until: this is not after its beginning"),
        ({"begins_at": NOW + 50, "ends_at": NOW + 50}, "until: this is not after its beginning"),
        ({"begins_at": NOW - 50, "ends_at": NOW - 1}, "until: this is not after its beginning"),
        ({"ends_at": math.nan}, "until: this is not after its beginning"),
        ({"ends_at": math.inf}, "until: it lasts for 30 days at most"),
        ({"ends_at": NOW + LONGEST_SECONDS + 1}, "until: it lasts for 30 days at most"),
    ],
)
def test_what_cannot_be_delegated_is_said_with_the_field_at_fault(other: dict[str, object], says: str) -> None:
    assert says in delegation_problem(changed(**other), OWN)


@pytest.mark.parametrize(
    ("now", "counts", "over"),
    [(NOW - 1, False, False), (NOW, True, False), (NOW + DAY - 1, True, False), (NOW + DAY, False, True)],
)
def test_it_counts_from_its_beginning_until_its_end(now: float, counts: bool, over: bool) -> None:
    assert (AWAY.is_in_force(now), AWAY.is_over(now)) == (counts, over)


def test_what_was_taken_back_and_a_time_that_is_none_count_for_nothing() -> None:
    ended = changed(ended_at=NOW + 5, ended_by="person:alice")
    assert (ended.is_in_force(NOW + 1), ended.is_over(NOW + 1)) == (False, True)
    assert (AWAY.is_in_force(math.nan), AWAY.is_over(math.nan)) == (False, True)
    assert not changed(begins_at=math.nan).is_in_force(NOW + 1)


@pytest.mark.parametrize(
    ("begins_at", "ends_at", "overlaps"),
    [(NOW - 5, NOW, False), (NOW - 5, NOW + 1, True), (NOW + 5, NOW + 6, True), (NOW + DAY, NOW + 2 * DAY, False)],
)
def test_two_overlap_where_both_would_count_at_one_moment(begins_at: float, ends_at: float, overlaps: bool) -> None:
    other = changed(begins_at=begins_at, ends_at=ends_at)
    assert (AWAY.overlaps(other), other.overlaps(AWAY)) == (overlaps, overlaps)
