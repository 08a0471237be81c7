"""What the commands about tasks share: which task is meant, who asks, and where a new credential goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import InlineToken, kubeconfig_document
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import note, write_json
from narrowgate.cli.private_file import written_together
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.task_caller import Proof, TaskCaller
from narrowgate.core.task_limits import MOST_REQUESTS, MOST_STREAMS

REQUESTS = click.IntRange(1, MOST_REQUESTS)
STREAMS = click.IntRange(1, MOST_STREAMS)


@contextlib.contextmanager
def worded_as(option: str) -> Iterator[None]:
    """Turn what a reader of values refuses into misuse of an option."""
    try:
        yield
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def proof_of(options: Mapping[str, Any]) -> Proof:
    """What the options say about who asks."""
    return Proof(
        gate=options["gate"],
        certificate_authority=options["certificate_authority"],
        credential_file=options["credential_file"],
        key_file=options["key_file"],
        kubeconfig=options.get("kubeconfig"),
        agent=options["agent"],
    )


def path_of_task(caller: TaskCaller, task_id: str) -> str:
    """The path of a task. Raises click.UsageError where it is not told which, or is no id."""
    found = task_id or caller.own_task
    if not found:
        raise click.UsageError("name the task; `narrowgate tasks list` shows them")
    if not found.isascii() or not found.isalnum():
        raise click.BadParameter(f'"{line_of(found)}" is no id of a task; `narrowgate tasks list` shows them')
    return f"/tasks/{found}"


def hand_over(caller: TaskCaller, task: dict[str, Any], kubeconfig: Path | None, server: str, output: str) -> None:
    """Write the kubeconfig, or show the credential, this once."""
    credential = task.get("credential", "")
    if not isinstance(credential, str) or not credential:
        raise GateUnreachable(f"{caller.gate} gave an answer without a credential in it: is it a gate's control port?")
    if kubeconfig is not None:
        cluster, name = text_of(task, "cluster"), text_of(task, "name")
        text = kubeconfig_document(server, caller.authority.encode(), cluster, name, InlineToken(credential))
        try:
            with written_together({kubeconfig: text}):
                pass
        except Failed:
            # Nobody would hold it: better no task than one that nobody can use or end.
            with contextlib.suppress(Unusable):
                caller.by(credential, f"/tasks/{text_of(task, 'id')}/complete")
            raise
    caller.wait_until_known(server, credential)
    if output == "json":
        if kubeconfig is not None:
            task = {key: value for key, value in task.items() if key != "credential"}
            task["kubeconfig"] = str(kubeconfig.absolute())
        write_json(task)
        return
    what = f"task {text_of(task, 'id')}: {{}} opens {text_of(task, 'cluster')} until {text_of(task, 'endsAt')}"
    if kubeconfig is not None:
        note(what.format(kubeconfig) + "; use it, and end it when the work is done:")
        click.echo(f"kubectl --kubeconfig {kubeconfig} get --raw /version")
        click.echo(f"narrowgate tasks complete --kubeconfig {kubeconfig}")
        return
    note(what.format("this credential") + ", and is shown only now")
    click.echo(credential)


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A field of a document on one line; empty where it is null or missing."""
    value = document.get(name)
    return "" if value is None else line_of(value)


def line_of(value: object) -> str:
    """A value of the gate's, without anything that moves the terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
