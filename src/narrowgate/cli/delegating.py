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
from narrowgate.cli.task_handover import hand_over, path_of_task, proof_of
from narrowgate.cli.task_wish import (
    allow_option,
    kubeconfig_option,
    lasts_option,
    limit_options,
    reason_option,
    wish_of,
)
from narrowgate.core.delegated_task import delegate_name_problem


@click.command()
@click.argument("task_id", metavar="[TASK]", default="")
@click.option("--name", required=True, metavar="NAME", help="What the delegate is called, like helper.")
@reason_option
@lasts_option("; never longer than the task")
@allow_option('like "get pods -n ci", no more than the task has', required=True)
@limit_options("; they count for the task, too")
@kubeconfig_option
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
    wish = {"name": options["name"], **wish_of(options)}
    return {name: value for name, value in wish.items() if value}
