"""`narrowgate tasks`: ask for access for one piece of work, look at it, make it less, end it.

Everything goes through the gate's own API, as an agent or as a person who answers for one; nothing is read or written
on the gate's machine. A task's credential is shown once, or written into a kubeconfig that works with any client.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from narrowgate.cli.delegating import delegate
from narrowgate.cli.denied_requests import read_ids, with_denied
from narrowgate.cli.emergency import check_emergency, review_shown, state_shown, tell_emergency, tell_emergency_offer
from narrowgate.cli.kubeconfig_file import refuse_foreign
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import note, output_option, write_json, write_table
from narrowgate.cli.standing import list_standing
from narrowgate.cli.task_caller import TaskCaller, proof_options
from narrowgate.cli.task_handover import (
    REQUESTS,
    STREAMS,
    hand_over,
    line_of,
    path_of_task,
    proof_of,
    text_of,
    worded_as,
)
from narrowgate.cli.task_trees import read_tree, show_tree, tree_options
from narrowgate.cli.task_waiting import collected, interval_of
from narrowgate.cli.task_wish import (
    allow_option,
    kubeconfig_option,
    lasts_option,
    limit_options,
    limits_of,
    reason_option,
    wish_of,
)
from narrowgate.core.moment import moment_of
from narrowgate.core.task_fields import DELETES, link_problem

MOST_LISTED = 500
"""Tasks of one list; whoever looks for older ones asks the API."""

_PAGE = 10
"""Tasks asked for at a time: ten with every rule they can have fit into an answer."""


@click.group()
def tasks() -> None:
    """Access for one piece of work, which ends by itself: ask for it, look at it, end it."""


@tasks.command()
@click.option("--cluster", default="", metavar="NAME", help="Where the work is (default: the agent's cluster).")
@reason_option
@lasts_option(" (default: 20m, or as long as is offered)")
@allow_option('like "get,list pods -n ci"')
@click.option(
    "--from-denied",
    multiple=True,
    metavar="ID",
    help="What a refused request lacked, by the id that its refusal has (NarrowgateRequest); can be given again.",
)
@click.option("--link", default="", metavar="URL", help="Where more is written about it: a ticket.")
@limit_options(" (default: what the rules give)")
@click.option("--emergency", is_flag=True, help="For yourself, at once; people are told, and look at it afterwards.")
@kubeconfig_option
@click.option("--dry-run", is_flag=True, help="Only say what would be granted, and who would be asked.")
@click.option("--no-wait", is_flag=True, help="Where people must answer: do not wait for them, `collect` it later.")
@proof_options
@output_option
def request(**options: Any) -> None:
    """Ask for access; what needs nobody's approval begins at once, and people are waited for.

    An agent asks for itself with its credential (--credential-file, $NARROWGATE_CREDENTIAL) or its key; a person asks
    for an agent that they answer for, named with --agent, or in an --emergency for themselves.
    """
    refused = read_ids(options["from_denied"])
    if not refused and not options["allow"]:
        raise click.UsageError("say what it takes: --allow WORDS, or --from-denied ID of a refused request")
    if options["emergency"]:
        _take_emergency(options)
        return
    wish = _wish(options)
    kubeconfig, output = options["kubeconfig"], options["output"]
    # It is to be written, and proves nobody.
    caller = TaskCaller(proof_of({**options, "kubeconfig": None}))
    if refused:
        wish = with_denied(caller, wish, refused)
    if options["dry_run"]:
        _tell_offer(caller.post("/tasks/check", wish), output)
        return
    # What can be known to fail is found out before there is a credential that would be lost.
    if kubeconfig is not None:
        refuse_foreign(kubeconfig)
    server = caller.kubernetes_url()
    task = caller.post("/tasks", wish)
    if task.get("state") == "requested":
        if options["no_wait"]:
            note(f"this waits for people; once they have answered: narrowgate tasks collect {text_of(task, 'id')}")
            _tell(task, output)
            return
        task = collected(caller, text_of(task, "id"), interval_of(task))
    hand_over(caller, task, kubeconfig, server, output)


@tasks.command()
@click.argument("task_id", metavar="ID")
@kubeconfig_option
@proof_options
@output_option
def collect(task_id: str, kubeconfig: Path | None, output: str, **options: Any) -> None:
    """Begin a task once people have said yes to it; they are waited for."""
    caller = TaskCaller(proof_of(options))
    path_of_task(caller, task_id)
    if kubeconfig is not None:
        refuse_foreign(kubeconfig)
    server = caller.kubernetes_url()
    hand_over(caller, collected(caller, task_id), kubeconfig, server, output)


@tasks.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, MOST_LISTED), help="The first so many.")
@click.option("--standing", is_flag=True, help="What rules open at any time, without a task: the least used first.")
@proof_options
@output_option
def list_tasks(limit: int, output: str, standing: bool, **options: Any) -> None:
    """List your tasks and those of the agents you answer for, newest first."""
    caller = TaskCaller(proof_of(options))
    if standing:
        list_standing(caller, limit, output)
        return
    found: list[Any] = []
    more = ""
    while len(found) < limit:
        page = caller.get(f"/tasks?limit={min(_PAGE, limit - len(found))}{more}")
        items, metadata = page.get("items"), page.get("metadata")
        if not isinstance(items, list) or not isinstance(metadata, dict):
            raise GateUnreachable(f"{caller.gate} does not answer as a gate does: is it a gate of this version?")
        found += items
        behind = str(metadata.get("continue") or "")
        # Only the gate's own tokens have nothing that an address would have to encode.
        if not behind or not behind.isascii() or not behind.replace("-", "").replace("_", "").isalnum():
            break
        more = f"&continue={behind}"
    if output == "json":
        write_json(found)
        return
    rows = [
        [
            *(text_of(task, name) for name in ("id", "name", "cluster")),
            state_shown(task),
            text_of(task, "endsAt"),
            text_of(task, "parent") or "-",
            text_of(task, "purpose"),
        ]
        for task in found
        if isinstance(task, dict)
    ]
    write_table(("ID", "FOR", "CLUSTER", "STATE", "ENDS", "FROM", "PURPOSE"), rows, "there are no tasks to see")


@tasks.command()
@click.argument("task_id", metavar="[ID]", default="")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="The task's own kubeconfig.")
@tree_options
@proof_options
@output_option
def show(task_id: str, output: str, tree: bool, svg: Path | None, **options: Any) -> None:
    """Show one task; without ID the one whose credential is at hand."""
    caller = TaskCaller(proof_of(options))
    path = path_of_task(caller, task_id)
    if tree or svg is not None:
        show_tree(read_tree(caller.get(f"{path}/tree")), svg, output)
        return
    _tell(caller.get(path), output)


@tasks.command()
@click.argument("task_id", metavar="[ID]", default="")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="The task's own kubeconfig.")
@proof_options
@output_option
def complete(task_id: str, output: str, **options: Any) -> None:
    """Say that the work is done: its access ends at once. Without ID the task whose credential is at hand."""
    caller = TaskCaller(proof_of(options))
    _tell(caller.post(path_of_task(caller, task_id) + "/complete"), output)


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="Why, in one line.")
@proof_options
@output_option
def revoke(task_id: str, reason: str, output: str, **options: Any) -> None:
    """End a task before its work is done; what it has running ends within a second."""
    if len(reason) > 200 or not reason.isprintable():
        raise click.BadParameter("write one line of at most 200 characters", param_hint="--reason")
    caller = TaskCaller(proof_of(options))
    _tell(caller.post(path_of_task(caller, task_id) + "/revoke", {"because": reason}), output)


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--keep", multiple=True, metavar="RULE", help="Id of a rule that stays, like allow-1 (default: all).")
@click.option("--until", default="", metavar="TIME", help="Its new end, like 2026-11-21T06:30:00Z, never a later one.")
@click.option("--max-requests", type=REQUESTS, help="Requests in all, those of before counted.")
@click.option("--max-streams", type=STREAMS, help="Streams at one time; those that run go on.")
@proof_options
@output_option
def narrow(task_id: str, output: str, **options: Any) -> None:
    """Leave less of a task, or end it sooner. It is never made wider: ask for a new one."""
    if until := options["until"]:
        with worded_as("--until"):
            moment_of(until)
    left = {"keep": list(options["keep"]), "until": until, **limits_of(options)}
    document = {name: value for name, value in left.items() if value}
    if not document:
        raise click.UsageError("say what stays: --keep RULE, --until TIME, --max-requests N or --max-streams N")
    caller = TaskCaller(proof_of(options))
    _tell(caller.post(path_of_task(caller, task_id) + "/narrow", document), output)


def _take_emergency(options: Mapping[str, Any]) -> None:
    """Begin an emergency of the person who is signed in, or say what would begin."""
    check_emergency(options)
    wish, kubeconfig, output = _wish(options), options["kubeconfig"], options["output"]
    caller = TaskCaller(proof_of({**options, "kubeconfig": None}))
    if options["dry_run"]:
        tell_emergency_offer(caller.post("/emergencies/check", wish), output)
        return
    if kubeconfig is not None:
        refuse_foreign(kubeconfig)
    server = caller.kubernetes_url()
    task = caller.post("/emergencies", wish)
    tell_emergency(task)
    hand_over(caller, task, kubeconfig, server, output)


def _wish(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, as the API reads it. Raises click.BadParameter for what no gate would take."""
    if problem := link_problem(options["link"]):
        raise click.BadParameter(problem.removeprefix("link: "), param_hint="--link")
    wish = {
        "agent": options["agent"],
        "cluster": options["cluster"],
        "link": options["link"],
        **wish_of(options),
    }
    return {name: value for name, value in wish.items() if value}


