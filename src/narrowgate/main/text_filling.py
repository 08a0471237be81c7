"""The text of recordings, taken into the text index: of those that are kept, and of those that are being made.

Here belongs what reads recordings for the search; what text is says `core/recorded_text.py`, how it is stored
`trail/text_writer.py`. The index is derived: what a crash left half done is begun anew, and a lost file costs time. The
control process follows all the time; a command that searches takes in what is left before it answers.
"""

from __future__ import annotations

import enum
import itertools
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from typing import Final

import msgspec

from narrowgate.config import Config, SearchedText, recording_keys, recording_store
from narrowgate.core.recorded_text import RecordedText
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.finding import open_recording
from narrowgate.recordings.listing import days_of, live_names
from narrowgate.recordings.names import spool_path
from narrowgate.recordings.port import NoSuchRecording, RecordingStore
from narrowgate.recordings.reading import Recording
from narrowgate.recordings.sealing import NO_KEY, RecordingKey
from narrowgate.trail.text_file import FOLLOWING, LOCK, State, TextUnusable, lock_of, remove
from narrowgate.trail.text_writer import Growing, TextWriter

NEWEST_DAYS: Final = 2
"""Days of recordings that are listed at each look: what is new began today, or before midnight."""

EVERYWHERE_SECONDS: Final = 900.0
"""From one look through all days to the next, which finds what retention or people removed."""

MOST_READ: Final = 128
"""Recordings that are read at one time, a tenth of a megabyte each; further sessions are read when they are over."""

STORED_CHARACTERS: Final = 256 * 1024
"""Of one recording that wait to be stored: some sixteen pieces, a tenth of a second for others to wait."""

LEAST_FREE: Final = 1024 * 1024 * 1024
"""Bytes that the index leaves free on the disk: as a rule the record is on it, without which nothing passes."""

BATCH: Final = 100
"""Names of recordings that are asked for at a time."""

Progress = Callable[[int, int], None]
"""Told how many recordings of how many are taken in."""


class Filled(enum.Enum):
    """How far the index is after filling."""

    BUSY = 0
    """Another process was at it, so that nothing was done."""
    PARTLY = 1
    """There is more to take in, and no time for it."""
    UP_TO_DATE = 2


class Recordings(msgspec.Struct, frozen=True):
    """Where a gate's recordings are, and what they are read with."""

    store: RecordingStore
    spools: Path
    keys: Sequence[RecordingKey]


class _Reading:
    """How far one recording is read. It is read on from there, in whichever place it lies by then."""

    def __init__(self, text: RecordedText, growing: Growing) -> None:
        self.text = text
        self.growing = growing
        self.seen: object = None
        """What its files looked like when all of them was read."""
        self._since = 0
        self._taken = 0
        """Entries of that very time that were taken already."""

    def read(self, recording: Recording, store: Callable[[], None], stop: Callable[[], bool]) -> bool:
        """Take what follows; False where it was stopped before the end. Raises as `Recording.entries`."""
        taken = self._taken
        for entry in recording.entries(self._since):
            if entry.at == self._since and taken:
                taken -= 1
                continue
            self._taken = self._taken + 1 if entry.at == self._since else 1
            self._since = entry.at
            self.growing.add(self.text.feed(entry))
            if self.growing.waiting >= STORED_CHARACTERS:
                store()
            if self.text.is_full:
                break
            if stop():
                return False
        return True


