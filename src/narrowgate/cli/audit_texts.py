"""The text of recordings, for `narrowgate audit search`: brought up to date before it is searched, and what is said of
recordings that are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from narrowgate.cli.audit_place import progress_of
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.output import note
from narrowgate.config import Config, SearchedText
from narrowgate.core.found_text import FoundEntry, FoundText
from narrowgate.main.text_filling import Filled, TextFilling, text_filling
from narrowgate.recordings.port import RecordingsUnavailable
from narrowgate.trail.text_index import MOST_RECORDINGS, TextCounts
from narrowgate.trail.text_search import TextSearch, text_search

FILLING_WAIT: Final = 5.0
"""Seconds that a search waits for another process that takes text in; the gate's own takes half a second at a time."""

REBUILD_WAIT: Final = 60.0
"""The same for a rebuild, which cannot do without."""


@contextmanager
def opened_texts(folder: Path, config: Config | None, text: str) -> Iterator[TextSearch | None]:
    """The search for this text, None where none is wanted. Where a gate's configuration is known, what its recordings
    have gained is taken in first. Raises TextUnusable.
    """
    if not text:
        yield None
        return
    if config is not None and config.searched_text is SearchedText.NONE:
        note("this gate keeps no text of recordings: its configuration says search.text: None")
    elif config is not None:
        _bring_up_to_date(text_filling(config))
    with text_search(folder, text) as search:
        if search.is_full:
            note(f"only the newest {MOST_RECORDINGS} recordings that may hold this are looked at; write more of it")
        counts = search.counts()
        if counts is not None:
            for said in left_out(counts):
                note(said)
        elif config is None:
            note("no text of recordings is kept for searching here")
        yield search


def rebuild_texts(config: Config) -> None:
    """Make the text index anew from the recordings. Raises TextUnusable, RecordingsUnavailable, Failed."""
    with progress_of("reading recordings", of="recordings", size=1) as progress:
        filled = text_filling(config).fill(progress=progress, wait=REBUILD_WAIT, anew=True)
    if filled is Filled.BUSY:
        raise click.ClickException("another process is taking in the text of recordings; try again in a moment")


def left_out(counts: TextCounts) -> list[str]:
    """What a search for a text says of recordings that it did not look at."""
    said = []
    if counts.encrypted:
        said.append(
            f"{_recordings(counts.encrypted)} not searched, being encrypted: search.text: All takes them in, readable "
            "for whoever can read the gate's folder"
        )
    if counts.waiting:
        said.append(f"{_recordings(counts.waiting)} not in the text index yet; search again in a while")
    if counts.unreadable:
        said.append(f"{_recordings(counts.unreadable)} not searched, or in part: they cannot be read")
    if counts.cut:
        said.append(f"of {counts.cut} long recordings only the beginning is searched")
    return said


def line_below(entry: FoundEntry) -> str:
    """What stands below a request in a table: where its recording holds the text, and the line."""
    if not isinstance(entry.recorded, FoundText):
        return ""
    place = entry.recorded
    # Whoever replays from there sees it: never later than it was.
    return f"    at {math.floor(place.seconds * 10) / 10:.1f}s, {place.stream}: {plain(place.line)}"


def _bring_up_to_date(filling: TextFilling) -> None:
    try:
        with progress_of("reading recordings", of="recordings", size=1) as progress:
            filling.fill(progress=progress, wait=FILLING_WAIT)
    except RecordingsUnavailable as error:
        note(f"the newest recordings are not searched: {error}")


def _recordings(count: int) -> str:
    return f"{count} recording is" if count == 1 else f"{count} recordings are"
