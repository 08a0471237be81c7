"""Recordings that were kept for as long as they are kept are removed; what is on hold stays.

A store tells names, sizes and times. What kind a recording is of stands in its header alone, so that one has to be
looked into where kinds are kept for different times: once, by whoever remembers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from narrowgate.core.moment import moment_text
from narrowgate.core.recording import Kind
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.port import NoSuchRecording, RecordingHeld, RecordingStore
from narrowgate.recordings.reading import Recording
from narrowgate.recordings.sealing import RecordingKey

MOST_KINDS = 200_000
"""Recordings whose kind is remembered, some 30 MB: what is kept for months, of a busy gate. The others are looked into
again each time.
"""


class Kept(msgspec.Struct, frozen=True):
    """For how many seconds recordings are kept from when they came to their store; None keeps them for good."""

    default: float | None = None
    by_kind: Mapping[Kind, float] = {}
    """Of kinds that are kept for another time."""

    def of(self, kind: Kind | None) -> float | None:
        """For how long one of this kind is kept; where nobody knows the kind, as long as any."""
        if kind is not None:
            return self.by_kind.get(kind, self.default)
        return None if self.default is None else max((self.default, *self.by_kind.values()))

    @property
    def shortest(self) -> float | None:
        """No recording goes that is younger; None where none goes."""
        times = [*self.by_kind.values(), *([] if self.default is None else [self.default])]
        return min(times, default=None)


class KnownKinds:
    """Of which kind each recording of a store is, remembered."""

    def __init__(self, store: RecordingStore, keys: Sequence[RecordingKey]) -> None:
        self._store = store
        self._keys = keys
        self._known: dict[str, Kind | None] = {}

    def of(self, name: str) -> Kind | None:
        """The kind; None where its header cannot be read, or it is gone. Raises RecordingsUnavailable."""
        if name not in self._known:
            while len(self._known) >= MOST_KINDS:
                del self._known[next(iter(self._known))]
            self._known[name] = self._read(name)
        return self._known[name]

    def forget(self, name: str) -> None:
        """It was removed."""
        self._known.pop(name, None)

    def _read(self, name: str) -> Kind | None:
        try:
            return Recording(self._store.open(name), self._keys).header.kind
        except (RecordingDamaged, RecordingKeyMissing, NewerRecording, NoSuchRecording):
            return None


def remove_old(store: RecordingStore, kept: Kept, now: float, limit: int, kinds: KnownKinds) -> tuple[str, ...]:
    """Remove up to `limit` recordings that came to the store longer ago than they are kept; their names, oldest first.

    `now` is in Unix seconds. Fewer than `limit`: there are no more. Raises RecordingsUnavailable.
    """
    if kept.shortest is None:
        return ()
    oldest_kept = now - kept.shortest
    last_day = moment_text(oldest_kept)[:10]
    removed: list[str] = []
    for day in store.days():
        # A recording comes to the store after it began.
        if day > last_day:
            break
        for each in store.of_day(day):
            if len(removed) == limit:
                return tuple(removed)
            if each.modified < oldest_kept and _is_over(each.name, now - each.modified, kept, kinds):
                try:
                    store.remove(each.name)
                except RecordingHeld:
                    continue
                kinds.forget(each.name)
                removed.append(each.name)
    return tuple(removed)


def _is_over(name: str, age: float, kept: Kept, kinds: KnownKinds) -> bool:
    # Where all are kept for one time nothing has to be looked into.
    seconds = kept.of(kinds.of(name)) if kept.by_kind else kept.default
    return seconds is not None and age > seconds