class TextFilling:
    """Fills the text index of one gate. For one thread at a time."""

    def __init__(self, trail: Path, recordings: Recordings, wanted: SearchedText) -> None:
        """`trail` is the folder of the record. Recordings in which no key is to be used are left out."""
        self._trail = trail
        keys = recordings.keys if wanted is SearchedText.ALL else ()
        self._recordings = Recordings(recordings.store, recordings.spools, keys)
        self._wanted = wanted
        self._filler = secrets.token_hex(8)
        self._mark = ""
        self._readings: dict[str, _Reading] = {}
        self._looked_everywhere = -EVERYWHERE_SECONDS

    def follows(self) -> AbstractContextManager[bool]:
        """Be the one process that follows recordings while they are made; whether it is this one. Raises OSError."""
        return lock_of(self._trail, FOLLOWING)

    def fill(
        self,
        stop: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
        *,
        is_following: bool = False,
        wait: float = 0.0,
        anew: bool = False,
    ) -> Filled:
        """Take in what is not in the index yet; `stop` is asked between entries.

        `is_following`: this process is the one that `follows`. `wait`: seconds for another one that fills. `anew`:
        forget everything first. Raises TextUnusable, RecordingsUnavailable, OSError.
        """
        with lock_of(self._trail, LOCK, wait) as held:
            if not held:
                return Filled.BUSY
            if self._wanted is SearchedText.NONE:
                remove(self._trail)
                return Filled.UP_TO_DATE
            # Where nobody follows, sessions that go on are read by whoever comes; otherwise they are left to who does.
            with (
                nullcontext(True) if is_following else self.follows() as reads_live,
                closing(TextWriter.open(self._trail, self._filler)) as writer,
            ):
                if anew:
                    writer.clear()
                self._prepare(writer, reads_live=reads_live)
                self._look(writer)
                self._require_room()
                return self._fill(writer, stop, progress, reads_live=reads_live)

    # What there is to read.

    def _prepare(self, writer: TextWriter, *, reads_live: bool) -> None:
        """Begin anew what others began, and do what is wanted by now each time that the file is another one."""
        begun = writer.begun()
        self._readings = {
            name: reading for name, reading in self._readings.items() if begun.get(name) == reading.growing.number
        }
        if reads_live:
            writer.again(name for name in begun if name not in self._readings)
        if writer.mark == self._mark:
            return
        self._mark = writer.mark
        self._looked_everywhere = -EVERYWHERE_SECONDS
        writer.again(writer.all_of(State.UNREADABLE))
        if self._wanted is SearchedText.ALL:
            writer.again(writer.all_of(State.ENCRYPTED))
        else:
            writer.leave_out_encrypted()

    def _look(self, writer: TextWriter) -> None:
        """See which recordings there are; those that are gone are forgotten."""
        now = time.monotonic()
        is_everywhere = now - self._looked_everywhere >= EVERYWHERE_SECONDS
        days = days_of(self._recordings.store, self._recordings.spools)
        seen: set[str] = set()
        for day, names in itertools.islice(days, None if is_everywhere else NEWEST_DAYS):
            seen.add(day)
            self._compare(writer, writer.names(day), names)
        if is_everywhere:
            for day in writer.days() - seen:
                self._compare(writer, writer.names(day), {})
            self._looked_everywhere = now

    def _compare(self, writer: TextWriter, known: Sequence[str], there: Mapping[str, float]) -> None:
        new, gone = set(there) - set(known), set(known) - set(there)
        if new:
            writer.expect(sorted(new))
        if gone:
            for name in gone:
                self._readings.pop(name, None)
            writer.forget(sorted(gone))

    def _require_room(self) -> None:
        if shutil.disk_usage(self._trail).free < LEAST_FREE:
            raise TextUnusable(
                f"{self._trail}: less than {LEAST_FREE >> 30} GiB are free on its disk, which the text of recordings "
                "does not take; free some space"
            )

    # Reading it.

    def _fill(
        self, writer: TextWriter, stop: Callable[[], bool], progress: Progress | None, *, reads_live: bool
    ) -> Filled:
        total = writer.count_waiting() + len(self._readings)
        for done, name in enumerate(self._next(writer, reads_live=reads_live), 1):
            if stop():
                return Filled.PARTLY
            if not self._read(writer, name, stop):
                return Filled.PARTLY
            if progress is not None:
                progress(min(done, total), total)
        return Filled.UP_TO_DATE

    def _next(self, writer: TextWriter, *, reads_live: bool) -> Iterator[str]:
        """What to read: what was begun, then the newest of what was not."""
        live = live_names(self._recordings.spools)
        yield from list(self._readings)
        passed_over: set[str] = set()
        while True:
            waiting = [name for name in writer.waiting(BATCH + len(passed_over)) if name not in passed_over]
            if not waiting:
                return
            for name in waiting:
                if name not in live or (reads_live and len(self._readings) < MOST_READ):
                    yield name
                # Whatever came of it, it is not looked at again before the next time.
                passed_over.add(name)

    def _read(self, writer: TextWriter, name: str, stop: Callable[[], bool]) -> bool:
        """Take in a recording as far as it is; False where it was stopped."""
        found = self._recordings
        looks = self._looks(name)
        reading = self._readings.get(name)
        if reading is not None and looks and reading.seen == looks:
            return True
        try:
            with open_recording(name, found.store, found.spools, found.keys) as recording:
                if reading is None:
                    reading = self._begin(writer, name, recording)
                return self._take(writer, name, recording, reading, stop, looks)
        except NoSuchRecording:
            self._readings.pop(name, None)
            writer.forget([name])
        except RecordingKeyMissing as error:
            left_out = self._wanted is not SearchedText.ALL
            writer.give_up(name, State.ENCRYPTED if left_out else State.UNREADABLE, str(error))
        except (RecordingDamaged, NewerRecording) as error:
            self._damaged(writer, name, str(error))
        return True

    def _begin(self, writer: TextWriter, name: str, recording: Recording) -> _Reading:
        growing = writer.begin(name, recording.header.began, is_encrypted=recording.sealing.key_id != NO_KEY)
        reading = self._readings[name] = _Reading(RecordedText(recording.header), growing)
        return reading

    def _take(
        self,
        writer: TextWriter,
        name: str,
        recording: Recording,
        reading: _Reading,
        stop: Callable[[], bool],
        looks: object,
    ) -> bool:
        is_finished = recording.finished

        def store() -> None:
            writer.store(reading.growing, as_far_as_it_is=False)

        if not reading.read(recording, store, stop):
            return False
        if reading.text.is_full or is_finished:
            reading.growing.add(reading.text.finish())
            writer.settle(reading.growing, State.CUT if reading.text.is_full else State.WHOLE)
            del self._readings[name]
        else:
            if reading.growing.waiting:
                writer.store(reading.growing)
            reading.seen = looks
        return True

    def _damaged(self, writer: TextWriter, name: str, problem: str) -> None:
        if name in live_names(self._recordings.spools):
            # It may have begun a moment ago. What a crash left of it is finished, or put aside, when a gate starts.
            return
        reading = self._readings.pop(name, None)
        if reading is None:
            writer.give_up(name, State.UNREADABLE, problem)
        else:
            writer.settle(reading.growing, State.UNREADABLE, problem)

    def _looks(self, name: str) -> tuple[tuple[str, int, int], ...]:
        """What the files of a recording in the spools look like: the same where nothing was added; none elsewhere."""
        found = []
        for path in sorted(self._recordings.spools.glob(f"*/{spool_path(Path(), name, '').name}.*")):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((str(path), status.st_size, status.st_mtime_ns))
        return tuple(found)


def text_filling(config: Config) -> TextFilling:
    """What fills the text index of the gate with this configuration. Raises ConfigError."""
    keys = recording_keys(config) if config.searched_text is SearchedText.ALL else ()
    recordings = Recordings(recording_store(config), config.data_dir / "spool", keys)
    return TextFilling(config.data_dir / "trail", recordings, config.searched_text)
