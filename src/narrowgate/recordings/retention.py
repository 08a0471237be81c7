"""Recordings that were kept for as long as they are kept are removed; what is on hold stays."""

from __future__ import annotations

from narrowgate.core.moment import moment_text
from narrowgate.recordings.port import RecordingHeld, RecordingStore


def remove_old(store: RecordingStore, kept: float, now: float, limit: int) -> tuple[str, ...]:
    """Remove up to `limit` recordings that came to the store more than `kept` seconds ago; their names, oldest first.

    `now` is in Unix seconds. Fewer than `limit`: there are no more. Raises RecordingsUnavailable.
    """
    oldest_kept = now - kept
    last_day = moment_text(oldest_kept)[:10]
    removed: list[str] = []
    for day in store.days():
        # A recording comes to the store after it began.
        if day > last_day:
            break
        for each in store.of_day(day):
            if len(removed) == limit:
                return tuple(removed)
            if each.modified < oldest_kept:
                try:
                    store.remove(each.name)
                except RecordingHeld:
                    continue
                removed.append(each.name)
    return tuple(removed)
