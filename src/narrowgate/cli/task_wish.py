"""What whoever wants access says on the command line: what for, how long, what it takes, and within which limits.

Asking for a task and handing on a part of one say it in the same words; what no gate would take is misuse (exit 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from narrowgate.cli.task_handover import REQUESTS, STREAMS, worded_as
from narrowgate.core.duration import seconds_of
from narrowgate.core.task_fields import task_purpose_problem
from narrowgate.core.wanted import read_wanted


def reason_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--reason`."""
    return click.option("--reason", required=True, metavar="TEXT", help="What it is for, in one line.")(function)


def lasts_option(limit: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--for`; `limit` says what bounds it."""
    return click.option("--for", "lasts", default="", metavar="TIME", help=f"How long, like 10m{limit}.")


def allow_option(example: str, *, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--allow`."""
    text = f"What it takes, {example}; can be given again."
    return click.option("--allow", multiple=True, required=required, metavar="WORDS", help=text)


def limit_options(about_requests: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--max-requests` and `--max-streams`."""
    requests = click.option("--max-requests", type=REQUESTS, help=f"At most so many requests in all{about_requests}.")
    streams = click.option("--max-streams", type=STREAMS, help="At most so many watches, execs and such at one time.")
    return lambda function: requests(streams(function))


def kubeconfig_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--kubeconfig`, into which a new credential is written."""
    path = click.Path(path_type=Path)
    return click.option("--kubeconfig", type=path, metavar="FILE", help="Write a kubeconfig (mode 0600).")(function)


def wish_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted, as the API reads it. Raises click.BadParameter for what no gate would take."""
    if problem := task_purpose_problem(options["reason"]):
        raise click.BadParameter(problem.removeprefix("purpose: "), param_hint="--reason")
    if options["lasts"]:
        with worded_as("--for"):
            seconds_of(options["lasts"])
    with worded_as("--allow"):
        for number, text in enumerate(options["allow"], 1):
            read_wanted(text, number)
    return {
        "purpose": options["reason"],
        "for": options["lasts"],
        "allow": list(options["allow"]),
        **limits_of(options),
    }


def limits_of(options: Mapping[str, Any]) -> dict[str, int | None]:
    """The limits that are wanted."""
    return {"maxRequests": options["max_requests"], "maxStreams": options["max_streams"]}
