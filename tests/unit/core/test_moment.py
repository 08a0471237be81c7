"""Moments, written and read."""

from __future__ import annotations

import pytest

from narrowgate.core.moment import moment_of, moment_text


def test_a_moment_is_written_in_utc_to_the_second() -> None:
    assert moment_text(1_795_242_600.9) == "2026-11-21T06:30:00Z"


@pytest.mark.parametrize(
    "text", ["2026-11-21T06:30:00Z", "2026-11-21T07:30:00+01:00", "2026-11-21T06:30:00.0Z", "2026-11-20T22:30:00-08:00"]
)
def test_every_spelling_of_rfc_3339_is_the_same_moment(text: str) -> None:
    assert moment_of(text) == 1_795_242_600


@pytest.mark.parametrize(
    "text",
    ["", "tomorrow", "2026-11-21", "2026-11-21T06:30:00", "2026-13-01T00:00:00Z", "2026-06-31T00:00:00Z", "1795242600",
     "2026-11-21T25:00:00Z", "2026-11-21 06:30:00Z", "٢٠٢٦-11-21T06:30:00Z", "2026-11-21T06:30:00Z\n"],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        moment_of(text)
