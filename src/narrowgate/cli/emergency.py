"""`narrowgate tasks request --emergency`: what goes with it, and what a person is told who takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from narrowgate.cli.output import note, write_json
from narrowgate.core.emergency import emergency_purpose_problem

_OTHERS = {
    "agent": "--agent: an emergency is for yourself, and for no agent",
    "credential_file": "--credential-file: an emergency is taken by whoever is signed in",
    "key_file": "--key-file: an emergency is taken by whoever is signed in",
    "from_denied": "--from-denied: say what an emergency takes with --allow",
    "max_requests": "--max-requests: an emergency has the limits of its rules",
    "max_streams": "--max-streams: an emergency has the limits of its rules",
    "no_wait": "--no-wait: an emergency waits for nobody",
}
"""Options that mean something for other tasks alone, and why not here."""


def check_emergency(options: Mapping[str, Any]) -> None:
    """Raise click.UsageError for what does not go with an emergency, or says too little for one."""
    for name, why in _OTHERS.items():
        if options[name]:
            raise click.UsageError(why)
    if not options["cluster"]:
        raise click.UsageError("--cluster: say where the emergency is")
    if problem := emergency_purpose_problem(options["reason"]):
        raise click.BadParameter(problem.removeprefix("purpose: "), param_hint="--reason")


def tell_emergency_offer(offer: Mapping[str, Any], output: str) -> None:
    """Say what would begin."""
    if output == "json":
        write_json(offer)
        return
    rules, reviewers = offer.get("rules", ()), offer.get("reviewers", ())
    click.echo(f"cluster: {_line(offer.get('cluster'))}")
    click.echo(f"lasts: {_line(offer.get('lasts'))}")
    click.echo(f"rules: {', '.join(map(_line, rules))}")
    asked = [f"{_line(one.get('count'))} of {_line(one.get('group'))}" for one in reviewers]
    click.echo(f"reviewed by: {', '.join(asked)}")


def tell_emergency(task: Mapping[str, Any]) -> None:
    """Say what follows, on stderr."""
    note(f"this is an emergency: people are told, and asked whether it was in order, as approval {_review(task)}")


def state_shown(task: Mapping[str, Any]) -> str:
    """The state of a task as lists have it, with the mark of emergencies."""
    return _line(task.get("state")) + (" (emergency)" if task.get("emergency") is True else "")


def review_shown(task: Mapping[str, Any]) -> str:
    """Where the review of an emergency is found; empty for every other task."""
    return f"yes; its review is approval {_review(task)}" if task.get("emergency") is True else ""


def _review(task: Mapping[str, Any]) -> str:
    return f"{_line(task.get('id'))}-review"


def _line(value: object) -> str:
    """A value of the gate's, without anything that moves the terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
