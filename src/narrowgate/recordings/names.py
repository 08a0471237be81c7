"""What recordings are called: by the day on which they began, so that what is old is found, and by their session.

In the spool a recording is one file beside others (`2026-11-21.<session>.live`), in a store it is in its day's folder
(`2026-11-21/<session>.recording`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from narrowgate.core.recording import Header

LIVE = ".live"
FINISHED = ".recording"
UNREADABLE = ".unreadable"
"""What a crash left and nobody can read: kept for people to look at."""

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
"""An audit ID is a UUID. It becomes a file's name: no dot, no slash, nothing that a shell or a store would read."""

_DAY = r"\d{4}-\d{2}-\d{2}"
_NAME = re.compile(rf"({_DAY})/({_SESSION.pattern})\{FINISHED}", re.ASCII)
_IN_SPOOL = re.compile(rf"({_DAY})\.({_SESSION.pattern})\.[a-z0-9]+", re.ASCII)


def recording_name(header: Header) -> str:
    """Under which the recording is kept. Raises ValueError for a session or a time that can name nothing."""
    if not _SESSION.fullmatch(header.session):
        raise ValueError(f'"{header.session[:80]}" cannot name a recording: use letters, digits, "-" and "_"')
    try:
        day = datetime.fromtimestamp(header.began / 1_000_000, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{header.began} is no time at which a recording can begin") from error
    return f"{day:%Y-%m-%d}/{header.session}{FINISHED}"


def is_recording_name(name: str) -> bool:
    """Whether a recording can be called that. Whoever asks a store for anything else gets nothing."""
    return _NAME.fullmatch(name) is not None


def is_day(name: str) -> bool:
    """Whether it is a day, as in names."""
    return re.fullmatch(_DAY, name, re.ASCII) is not None


def spool_path(folder: Path, name: str, suffix: str) -> Path:
    """Where the recording `name` lies in a spool's folder while it is not in its store."""
    return folder / (name.removesuffix(FINISHED).replace("/", ".") + suffix)


def name_in_spool(path: Path) -> str | None:
    """The name of a recording whose file lies in a spool; None for other files."""
    match = _IN_SPOOL.fullmatch(path.name)
    return f"{match[1]}/{match[2]}{FINISHED}" if match else None
