"""Where finished recordings are kept: the contract of every store. Calls block; one store serves many threads.

Names are those of `recordings/names.py`. A recording is put once and never changed. A hold keeps it whatever retention
says, until people lift the hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from narrowgate.recordings.reading import Source


class RecordingsUnavailable(Exception):
    """The store did not do it, or nobody knows whether it did. Ask again later."""


class NoSuchRecording(Exception):
    """The store has no recording of that name."""


class RecordingHeld(Exception):
    """It is on hold and must not be removed."""


class OtherRecording(Exception):
    """The store has another recording of that name: one of them is not what it says it is."""


class Stored(msgspec.Struct, frozen=True):
    """A recording that a store has."""

    name: str
    size: int
    modified: float
    """Unix seconds at which it came to the store: no earlier than it ended."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a recording must be kept."""

    by: str
    reason: str
    at: str
    """When it was put on hold (`core/moment.py`)."""


class RecordingStore(Protocol):
    """Keeps finished recordings. Every call may raise RecordingsUnavailable."""

    @property
    def where(self) -> str:
        """What to call it in complaints."""
        ...

    def put(self, name: str, path: Path) -> None:
        """Take a finished recording from a file, which stays. It is there whole, or not at all.

        Putting the same one again does nothing; raises OtherRecording where the store has another of that name.
        """
        ...

    def open(self, name: str) -> Source:
        """The bytes of a recording; reading them may raise as this does. Raises NoSuchRecording."""
        ...

    def days(self) -> list[str]:
        """The days (`2026-11-21`, UTC) of which there is anything, oldest first."""
        ...

    def of_day(self, day: str) -> Iterator[Stored]:
        """The recordings that began on that day, by name."""
        ...

    def remove(self, name: str) -> None:
        """Remove a recording, or nothing where there is none. Raises RecordingHeld."""
        ...

    def hold(self, name: str, hold: Hold) -> None:
        """Keep it from being removed; the newest hold counts. Raises NoSuchRecording where it is gone already.

        While it is being removed: RecordingsUnavailable, and whoever asks again is told which of the two came first.
        """
        ...

    def lift(self, name: str) -> None:
        """Let go of a hold, or of nothing where there is none."""
        ...

    def held(self, name: str) -> Hold | None:
        """The hold that is on it."""
        ...
