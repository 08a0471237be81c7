"""`narrowgate sessions`: what was recorded of execs, attaches and port-forwards, and what runs now."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import click

from narrowgate.cli.doctor_report import plain
from narrowgate.cli.output import config_option, note, output_option, write_json, write_table
from narrowgate.cli.session_end import end
from narrowgate.cli.session_export import export
from narrowgate.cli.session_follow import follow
from narrowgate.cli.session_hold import hold, lift
from narrowgate.cli.session_place import Listed, hold_document, hold_text, opened_place
from narrowgate.cli.session_replay import replay
from narrowgate.cli.session_show import show
from narrowgate.cli.session_verify import verify
from narrowgate.core.audit_query import KINDS, moment_before
from narrowgate.core.moment import moment_of, moment_text
from narrowgate.core.recording import Header, Kind
from narrowgate.core.session_story import MICROSECONDS, length_text, place_text, what_text

DEFAULT_LIMIT = 50
"""Sessions that are listed when nothing is said: a screen."""

WIDEST_COMMAND = 40
"""Characters of a command in the table; `show` has all of it."""

_HEADS = ("ID", "BEGAN", "LENGTH", "WHO", "KIND", "CLUSTER", "POD", "COMMAND", "END", "HOLD")


@click.group()
def sessions() -> None:
    """Recorded sessions: list them, tell what happened, play them again, watch and end those that run."""


for command in (show, replay, export, follow, end, hold, lift, verify):
    sessions.add_command(command)


@sessions.command(name="list")
@click.option("--who", metavar="NAME", help="Anybody it spoke for: agent:ci, person:alice, or just ci.")
@click.option("--cluster", metavar="NAME", help="Name of the cluster.")
@click.option("-n", "--namespace", help="Namespace of the pod.")
@click.option("--pod", metavar="NAME", help="Name of the pod.")
@click.option("--since", metavar="TIME", help="Begun since then: 10m, 2h, 7d, or RFC 3339.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="What was recorded.")
@click.option("--live", is_flag=True, help="Only what runs now.")
@click.option(
    "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="The latest so many; 0: all."
)
@config_option
@output_option
def list_sessions(config: str | None, limit: int, output: str, **wanted: Any) -> None:
    """List recorded sessions, newest first: those that run, and those that are kept."""
    since = _moment(wanted.pop("since"))
    found = _matching(opened_place(config).listed(), wanted, since)
    shown = list(itertools.islice(found, limit) if limit else found)
    if output == "json":
        write_json([_document(one) for one in shown])
    else:
        write_table(_HEADS, [list(map(plain, _row(one))) for one in shown], "no recorded session matches")
    for one in shown:
        if one.problem:
            note(plain(one.problem))
    if limit and next(found, None) is not None:
        note(f"the latest {limit}; more with --limit")


def _moment(since: str | None) -> float | None:
    """Unix seconds. Raises click.BadParameter."""
    if not since:
        return None
    try:
        return moment_of(moment_before(since, time.time()))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--since'") from None


def _matching(found: Iterator[Listed], wanted: dict[str, Any], since: float | None) -> Iterator[Listed]:
    is_any = since is None and not any(wanted.values())
    for one in found:
        header = one.header
        if header is None:
            # Nobody knows whether it matches: it is shown with what is wrong with it where nothing is asked for.
            if is_any or (wanted["live"] and one.is_live):
                yield one
            continue
        if since is not None and header.began < since * MICROSECONDS:
            if header.began < (since - _DAY_SECONDS) * MICROSECONDS:
                # Days come newest first: nothing later in the list began later than a day after this one.
                return
            continue
        if _fits(header, wanted) and (one.is_live or not wanted["live"]):
            yield one


_DAY_SECONDS = 86_400


def _fits(header: Header, wanted: dict[str, Any]) -> bool:
    who = wanted["who"]
    names = {who, *(f"{kind}:{who}" for kind in KINDS)}
    return (
        (not who or not names.isdisjoint(header.chain))
        and wanted["cluster"] in (None, header.cluster)
        and wanted["namespace"] in (None, header.namespace)
        and wanted["pod"] in (None, header.pod)
        and wanted["kind"] in (None, header.kind.value)
    )


def _row(one: Listed) -> list[str]:
    header = one.header
    if header is None:
        return [one.session, one.name[:10], "-", "-", "-", "-", "-", "-", "cannot be read", _hold(one)]
    return [
        one.session,
        moment_text(header.began / MICROSECONDS),
        length_text(one.seconds),
        header.chain[-1] if header.chain else "-",
        header.kind.value,
        header.cluster,
        place_text(header),
        _cut(what_text(header)),
        _end(one),
        _hold(one),
    ]


def _end(one: Listed) -> str:
    if one.is_live:
        return "LIVE"
    if one.exited is not None and one.exited.code is not None:
        return f"exit {one.exited.code}"
    return one.ended.reason if one.ended is not None else "cut"


def _hold(one: Listed) -> str:
    return "" if one.hold is None else _cut(hold_text(one.hold))


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST_COMMAND else text[: WIDEST_COMMAND - 3] + "..."


def _document(one: Listed) -> dict[str, Any]:
    header = one.header
    if header is None:
        return {"session": one.session, "recording": one.name, "live": one.is_live, "problem": one.problem} | _held(one)
    return {
        "session": one.session,
        "recording": one.name,
        "live": one.is_live,
        "began": moment_text(header.began / MICROSECONDS),
        "seconds": one.seconds,
        "kind": header.kind.value,
        "chain": list(header.chain),
        "cluster": header.cluster,
        "namespace": header.namespace,
        "pod": header.pod,
        "container": header.container,
        "command": list(header.command),
        "tty": header.tty,
        "task": header.task,
        "exitCode": one.exited.code if one.exited is not None else None,
        "ended": one.ended.reason if one.ended is not None else None,
        "cut": not one.is_live and one.ended is None,
    } | _held(one)


def _held(one: Listed) -> dict[str, Any]:
    return {"hold": hold_document(one.hold)}
