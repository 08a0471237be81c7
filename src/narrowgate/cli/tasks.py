"""`narrowgate tasks`: ask for access for one piece of work, look at it, make it less, end it.

Everything goes through the gate's own API, as an agent or as a person who answers for one; nothing is read or written
on the gate's machine. A task's credential is shown once, or written into a kubeconfig that works with any client.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from narrowgate.cli.denied_requests import read_ids, with_denied
from narrowgate.cli.emergency import check_emergency, review_shown, state_shown, tell_emergency, tell_emergency_offer
from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import InlineToken, kubeconfig_document, refuse_foreign
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import note, output_option, write_json, write_table
from narrowgate.cli.private_file import written_together
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.standing import list_standing
from narrowgate.cli.task_caller import Proof, TaskCaller, proof_options
from narrowgate.cli.task_waiting import collected, interval_of
from narrowgate.core.duration import seconds_of
from narrowgate.core.moment import moment_of
from narrowgate.core.task_fields import link_problem, task_purpose_problem
from narrowgate.core.task_limits import MOST_REQUESTS, MOST_STREAMS
from narrowgate.core.wanted import read_wanted

REQUESTS = click.IntRange(1, MOST_REQUESTS)
STREAMS = click.IntRange(1, MOST_STREAMS)

MOST_LISTED = 500
"""Tasks of one list; whoever looks for older ones asks the API."""

_PAGE = 10
"""Tasks asked for at a time: ten with every rule they can have fit into an answer."""


@click.group()
def tasks() -> None:
    """Access for one piece of work, which ends by itself: ask for it, look at it, end it."""


@tasks.command()
@click.option("--cluster", default="", metavar="NAME", help="Where the work is (default: the agent's cluster).")
@click.option("--reason", required=True, metavar="TEXT", help="What it is for, in one line.")
@click.option(
    "--for", "lasts", default="", metavar="TIME", help="How long, like 20m (default: 20m, or as long as is offered)."
)
@click.option(
    "--allow",
    multiple=True,
    metavar="WORDS",
    help='What it takes, like "get,list pods -n ci"; can be given again.',
)
@click.option(
    "--from-denied",
    multiple=True,
    metavar="ID",
    help="What a refused request lacked, by the id that its refusal has (NarrowgateRequest); can be given again.",
)
@click.option("--link", default="", metavar="URL", help="Where more is written about it: a ticket.")
@click.option("--max-requests", type=REQUESTS, help="At most so many requests in all (default: what the rules give).")
@click.option("--max-streams", type=STREAMS, help="At most so many watches, execs and such at one time.")
@click.option("--emergency", is_flag=True, help="For yourself, at once; people are told, and look at it afterwards.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Write a kubeconfig (mode 0600).")
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
    caller = TaskCaller(_proof({**options, "kubeconfig": None}))
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
            note(f"this waits for people; once they have answered: narrowgate tasks collect {_text(task, 'id')}")
            _tell(task, output)
            return
        task = collected(caller, _text(task, "id"), interval_of(task))
    _hand_over(caller, task, kubeconfig, server, output)


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Write a kubeconfig (mode 0600).")
@proof_options
@output_option
def collect(task_id: str, kubeconfig: Path | None, output: str, **options: Any) -> None:
    """Begin a task once people have said yes to it; they are waited for."""
    caller = TaskCaller(_proof(options))
    _path(caller, task_id)
    if kubeconfig is not None:
        refuse_foreign(kubeconfig)
    server = caller.kubernetes_url()
    _hand_over(caller, collected(caller, task_id), kubeconfig, server, output)


@tasks.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, MOST_LISTED), help="The first so many.")
@click.option("--standing", is_flag=True, help="What rules open at any time, without a task: the least used first.")
@proof_options
@output_option
def list_tasks(limit: int, output: str, standing: bool, **options: Any) -> None:
    """List your tasks and those of the agents you answer for, newest first."""
    caller = TaskCaller(_proof(options))
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
            *(_text(task, name) for name in ("id", "name", "cluster")),
            state_shown(task),
            *(_text(task, name) for name in ("endsAt", "purpose")),
        ]
        for task in found
        if isinstance(task, dict)
    ]
    write_table(("ID", "FOR", "CLUSTER", "STATE", "ENDS", "PURPOSE"), rows, "there are no tasks to see")


@tasks.command()
@click.argument("task_id", metavar="[ID]", default="")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="The task's own kubeconfig.")
@proof_options
@output_option
def show(task_id: str, output: str, **options: Any) -> None:
    """Show one task; without ID the one whose credential is at hand."""
    caller = TaskCaller(_proof(options))
    _tell(caller.get(_path(caller, task_id)), output)


@tasks.command()
@click.argument("task_id", metavar="[ID]", default="")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="The task's own kubeconfig.")
@proof_options
@output_option
def complete(task_id: str, output: str, **options: Any) -> None:
    """Say that the work is done: its access ends at once. Without ID the task whose credential is at hand."""
    caller = TaskCaller(_proof(options))
    _tell(caller.post(_path(caller, task_id) + "/complete"), output)


@tasks.command()
@click.argument("task_id", metavar="ID")
@click.option("--reason", default="", metavar="TEXT", help="Why, in one line.")
@proof_options
@output_option
def revoke(task_id: str, reason: str, output: str, **options: Any) -> None:
    """End a task before its work is done; what it has running ends within a second."""
    if len(reason) > 200 or not reason.isprintable():
        raise click.BadParameter("write one line of at most 200 characters", param_hint="--reason")
    caller = TaskCaller(_proof(options))
    _tell(caller.post(_path(caller, task_id) + "/revoke", {"because": reason}), output)


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
        with _worded_as("--until"):
            moment_of(until)
    left = {"keep": list(options["keep"]), "until": until, **_limits(options)}
    document = {name: value for name, value in left.items() if value}
    if not document:
        raise click.UsageError("say what stays: --keep RULE, --until TIME, --max-requests N or --max-streams N")
    caller = TaskCaller(_proof(options))
    _tell(caller.post(_path(caller, task_id) + "/narrow", document), output)


def _take_emergency(options: Mapping[str, Any]) -> None:
    """Begin an emergency of the person who is signed in, or say what would begin."""
    check_emergency(options)
    wish, kubeconfig, output = _wish(options), options["kubeconfig"], options["output"]
    caller = TaskCaller(_proof({**options, "kubeconfig": None}))
    if options["dry_run"]:
        tell_emergency_offer(caller.post("/emergencies/check", wish), output)
        return
    if kubeconfig is not None:
        refuse_foreign(kubeconfig)
    server = caller.kubernetes_url()
    task = caller.post("/emergencies", wish)
    tell_emergency(task)
    _hand_over(caller, task, kubeconfig, server, output)


def _wish(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, as the API reads it. Raises click.BadParameter for what no gate would take."""
    if problem := task_purpose_problem(options["reason"]):
        raise click.BadParameter(problem.removeprefix("purpose: "), param_hint="--reason")
    if problem := link_problem(options["link"]):
        raise click.BadParameter(problem.removeprefix("link: "), param_hint="--link")
    if options["lasts"]:
        with _worded_as("--for"):
            seconds_of(options["lasts"])
    with _worded_as("--allow"):
        for number, text in enumerate(options["allow"], 1):
            read_wanted(text, number)
    wish = {
        "agent": options["agent"],
        "cluster": options["cluster"],
        "purpose": options["reason"],
        "link": options["link"],
        "for": options["lasts"],
        "allow": list(options["allow"]),
        **_limits(options),
    }
    return {name: value for name, value in wish.items() if value}


