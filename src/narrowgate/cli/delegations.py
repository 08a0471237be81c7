"""`narrowgate approvals delegate|delegations|undelegate`: who answers in somebody's place while they are away."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import click

from narrowgate.cli.api_calls import called_by_person
from narrowgate.cli.gate_address import gate_in_use
from narrowgate.cli.output import note, output_option, write_json, write_table
from narrowgate.core.moment import moment_of, moment_text

PAGE = 100
"""Delegations asked for at a time."""

MOST_SHOWN = 1000
"""Of one list; nobody reads more."""

_gate_option = click.option(
    "--gate",
    default="",
    envvar="NARROWGATE_GATE",
    metavar="URL",
    help="The gate's control port (default: $NARROWGATE_GATE, the one used last).",
)


@click.command()
@click.option("--to", required=True, metavar="PERSON", help="Who answers in your place, as `whoami` names them.")
@click.option("--until", required=True, metavar="TIME", help="A day (its last) or a moment; 30 days at most.")
@click.option("--from", "begins", default="", metavar="TIME", help="A day (its first) or a moment (default: now).")
@click.option("--groups", default="", metavar="GROUP,...", help="For these groups of yours (default: all of them).")
@click.option("--comment", default="", help="One line.")
@_gate_option
@output_option
def delegate(to: str, until: str, gate: str, output: str, **options: str) -> None:
    """Say who answers in your place while you are away.

    They count as you would, and once in all; never for what you, or they, may not answer. Your own answer goes first.
    """
    body: dict[str, Any] = {"to": to, "until": _moment(until, "--until", last=True)}
    if options["begins"]:
        body["from"] = _moment(options["begins"], "--from", last=False)
    if options["groups"]:
        body["groups"] = [group.strip() for group in options["groups"].split(",") if group.strip()]
    if options["comment"]:
        body["comment"] = options["comment"]
    made = called_by_person(gate_in_use(gate), "POST", "/delegations", body)
    if output == "json":
        write_json(made)
        return
    note(
        f"{_text(made, 'to')} answers in your place for {_text(made, 'groups')} from {_text(made, 'from')} until "
        f"{_text(made, 'until')}; `approvals undelegate {_text(made, 'id')}` ends that, and so does signing out"
    )


@click.command("delegations")
@click.option("--all", "over", is_flag=True, help="Those that are over, too.")
@_gate_option
@output_option
def list_delegations(over: bool, gate: str, output: str) -> None:
    """List who answers in your place, and in whose place you answer."""
    found = _listed(gate_in_use(gate), over=over)
    if output == "json":
        write_json(found)
        return
    heads = ("ID", "STATE", "AWAY", "ANSWERS", "GROUPS", "FROM", "UNTIL", "COUNTS NOW FOR")
    names = ("id", "state", "person", "to", "groups", "from", "until", "countsFor")
    rows = [tuple(_text(one, name) or "-" for name in names) for one in found]
    write_table(heads, rows, "nobody answers in your place, nor you in anybody's")


@click.command()
@click.argument("delegation")
@_gate_option
@output_option
def undelegate(delegation: str, gate: str, output: str) -> None:
    """Take it back; what was said in your place and is not used yet counts no more."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", delegation):
        see = "this is no id of a delegation: see `narrowgate approvals delegations`"
        raise click.BadParameter(see, param_hint="DELEGATION")
    ended = called_by_person(gate_in_use(gate), "POST", f"/delegations/{delegation}/end")
    if output == "json":
        write_json(ended)
    else:
        note(f"{_text(ended, 'to')} does not answer in {_text(ended, 'person')}'s place any more")


def _listed(gate: str, *, over: bool) -> list[dict[str, Any]]:
    """Every page of the list, the first MOST_SHOWN. Raises Failed, Unusable."""
    found: list[dict[str, Any]] = []
    behind = ""
    while len(found) < MOST_SHOWN:
        query = {"limit": str(PAGE)} | ({"all": "true"} if over else {}) | ({"continue": behind} if behind else {})
        page = called_by_person(gate, "GET", f"/delegations?{urlencode(query)}")
        items, meta = page.get("items"), page.get("metadata")
        found += [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
        behind = str(meta.get("continue") or "") if isinstance(meta, dict) else ""
        if not behind:
            return found
    note(f"these are {len(found)}; there are more")
    return found


def _moment(text: str, option: str, *, last: bool) -> str:
    """A moment as the API reads it; a day is its midnight, UTC: its end where it is the last. Raises BadParameter."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return moment_text((day + timedelta(days=1) if last else day).timestamp())
    except (ValueError, OverflowError):
        pass
    try:
        return moment_text(moment_of(text))
    except ValueError as error:
        raise click.BadParameter(f"{error}, or like 2026-12-31", param_hint=option) from error


def _text(document: dict[str, Any], name: str) -> str:
    """A value of the gate's as text, without anything that moves the terminal's cursor."""
    value = document.get(name)
    shown = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in shown)
