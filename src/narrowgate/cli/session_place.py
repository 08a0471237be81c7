"""The recordings that the commands of `narrowgate sessions` look at: those of the gate that is configured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.cli.failure import Failed
from narrowgate.cli.output import config_option
from narrowgate.config import Config, find_config, recording_keys, recording_store
from narrowgate.core.recording import Ended, Exited, Header, RecordingHead
from narrowgate.core.session_story import MICROSECONDS
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.finding import open_recording
from narrowgate.recordings.listing import days_of, live_names, session_of, written_names
from narrowgate.recordings.port import Hold, NoSuchRecording, RecordingStore
from narrowgate.recordings.reading import Recording
from narrowgate.recordings.sealing import RecordingKey
from narrowgate.trail.recording_heads import heads_of

SHOWN_CHOICES = 5
"""Sessions that are named where a beginning fits several."""


CLOCK_SECONDS = 60.0
"""By which the clock of a store may be behind the gate's."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One recording as a list shows it."""

    name: str
    header: Header | None
    """None where it cannot be read; `problem` says why."""
    is_live: bool = False
    seconds: float = 0.0
    exited: Exited | None = None
    ended: Ended | None = None
    problem: str = ""
    hold: Hold | None = None

    @property
    def session(self) -> str:
        """The id of its session."""
        return session_of(self.name)


def hold_text(hold: Hold) -> str:
    """Who holds a recording, since when and why, in one line."""
    return " ".join(filter(None, (hold.by, hold.at[:10] and f"since {hold.at[:10]}:", hold.reason)))


def hold_document(hold: Hold | None) -> dict[str, str] | None:
    """The same for programs; None where nobody holds it."""
    return None if hold is None else {"by": hold.by, "because": hold.reason, "at": hold.at}


class SessionPlace:
    """All recordings of one gate, read with the operator's keys."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError."""
        self.config = config
        self.trail: Path = config.data_dir / "trail"
        self.store: RecordingStore = recording_store(config)
        self._spools: Path = config.data_dir / "spool"
        self._keys: Sequence[RecordingKey] = recording_keys(config)

    def listed(self) -> Iterator[Listed]:
        """All of them, newest first, few more opened than are asked for. Raises RecordingsUnavailable, OSError."""
        for _, latest in days_of(self.store, self._spools):
            live = written_names(self._spools)
            looked: list[tuple[float, str, Listed]] = []
            for name in sorted(latest, key=lambda each: latest[each], reverse=True):
                # Nothing that is not opened yet began later than this; the newest of the others can be told.
                while looked and -looked[0][0] > latest[name] + CLOCK_SECONDS:
                    yield heappop(looked)[2]
                one = msgspec.structs.replace(self._look(name, is_live=name in live), hold=self.store.held(name))
                began = one.header.began / MICROSECONDS if one.header else 0.0
                heappush(looked, (-began, name, one))
            while looked:
                yield heappop(looked)[2]

    def find(self, session: str) -> str:
        """The name of the recording whose session has this id, or alone begins or ends so. Raises Failed.

        Sessions of one process have one beginning, and count at their end.
        """
        found: list[str] = []
        for _, names in days_of(self.store, self._spools):
            for name in names:
                known = session_of(name)
                if known == session:
                    return name
                if session and (known.startswith(session) or known.endswith(session)):
                    found.append(name)
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(session_of(name) for name in found[:SHOWN_CHOICES])
            more = f" and {len(found) - SHOWN_CHOICES} more" if len(found) > SHOWN_CHOICES else ""
            raise Failed(f'"{session[:64]}" is a part of {some}{more}', "", "write more of the id")
        raise Failed(f'no recorded session is "{session[:64]}"', "", "see `narrowgate sessions list`")

    def open(self, name: str) -> AbstractContextManager[Recording]:
        """The recording as it is now. Raises what `open_recording` raises."""
        return open_recording(name, self.store, self._spools, self._keys)

    def is_live(self, name: str) -> bool:
        """Whether a process of the gate writes it now. Raises OSError."""
        return name in written_names(self._spools)

    def is_unfinished(self, name: str) -> bool:
        """Whether it is in a spool without an end: being written, or left by a killed gate. Raises OSError."""
        return name in live_names(self._spools)

    def names(self) -> Iterator[str]:
        """All of them. Raises RecordingsUnavailable, OSError."""
        for _, names in days_of(self.store, self._spools):
            yield from names

    def vouched(self, name: str, header: Header) -> list[RecordingHead]:
        """What the record says of it. Raises OSError."""
        return heads_of(self.trail, name, header.began / MICROSECONDS) if self.trail.is_dir() else []

    def _look(self, name: str, *, is_live: bool) -> Listed:
        try:
            with self.open(name) as recording:
                last = list(recording.last_entries())
                what = [entry.what for entry in last]
                return Listed(
                    name=name,
                    header=recording.header,
                    is_live=is_live and not recording.finished,
                    seconds=last[-1].at / MICROSECONDS if last else 0.0,
                    exited=next((one for one in what if isinstance(one, Exited)), None),
                    ended=next((one for one in what if isinstance(one, Ended)), None),
                )
        except (RecordingDamaged, RecordingKeyMissing, NewerRecording, NoSuchRecording) as error:
            return Listed(name=name, header=None, is_live=is_live, problem=str(error))


def session_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `ID`: a session, or a beginning or end that is no other one's; and `--config`: of which gate."""
    return click.argument("session", metavar="ID")(config_option(function))


def opened_place(config: str | None) -> SessionPlace:
    """The recordings of the gate with this configuration. Raises ConfigError."""
    return SessionPlace(find_config(config))
