"""A recording played in time: what is shown, how long is waited, and what keys do meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from narrowgate.cli.doctor_report import plain
from narrowgate.core.recording import BodyData, Entry
from narrowgate.core.safe_terminal import SafeTerminal
from narrowgate.core.session_story import MICROSECONDS
from narrowgate.core.session_timeline import Line, Timeline
from narrowgate.core.stream_events import Channel, ChannelData, Direction

FORWARD_SECONDS: Final = 10
"""Of the recording, that one press of the key skips."""

HELP: Final = "space: pause, right arrow or f: 10 s forward, .: next, q: end"

_FORWARD: Final = ("\x1b[C", "\x1bOC", "f")


class Waits(Protocol):
    """What passes the time (`terminal_keys.Keys`)."""

    def wait(self, seconds: float | None) -> str:
        """The key that ended the waiting; empty where the time did."""
        ...

    @property
    def are_read(self) -> bool:
        """Whether anybody can press one."""
        ...


class Pace:
    """How long is waited between two entries."""

    def __init__(self, speed: float, idle: float | None) -> None:
        """`speed` 2 is twice as fast, 0 waits for nothing; `idle` is the longest pause, in seconds as recorded."""
        self._speed = speed
        self._idle = math.inf if idle is None else idle

    def seconds(self, before: int, at: int) -> float:
        """To wait between entries of these times, in microseconds."""
        if self._speed == 0:
            return 0.0
        return min((at - before) / MICROSECONDS, self._idle) / self._speed


class Screen:
    """Shows a terminal's output, made safe."""

    def __init__(self) -> None:
        self._terminals = {Channel.STDOUT: SafeTerminal(), Channel.STDERR: SafeTerminal(), None: SafeTerminal()}

    def shown(self, entry: Entry) -> str:
        """What to write of this entry."""
        match entry.what:
            case ChannelData(channel, data) if channel in self._terminals:
                return self._terminals[channel].feed(data)
            case BodyData(data, Direction.FROM_POD):
                return self._terminals[None].feed(data)
        return ""

    def rest(self) -> str:
        """What to write at the end."""
        return "".join(terminal.finish() for terminal in self._terminals.values())


class Lines:
    """Shows the timeline."""

    def __init__(self, *, has_terminal: bool = False) -> None:
        self._timeline = Timeline(has_terminal=has_terminal)

    def shown(self, entry: Entry) -> str:
        """What to write of this entry."""
        return "".join(map(_written, self._timeline.feed(entry)))

    def rest(self) -> str:
        """What to write at the end."""
        return "".join(map(_written, self._timeline.rest()))


class Player:
    """Plays entries in their order, once."""

    def __init__(self, shows: Screen | Lines, write: Callable[[str], None], pace: Pace, keys: Waits) -> None:
        self._shows = shows
        self._write = write
        self._pace = pace
        self._keys = keys
        self._at = 0
        self._fast_until = 0
        self._steps = False
        """Whether each entry waits for a key."""

    def play(self, entries: Iterable[Entry], start: int) -> bool:
        """Play them; those before `start` (microseconds) at once, so that the screen is what it was. False where it was
        ended with a key.
        """
        self._fast_until = start
        for entry in entries:
            shown = self._shows.shown(entry)
            if shown:
                if not self._wait_for(entry.at):
                    return False
                self._at = entry.at
                self._write(shown)
        self._write(self._shows.rest())
        return True

    def _wait_for(self, at: int) -> bool:
        """Wait until it is time; False where a key says to end."""
        before = max(self._at, self._fast_until)
        while at >= before and (self._steps or self._pace.seconds(before, at) > 0):
            key = self._keys.wait(None if self._steps else self._pace.seconds(before, at))
            if key == "q":
                return False
            if key in _FORWARD:
                self._steps = False
                before = self._fast_until = before + FORWARD_SECONDS * MICROSECONDS
            elif key == ".":
                self._steps = True
                return True
            elif key == " " and not self._steps:
                self._steps = True
            elif key in ("", " "):
                # Going on does not begin with the pause that was waited through.
                self._steps = False
                return True
        return True


def _written(line: Line) -> str:
    return f"{line.at / MICROSECONDS:10.3f}  {line.mark:<3}  {plain(line.text.expandtabs())}\n"
