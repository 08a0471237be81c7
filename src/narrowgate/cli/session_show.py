"""`narrowgate sessions show`: what happened in one session, in sentences, and whether its recording can be believed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.cli.call_lines import document_of, write_calls
from narrowgate.cli.call_session import find_call_session
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.gate_address import gate_in_use
from narrowgate.cli.output import output_option, write_json
from narrowgate.cli.session_place import SessionPlace, hold_document, hold_text, opened_place, session_argument
from narrowgate.cli.session_tree import tree_by_gate, tree_here
from narrowgate.cli.task_trees import show_tree, tree_options
from narrowgate.core.recording import Entry, Header
from narrowgate.core.session_story import Story, Telling, sentences, size_text, story_document
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.errors import RecordingDamaged
from narrowgate.recordings.reading import Recording, Report
from narrowgate.wire.tar_stream import TarStream

_RESUMED = re.compile(r"tail -c\+(\d+)")
"""How `kubectl cp --retries` goes on in the middle (k8s.io/kubectl/pkg/cmd/cp)."""


class Integrity(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a recording is what was written: by itself, and by what the record says of it."""

    is_whole: bool
    said: str
    vouched_blocks: int = 0
    blocks: int = 0


@click.command()
@session_argument
@tree_options
@click.option("--gate", default="", metavar="URL", help="With --tree: ask this gate, as who is signed in there.")
@output_option
def show(session: str, config: str | None, tree: bool, svg: Path | None, gate: str, output: str) -> None:
    """Tell what happened in a session. Exit code 1 where its recording is not what was written.

    ID may also be that of a task, or of a sign-in: then its calls are told. With --tree all that belongs together: the
    task or sign-in that the session is of, what hangs on it, and the session among the others.
    """
    if tree or svg is not None or gate:
        if gate and config:
            raise click.UsageError("--gate asks a gate and --config names local files; give one of them")
        if gate and not (tree or svg is not None):
            raise click.UsageError("a gate tells trees: --tree or --svg FILE; recordings are read where they are kept")
        root = tree_by_gate(gate_in_use(gate), session) if gate else tree_here(opened_place(config), session)
        show_tree(root, svg, output)
        return
    place = opened_place(config)
    calls = find_call_session(place, session)
    if calls is not None:
        if output == "json":
            write_json(document_of(place, calls))
        else:
            write_calls(place, calls, with_changes=False)
        return
    name = place.find(session)
    with place.open(name) as recording:
        telling, files = Telling(recording.header), copied_files(recording.header)
        problem = _read(recording, telling, files)
        story = telling.finish()
        if files is not None and files.is_sent:
            # An archive, and nothing that anybody typed.
            story.typed, story.more_typed = [], 0
        whole = integrity_of(place, name, recording, problem)
    hold = place.store.held(name)
    if output == "json":
        write_json(_document(name, story, files, whole) | {"hold": hold_document(hold)})
    else:
        _write(story, files, whole)
        if hold is not None:
            click.echo(plain(f"Its recording is on hold: {hold_text(hold)}"))
    if not whole.is_whole:
        raise click.exceptions.Exit(1)


class CopiedFiles:
    """The files of a `kubectl cp`, read from the tar stream that it is."""

    def __init__(self, channel: Channel, *, is_resumed: bool = False) -> None:
        self._channel = channel
        self._is_resumed = is_resumed
        self._stream = TarStream()

    @property
    def said(self) -> str:
        """Which way they went."""
        return "into the pod" if self.is_sent else "out of the pod"

    @property
    def is_sent(self) -> bool:
        """Whether the client sent them."""
        return self._channel is Channel.STDIN

    @property
    def stream(self) -> TarStream:
        """What was found."""
        return self._stream

    @property
    def problem(self) -> str:
        """What keeps some of them from being known; empty where all are."""
        if self._is_resumed:
            return "the copy went on where another one had broken off: see that session for what came before"
        return self._stream.problem

    def feed(self, entry: Entry) -> None:
        """Take in an entry of the recording."""
        if isinstance(entry.what, ChannelData) and entry.what.channel is self._channel and not self._is_resumed:
            self._stream.feed(entry.what.data)


