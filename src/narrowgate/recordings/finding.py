"""A recording by its name, wherever it is by now: being written, waiting in a spool, or in its store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from narrowgate.recordings.names import FINISHED, LIVE, is_recording_name, spool_path
from narrowgate.recordings.port import NoSuchRecording, RecordingStore
from narrowgate.recordings.reading import Recording, open_file
from narrowgate.recordings.sealing import RecordingKey

_LOOKS = 2
"""It may go from one place to the next between two looks, and never back."""


@contextmanager
def open_recording(name: str, store: RecordingStore, spools: Path, keys: Sequence[RecordingKey]) -> Iterator[Recording]:
    """The recording as it is now; `spools` is the folder of all spools of this gate (`<dataDir>/spool`).

    One that is being written is read as far as it is; open it again for more. Raises NoSuchRecording,
    RecordingsUnavailable, OSError, and what `Recording` raises.
    """
    if not is_recording_name(name):
        raise NoSuchRecording(f'"{name[:100]}" is no recording')
    for _ in range(_LOOKS):
        path = _in_spools(name, spools)
        if path is None:
            break
        with ExitStack() as opened:
            try:
                recording = opened.enter_context(open_file(path, keys))
            except FileNotFoundError:
                # Finished or sent a moment ago.
                continue
            yield recording
            return
    yield Recording(store.open(name), keys)


def _in_spools(name: str, spools: Path) -> Path | None:
    for folder in sorted(spools.glob("*/")):
        for suffix in (LIVE, FINISHED):
            path = spool_path(folder, name, suffix)
            if path.exists():
                return path
    return None
