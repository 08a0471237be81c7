"""`narrowgate audit`: who did what when, whether the record is whole, and the record for other tools."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.cli.audit_place import place_options, progress_of, trail_folder, worded
from narrowgate.cli.audit_search import search, show
from narrowgate.cli.output import write_json
from narrowgate.config import find_config
from narrowgate.core.audit_query import moment_before
from narrowgate.trail.findings import Finding
from narrowgate.trail.read import events
from narrowgate.trail.signing import Verifier
from narrowgate.trail.verify import JournalReport, Report, verify


class Moment(click.ParamType[str]):
    """A point in time: how long ago (`10m`, `2h`, `7d`), or RFC 3339 (UTC where it names no offset)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return it as the trail writes times."""
        try:
            return moment_before(str(value), time.time())
        except ValueError as error:
            self.fail(str(error))


@click.group()
def audit() -> None:
    """The record: search it, verify that nothing was changed, export it."""


audit.add_command(search)
audit.add_command(show)


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
@place_options
def verify_command(
    config: str | None, data_dir: Path | None, checkpoints: Path | None, public_key: Path | None, output: str
) -> None:
    """Check that nothing in the record was changed, removed or added. Exit code 0 when so, 1 when not.

    A gate may be writing meanwhile. Keep a copy of the checkpoints and the public key on another machine: whoever can
    change everything in the data folder, key included, can only be caught with those.
    """
    folder = trail_folder(config, data_dir)
    if checkpoints is None and data_dir is None:
        named = find_config(config).audit.checkpoints
        checkpoints = named if named is not None and named.exists() else None
    with worded(), progress_of("verifying") as progress:
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
@place_options
def export(config: str | None, data_dir: Path | None, form: str, since: str | None, until: str | None) -> None:
    """Write the events to standard output, in order of time, for tools that read Kubernetes' audit log."""
    folder = trail_folder(config, data_dir)
    out = sys.stdout.buffer
    before = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[\n' if form == "audit" else b""
    between, after = (b",\n", b"\n]}\n") if form == "audit" else (b"\n", b"\n")
    with worded():
        out.write(before)
        wrote = False
        for line in events(folder, since or "", until or "~"):
            out.write(between + line.event if wrote else line.event)
            wrote = True
        out.write(after if wrote or form == "audit" else b"")
        out.flush()


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