def copied_files(header: Header) -> CopiedFiles | None:
    """What reads the files that move with this command; None where it is none that moves files as `kubectl cp` does.

    `tar cf - PATH` and `tar -xmf - -C FOLDER`; with retries `sh -c "tar cf - PATH | tail -c+N"`.
    """
    command = header.command
    if header.tty or len(command) < 2:
        return None
    if command[0] == "sh" and len(command) == 3 and command[2].startswith("tar cf -"):
        resumed = _RESUMED.search(command[2])
        return CopiedFiles(Channel.STDOUT, is_resumed=resumed is not None and int(resumed[1][:18]) > 1)
    if command[0].rpartition("/")[2] != "tar" or "-" not in command[2:3]:
        return None
    flags = command[1].lstrip("-")
    if "x" in flags:
        return CopiedFiles(Channel.STDIN)
    return CopiedFiles(Channel.STDOUT) if "c" in flags else None


def _read(recording: Recording, telling: Telling, files: CopiedFiles | None) -> str:
    """Read all of it; what is damaged, empty where nothing is."""
    try:
        for entry in recording.entries():
            telling.feed(entry)
            if files is not None:
                files.feed(entry)
    except RecordingDamaged as error:
        return str(error)
    finally:
        if files is not None:
            files.stream.finish()
    return ""


def integrity_of(place: SessionPlace, name: str, recording: Recording, problem: str = "") -> Integrity:
    """Whether it is what was written, by itself and by the record. `problem` is what reading it has shown already."""
    if problem:
        return Integrity(False, f"The recording is damaged: {problem}.")
    heads = place.vouched(name, recording.header)
    try:
        report = recording.check(heads)
    except RecordingDamaged as error:
        return Integrity(False, f"The recording is not what was written: {error}.")
    vouched = max((head.blocks for head in heads), default=0)
    # A gate says the end of every recording of its own: one that it says nothing of may have been put there.
    is_known = bool(heads) or not report.finished
    return Integrity(is_known, _said(report, vouched), vouched, report.blocks)


def _said(report: Report, vouched: int) -> str:
    if not report.finished:
        rest = f", and {report.unread_bytes} bytes behind them cannot be read" if report.unread_bytes else ""
        return (
            f"The recording has no end yet: {report.entries} entries, {report.blocks} whole blocks{rest}; the record "
            f"vouches for {vouched} of them. It is being written, or its gate was killed."
        )
    whole = f"The recording is whole: {report.entries} entries in {report.blocks} blocks."
    if not vouched:
        return (
            "The recording fits together, but the record says nothing of it: either those entries were let go, or no "
            "gate of this record has written it."
        )
    if vouched == report.blocks:
        return f"{whole} The record vouches for all of it (`narrowgate audit verify` for the record itself)."
    return f"{whole} The record vouches for {vouched} of them; older entries of it may have been let go."


def _document(name: str, story: Story, files: CopiedFiles | None, whole: Integrity) -> dict[str, Any]:
    document = story_document(story) | {"recording": name, "integrity": msgspec.to_builtins(whole)}
    if files is not None:
        document["files"] = {
            "direction": files.said,
            "items": [msgspec.to_builtins(file) for file in files.stream.files],
            "unlisted": files.stream.unlisted,
            "problem": files.problem,
        }
    return document


def _write(story: Story, files: CopiedFiles | None, whole: Integrity) -> None:
    for sentence in sentences(story):
        click.echo(plain(sentence))
    if story.typed:
        # What went to a program through a pipe was not typed by anybody.
        click.echo("Typed:" if story.header.tty else "Sent to the program:")
        for line in story.typed:
            click.echo(f"    {plain(line)}")
        if story.more_typed:
            click.echo(f"    ... and {story.more_typed} more lines")
    if files is not None:
        _write_files(files)
    click.echo(plain(whole.said))


def _write_files(files: CopiedFiles) -> None:
    found = files.stream.files
    click.echo(f"Files that moved {files.said}:" if found else f"No files are known to have moved {files.said}.")
    for file in found:
        what = f"{size_text(file.size)}, sha256 {file.sha256 or 'not known'}" if file.kind == "file" else file.kind
        click.echo(f"    {plain(file.name)}  {what}")
    if files.stream.unlisted:
        click.echo(f"    ... and {files.stream.unlisted} more")
    if files.problem:
        click.echo(f"    {plain(files.problem)}")