def _limits(options: Mapping[str, Any]) -> dict[str, int | None]:
    return {"maxRequests": options["max_requests"], "maxStreams": options["max_streams"]}


@contextlib.contextmanager
def _worded_as(option: str) -> Iterator[None]:
    """Turn what a reader of values refuses into misuse of an option."""
    try:
        yield
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _proof(options: Mapping[str, Any]) -> Proof:
    return Proof(
        gate=options["gate"],
        certificate_authority=options["certificate_authority"],
        credential_file=options["credential_file"],
        key_file=options["key_file"],
        kubeconfig=options.get("kubeconfig"),
        agent=options["agent"],
    )


def _path(caller: TaskCaller, task_id: str) -> str:
    """The path of a task. Raises click.UsageError where it is not told which, or is no id."""
    found = task_id or caller.own_task
    if not found:
        raise click.UsageError("name the task; `narrowgate tasks list` shows them")
    if not found.isascii() or not found.isalnum():
        raise click.BadParameter(f'"{_line(found)}" is no id of a task; `narrowgate tasks list` shows them')
    return f"/tasks/{found}"


def _hand_over(caller: TaskCaller, task: dict[str, Any], kubeconfig: Path | None, server: str, output: str) -> None:
    """Write the kubeconfig, or show the credential, this once."""
    credential = task.get("credential", "")
    if not isinstance(credential, str) or not credential:
        raise GateUnreachable(f"{caller.gate} gave an answer without a credential in it: is it a gate's control port?")
    if kubeconfig is not None:
        cluster, name = _text(task, "cluster"), _text(task, "name")
        text = kubeconfig_document(server, caller.authority.encode(), cluster, name, InlineToken(credential))
        try:
            with written_together({kubeconfig: text}):
                pass
        except Failed:
            # Nobody would hold it: better no task than one that nobody can use or end.
            with contextlib.suppress(Unusable):
                caller.by(credential, f"/tasks/{_text(task, 'id')}/complete")
            raise
    caller.wait_until_known(server, credential)
    if output == "json":
        if kubeconfig is not None:
            task = {key: value for key, value in task.items() if key != "credential"}
            task["kubeconfig"] = str(kubeconfig.absolute())
        write_json(task)
        return
    what = f"task {_text(task, 'id')}: {{}} opens {_text(task, 'cluster')} until {_text(task, 'endsAt')}"
    if kubeconfig is not None:
        note(what.format(kubeconfig) + "; use it, and end it when the work is done:")
        click.echo(f"kubectl --kubeconfig {kubeconfig} get --raw /version")
        click.echo(f"narrowgate tasks complete --kubeconfig {kubeconfig}")
        return
    note(what.format("this credential") + ", and is shown only now")
    click.echo(credential)