def _tell_offer(offer: dict[str, Any], output: str) -> None:
    if output == "json":
        write_json(offer)
        return
    click.echo(f"agent: {text_of(offer, 'agent')}")
    click.echo(f"cluster: {text_of(offer, 'cluster')}")
    click.echo(f"lasts: {text_of(offer, 'lasts')}")
    click.echo(f"rules: {', '.join(map(line_of, offer.get('rules', ())))}")
    asked = [f"{one.get('count')} of {line_of(one.get('group'))}" for one in offer.get("approvers", ())]
    click.echo(f"approval: {', '.join(asked) or 'none'}")
    for label, name in (("requests", "maxRequests"), ("streams", "maxStreams")):
        if most := text_of(offer, name):
            click.echo(f"{label}: {most} at most")
    _tell_end(offer)


def _tell(task: dict[str, Any], output: str) -> None:
    if output == "json":
        write_json(task)
        return
    shown = {
        "id": "id",
        "for": "name",
        "state": "state",
        "cluster": "cluster",
        "purpose": "purpose",
        "link": "link",
        "requested by": "requestedBy",
        "requested": "requestedAt",
        "began": "beganAt",
        "ends": "endsAt",
        "ended": "endedAt",
        "because": "endedBecause",
        "delegated from": "parent",
    }
    for label, name in shown.items():
        if text := text_of(task, name):
            click.echo(f"{label}: {text}")
    if review := review_shown(task):
        click.echo(f"emergency: {review}")
    for label, used, most in (("requests", "requestsUsed", "maxRequests"), ("streams", "streams", "maxStreams")):
        if limit := text_of(task, most):
            click.echo(f"{label}: {text_of(task, used) or '0'} of {limit}")
    _tell_end(task)
    for rule in task.get("allow", ()):
        click.echo(f"{line_of(rule.get('id'))}: {line_of(rule.get('text'))}")


def _tell_end(document: dict[str, Any]) -> None:
    """Say what becomes of the workloads that a task leaves behind, where that is not that they stay."""
    if document.get("onEnd") == "deleteWorkloads":
        click.echo(f"in the end: {DELETES}")


tasks.add_command(delegate)
