"""Moments as programs and people write them: RFC 3339 in UTC, to the second (`2026-11-21T06:30:00Z`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)
"""RFC 3339, section 5.6, with its upper-case letters and at most microseconds."""


def moment_text(at: float) -> str:
    """Unix seconds as text; a fraction is left out."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> float:
    """The Unix seconds that `text` means. Raises ValueError, worded for whoever wrote it."""
    if _MOMENT.fullmatch(text):
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            # A thirteenth month, a 31st of June, an hour outside the day.
            pass
    raise ValueError(f'"{text[:64]}" is no moment; write it like 2026-11-21T06:30:00Z')
