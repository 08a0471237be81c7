"""`narrowgate audit search` and `show`: who did what when, newest first, and one request in full."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.cli.audit_place import place_options, progress_of, record_of, trail_folder, worded
from narrowgate.cli.audit_texts import line_below, opened_texts, rebuild_texts
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.output import note, write_json, write_table
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import AuditQuery, SeesAll, Unsearchable, query_of
from narrowgate.core.found_text import FoundEntry
from narrowgate.trail.index import Index
from narrowgate.trail.text_search import FoundRequest, with_places

DEFAULT_LIMIT = 100
"""Requests that a search shows when nothing is said: some screens, and what a person reads."""

TABLE_WIDTH = 120
"""Characters of the plain table; `-o wide` cuts nothing."""

_OPTIONS = {"audit_id": "id", "continue_": "continue"}
"""How an option is called where Python's name for it is another."""


@click.command()
@click.option("--who", metavar="NAME", help="The user, or anybody in the chain: agent:ci, or just ci.")
@click.option("--kind", metavar="KIND", help="What the sender is: agent, person, serviceaccount.")
@click.option("--owner", metavar="NAME", help="Who answers for the sender: person:alice, group:sre.")
@click.option("--since", metavar="TIME", help="Not before: 10m, 2h, or RFC 3339.")
@click.option("--until", metavar="TIME", help="Before: 10m, 2h, or RFC 3339.")
@click.option("--cluster", metavar="NAME", help="Name of the cluster.")
@click.option("-n", "--namespace", help="Namespace of the object.")
@click.option("--object", metavar="TYPE/NAME", help="deployments/web, deployments.apps/web, pods/db-0.")
@click.option("--resource", metavar="TYPE", help="pods, pods/exec, deployments.apps, ...")
@click.option("--name", help="Name of the object.")
@click.option("--verb", help="get, list, create, delete, ...")
@click.option("--decision", metavar="WORD", help="denied, allowed, waited (for people), failed.")
@click.option("--code", metavar="STATUS", help="The answer's HTTP status: 403, or 4xx.")
@click.option("--rule", metavar="POLICY[/RULE]", help="The rule that decided, or its policy.")
@click.option("--task", metavar="ID", help="The task it belongs to.")
@click.option("--approval", metavar="ID", help="The approval that it had, or waits for.")
@click.option("--source", metavar="IP", help="The address it came from.")
@click.option("--text", metavar="TEXT", help="Text in what was recorded of it, 3 characters or more.")
@click.option("--id", "audit_id", metavar="ID", help="The audit id (header Audit-ID of the answer).")
@click.option("--noticed", is_flag=True, help="Only what revealed a credential in two places, or in others' hands.")
@click.option(
    "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="The latest so many; 0: all."
)
@click.option("--continue", "continue_", type=click.IntRange(0), metavar="N", help="Go on behind what was shown.")
@click.option("--rebuild", is_flag=True, help="Make the search indexes anew first, of the record and of text.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="Form; jsonl is one entry a line, as they are found.",
)
@place_options
def search(
    config: str | None,
    data_dir: Path | None,
    output: str,
    limit: int,
    continue_: int | None,
    rebuild: bool,
    **wanted: Any,
) -> None:
    """Show requests, newest first: who asked what when, and what was decided."""
    query = _query(wanted)
    folder, known = record_of(config, data_dir)
    with worded(), _opened(folder, rebuild=rebuild) as index, ExitStack() as opened:
        if rebuild and known is not None:
            rebuild_texts(known)
        texts = opened.enter_context(opened_texts(folder, known, query.text))
        answers = index.search(query, SeesAll(), behind=continue_, texts=None if texts is None else texts.sessions)
        found = with_places(answers, texts)
        shown = itertools.islice(found, limit) if limit else found
        last = _write_lines(shown) if output == "jsonl" else _write_all(list(shown), output, noticed=wanted["noticed"])
        if last is not None and limit and next(found, None) is not None:
            note(f"the latest {limit}; more with --limit, or go on with --continue {last.number}")
        _note_astray(index)


@click.command()
@click.argument("audit_id", metavar="ID")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="Form.")
@place_options
def show(config: str | None, data_dir: Path | None, audit_id: str, output: str) -> None:
    """Show one request with everything that the record has of it, by its audit id."""
    folder = trail_folder(config, data_dir)
    query = _query({"audit_id": audit_id})
    with worded(), _opened(folder, rebuild=False) as index:
        found = [index.with_events(one) for one in index.search(query, SeesAll())]
        _note_astray(index)
    if not found:
        raise click.ClickException(f"the record has no request {audit_id}; see `narrowgate audit search`")
    if len(found) > 1:
        note(f"{len(found)} requests have this id; this is the latest, see `narrowgate audit search --id {audit_id}`")
    latest = found[0]
    if output == "json":
        write_json({"entry": latest.entry, "events": [msgspec.Raw(event) for event in latest.events]})
        return
    for name, value in msgspec.to_builtins(latest.entry).items():
        if value not in ("", 0, ()):
            click.echo(f"{name + ':':14}{plain(' > '.join(value) if isinstance(value, list | tuple) else value)}")
    for event in latest.events:
        click.echo()
        text = msgspec.json.format(event, indent=2).decode("utf-8", "replace")
        click.echo("\n".join(map(plain, text.split("\n"))))


def _query(wanted: dict[str, Any]) -> AuditQuery:
    """The question that the options put. A wrong one is misuse, and names its option."""
    words = {_OPTIONS.get(option, option): str(value) for option, value in wanted.items() if value}
    try:
        return query_of(words, time.time())
    except Unsearchable as error:
        raise click.BadParameter(str(error), param_hint=f"'--{error.word}'") from None


@contextmanager
def _opened(folder: Path, *, rebuild: bool) -> Iterator[Index]:
    """The index, brought up to date; where somebody else is at it for long, as it is, and that is said."""
    with closing(Index.open_anew(folder) if rebuild else Index.open(folder)) as index:
        with progress_of("indexing") as progress:
            filled = index.update(progress)
        if index.unreadable:
            note(f"{index.unreadable} lines cannot be read: run `narrowgate audit verify`")
        if not filled:
            note(
                f"the search index is behind: {index.behind() / 1e6:,.1f} MB of the record are not in it yet; "
                "another process is taking them in, so search again in a while"
            )
        yield index


def _note_astray(index: Index) -> None:
    if index.astray:
        note(
            f"the search index does not fit the record in {index.astray} places, which are left out: "
            "search again with --rebuild, and run `narrowgate audit verify`"
        )


def _write_lines(found: Iterable[FoundRequest]) -> FoundRequest | None:
    last = None
    for last in found:
        click.echo(msgspec.json.encode(last.entry).decode())
    return last


def _write_all(found: Sequence[FoundRequest], output: str, *, noticed: bool) -> FoundRequest | None:
    entries = [one.entry for one in found]
    if output == "json":
        write_json(entries)
    else:
        _write_table(entries, wide=output == "wide", noticed=noticed)
    return found[-1] if found else None


def _write_table(found: Sequence[FoundEntry], *, wide: bool, noticed: bool) -> None:
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
    below = [line_below(entry) for entry in found]
    write_table(heads, [list(map(plain, row)) for row in rows], "nothing in the record matches", below)


def _cells(entry: AuditEntry) -> list[str]:
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
