"""Recordings for tests: headers, entries, and nonces that can be had again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from narrowgate.core.recording import Ended, Entry, Exited, Header, Kind, Resized
from narrowgate.core.stream_events import Channel, ChannelData, ChannelOpened
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.reading import open_file
from narrowgate.recordings.sealing import SALT_BYTES, Packing, RecordingKey, Sealing

SECRET = "a key that was made by a machine, of 48 bytes!"
KEY = RecordingKey(SECRET)
OTHER_KEY = RecordingKey(SECRET[::-1])
BEGAN = 1_795_000_000_000_000
"""2026-11-18, Unix microseconds."""

PACKING = Packing()


def header(session: str = "6b2a1f9e-0001", **more: object) -> Header:
    return Header(
        session=session,
        began=BEGAN,
        kind=Kind.EXEC,
        chain=("person:alice", "agent:ci"),
        cluster="prod",
        namespace="ci",
        pod="web-0",
        command=("sh", "-c", "ls"),
        tty=True,
        protocol="v5.channel.k8s.io",
        **more,  # type: ignore[arg-type]
    )


def counted() -> Callable[[int], bytes]:
    """Nonces 0, 1, 2…: never in production, where nothing may come twice."""
    numbers = itertools.count()
    return lambda length: next(numbers).to_bytes(length, "big")


def sealing(key: RecordingKey | None = None) -> Sealing:
    return Sealing(bytes(SALT_BYTES), key, counted())


def a_session() -> list[Entry]:
    """A short one: a prompt, a command, its output, the end."""
    return [
        Entry(10, ChannelOpened(Channel.STDIN)),
        Entry(20, Resized(80, 24)),
        Entry(30, ChannelData(Channel.STDOUT, b"$ ")),
        Entry(1_500_000, ChannelData(Channel.STDIN, b"ls\r")),
        Entry(1_600_000, ChannelData(Channel.STDOUT, b"ls\r\nREADME\r\n")),
        Entry(1_700_000, Exited(0)),
        Entry(1_700_001, Ended("the process ended")),
    ]


def begin(folder: Path, key: RecordingKey | None = None, session: str = "6b2a1f9e-0001") -> LiveFile:
    return LiveFile.begin(folder, header(session), sealing(key), PACKING)


def recorded(folder: Path, entries: list[Entry], key: RecordingKey | None = None) -> Path:
    """A finished recording of these entries."""
    live = begin(folder, key)
    live.write(entries)
    live.finish()
    (path,) = folder.glob("*.recording")
    return path


def read(path: Path, key: RecordingKey | None = None, since: int = 0) -> list[Entry]:
    with open_file(path, (key,) if key else ()) as recording:
        return list(recording.entries(since))
