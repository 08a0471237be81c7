"""A recording as lines that stand in time: what went in, what came out, and what happened beside.

For sessions without a terminal, forwarded ports, and every reader who wants the order of things. And the times at which
the output holds a text.
"""

from __future__ import annotations

import codecs
from typing import Final, assert_never

import msgspec

from narrowgate.core.recording import (
    BodyData,
    Called,
    Ended,
    Entry,
    Exited,
    Header,
    Noted,
    PortCounted,
    Resized,
    What,
)
from narrowgate.core.safe_terminal import SafeTerminal
from narrowgate.core.session_story import command_text, size_text
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

LONGEST_LINE: Final = 2000
"""Characters; a longer one goes on in the next line of the timeline."""

_MARKS: Final = {Channel.STDIN: "in", Channel.STDOUT: "out", Channel.STDERR: "err"}


class Line(msgspec.Struct, frozen=True):
    """One line of the timeline."""

    at: int
    """Microseconds since the beginning: of its first character."""
    mark: str
    """`in`, `out`, `err`: what went through; `-` for what happened."""
    text: str
    """As it was, without its end; not made safe for a terminal."""


class Timeline:
    """Takes entries in their order."""

    def __init__(self, *, has_terminal: bool = False) -> None:
        """`has_terminal`: of what came out only the text is kept, without colours and movements. Where there was no
        terminal, they are what the program wrote, and stay.
        """
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {mark: decoder("replace") for mark in _MARKS.values()}
        self._terminals = {mark: SafeTerminal(text_only=True) for mark in ("out", "err")} if has_terminal else {}
        self._open: dict[str, Line] = {}
        """Lines whose end has not come."""

    def feed(self, entry: Entry) -> list[Line]:
        """The lines that are complete now."""
        what = entry.what
        if isinstance(what, ChannelData) and what.channel in _MARKS:
            return self._text(entry.at, _MARKS[what.channel], what.data)
        if isinstance(what, BodyData):
            return self._text(entry.at, "out" if what.direction is Direction.FROM_POD else "in", what.data)
        text = _happened(what)
        if not text:
            return []
        # What had no end of line stands before what came after it.
        return [*self.rest(), Line(entry.at, "-", text)]

    def rest(self) -> list[Line]:
        """The lines that have begun, as far as they are."""
        rest = sorted(self._open.values(), key=lambda line: line.at)
        self._open = {}
        return [self._bare(line) for line in rest]

    def _text(self, at: int, mark: str, data: bytes) -> list[Line]:
        terminal = self._terminals.get(mark)
        text = terminal.feed(data) if terminal is not None else self._decoders[mark].decode(data)
        begun = self._open.pop(mark, None)
        # A line that another way interrupts stands as far as it was: times never go back.
        before = self.rest()
        first = begun.at if begun is not None else at
        whole = (begun.text if begun is not None else "") + text
        if mark == "in":
            # What the return key sends.
            whole = whole.replace("\r\n", "\n").replace("\r", "\n")
        lines = whole.replace("\r\n", "\n").split("\n")
        last = lines.pop()
        found = [piece for line in lines for piece in _pieces(line) or [""]]
        pieces = _pieces(last)
        found += pieces[:-1]
        if pieces:
            self._open[mark] = Line(at if found else first, mark, pieces[-1])
        return before + [self._bare(Line(at if index else first, mark, line)) for index, line in enumerate(found)]

    def _bare(self, line: Line) -> Line:
        """Without the returns by which a shell draws its line anew."""
        if line.mark not in self._terminals or "\r" not in line.text:
            return line
        return Line(line.at, line.mark, line.text.replace("\r", ""))


class TextSearch:
    """Finds a text in the output, whatever the case of its letters and the colours within it."""

    def __init__(self, text: str) -> None:
        """`text` is not empty."""
        self._text = text.casefold()
        self._terminals = {channel: SafeTerminal(text_only=True) for channel in (Channel.STDOUT, Channel.STDERR, None)}
        self._tails = dict.fromkeys(self._terminals, "")

    def feed(self, entry: Entry) -> bool:
        """Whether the text is complete with this entry."""
        match entry.what:
            case ChannelData(channel, data) if channel in self._terminals:
                return self._look(channel, data)
            case BodyData(data, Direction.FROM_POD):
                return self._look(None, data)
        return False

    def _look(self, channel: Channel | None, data: bytes) -> bool:
        text = self._tails[channel] + self._terminals[channel].feed(data).casefold()
        at = text.rfind(self._text)
        # Behind the last place where it was found: it is not found there a second time.
        rest = text[at + len(self._text) :] if at >= 0 else text
        self._tails[channel] = rest[-(len(self._text) - 1) :] if len(self._text) > 1 else ""
        return at >= 0


def _pieces(line: str) -> list[str]:
    return [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)]


def _happened(what: What) -> str:
    """What is worth a line of its own, in words; empty for what is not."""
    match what:
        case Header():
            return f"{what.kind.value} {command_text(what.command)}".strip()
        case Resized(width, height):
            return f"the terminal has {width} columns and {height} rows"
        case Exited(code, message):
            return f"exit code {code}" if code is not None else f"the process did not end by itself: {message}"
        case Called(_, verb, target, code, decision):
            return f"{verb} {target}: {code}" + (f" ({decision})" if decision else "")
        case Noted(text):
            return text
        case Ended(reason):
            return f"end: {reason}"
        case PortOpened() | PortData() | PortError() | PortClosed() | PortCounted():
            return _of_port(what)
        case ChannelClosed(Channel.STDIN, _):
            return "no more input"
        case ChannelOpened() | ChannelClosed() | ChannelData() | BodyData():
            return ""
        case _:
            assert_never(what)


def _of_port(what: PortOpened | PortData | PortError | PortClosed | PortCounted) -> str:
    match what:
        case PortOpened(connection, port):
            return f"connection {connection} to port {port}"
        case PortData(connection, data, direction):
            return f"connection {connection}: {size_text(len(data))} {_way(direction)}"
        case PortCounted(connection, direction, count):
            return f"connection {connection}: {size_text(count)} {_way(direction)}"
        case PortError(connection, message):
            return f"connection {connection} failed: {message.decode('utf-8', 'replace')}"
        case PortClosed(connection, direction, reset):
            return f"connection {connection}: {'reset' if reset else f'no more data {_way(direction)}'}"
        case _:
            assert_never(what)


def _way(direction: Direction) -> str:
    return "to the pod" if direction is Direction.TO_POD else "from the pod"
