"""Lengths of time as people write them: `10m`, `1h30m`, `30d`. Read and written here, and nowhere else."""

from __future__ import annotations

import re

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds in each unit. A day is 24 hours: deadlines are absolute times, no calendar takes part."""

_SHAPE = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)


def seconds_of(text: str) -> int:
    """Length in seconds of `text`: whole numbers with d, h, m, s, longest unit first, each at most once.

    Raises ValueError, worded for whoever wrote it, when it is none, or has no unit. Go's `time.ParseDuration` is the
    model, with days added and fractions left out.
    """
    match = _SHAPE.fullmatch(text)
    if match is None or not text:
        raise ValueError(f'"{text}" is not a length of time; write it like 45s, 10m, 1h30m or 30d')
    return sum(int(count) * size for count, size in zip(match.groups(), _UNITS.values(), strict=True) if count)


def duration_text(seconds: float) -> str:
    """The shortest way to write `seconds` (rounded down to whole ones) that `seconds_of` reads back: `1h30m`, `0s`."""
    rest = int(seconds)
    parts = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
