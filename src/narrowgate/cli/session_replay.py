"""`narrowgate sessions replay`: a recorded session once more, in this terminal or as a timeline."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from typing import Any, Final

import click

from narrowgate.cli.call_lines import write_calls
from narrowgate.cli.call_session import find_call_session
from narrowgate.cli.failure import Failed
from narrowgate.cli.output import note
from narrowgate.cli.session_place import opened_place, session_argument
from narrowgate.cli.session_player import HELP, Lines, Pace, Player, Screen
from narrowgate.cli.terminal_keys import pressed_keys
from narrowgate.core.duration import seconds_of
from narrowgate.core.recording import BodyData, Resized, What
from narrowgate.core.safe_terminal import RESTORE
from narrowgate.core.session_story import MICROSECONDS, length_text
from narrowgate.core.session_timeline import TextSearch
from narrowgate.core.stream_events import Channel, ChannelData, Direction
from narrowgate.recordings.reading import Recording

FASTEST: Final = 1000.0
"""Times as fast as it was; 0 does not wait at all."""

RAW: Final = {
    "stdin": Channel.STDIN,
    "stdout": Channel.STDOUT,
    "stderr": Channel.STDERR,
    "resize": Channel.RESIZE,
    "error": Channel.ERROR,
}

_FRACTION = re.compile(r"(\d{1,9})\.(\d{1,6})s?", re.ASCII)


class Length(click.ParamType[float]):
    """A length of time: `1m30s`, `2.5s`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        """Return it in seconds."""
        text = str(value)
        if _FRACTION.fullmatch(text):
            return float(text.rstrip("s"))
        try:
            return float(seconds_of(text))
        except ValueError as error:
            self.fail(str(error))


@click.command()
@session_argument
@click.option(
    "--speed",
    type=click.FloatRange(0, FASTEST),
    default=None,
    metavar="TIMES",
    help="2 is twice as fast, 0 does not wait (default: 1 on a terminal, 0 into a file).",
)
@click.option("--idle", type=Length(), default=None, help="Longest pause: 2s. Whoever was away is not waited for.")
@click.option("--from", "start", type=Length(), default=0.0, help="Begin there: 1m30s.")
@click.option("--search", default="", metavar="TEXT", help="Begin where the output holds this.")
@click.option("--timeline", is_flag=True, help="Line by line with times, as sessions without a terminal always are.")
@click.option("--raw", type=click.Choice(list(RAW)), help="The bytes of one channel as they were, into a file.")
def replay(session: str, config: str | None, raw: str | None, **how: Any) -> None:
    """Play a session once more: a terminal's in this terminal, any other as a timeline.

    ID may also be that of a task, or of a sign-in: then its calls are shown, with what they changed and recorded.
    """
    if how["speed"] is not None and math.isnan(how["speed"]):
        raise click.BadParameter("write a number", param_hint="'--speed'")
    place = opened_place(config)
    calls = find_call_session(place, session)
    if calls is not None:
        if raw is not None or how["speed"] or how["idle"] is not None or how["start"] or how["search"]:
            raise click.UsageError("the calls of a task or sign-in are shown at once: leave the other options out")
        write_calls(place, calls, with_changes=True)
        return
    name = place.find(session)
    with place.open(name) as recording:
        if raw is not None:
            _write_raw(recording, RAW[raw])
            return
        start = round(how["start"] * MICROSECONDS)
        if how["search"]:
            start = _found(recording, how["search"], start)
        speed = how["speed"] if how["speed"] is not None else float(sys.stdout.isatty())
        _play(recording, start, Pace(speed, how["idle"]), as_lines=how["timeline"] or not recording.header.tty)


def _play(recording: Recording, start: int, pace: Pace, *, as_lines: bool) -> None:
    shows = Lines(has_terminal=recording.header.tty) if as_lines else Screen()
    # Lines say when they were; a screen is what it has become.
    entries = recording.entries(start) if as_lines else recording.entries()
    is_screen = not as_lines and sys.stdout.isatty()
    if is_screen:
        _warn_of_size(recording)
    try:
        with pressed_keys() as keys:
            if keys.are_read and sys.stdout.isatty():
                note(HELP)
            Player(shows, _write, pace, keys).play(entries, start)
    finally:
        if is_screen:
            _write(RESTORE)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _found(recording: Recording, text: str, start: int) -> int:
    """The time of the first entry since `start` with which the output holds the text. Raises Failed."""
    search = TextSearch(text)
    for entry in recording.entries():
        if search.feed(entry) and entry.at >= start:
            note(f"found at {length_text(entry.at / MICROSECONDS)}")
            return entry.at
    raise Failed(f'the output does not hold "{text[:64]}"', "", "try a part of it, or see `replay --timeline`")


def _write_raw(recording: Recording, channel: Channel) -> None:
    if sys.stdout.isatty():
        raise click.UsageError("--raw is for a file or another program, not for a terminal: redirect it")
    sys.stdout.flush()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        for entry in recording.entries():
            out.write(_raw(entry.what, channel))


def _raw(what: What, channel: Channel) -> bytes:
    match what:
        case ChannelData(found, data) if found is channel:
            return data
        case BodyData(data, direction):
            sent = channel is Channel.STDIN
            is_it = (direction is Direction.TO_POD) is sent and channel in (Channel.STDIN, Channel.STDOUT)
            return data if is_it else b""
    return b""


def _warn_of_size(recording: Recording) -> None:
    here = shutil.get_terminal_size()
    largest = (0, 0)
    for entry, _ in zip(recording.entries(), range(_LOOKED_AT), strict=False):
        if isinstance(entry.what, Resized):
            largest = max(largest[0], entry.what.width), max(largest[1], entry.what.height)
    if largest[0] > here.columns or largest[1] > here.lines:
        note(f"recorded on {largest[0]}x{largest[1]}; this terminal has {here.columns}x{here.lines}: make it larger")


_LOOKED_AT = 64
"""Entries from the beginning in which a size is looked for: clients send it with the first."""