def _tell_offer(offer: dict[str, Any], output: str) -> None:
    if output == "json":
        write_json(offer)
        return
    click.echo(f"agent: {_text(offer, 'agent')}")
    click.echo(f"cluster: {_text(offer, 'cluster')}")
    click.echo(f"lasts: {_text(offer, 'lasts')}")
    click.echo(f"rules: {', '.join(map(_line, offer.get('rules', ())))}")
    asked = [f"{one.get('count')} of {_line(one.get('group'))}" for one in offer.get("approvers", ())]
    click.echo(f"approval: {', '.join(asked) or 'none'}")
    for label, name in (("requests", "maxRequests"), ("streams", "maxStreams")):
        if most := _text(offer, name):
            click.echo(f"{label}: {most} at most")


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
    }
    for label, name in shown.items():
        if text := _text(task, name):
            click.echo(f"{label}: {text}")
    if review := review_shown(task):
        click.echo(f"emergency: {review}")
    for label, used, most in (("requests", "requestsUsed", "maxRequests"), ("streams", "streams", "maxStreams")):
        if limit := _text(task, most):
            click.echo(f"{label}: {_text(task, used) or '0'} of {limit}")
    for rule in task.get("allow", ()):
        click.echo(f"{_line(rule.get('id'))}: {_line(rule.get('text'))}")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return "" if value is None else _line(value)


def _line(value: object) -> str:
    """A value of the gate's, without anything that moves the terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
