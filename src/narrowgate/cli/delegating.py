"""`narrowgate tasks delegate`: hand a part of a task to a delegate, with a credential of its own.

Whoever works on the task calls it: with the task's own kubeconfig or credential, or as its agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from narrowgate.cli.kubeconfig_file import refuse_foreign
from narrowgate.cli.output import output_option
from narrowgate.cli.task_caller import TaskCaller, proof_options
from narrowgate.cli.task_handover import REQUESTS, STREAMS, hand_over, path_of_task, proof_of, worded_as
from narrowgate.core.delegated_task import delegate_name_problem
from narrowgate.core.duration import seconds_of
from narrowgate.core.task_fields import task_purpose_problem
from narrowgate.core.wanted import read_wanted


@click.command()
@click.argument("task_id", metavar="[TASK]", default="")
@click.option("--name", required=True, metavar="NAME", help="What the delegate is called, like helper.")
@click.option("--reason", required=True, metavar="TEXT", help="What it is for, in one line.")
@click.option("--for", "lasts", default="", metavar="TIME", help="How long, like 10m; never longer than the task.")
@click.option(
    "--allow",
    multiple=True,
    required=True,
    metavar="WORDS",
    help='What it takes, like "get pods -n ci", no more than the task has; can be given again.',
)
@click.option("--max-requests", type=REQUESTS, help="At most so many requests in all; they count for the task, too.")
@click.option("--max-streams", type=STREAMS, help="At most so many watches, execs and such at one time.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Write a kubeconfig (mode 0600).")
@click.option(
    "--task-kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The kubeconfig of the task to delegate of; then TASK may be left out.",
)
@proof_options
@output_option
def delegate(task_id: str, output: str, **options: Any) -> None:
    """Hand a part of a task to a delegate: less of it, no longer than it, and it ends with it.

    Whatever the delegate does is judged for everybody in its chain, and counts for the task. Nobody is asked: whoever
    works on the task could do all of it. A delegate may delegate in turn, only less.
    """
    wish = _wish(options)
    kubeconfig = options["kubeconfig"]
    # What is to be written proves nobody; the task's own file does.
    caller = TaskCaller(proof_of({**options, "kubeconfig": options["task_kubeconfig"]}))
    path = path_of_task(caller, task_id)
    # What can be known to fail is found out before there is a credential that would be lost.
    if kubeconfig is not None:
        refuse_foreign(kubeconfig)
    server = caller.kubernetes_url()
    hand_over(caller, caller.post(f"{path}/delegate", wish), kubeconfig, server, output)


def _wish(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is delegated, as the API reads it. Raises click.BadParameter for what no gate would take."""
    if problem := delegate_name_problem(options["name"], ""):
        raise click.BadParameter(f'"{options["name"]}" {problem}', param_hint="--name")
    if problem := task_purpose_problem(options["reason"]):
        raise click.BadParameter(problem.removeprefix("purpose: "), param_hint="--reason")
    if options["lasts"]:
        with worded_as("--for"):
            seconds_of(options["lasts"])
    with worded_as("--allow"):
        for number, text in enumerate(options["allow"], 1):
            read_wanted(text, number)
    wish = {
        "name": options["name"],
        "purpose": options["reason"],
        "for": options["lasts"],
        "allow": list(options["allow"]),
        "maxRequests": options["max_requests"],
        "maxStreams": options["max_streams"],
    }
    return {name: value for name, value in wish.items() if value}
