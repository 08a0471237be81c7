"""What a recording says, as values: who was connected to what, then what happened, each with its time.

Here belong the entries of recordings and their limits. The events of exec, attach and port-forward are those of
`core/stream_events.py`, kept as they came; the rest is said here. Entries are what is on disk: their tags and the order
of their fields are numbered by nobody else, fields are only ever added at the end, with a default. How entries become
blocks and files is `recordings/`; how they become lines of JSON and asciicasts is `recording_lines` and `asciicast`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from narrowgate.core.stream_events import (
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
)

PIECE_LIMIT = 256 * 1024
"""Bytes of data in one entry; longer data is kept as several entries of one time. Relays read 64 KiB at most."""

ENTRY_LIMIT = PIECE_LIMIT + 128 * 1024
"""Bytes of one encoded entry: a piece of data, or a header with a command line (64 KiB of request target at most)."""

LATEST = 1 << 62
"""Microseconds. More than a hundred thousand years: what is beyond is no time."""


class Kind(enum.Enum):
    """What was recorded."""

    EXEC = "exec"
    ATTACH = "attach"
    PORT_FORWARD = "portForward"
    LOG = "log"
    WATCH = "watch"
    API = "api"


class Header(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=19):
    """The first entry: who was connected to what, since when."""

    session: str
    """The audit ID of the request that the recording is of."""
    began: int
    """Wall clock at the beginning, Unix microseconds. All other times count from here, by a clock that never jumps."""
    kind: Kind
    chain: tuple[str, ...]
    """Whom the request spoke for, root first, each as `kind:name`; the last one sent it."""
    cluster: str
    task: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    """As the request named it; empty means the pod's default."""
    command: tuple[str, ...] = ()
    """Of exec: program and arguments."""
    tty: bool = False
    protocol: str = ""
    """The subprotocol that both ends agreed on: `v5.channel.k8s.io`."""
    transport: str = ""
    """What the connection was upgraded to: `websocket` or `SPDY/3.1`; empty where it was not."""
    verb: str = ""
    target: str = ""
    """Path and query as they went to the API server."""


class BodyData(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Bytes of a request's or an answer's body: of a log, a watch, an API call. Their cuts mean nothing."""

    data: bytes
    direction: Direction = Direction.FROM_POD


class Resized(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """The terminal's size from here on, read from the channel that carries it (which is kept beside)."""

    width: int
    height: int


class Exited(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """How the process ended, read from the error channel (which is kept beside)."""

    code: int | None
    """None where it did not get as far, or where it is not known."""
    message: str = ""


class Called(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """A request that belongs to the session and has an entry of its own in the trail."""

    audit_id: str
    verb: str
    target: str
    code: int
    """HTTP status of the answer."""
    decision: str = ""


class Noted(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """Something that whoever replays should know: `input not recorded: echo off`."""

    text: str


class PortCounted(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """Bytes of a connection that passed since the last count, where the record level leaves out what they were."""

    connection: int
    direction: Direction
    count: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """The last entry: the session is over."""

    reason: str


What = (
    Header
    | ChannelOpened
    | ChannelData
    | ChannelClosed
    | PortOpened
    | PortData
    | PortError
    | PortClosed
    | BodyData
    | Resized
    | Exited
    | Called
    | Noted
    | PortCounted
    | Ended
)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened, and when."""

    at: int
    """Microseconds since the beginning of the recording; never less than in the entry before."""
    what: What


def pieces(entry: Entry) -> Iterator[Entry]:
    """The entry in parts of at most `PIECE_LIMIT` bytes of data: itself, unless it carries more than that."""
    what = entry.what
    if not isinstance(what, ChannelData | PortData | BodyData) or len(what.data) <= PIECE_LIMIT:
        yield entry
        return
    for start in range(0, len(what.data), PIECE_LIMIT):
        part = what.data[start : start + PIECE_LIMIT]
        yield Entry(entry.at, msgspec.structs.replace(what, data=part))


class RecordingHead(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the trail says of a recording, so that nobody can change it unseen: its first blocks and their last hash."""

    name: str
    """Under which it is kept: `2026-11-21/<session>.recording`."""
    blocks: int
    hash: str
    """SHA-256, hex, of the last of these blocks; it stands for all before it."""
    finished: bool = False
    """Whether these are all blocks of a recording that is over."""
