"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from narrowgate.core.duration import duration_text, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("10m", 600), ("1h30m", 5400), ("30d", 2_592_000), ("1d1h1m1s", 90_061), ("0s", 0), ("90m", 5400)],
)
def test_a_length_is_read(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "-1h", "1h ", "30m1h", "1h1h", "1w", "٣d", "1H", "9999999999s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="like 45s, 10m, 1h30m or 30d"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.9, "0s"), (5400, "1h30m"), (86_400, "1d"), (90_061, "1d1h1m1s")]
)
def test_a_length_is_written_in_its_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
