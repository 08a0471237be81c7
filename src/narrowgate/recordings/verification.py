"""What is wrong with a recording, in one word and one sentence: held against what the trail vouches for."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from narrowgate.core.recording import RecordingHead
from narrowgate.recordings.errors import (
    NewerRecording,
    OtherThanVouched,
    RecordingDamaged,
    RecordingKeyMissing,
    RecordingShortened,
)
from narrowgate.recordings.names import recording_name
from narrowgate.recordings.reading import Recording


class Fault(enum.Enum):
    """What is wrong with a recording."""

    MISSING = "missing"
    """The trail vouches for it, and it is nowhere."""
    CHANGED = "changed"
    """It does not fit together."""
    SHORTENED = "shortened"
    """It fits together, and something of its end is gone."""
    SWAPPED = "swapped"
    """It is another one than the trail speaks of under this name."""
    UNVOUCHED = "unvouched"
    """It fits together, and the trail says nothing of it."""
    UNREADABLE = "unreadable"
    """Nobody knows: its key is not at hand, or a newer version wrote it."""


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that is not what was written, or that nobody can say that of."""

    name: str
    fault: Fault
    said: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that is what was written, as far as the trail vouches for it."""

    name: str
    blocks: int
    vouched: int
    """How many of them the trail vouches for."""
    finished: bool


def verified(name: str, recording: Recording, heads: Sequence[RecordingHead], *, is_waiting: bool) -> Found | Wrong:
    """Read all of a recording, and hold it against what the trail says. `is_waiting`: it is in a spool, where one
    without an end may be. Raises what its source raises.
    """
    try:
        report = recording.check(heads)
        called = recording_name(recording.header)
    except RecordingShortened as error:
        return Wrong(name=name, fault=Fault.SHORTENED, said=str(error))
    except OtherThanVouched as error:
        return Wrong(name=name, fault=Fault.SWAPPED, said=str(error))
    except (RecordingDamaged, ValueError) as error:
        return Wrong(name=name, fault=Fault.CHANGED, said=str(error))
    if called != name:
        return Wrong(name=name, fault=Fault.SWAPPED, said=f"{name}: is the recording of {called}")
    if not report.finished and not is_waiting:
        return Wrong(name=name, fault=Fault.SHORTENED, said=f"{name}: has no end, and was stored with one")
    if not heads and report.finished:
        said = f"{name}: fits together, and the trail says nothing of it"
        return Wrong(name=name, fault=Fault.UNVOUCHED, said=said)
    vouched = max((head.blocks for head in heads), default=0)
    return Found(name=name, blocks=report.blocks, vouched=vouched, finished=report.finished)


def unreadable(name: str, error: Exception) -> Wrong:
    """What is wrong with a recording that cannot be opened, by the error that said so."""
    match error:
        case RecordingKeyMissing() | NewerRecording():
            return Wrong(name=name, fault=Fault.UNREADABLE, said=str(error))
        case _:
            return Wrong(name=name, fault=Fault.CHANGED, said=str(error))
