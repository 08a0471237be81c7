"""What people write about an agent, read into what its record holds."""

from __future__ import annotations

import click
import pytest

from narrowgate.cli.agent_options import certificate_names_in, end_in, groups_in, labels_in, lifetime_in, overlap_in

NOW = 1_700_000_000.0


def test_labels_are_set_replaced_and_taken_away() -> None:
    assert labels_in(()) == ()
    assert labels_in(("b=2", "a=1", "a=", "c=x")) == (("a", ""), ("b", "2"), ("c", "x"))
    assert labels_in(("a-", "b=3"), {"a": "1", "b": "2", "c": "4"}) == (("b", "3"), ("c", "4"))


@pytest.mark.parametrize("word", ["a", "", "=", "=x", "a=x=y", "gone-", "a=\n"])
def test_what_is_no_label_is_misuse(word: str) -> None:
    with pytest.raises(click.BadParameter):
        labels_in((word,), {"a": "1"})


@pytest.mark.parametrize(
    ("until", "after", "ends_at"),
    [
        (None, None, None),
        (None, "1h", NOW + 3600),
        ("2023-11-15", None, 1_700_092_800.0),
        ("2023-11-15T00:00:00Z", None, 1_700_006_400.0),
        ("2023-11-15T02:00:00+02:00", None, 1_700_006_400.0),
        ("2023-11-14", None, 1_700_006_400.0),
    ],
)
def test_an_end_is_a_moment_or_the_midnight_after_a_day(
    until: str | None, after: str | None, ends_at: float | None
) -> None:
    assert end_in(until, after, NOW) == ends_at


@pytest.mark.parametrize(
    ("until", "after"),
    [
        ("2023-11-13", None),
        ("2023-11-14T22:13:20Z", None),
        ("2023-02-30", None),
        ("9999-12-31", None),
        ("", None),
        ("2023-11-15 10:00", None),
        ("2024-01-01", "1h"),
        (None, "0s"),
        (None, "3651d"),
        (None, "soon"),
    ],
)
def test_an_end_that_is_none_or_over_is_misuse(until: str | None, after: str | None) -> None:
    with pytest.raises(click.UsageError):
        end_in(until, after, NOW)


def test_lengths_of_time_have_their_limits() -> None:
    assert (lifetime_in("365d"), overlap_in("24h")) == (365 * 86_400, 86_400)
    for read, text in ((lifetime_in, "366d"), (lifetime_in, "0s"), (overlap_in, "25h"), (overlap_in, "1 h")):
        with pytest.raises(click.BadParameter):
            read(text)


def test_what_is_named_twice_counts_once() -> None:
    assert groups_in(("b", "a", "b")) == ("b", "a")
    assert certificate_names_in(("cn:a", "cn:a")) == ("cn:a",)
