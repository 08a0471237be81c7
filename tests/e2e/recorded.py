"""The recordings that a gate under test has made, read back as an auditor would: from the folder and the journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tests.e2e.gate import Gate

from narrowgate.core.recording import Ended, Entry, Exited, Header, Kind, Noted, RecordingHead, Resized
from narrowgate.core.stream_events import Channel, ChannelData, Direction, PortData
from narrowgate.recordings.reading import open_file
from narrowgate.recordings.sealing import RecordingKey

Said = TypeVar("Said")
NAME = "narrowgate.dev/recording"


@dataclass(frozen=True)
class Recorded:
    """One recording that is kept, and what the record says of its request."""

    path: Path
    entries: Sequence[Entry]
    event: dict[str, Any]

    @property
    def header(self) -> Header:
        first = self.entries[0].what
        assert isinstance(first, Header)
        return first

    def all_of(self, kind: type[Said]) -> list[Said]:
        return [each.what for each in self.entries if isinstance(each.what, kind)]

    def bytes_of(self, channel: Channel) -> bytes:
        return b"".join(each.data for each in self.all_of(ChannelData) if each.channel is channel)

    def carried(self, way: Direction, connection: int | None = None) -> bytes:
        said = [each for each in self.all_of(PortData) if each.direction is way]
        return b"".join(each.data for each in said if connection is None or each.connection == connection)

    @property
    def exits(self) -> list[Exited]:
        return self.all_of(Exited)

    @property
    def exit(self) -> Exited:
        (exit_,) = self.all_of(Exited)
        return exit_

    @property
    def ended(self) -> str:
        last = self.entries[-1].what
        assert isinstance(last, Ended)
        return last.reason

    @property
    def notes(self) -> list[str]:
        return [each.text for each in self.all_of(Noted)]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [(each.width, each.height) for each in self.all_of(Resized)]


@dataclass
class Shelf:
    """The kept recordings of one gate; `next` is the one that came since it was asked last."""

    gate: Gate
    key: RecordingKey | None = None
    _seen: set[Path] = field(default_factory=set)

    def kept(self) -> set[Path]:
        return set((self.gate.data_dir / "recordings").rglob("*.recording"))

    def live(self) -> list[Path]:
        return sorted((self.gate.data_dir / "spool").rglob("*.live"))

    def pass_over(self) -> None:
        """What was recorded up to now is not asked for; nothing may be under way."""
        self.gate.wait_until(lambda: not self._in_spool(), "nothing is being recorded")
        self._seen = self.kept()

    def next(self) -> Recorded:
        """The one new recording, once it is kept. It was checked against what the journal says of it."""
        (found,) = self.several(1)
        return found

    def several(self, count: int) -> list[Recorded]:
        """So many new recordings, once they are kept and nothing else is under way."""
        self.gate.wait_until(
            lambda: len(self.kept() - self._seen) >= count and not self._in_spool(), f"{count} recordings are kept"
        )
        new = sorted(self.kept() - self._seen)
        self._seen |= set(new)
        assert len(new) == count, new
        return [self.read(path) for path in new]

    def ports(self) -> Recorded:
        """The one new recording of a port-forward, whatever else is under way."""
        new: list[Path] = []

        def there() -> bool:
            new[:] = [path for path in self.kept() - self._seen if self._kind(path) is Kind.PORT_FORWARD]
            return bool(new)

        self.gate.wait_until(there, "the recording of a port-forward is kept")
        (path,) = new
        self._seen.add(path)
        return self.read(path)

    def _kind(self, path: Path) -> Kind:
        with self.open(path) as recording:
            return recording.header.kind

    def read(self, path: Path) -> Recorded:
        name = f"{path.parent.name}/{path.name}"
        event = self.gate.wait_for_event(f'"{NAME}":"{name}"')
        with self.open(path) as recording:
            report = recording.check(self.vouched(name))
            entries = list(recording.entries())
        assert report.finished
        assert report.entries == len(entries)
        found = Recorded(path, entries, event)
        assert found.header.session == event["auditID"]
        return found

    def open(self, path: Path) -> Any:
        return open_file(path, (self.key,) if self.key is not None else ())

    def vouched(self, name: str) -> list[RecordingHead]:
        """What the journal says of a recording, its end included."""
        heads: list[RecordingHead] = []

        def there() -> bool:
            lines = (line for line in self.gate.journal_text().splitlines() if name in line)
            heads[:] = [head for line in lines if (head := _head(json.loads(line))) is not None]
            return any(head.finished for head in heads)

        self.gate.wait_until(there, f"the journal vouches for {name}")
        return heads

    def _in_spool(self) -> list[Path]:
        spool = self.gate.data_dir / "spool"
        return [*spool.rglob("*.live"), *spool.rglob("*.recording")]


def _head(line: dict[str, Any]) -> RecordingHead | None:
    return msgspec.convert(line["recording"], RecordingHead) if "recording" in line else None


def holds(folder: Path, needle: bytes) -> list[Path]:
    """The files below a folder whose bytes hold this."""
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]
