"""What happened in a session, counted from its recording and told in sentences.

Here belongs what is the same for everybody who looks: commands, the API, the exported page. Entries go in one by one
and nothing of their bytes is kept but a little of what was typed, so that a recording of any length can be told of.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final, assert_never

import msgspec

from narrowgate.core.duration import duration_text
from narrowgate.core.moment import moment_text
from narrowgate.core.recording import (
    BodyData,
    Called,
    Ended,
    Entry,
    Exited,
    Header,
    Kind,
    Noted,
    PortCounted,
    Resized,
    What,
)
from narrowgate.core.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
)

MICROSECONDS: Final = 1_000_000

MOST_TYPED: Final = 200
"""Lines of what was typed that are told of: some screens. The recording has all."""

TYPED_BYTES: Final = 1024 * 1024
"""Of input that is looked through for lines: nobody types more, and what a program is sent may be gigabytes."""

TYPED_CHARACTERS: Final = 400
"""Of one such line."""

MOST_PORTS: Final = 64
"""Forwarded ports that are told of one by one; a client forwards a handful."""

MOST_CONNECTIONS: Final = 100_000
"""Connections whose port is remembered, so that their bytes are counted to it."""

MOST_MESSAGES: Final = 20
"""Different notes, and errors of ports, that are told of."""

_CONTROL: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?|[\x00-\x07\x09\x0b\x0c\x0e-\x1f]", re.DOTALL)
"""Keys that are no characters; backspace, delete and the ends of lines are looked at by themselves."""


class PortUse(msgspec.Struct, kw_only=True, rename="camel"):
    """What went through one forwarded port."""

    port: int
    connections: int = 0
    bytes_to_pod: int = 0
    bytes_from_pod: int = 0


class Story(msgspec.Struct, kw_only=True, rename="camel"):
    """A session as far as its recording was read. Times are microseconds since it began."""

    header: Header
    last: int = 0
    """Time of the last entry."""
    entries: int = 0
    bytes_by_channel: dict[str, int] = msgspec.field(default_factory=dict)
    """Of what the recording holds: `stdin`, `stdout`, `stderr`, `toPod`, `fromPod`."""
    typed: list[str] = msgspec.field(default_factory=list)
    """Lines that were typed, or sent to the program, as far as they were kept: the first `MOST_TYPED`."""
    more_typed: int = 0
    """Lines after those, as far as they were looked for."""
    sizes: int = 0
    """How often the terminal was resized."""
    notes: dict[str, int] = msgspec.field(default_factory=dict)
    """What whoever looks should know, and how often it was noted."""
    ports: list[PortUse] = msgspec.field(default_factory=list)
    port_errors: list[str] = msgspec.field(default_factory=list)
    calls: int = 0
    """Requests that belong to it."""
    exit_code: int | None = None
    exit_message: str = ""
    exited: bool = False
    """Whether it is known how the process ended."""
    ended: str | None = None
    """Why the session is over; None while it goes on, or where a crash cut the recording."""

    @property
    def seconds(self) -> float:
        """How long it is by now."""
        return self.last / MICROSECONDS


class Telling:
    """Takes entries in their order; `story` is what they amount to so far."""

    def __init__(self, header: Header) -> None:
        self.story = Story(header=header)
        self._bytes: Counter[str] = Counter()
        self._line = ""
        self._ports: dict[int, PortUse] = {}
        """By their number."""
        self._connections: dict[int, PortUse] = {}

    def feed(self, entry: Entry) -> None:
        """Take in one entry."""
        self.story.entries += 1
        self.story.last = max(self.story.last, entry.at)
        self._take(entry.what)

    def finish(self) -> Story:
        """The story, with what was typed of a line that was never ended."""
        self._end_line(is_whole=False)
        self.story.bytes_by_channel = dict(self._bytes)
        return self.story

    def _take(self, what: What) -> None:
        match what:
            case ChannelData(channel, data):
                # The side channels are read for what they say: sizes, and how it ended.
                if channel not in (Channel.ERROR, Channel.RESIZE):
                    self._bytes[channel.value] += len(data)
                if channel is Channel.STDIN:
                    self._type(data)
            case BodyData(data, direction):
                self._bytes[direction.value] += len(data)
            case PortOpened() | PortData() | PortCounted() | PortError():
                self._forward(what)
            case Resized() | Exited() | Called() | Noted() | Ended():
                self._note(what)
            case Header() | ChannelOpened() | ChannelClosed() | PortClosed():
                pass
            case _:
                assert_never(what)

    def _note(self, what: Resized | Exited | Called | Noted | Ended) -> None:
        story = self.story
        match what:
            case Resized():
                story.sizes += 1
            case Exited(code, message):
                story.exit_code, story.exit_message, story.exited = code, message, True
            case Called():
                story.calls += 1
            case Noted(text):
                if text in story.notes or len(story.notes) < MOST_MESSAGES:
                    story.notes[text] = story.notes.get(text, 0) + 1
            case Ended(reason):
                story.ended = reason
            case _:
                assert_never(what)

    def _forward(self, what: PortOpened | PortData | PortCounted | PortError) -> None:
        match what:
            case PortOpened(connection, port):
                if port not in self._ports and len(self._ports) < MOST_PORTS:
                    self._ports[port] = PortUse(port=port)
                    self.story.ports.append(self._ports[port])
                if port in self._ports:
                    self._ports[port].connections += 1
                    if len(self._connections) < MOST_CONNECTIONS:
                        self._connections[connection] = self._ports[port]
            case PortData(connection, data, direction):
                self._count(connection, direction, len(data))
            case PortCounted(connection, direction, count):
                self._count(connection, direction, count)
            case PortError(_, message):
                if len(self.story.port_errors) < MOST_MESSAGES:
                    self.story.port_errors.append(message.decode("utf-8", "replace")[:TYPED_CHARACTERS])
            case _:
                assert_never(what)

    def _count(self, connection: int, direction: Direction, count: int) -> None:
        self._bytes[direction.value] += count
        port = self._connections.get(connection)
        if port is None:
            return
        if direction is Direction.TO_POD:
            port.bytes_to_pod += count
        else:
            port.bytes_from_pod += count

    def _type(self, data: bytes) -> None:
        """Take what was typed for lines, and what was rubbed out for never typed."""
        if self._bytes[Channel.STDIN.value] > TYPED_BYTES:
            return
        if len(self.story.typed) >= MOST_TYPED:
            self.story.more_typed += len(re.findall(rb"\r\n?|\n", data))
            return
        for letter in _CONTROL.sub("", data.decode("utf-8", "replace")):
            if letter in "\r\n":
                self._end_line(is_whole=True)
            elif letter in "\x08\x7f":
                self._line = self._line[:-1]
            elif letter == "\t" or letter.isprintable():
                self._line += letter if len(self._line) < TYPED_CHARACTERS else ""

    def _end_line(self, *, is_whole: bool) -> None:
        line, self._line = self._line, ""
        if not line.strip():
            return
        if len(self.story.typed) < MOST_TYPED:
            self.story.typed.append(line if len(line) < TYPED_CHARACTERS else line + "...")
        elif is_whole:
            self.story.more_typed += 1


def sentences(story: Story) -> list[str]:
    """What happened, one sentence or more a line, for people. Texts of callers and pods stand in it as they came."""
    header = story.header
    told = [_who_did_what(header), _when(story), _how_it_ended(story)]
    told += _what_passed(story)
    told += [f"Noted: {text}" + (f" ({count} times)." if count > 1 else ".") for text, count in story.notes.items()]
    return told


def command_text(command: tuple[str, ...]) -> str:
    """A command line as somebody would type it."""
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else _quoted(word) for word in command)


def size_text(count: int) -> str:
    """Bytes as people read them: `512 bytes`, `3.4 KiB`."""
    if count < 1024:
        return f"{count} byte" + ("" if count == 1 else "s")
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def length_text(seconds: float) -> str:
    """A length of time, short ones with their fraction: `0.4s`, `1m12s`."""
    return f"{seconds:.1f}s" if seconds < 10 else duration_text(seconds)


def place_text(header: Header) -> str:
    """Where it was: `ci/web-0 (container app)`."""
    place = "/".join(part for part in (header.namespace, header.pod) if part)
    return place + (f" (container {header.container})" if header.container else "")


def what_text(header: Header) -> str:
    """What was done in a few words, for a table."""
    if header.command:
        return command_text(header.command)
    return header.target if header.kind in (Kind.LOG, Kind.WATCH, Kind.API) else "-"


def _who_did_what(header: Header) -> str:
    who = header.chain[-1] if header.chain else "somebody"
    behind = ", ".join(header.chain[:-1])
    where = f"pod {place_text(header)} of cluster {header.cluster}"
    match header.kind:
        case Kind.EXEC:
            did = f"ran `{command_text(header.command)}` in {where}, {'on' if header.tty else 'without'} a terminal"
        case Kind.ATTACH:
            did = f"attached to {where}, {'on' if header.tty else 'without'} a terminal"
        case Kind.PORT_FORWARD:
            did = f"forwarded ports of {where}"
        case Kind.LOG | Kind.WATCH | Kind.API:
            did = f"asked for {header.target} of cluster {header.cluster} ({header.kind.value})"
        case _:
            assert_never(header.kind)
    return f"{who}{f', for {behind},' if behind else ''} {did}."


def _when(story: Story) -> str:
    header = story.header
    over = "It lasted" if story.ended is not None else "It is recorded for"
    task = f", by task {header.task}" if header.task else ""
    return f"It began at {moment_text(header.began / MICROSECONDS)}{task}. {over} {length_text(story.seconds)}."


def _how_it_ended(story: Story) -> str:
    told = []
    if story.exited and story.exit_code is not None:
        told.append(f"The process ended with exit code {story.exit_code}.")
    elif story.exited:
        told.append(f"The process did not end by itself: {story.exit_message or 'nothing says why'}.")
    elif story.ended is not None and story.header.kind is Kind.EXEC:
        # A node may drop the end of an output together with the exit code; the client is not told (docs/recordings.md).
        told.append("How the process ended was not said: the client left before, or the end of the output is missing.")
    if story.ended is None:
        told.append("The session has not ended, as far as it is recorded.")
    else:
        told.append(f"At its end: {story.ended}.")
    return " ".join(told)


def _what_passed(story: Story) -> list[str]:
    told = []
    counts = story.bytes_by_channel
    streams = [
        f"{size_text(counts[name])} {said}"
        for name, said in (
            ("stdin", "of input"),
            ("stdout", "of output"),
            ("stderr", "of error output"),
            ("toPod", "to the pod"),
            ("fromPod", "from the pod"),
        )
        if name in counts
    ]
    told.append("It carried " + (", ".join(streams) if streams else "no data that was recorded") + ".")
    told += [
        f"Port {use.port}: {use.connections} connection{'' if use.connections == 1 else 's'}, "
        f"{size_text(use.bytes_to_pod)} to the pod, {size_text(use.bytes_from_pod)} from it."
        for use in story.ports
    ]
    told += [f"A port failed: {message}" for message in story.port_errors]
    if story.sizes > 1:
        told.append(f"The terminal was resized {story.sizes - 1} time{'' if story.sizes == 2 else 's'}.")
    return told


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def story_document(story: Story) -> dict[str, Any]:
    """The story for programs; moments are RFC 3339, lengths seconds."""
    header = story.header
    return {
        "session": header.session,
        "began": moment_text(header.began / MICROSECONDS),
        "seconds": round(story.seconds, 6),
        "kind": header.kind.value,
        "chain": list(header.chain),
        "cluster": header.cluster,
        "namespace": header.namespace,
        "pod": header.pod,
        "container": header.container,
        "command": list(header.command),
        "tty": header.tty,
        "task": header.task,
        "protocol": header.protocol,
        "transport": header.transport,
        "exitCode": story.exit_code,
        "exitMessage": story.exit_message,
        "ended": story.ended,
        "bytes": story.bytes_by_channel,
        "typed": story.typed,
        "moreTyped": story.more_typed,
        "notes": story.notes,
        "ports": [msgspec.to_builtins(use) for use in story.ports],
        "portErrors": story.port_errors,
        "entries": story.entries,
    }
