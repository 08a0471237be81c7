"""What a killed gate left in a spool: recordings that end in the middle, finished here so that they can be kept.

Nothing is lost but what a power cut took from the disk, and the recording says that it was cut.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from narrowgate.core.recording import Ended, Entry, Noted, RecordingHead
from narrowgate.recordings.errors import (
    NewerRecording,
    RecordingDamaged,
    RecordingKeyMissing,
    RecordingUnwritable,
)
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.names import FINISHED, LIVE, UNREADABLE, name_in_spool, spool_path
from narrowgate.recordings.reading import open_file
from narrowgate.recordings.sealing import Packing, RecordingKey
from narrowgate.recordings.tails import tail_paths

CUT = "the gate ended before the session did"
"""The last entry's reason in a recording that was finished for a gate that could not."""

UNRECORDED = "the session was ended: it could not be recorded any more"
"""The same for a session that the gate ended itself."""


class Recovered(msgspec.Struct, frozen=True):
    """What was done with a spool."""

    finished: tuple[RecordingHead, ...] = ()
    problems: tuple[str, ...] = ()
    """One line for each recording that stays as it is, worded for people."""


def recover(folder: Path, keys: Sequence[RecordingKey], packing: Packing) -> Recovered:
    """Finish every recording in this folder that nobody writes any more. Blocks on the disk. Raises OSError.

    One that cannot be read is put aside under another name; one whose key is missing stays for the next time.
    """
    finished: list[RecordingHead] = []
    problems: list[str] = []
    for path in sorted(folder.glob(f"*{LIVE}")):
        try:
            head = finish_cut(path, keys, packing)
        except RecordingDamaged as error:
            aside = path.with_suffix(UNREADABLE)
            path.rename(aside)
            problems.append(f"{error}; it was put aside as {aside.name}")
        except (RecordingKeyMissing, NewerRecording, RecordingUnwritable, ValueError) as error:
            problems.append(str(error))
        else:
            if head is not None:
                finished.append(head)
    problems += [f"{path}: holds what could not be read of a recording" for path in _rests(folder, finished)]
    _remove_tails(folder)
    return Recovered(tuple(finished), tuple(problems))


def finish_cut(path: Path, keys: Sequence[RecordingKey], packing: Packing, reason: str = CUT) -> RecordingHead | None:
    """Finish one recording whose writer is gone; None where nothing was ever written to it. `reason` is its last entry.

    Raises RecordingDamaged, RecordingKeyMissing, NewerRecording, RecordingUnwritable, OSError.
    """
    name = name_in_spool(path)
    if name is None:
        raise RecordingDamaged(f"{path}: is not called as recordings are")
    if path.stat().st_size == 0:
        # The header goes in with the first write, and nothing passes before it: no session was ever begun.
        path.unlink()
        return None
    with open_file(path, keys) as recording:
        point, loose = recording.resume_point()
        was_finished = recording.finished
        sealing = recording.sealing
    if was_finished:
        # Only the new name is missing.
        path.rename(path.with_suffix(FINISHED))
        return RecordingHead(name=name, blocks=point.blocks, hash=point.hash.hex(), finished=True)
    _keep_the_rest(path, point.length)
    live = LiveFile.resume(path, name, sealing, packing, point)
    try:
        if not point.ended:
            live.write_block(_to_the_end(loose, point.last, reason))
        return live.finish()
    finally:
        live.close()


def _keep_the_rest(path: Path, length: int) -> None:
    """What stands behind the last whole block is cut off there and kept beside. Mostly nothing; else a torn block, or
    all that follows one that somebody changed.
    """
    if path.stat().st_size == length:
        return
    aside = path.with_suffix(f"{UNREADABLE}{length}")
    try:
        with path.open("rb") as source, aside.open("wb") as rest:
            source.seek(length)
            shutil.copyfileobj(source, rest, 1 << 20)
            rest.flush()
            os.fsync(rest.fileno())
    except OSError as error:
        raise RecordingUnwritable.by(aside, error) from error


def _rests(folder: Path, finished: Sequence[RecordingHead]) -> Iterator[Path]:
    """What was kept aside of these recordings."""
    for head in finished:
        yield from sorted(folder.glob(f"{spool_path(folder, head.name, UNREADABLE).name}*"))


def _to_the_end(loose: list[Entry], last: int, reason: str) -> list[Entry]:
    if loose and isinstance(loose[-1].what, Ended):
        return loose
    at = loose[-1].at if loose else last
    return [*loose, Entry(at, Noted(reason)), Entry(at, Ended(reason))]


def _remove_tails(folder: Path) -> None:
    """Tails whose recording is finished."""
    for path in folder.glob(f"*{FINISHED}"):
        for tail in tail_paths(path):
            with contextlib.suppress(OSError):
                tail.unlink(missing_ok=True)
