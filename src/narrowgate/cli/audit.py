"""`narrowgate audit`: who did what when, whether the record is whole, and the record for other tools."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.cli.output import config_option, note, write_json, write_table
from narrowgate.config import find_config
from narrowgate.core.audit import timestamp
from narrowgate.core.audit_chain import NewerFormat
from narrowgate.core.duration import seconds_of
from narrowgate.trail.findings import Finding
from narrowgate.trail.index import Entry, Filters, Index, IndexUnusable
from narrowgate.trail.read import events
from narrowgate.trail.signing import NoSuchKey, Verifier
from narrowgate.trail.verify import JournalReport, NoTrail, Report, verify

DEFAULT_LIMIT = 100
"""Requests that a search shows when nothing is said: some screens, and what a person reads."""

TABLE_WIDTH = 120
"""Characters of the plain table; `-o wide` cuts nothing."""

PROGRESS_EVERY = 0.2
"""Seconds between two lines of progress on a terminal."""

DECISIONS = ("allow", "deny", "needs-approval", "malformed", "error")


class Moment(click.ParamType[str]):
    """A point in time: how long ago (`10m`, `2h`, `7d`), or RFC 3339 (UTC where it names no offset)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return it as the trail writes times."""
        text = str(value)
        try:
            return timestamp(time.time() - seconds_of(text)).decode()
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time; write how long ago (10m, 2h, 7d) or RFC 3339 (2026-01-31T12:00:00Z)")
        at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if at.timestamp() < 0:
            self.fail(f"{text!r} lies before 1970; write a later time")
        return timestamp(at.timestamp()).decode()


@click.group()
def audit() -> None:
    """The record: search it, verify that nothing was changed, export it."""


def _place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE` and `--data-dir DIR`: which gate's record."""
    return config_option(
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="A gate's data folder, or a copy of it; instead of --config.",
        )(function)
    )


@audit.command()
@click.option("--who", default="", metavar="NAME", help="The user, or anybody in the chain: agent:ci, or just ci.")
@click.option("--verb", default="", help="get, list, create, delete, ...")
@click.option("--resource", default="", metavar="RESOURCE", help="pods, pods/exec, deployments.apps, ...")
@click.option("-n", "--namespace", default="", help="Namespace of the object.")
@click.option("--name", default="", help="Name of the object.")
@click.option("--decision", type=click.Choice(DECISIONS), default=None, help="What was decided.")
@click.option("--cluster", default="", help="Name of the cluster.")
@click.option("--rule", default="", metavar="POLICY[/RULE]", help="The rule that decided, or its policy.")
@click.option("--id", "audit_id", default="", metavar="ID", help="The audit id (header Audit-ID of the answer).")
@click.option("--noticed", is_flag=True, help="Only what revealed a credential in two places, or in others' hands.")
@click.option("--since", type=Moment(), default=None, help="Not before: 10m, 2h, or RFC 3339.")
@click.option("--until", type=Moment(), default=None, help="Before: 10m, 2h, or RFC 3339.")
@click.option(
    "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="The latest so many; 0: all."
)
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table", show_default=True, help="Form."
)
@_place_options
def search(config: str | None, data_dir: Path | None, output: str, **wanted: Any) -> None:
    """Show requests, oldest first: who asked what when, and what was decided."""
    folder = _trail(config, data_dir)
    filters = Filters(**{field: value for field, value in wanted.items() if value is not None})
    with _worded():
        index = Index.open(folder)
        try:
            with _progress("indexing") as progress:
                index.update(progress)
            found = list(index.search(filters))
            if index.unreadable:
                note(f"{index.unreadable} lines cannot be read: run `narrowgate audit verify`")
        finally:
            index.close()
    if output == "json":
        write_json(found)
        return
    _write_entries(found, wide=output == "wide", noticed=filters.noticed)
    if filters.limit and len(found) == filters.limit:
        note(f"the latest {len(found)}; more with --limit")


@audit.command(name="verify")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A copy of the checkpoints kept elsewhere (default: what the configuration names).",
)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The trail's public key, PEM (default: keys/checkpoint.pub in the data folder).",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Form.")
@_place_options
def verify_command(
    config: str | None, data_dir: Path | None, checkpoints: Path | None, public_key: Path | None, output: str
) -> None:
    """Check that nothing in the record was changed, removed or added. Exit code 0 when so, 1 when not.

    A gate may be writing meanwhile. Keep a copy of the checkpoints and the public key on another machine: whoever can
    change everything in the data folder, key included, can only be caught with those.
    """
    folder = _trail(config, data_dir)
    if checkpoints is None and data_dir is None:
        named = find_config(config).audit.checkpoints
        checkpoints = named if named is not None and named.exists() else None
    with _worded(), _progress("verifying") as progress:
        key = public_key or folder.parent / "keys" / "checkpoint.pub"
        report = verify(folder, Verifier.from_pem(key.read_bytes()), checkpoints=checkpoints, progress=progress)
    if output == "json":
        write_json(_document(report))
    else:
        _write_report(report)
    if not report.content:
        sys.exit(1)


