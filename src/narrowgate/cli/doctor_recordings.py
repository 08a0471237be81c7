"""The checks of how recordings are kept, on the gate's machine: what nobody else tells before it is missed.

Nothing is written and no recording is read; the store is asked for its days.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.config import Config, recording_store
from narrowgate.config.values import SearchedText, SessionLevel
from narrowgate.core.duration import duration_text
from narrowgate.core.session_story import size_text
from narrowgate.proxy.recordings import SPOOL_LIMIT
from narrowgate.recordings.names import FINISHED, LIVE, UNREADABLE
from narrowgate.recordings.port import RecordingsUnavailable
from narrowgate.recordings.spool import is_written
from narrowgate.trail.text_file import TextUnusable
from narrowgate.trail.text_index import TEXT, TextCounts, TextIndex

MUCH: Final = SPOOL_LIMIT // 4
"""Bytes in the spool that are a finding: at four times as much nothing is forwarded that must be recorded."""

LONG_SECONDS: Final = 900.0
"""For which a finished recording waits for its store: fifteen times the longest pause between two tries."""

LEAST_FREE: Final = 1 << 30
"""Bytes free on the spool's disk: some minutes of a gate through which much is copied."""


def kept_recordings(config: Config, now: float) -> Iterator[Line]:
    """A line for each way in which recordings can be lost, read by others, or never be made. `now`: Unix seconds."""
    yield _encrypted(config)
    yield from _recorded(config)
    yield _store(config)
    yield _spool(config.data_dir / "spool", now)
    yield _left(config.data_dir / "spool")
    yield _searched(config)


def _line(check: str, where: object, found: str, to_do: str = "") -> Line:
    outcome = Outcome.FINDING if to_do else Outcome.OK
    return Line(check=check, where=plain(where), outcome=outcome, found=plain(found), to_do=plain(to_do))


def _encrypted(config: Config) -> Line:
    check, where = "recordings encrypted", config.path
    if config.recording_key is None:
        return _line(
            check,
            where,
            f"whoever can read {config.recordings} reads what was typed and shown in sessions",
            "make a key, name it in encryption.recordingKeyFile, and keep a copy of it elsewhere (docs/recordings.md)",
        )
    return _line(check, where, "with a key of their own, and so is the spool")


def _recorded(config: Config) -> Iterator[Line]:
    check, audit = "sessions recorded", config.audit
    unrecorded = {
        "audit.sessions": (audit.sessions, "exec, attach and kubectl cp"),
        "audit.portForwards": (audit.port_forwards, "forwarded ports"),
    }
    for key, (level, what) in unrecorded.items():
        if level is SessionLevel.NONE:
            said = f"{key} is None: of {what} nothing is recorded but that they were asked for"
            yield _line(check, config.path, said, f"remove {key}, and what passes can be looked at afterwards")
        else:
            yield _line(check, config.path, f"{what}: {key} is {level.value}")


def _store(config: Config) -> Line:
    check = "store of recordings"
    store = recording_store(config)
    try:
        days = store.days()
    except RecordingsUnavailable as error:
        return _line(check, store.where, str(error), "mend it while the spool has room: recordings wait there")
    return _line(check, store.where, f"answers, and has recordings of {len(days)} days")


class _Waiting(msgspec.Struct, frozen=True):
    """What lies in the spools: bytes in all, finished recordings, and since when the oldest of those waits."""

    size: int = 0
    finished: int = 0
    oldest: float | None = None


def _spool(spools: Path, now: float) -> Line:
    check = "spool of recordings"
    found = _waiting(spools)
    age = 0.0 if found.oldest is None else max(0.0, now - found.oldest)
    said = f"{size_text(found.size)} of {size_text(SPOOL_LIMIT)}; {found.finished} recordings wait for their store"
    if found.finished:
        said += f", the oldest for {duration_text(age)}"
    try:
        free = shutil.disk_usage(spools if spools.exists() else spools.parent).free
    except OSError as error:
        return Line(check=check, where=plain(spools), outcome=Outcome.NOT_TRIED, found=plain(error))
    said += f"; {size_text(free)} free on its disk"
    if found.size > MUCH or age > LONG_SECONDS:
        return _line(check, spools, said, "see the store above and the gate's log: a full spool refuses sessions")
    if free < LEAST_FREE:
        return _line(check, spools, said, "free some space: sessions end where they cannot be recorded")
    return _line(check, spools, said)


def _waiting(spools: Path) -> _Waiting:
    size, times = 0, list[float]()
    for path in spools.glob("*/*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            # Sent meanwhile.
            continue
        size += status.st_size
        if path.name.endswith(FINISHED):
            times.append(status.st_mtime)
    return _Waiting(size, len(times), min(times, default=None))


def _left(spools: Path) -> Line:
    check = "recordings of killed gates"
    cut = [path for folder in spools.glob("*/") if not is_written(folder) for path in folder.glob(f"*{LIVE}")]
    aside = list(spools.glob(f"*/*{UNREADABLE}*"))
    if aside:
        said = f"{len(aside)} files could not be read when they were taken up, the first is {aside[0]}"
        return _line(check, spools, said, "look at what the disk did, keep or remove them: no gate touches them again")
    if cut:
        said = f"{len(cut)} recordings that nobody writes any more are not finished"
        return _line(check, spools, said, "start the gate: it finishes and keeps them")
    return _line(check, spools, "none is left")


def _searched(config: Config) -> Line:
    check, where = "text searched", config.data_dir / "trail"
    if config.searched_text is SearchedText.NONE:
        return _line(check, where, "search.text is None: no text of recordings is kept for searching")
    if not (where / TEXT).exists():
        return _line(check, where, "no text of recordings was taken in yet")
    try:
        index = TextIndex.open(where)
        try:
            counts = index.counts()
        finally:
            index.close()
    except TextUnusable as error:
        return _line(check, where, str(error), "make it anew: narrowgate audit search --rebuild")
    return _counted(where, counts)


def _counted(where: Path, counts: TextCounts) -> Line:
    check = "text searched"
    said = f"{counts.searched} recordings"
    if counts.encrypted:
        said += f"; {counts.encrypted} are encrypted and left out (search.text: All takes them in, readable here)"
    if counts.waiting:
        said += f"; {counts.waiting} wait to be taken in"
    if counts.cut:
        said += f"; of {counts.cut} only the beginning"
    if counts.unreadable:
        said += f"; {counts.unreadable} cannot be read"
        return _line(check, where, said, "see narrowgate sessions verify --all: which they are, and why")
    return _line(check, where, said)
