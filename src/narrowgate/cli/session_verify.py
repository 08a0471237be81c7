"""`narrowgate sessions verify`: whether recordings are what was written, by what the record vouches for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from narrowgate.cli.audit_place import PROGRESS_EVERY, progress_of
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.output import config_option, output_option, write_json
from narrowgate.cli.session_place import SessionPlace, opened_place
from narrowgate.core.moment import moment_of
from narrowgate.core.recording import RecordingHead
from narrowgate.core.session_story import MICROSECONDS
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.listing import session_of
from narrowgate.recordings.port import NoSuchRecording
from narrowgate.recordings.verification import Fault, Found, Wrong, unreadable, verified
from narrowgate.trail.recording_heads import furthest_heads

_DAY_SECONDS: Final = 86_400.0

_BEHIND_SECONDS: Final = 60.0
"""Before the record was read, as long as a recording can be without a word in it: a second, and the clocks."""


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All recordings, and whether any is missing.")
@config_option
@output_option
def verify(ids: tuple[str, ...], config: str | None, output: str, *, is_all: bool) -> None:
    """Check that recordings are what was written. Exit code 0 when so, 1 when not.

    Every recording is read, and held against what the record vouches for: missing, changed, shortened, swapped,
    unvouched. For the record itself: `narrowgate audit verify`.
    """
    if bool(ids) == is_all:
        raise click.UsageError("name sessions, or give --all")
    place = opened_place(config)
    heads: dict[str, list[RecordingHead]] = {}
    began = time.time()
    if place.trail.is_dir():
        with progress_of("reading the record") as progress:
            heads = furthest_heads(place.trail, progress)
    check = Check(place, heads, began)
    names = check.all_names() if is_all else [check.named(one) for one in ids]
    with _counting(len(names)) as done:
        results = [_counted(check.result(name), done) for name in names]
    wrong = [one for one in results if isinstance(one, Wrong)]
    gone = sum(one is None for one in results)
    if output == "json":
        write_json(_document(results, wrong, gone))
    else:
        _write(results, wrong, gone)
    if wrong:
        raise click.exceptions.Exit(1)


class Check:
    """Recordings of one gate, held against its record as it was read a moment ago."""

    def __init__(self, place: SessionPlace, heads: dict[str, list[RecordingHead]], began: float) -> None:
        """`began` is when the record was begun to be read, Unix seconds."""
        self._place = place
        self._heads = heads
        self._began = began

    def all_names(self) -> list[str]:
        """Every recording that is somewhere, or that the record speaks of, newest day first."""
        return sorted({*self._place.names(), *self._heads}, reverse=True)

    def named(self, session: str) -> str:
        """The recording of a session by its id or a part of it, also where only the record knows it. Raises Failed."""
        known = [name for name in self._heads if session_of(name) == session]
        return known[0] if known else self._place.find(session)

    def result(self, name: str) -> Found | Wrong | None:
        """What was found; None for one that retention has removed, or may have."""
        # Before it is opened: one that is finished meanwhile is no damaged one.
        is_waiting = self._place.is_unfinished(name)
        try:
            with self._place.open(name) as recording:
                found = verified(name, recording, self._heads.get(name, ()), is_waiting=is_waiting)
                if not isinstance(found, Wrong) or found.fault is not Fault.UNVOUCHED:
                    return found
                if recording.header.began / MICROSECONDS > self._began - _BEHIND_SECONDS:
                    # It began behind the place in the record at which this began to read.
                    heads = self._place.vouched(name, recording.header)
                    return verified(name, recording, heads, is_waiting=is_waiting)
                return None if self._is_past(name, self._place.config.audit.retention) else found
        except NoSuchRecording:
            if self._is_past(name, self._place.config.recordings_kept.shortest):
                return None
            return Wrong(name=name, fault=Fault.MISSING, said=f"{name}: the record vouches for it, and it is nowhere")
        except (RecordingDamaged, RecordingKeyMissing, NewerRecording) as error:
            return unreadable(name, error)

    def _is_past(self, name: str, kept: float | None) -> bool:
        """Whether what began on the day of this name may be over by a retention of so many seconds."""
        if kept is None:
            return False
        try:
            return moment_of(f"{name[:10]}T00:00:00Z") + kept < self._began
        except ValueError:
            return False


def _counted(result: Found | Wrong | None, done: Callable[[], None]) -> Found | Wrong | None:
    done()
    return result


@contextmanager
def _counting(total: int) -> Iterator[Callable[[], None]]:
    """How many are done, on one line of a terminal; nothing where nobody looks."""
    count, shown = 0, time.monotonic()

    def done() -> None:
        nonlocal count, shown
        count += 1
        now = time.monotonic()
        if sys.stderr.isatty() and now - shown >= PROGRESS_EVERY:
            shown = now
            click.echo(f"\rverifying: {count} of {total} recordings", nl=False, err=True)

    try:
        yield done
    finally:
        if sys.stderr.isatty():
            click.echo("\r" + " " * 60 + "\r", nl=False, err=True)


def _document(results: Sequence[Found | Wrong | None], wrong: Sequence[Wrong], gone: int) -> dict[str, Any]:
    found = [one for one in results if isinstance(one, Found)]
    return {
        "content": not wrong,
        "recordings": len(found),
        "blocks": sum(one.blocks for one in found),
        "vouchedBlocks": sum(one.vouched for one in found),
        "unfinished": sum(not one.finished for one in found),
        "partlyVouched": [session_of(one.name) for one in found if one.finished and one.vouched < one.blocks],
        "letGo": gone,
        "problems": [
            {"session": session_of(one.name), "recording": one.name, "fault": one.fault.value, "message": one.said}
            for one in wrong
        ],
    }


def _write(results: Sequence[Found | Wrong | None], wrong: Sequence[Wrong], gone: int) -> None:
    for each in wrong:
        click.echo(f"{each.fault.value.upper():<10}  {session_of(each.name)}  {plain(each.said)}")
    if gone:
        click.echo(f"note        {gone} are older than what is kept, of recordings or of the record: nobody can say")
    found = [one for one in results if isinstance(one, Found)]
    for one in found:
        if one.finished and one.vouched < one.blocks:
            # A gate that is killed within a moment of the end has not said it; whoever adds to one does not either.
            said = f"the record vouches for {one.vouched} of {one.blocks} blocks, and has not seen its end"
            click.echo(f"note        {session_of(one.name)}  {said}")
    if wrong:
        click.echo(
            f"NOT CONTENT: {len(wrong)} of {len(results)} recordings are not what was written, or cannot be read"
        )
        return
    blocks, vouched = sum(one.blocks for one in found), sum(one.vouched for one in found)
    click.echo(f"content: {len(found)} recordings, {blocks} blocks, {vouched} of them vouched for by the record")