@audit.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["audit", "jsonl"]),
    default="jsonl",
    show_default=True,
    help="audit: one audit.k8s.io/v1 EventList. jsonl: one Event a line, as the API server's log backend writes.",
)
@click.option("--since", type=Moment(), default=None, help="Not before: 10m, 2h, or RFC 3339.")
@click.option("--until", type=Moment(), default=None, help="Before: 10m, 2h, or RFC 3339.")
@_place_options
def export(config: str | None, data_dir: Path | None, form: str, since: str | None, until: str | None) -> None:
    """Write the events to standard output, in order of time, for tools that read Kubernetes' audit log."""
    folder = _trail(config, data_dir)
    out = sys.stdout.buffer
    before = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[\n' if form == "audit" else b""
    between, after = (b",\n", b"\n]}\n") if form == "audit" else (b"\n", b"\n")
    with _worded():
        out.write(before)
        wrote = False
        for line in events(folder, since or "", until or "~"):
            out.write(between + line.event if wrote else line.event)
            wrote = True
        out.write(after if wrote or form == "audit" else b"")
        out.flush()


def _trail(config: str | None, data_dir: Path | None) -> Path:
    if config is not None and data_dir is not None:
        raise click.UsageError("--config and --data-dir both say where the record is; give one of them")
    folder = (data_dir if data_dir is not None else find_config(config).data_dir) / "trail"
    if not folder.is_dir():
        raise click.ClickException(f"{folder}: no record here; start the gate once, or name its data folder")
    return folder


@contextmanager
def _worded() -> Iterator[None]:
    """The trail's own errors are worded for the reader already."""
    try:
        yield
    except (NoTrail, NewerFormat, NoSuchKey, IndexUnusable) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """Progress on one line of a terminal; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= PROGRESS_EVERY:
            shown = now
            click.echo(f"\r{doing}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", nl=False, err=True)

    try:
        yield show
    finally:
        click.echo("\r" + " " * 60 + "\r", nl=False, err=True)


def _write_entries(found: list[Entry], *, wide: bool, noticed: bool) -> None:
    heads = ["TIME", "WHO", "VERB", "WHAT", "CODE", "DECISION", "NOTICED" if noticed else "RULE OR REASON"]
    rows = [[*_cells(entry), entry.noticed if noticed else entry.rule or entry.reason] for entry in found]
    if wide:
        heads += ["CLUSTER", "CHAIN", "SOURCE", "ID"]
        rows = [
            [*row, entry.cluster, " > ".join(entry.chain), entry.source_ip, entry.audit_id]
            for row, entry in zip(rows, found, strict=True)
        ]
    else:
        limits = (20, 22, 9, 30, 6, 8)
        rows = [[*map(_cut, row, limits), row[-1]] for row in rows]
        used = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(limits))]
        last = TABLE_WIDTH - sum(used) - 2 * len(limits)
        rows = [[*row[:-1], _cut(row[-1], last)] for row in rows]
    write_table(heads, rows, "nothing in the record matches")


def _cells(entry: Entry) -> list[str]:
    what = entry.resource + (f".{entry.api_group}" if entry.api_group else "")
    what += f"/{entry.subresource}" if entry.subresource else ""
    place = "/".join(part for part in (entry.namespace, entry.name) if part)
    # Whoever looks for what was refused finds it by eye: only what was allowed is in small letters.
    decision = {"allow": "allow", "needs-approval": "ASK", "malformed": "BAD", "": "-"}.get(entry.decision)
    return [
        f"{entry.received_at[:19]}Z",
        entry.user,
        entry.verb,
        f"{what} {place}".strip() if entry.resource else entry.request_uri,
        # Three dots: it runs, or the gate was killed before it ended.
        (str(entry.code) if entry.code else "") + ("" if entry.finished_at else "..."),
        decision or entry.decision.upper(),
    ]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _document(report: Report) -> dict[str, Any]:
    return {
        "content": report.content,
        "lines": sum(journal.lines for journal in report.journals),
        "bytes": report.bytes,
        "checkpoints": report.checkpoints,
        "journals": [msgspec.to_builtins(journal) for journal in report.journals],
        "problemCount": report.problem_count,
        "problems": [_finding(problem) for problem in report.problems],
        "notes": list(report.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "trouble": finding.trouble.value,
        "file": str(finding.file),
        "line": finding.line,
        "entry": finding.seq,
        "message": finding.message,
    }


def _write_report(report: Report) -> None:
    for problem in report.problems:
        click.echo(f"PROBLEM  {problem}")
    if report.problem_count > len(report.problems):
        click.echo(f"PROBLEM  and {report.problem_count - len(report.problems)} more")
    for text in report.notes:
        click.echo(f"note     {text}")
    for journal in report.journals:
        click.echo(f"journal  {_journal(journal)}")
    lines = sum(journal.lines for journal in report.journals)
    if report.content:
        click.echo(
            f"content: {lines} lines in {len(report.journals)} journals, {report.checkpoints} checkpoints; "
            "nothing was changed, removed or added"
        )
    else:
        count = f"{report.problem_count} problem{'s' if report.problem_count > 1 else ''}"
        click.echo(f"NOT CONTENT: {count} in {lines} lines; the record was changed at the places above")


def _journal(journal: JournalReport) -> str:
    unsealed = journal.head.seq - journal.sealed_seq
    text = f"{journal.writer}: {journal.lines} lines in {journal.segments} segments"
    if journal.dropped_through_seq:
        text += f", {journal.dropped_through_seq} older ones removed by retention"
    return text + (f", the last {unsealed} not sealed by a checkpoint yet" if unsealed > 0 else ", all sealed")
