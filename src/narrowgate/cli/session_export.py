"""`narrowgate sessions export`: a recording for other programs and for people who have none of ours."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from narrowgate.cli.audit_place import worded
from narrowgate.cli.call_lines import call_documents, call_page
from narrowgate.cli.call_session import CallSession, find_call_session
from narrowgate.cli.failure import Failed
from narrowgate.cli.output import note
from narrowgate.cli.session_page import Contents, TooLarge, page_of
from narrowgate.cli.session_place import SessionPlace, opened_place, session_argument
from narrowgate.cli.session_show import integrity_of
from narrowgate.core.asciicast import Version, asciicast
from narrowgate.core.audit import timestamp
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import SeesAll, query_of
from narrowgate.core.recording import Header
from narrowgate.core.recording_lines import line_of
from narrowgate.core.session_story import MICROSECONDS, Story, Telling
from narrowgate.core.session_timeline import Line
from narrowgate.recordings.reading import Recording
from narrowgate.trail.index import Index

AROUND_SECONDS: Final = 600
"""Before and after a session, in which requests that were denied belong to its page."""

MOST_REFUSED: Final = 500
"""Of them, the newest."""

_VERSIONS = {"asciicast": Version.V2, "asciicast-v3": Version.V3}


@click.command()
@session_argument
@click.option(
    "--as",
    "form",
    type=click.Choice(["asciicast", "asciicast-v3", "jsonl", "html"]),
    required=True,
    help="asciicast: for asciinema's players. jsonl: everything, a line each. html: one page with player and timeline.",
)
@click.option("--with-input", is_flag=True, help="In asciicasts: what was typed, as far as it was kept.")
@click.option(
    "-o",
    "--output-file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to (default: standard output).",
)
def export(session: str, config: str | None, form: str, file: Path | None, *, with_input: bool) -> None:
    """Write a recorded session for other programs, or as a page for people. What is masked stays masked.

    ID may also be that of a task, or of a sign-in: then its calls are written, as jsonl or html.
    """
    if with_input and form not in _VERSIONS:
        raise click.UsageError("--with-input is for asciicasts; jsonl and html hold what was typed anyway")
    place = opened_place(config)
    calls = find_call_session(place, session)
    if calls is not None:
        _write(_calls(place, calls, form), file)
        if file is not None:
            note(f"wrote {file}")
        return
    name = place.find(session)
    with place.open(name) as recording:
        if form == "html":
            parts: Iterable[bytes] = _page(place, name, recording)
        elif form == "jsonl":
            parts = (line_of(entry) + b"\n" for entry in recording.entries())
        else:
            parts = asciicast(recording.entries(), _VERSIONS[form], shows_input=with_input)
        _write(parts, file)
    if file is not None:
        note(f"wrote {file}")


def _calls(place: SessionPlace, calls: CallSession, form: str) -> Iterator[bytes]:
    if form == "jsonl":
        return (msgspec.json.encode(document) + b"\n" for document in call_documents(place, calls))
    if form != "html":
        raise click.UsageError("the calls of a task or sign-in are no terminal: export them --as html or jsonl")
    try:
        return (part.encode("utf-8", "replace") for part in call_page(place, calls))
    except TooLarge as error:
        raise Failed(f"this session cannot be a page: {error}", "", "export it --as jsonl") from None


def _page(place: SessionPlace, name: str, recording: Recording) -> Iterator[bytes]:
    telling, contents = Telling(recording.header), Contents(has_terminal=recording.header.tty)
    try:
        for entry in recording.entries():
            telling.feed(entry)
            contents.feed(entry)
        contents.finish()
    except TooLarge as error:
        raise Failed(f"this session cannot be a page: {error}", "", "export it --as asciicast or jsonl") from None
    story = telling.finish()
    refused = [_line(entry, story.header) for entry in _refused(place.trail, story)]
    for part in page_of(story, integrity_of(place, name, recording).said, contents, refused):
        yield part.encode("utf-8", "replace")


def _refused(trail: Path, story: Story) -> list[AuditEntry]:
    """What was denied around the session: of its task, where it has one, else of who sent it. Raises IndexUnusable."""
    header = story.header
    if not trail.is_dir():
        return []
    began = header.began / MICROSECONDS
    words = {
        "since": timestamp(began - AROUND_SECONDS).decode(),
        "until": timestamp(began + story.seconds + AROUND_SECONDS).decode(),
        "decision": "denied",
    } | ({"task": header.task} if header.task else {"who": header.chain[-1]} if header.chain else {})
    found: list[AuditEntry] = []
    with worded(), closing(Index.open(trail)) as index:
        index.update()
        for one in index.search(query_of(words, time.time()), SeesAll()):
            found.append(one.entry)
            if len(found) == MOST_REFUSED:
                break
    return found


def _line(entry: AuditEntry, header: Header) -> Line:
    at = datetime.fromisoformat(entry.received_at).timestamp() * MICROSECONDS - header.began
    return Line(round(at), "refused", f"{entry.code} {entry.verb} {entry.request_uri}: {entry.reason}")


def _write(parts: Iterable[bytes], file: Path | None) -> None:
    if file is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    # Whole or not at all, and for its owner alone: it says what the recording says.
    descriptor, temporary = tempfile.mkstemp(dir=file.absolute().parent, prefix=".export-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(parts)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
