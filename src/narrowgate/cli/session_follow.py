"""`narrowgate sessions follow`: a session that runs, shown as it is written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import click

from narrowgate.cli.doctor_report import plain
from narrowgate.cli.output import note
from narrowgate.cli.session_place import SessionPlace, opened_place, session_argument
from narrowgate.cli.session_player import Lines, Screen
from narrowgate.core.recording import Ended, Entry
from narrowgate.core.safe_terminal import RESTORE

LOOK_SECONDS: Final = 0.2
"""From one look at the files to the next: what is typed is seen as it is typed, and the gate is not held up."""


@click.command()
@session_argument
@click.option("--timeline", is_flag=True, help="Line by line with times, as sessions without a terminal always are.")
def follow(session: str, config: str | None, timeline: bool) -> None:
    """Show a session from its beginning and go on as it does, until it ends. Ctrl-C stops looking, not the session."""
    place = opened_place(config)
    name = place.find(session)
    with place.open(name) as recording:
        has_terminal = recording.header.tty
    as_lines = timeline or not has_terminal
    shows = Lines(has_terminal=has_terminal) if as_lines else Screen()
    ended = ""
    try:
        for entry in followed(place, name):
            _write(shows.shown(entry))
            if isinstance(entry.what, Ended):
                ended = entry.what.reason
        _write(shows.rest())
    except KeyboardInterrupt:
        ended = ""
    finally:
        if not as_lines and sys.stdout.isatty():
            _write(RESTORE)
    if ended:
        note(f"it is over: {plain(ended)}")


def followed(place: SessionPlace, name: str, wait: Callable[[float], None] = time.sleep) -> Iterator[Entry]:
    """The entries of a recording and those that come, until its end. Raises what `SessionPlace.open` raises.

    `wait` lets time pass between two looks.
    """
    # Time of the last entry that was given, and how many of that time were.
    last, count = 0, 0
    while True:
        with place.open(name) as recording:
            is_over = recording.finished
            skipped = 0
            for entry in recording.entries(last):
                if entry.at == last and skipped < count:
                    skipped += 1
                    continue
                last, count = entry.at, (count + 1 if entry.at == last else 1)
                skipped = count
                yield entry
        if is_over:
            return
        wait(LOOK_SECONDS)


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
