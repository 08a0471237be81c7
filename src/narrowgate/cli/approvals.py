"""`narrowgate approvals`: what waits for people, and their answers.

Answers are given by the person who is signed in, whatever credential of an agent's is at hand; agents look at what they
have asked, and take it back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import click

from narrowgate.cli.api_calls import called_by_person
from narrowgate.cli.approvals_together import answerable, in_groups, together_with
from narrowgate.cli.delegations import delegate, list_delegations, undelegate
from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import gate_in_use
from narrowgate.cli.output import note, output_option, write_json, write_table
from narrowgate.cli.task_caller import Proof, TaskCaller, proof_options
from narrowgate.core.task_fields import DELETES

PAGE = 25
"""Questions asked for at a time: as many of the longest are well within what is read of one answer."""

MOST_SHOWN = 1000
"""Questions of one list; a person reads the newest of them."""

LONGEST_CELL = 48
"""Characters of a purpose or a request in the list; `show` has all of it."""


def gate_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--gate URL`."""
    return click.option(
        "--gate",
        default="",
        envvar="NARROWGATE_GATE",
        metavar="URL",
        help="The gate's control port (default: $NARROWGATE_GATE, the one used last).",
    )(function)


_REVIEWED = {"approved": "approved: the emergency was in order", "denied": "denied: the emergency is over"}
"""What the answers to a review have come to, in words: nothing was let through by it."""


@click.group()
def approvals() -> None:
    """Questions that wait for people: list, show, approve, deny, delegate.

    Whoever is in a group that a rule asks may answer; never for themselves. One no is enough.
    """


for command in (delegate, list_delegations, undelegate):
    approvals.add_command(command)


@approvals.command("list")
@click.option("--all", "over", is_flag=True, help="Those that are over, too.")
@proof_options
@output_option
def list_approvals(over: bool, output: str, **options: Any) -> None:
    """List what waits for you, and what you or your agents have asked."""
    found = _pages(_caller(options).get, over=over)
    if output == "json":
        write_json(found)
        return
    groups = in_groups(found)
    heads = ("ID", "STATE", "FOR", "CLUSTER", "WHAT", "PURPOSE", "LAPSES", "YOURS TO ANSWER")
    rows = [
        (
            *(_text(one, name) for name in ("id", "state")),
            _text(one, "chain") or _text(one, "askedBy"),
            _text(one, "cluster"),
            _short(_what(one)),
            _short(_text(one, "purpose")) or "-",
            _text(one, "lapsesAt"),
            "yes" if one.get("mayAnswer") is True else "no",
        )
        for one in chain.from_iterable(groups)
    ]
    write_table(heads, rows, "nothing waits for you" if not over else "there are no approvals that you may see")
    for group in map(answerable, groups):
        if len(group) > 1:
            asker = _text(group[0], "askedBy")
            answer = f"narrowgate approvals approve {_text(group[0], 'id')} --together"
            note(f"{len(group)} questions of {asker} were asked together: {answer}")


@approvals.command()
@click.argument("approval")
@proof_options
@output_option
def show(approval: str, output: str, **options: Any) -> None:
    """Show one question: who asks for what, by which rules, until when, and the answers so far."""
    path = _path(approval)
    _tell(_caller(options).get(path), output)


@approvals.command()
@click.argument("approvals_", metavar="APPROVAL...", nargs=-1, required=True)
@click.option("--comment", default="", help="One line, kept with the answer.")
@click.option("--together", is_flag=True, help="Show all that was asked with this one, and answer each of them.")
@gate_option
@output_option
def approve(approvals_: tuple[str, ...], comment: str, together: bool, gate: str, output: str) -> None:
    """Say yes: to one question, or to each of several, as one command of a client often asks them."""
    if together:
        _answer_together(approvals_, comment, gate_in_use(gate), output)
        return
    paths = [_path(one, "approve") for one in dict.fromkeys(approvals_)]
    document = {"comment": comment} if comment else {}
    heard: list[dict[str, Any]] = []
    try:
        for path in paths:
            heard.append(called_by_person(gate_in_use(gate), "POST", path, document))
            if output != "json":
                _answered(heard[-1], output)
    finally:
        # What was answered before one was refused is told all the same.
        if output == "json" and heard:
            write_json(heard[0] if len(paths) == 1 else heard)


@approvals.command()
@click.argument("approval")
@click.option("--reason", required=True, help="One line; whoever asked is told.")
@gate_option
@output_option
def deny(approval: str, reason: str, gate: str, output: str) -> None:
    """Say no, and why. One no is enough."""
    _answered(called_by_person(gate_in_use(gate), "POST", _path(approval, "deny"), {"reason": reason}), output)


@approvals.command()
@click.argument("approval")
@proof_options
@output_option
def withdraw(approval: str, output: str, **options: Any) -> None:
    """Take back what you, or an agent of yours, has asked."""
    path = _path(approval, "withdraw")
    _answered(_caller(options).post(path), output)


def _answer_together(named: tuple[str, ...], comment: str, gate: str, output: str) -> None:
    """Show every question that belongs to the one that is named, and say yes to those, once they have been seen."""
    if len(named) != 1 or output == "json":
        raise click.UsageError("--together shows all that belongs to one question and asks; without it, name each")
    questions = together_with(
        called_by_person(gate, "GET", _path(named[0])),
        _pages(lambda path: called_by_person(gate, "GET", path), over=False),
    )
    shown = [_text(one, "id") for one in questions]
    for number, approval in enumerate(shown, 1):
        click.echo(f"--- {number} of {len(shown)}")
        _tell(called_by_person(gate, "GET", _path(approval)), output)
    click.confirm(f"approve {'these ' + str(len(shown)) if len(shown) > 1 else 'this'}?", abort=True)
    # What came while they were read is not among these.
    document = {"ids": shown, "answer": "yes"} | ({"comment": comment} if comment else {})
    answered = _objects(called_by_person(gate, "POST", "/approvals/answers", document), "items")
    for one in answered:
        heard = one.get("approval")
        if isinstance(heard, dict):
            _answered(heard, output)
        else:
            click.echo(f"approval {_text(one, 'id')} was not answered: {_text(one, 'problem')}")
    if len(answered) != len(shown) or any(_text(one, "problem") for one in answered):
        raise Failed("not all of them were answered", ", ".join(shown), "see what was said of each")


def _caller(options: Mapping[str, Any]) -> TaskCaller:
    """Whoever asks: an agent by its credential or key, else the person who is signed in."""
    return TaskCaller(
        Proof(
            gate=options["gate"],
            certificate_authority=options["certificate_authority"],
            credential_file=options["credential_file"],
            key_file=options["key_file"],
            agent=options["agent"],
        )
    )


def _pages(get: Callable[[str], dict[str, Any]], *, over: bool) -> list[dict[str, Any]]:
    """Every page of the list, the newest MOST_SHOWN. Raises Unusable."""
    found: list[dict[str, Any]] = []
    behind = ""
    while len(found) < MOST_SHOWN:
        query = {"limit": str(PAGE)} | ({"all": "true"} if over else {}) | ({"continue": behind} if behind else {})
        page = get(f"/approvals?{urlencode(query)}")
        items, meta = page.get("items"), page.get("metadata")
        found += [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []
        behind = str(meta.get("continue") or "") if isinstance(meta, dict) else ""
        if not behind:
            return found
    note(f"these are the newest {len(found)}; there are more")
    return found


def _answered(document: dict[str, Any], output: str) -> None:
    """Say what a question has come to."""
    if output == "json":
        write_json(document)
        return
    state, name = _text(document, "state"), _text(document, "id")
    missing = "; more people must say yes" if state == "pending" else ""
    if document.get("review") is True and state in _REVIEWED:
        state = _REVIEWED[state]
    click.echo(f"approval {name} is {state}{missing}")


def _tell(document: dict[str, Any], output: str) -> None:
    if output == "json":
        write_json(document)
        return
    lines: list[tuple[str, str]] = [
        ("approval", _text(document, "id")),
        ("review of", f"emergency task {_text(document, 'task')}" if document.get("review") is True else ""),
        ("state", _text(document, "state")),
        ("because", _text(document, "endedBecause") if document.get("endedAt") else ""),
        ("asked by", _text(document, "askedBy")),
        ("for", _text(document, "chain", " -> ")),
        ("owner", _text(document, "owner")),
        ("task", _text(document, "task")),
        ("purpose", _text(document, "purpose")),
        ("link", _text(document, "link")),
        ("cluster", _text(document, "cluster")),
        ("request", _what(document) if document.get("verb") else ""),
        ("path", _text(document, "path")),
        *(("wants", line) for line in _texts(document, "wanted")),
        ("lasts", _text(document, "duration")),
        ("requests at most", _text(document, "maxRequests")),
        ("streams at most", _text(document, "maxStreams")),
        ("in the end", DELETES if document.get("onEnd") == "deleteWorkloads" else ""),
        *(("object", line) for line in _texts(document, "summary")),
        *(("rule", line) for line in _texts(document, "rules")),
        *(("needs", _ask(one)) for one in _objects(document, "asks")),
        ("not", _text(document, "excluded")),
        *(("answer", _answer(one)) for one in _objects(document, "answers")),
        ("asked at", _text(document, "askedAt")),
        ("lapses at", _text(document, "lapsesAt")),
        ("in the record", _text(document, "auditId")),
        ("yours to answer", "yes" if document.get("mayAnswer") is True else "no"),
    ]
    for name, text in lines:
        if text:
            click.echo(f"{name}: {text}")


def _what(document: dict[str, Any]) -> str:
    """What is asked for, in a line: the request, or a task's rules."""
    if not document.get("verb"):
        return ("review of emergency: " if document.get("review") is True else "") + _text(document, "wanted", "; ")
    group, resource = _text(document, "apiGroup"), _text(document, "resource")
    kind, slash, subresource = resource.partition("/")
    name, namespace = _text(document, "name"), _text(document, "namespace")
    thing = (f"{kind}.{group}" if group else kind) + slash + subresource + (f"/{name}" if name else "")
    return f"{_text(document, 'verb')} {thing}" + (f" -n {namespace}" if namespace else "")


def _ask(ask: dict[str, Any]) -> str:
    who = " and ".join(f"{_text(one, 'count')} of {_text(one, 'group')}" for one in _objects(ask, "from"))
    kept_out = ", not by who answers for the agent" if ask.get("notByOwner") is True else ""
    return f"{who}, within {_text(ask, 'within')}{kept_out}"


def _answer(answer: dict[str, Any]) -> str:
    comment = _text(answer, "comment")
    away = _text(answer, "standsFor")
    who = f"{_text(answer, 'person')} for {away}" if away else _text(answer, "person")
    said = f"{who}: {_text(answer, 'answer')}"
    return f"{said} ({comment}), {_text(answer, 'at')}" if comment else f"{said}, {_text(answer, 'at')}"


def _objects(document: dict[str, Any], name: str) -> Sequence[dict[str, Any]]:
    found = document.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else ()


def _texts(document: dict[str, Any], name: str) -> list[str]:
    found = document.get(name)
    return [_shown(one) for one in found] if isinstance(found, list) else []


def _text(document: dict[str, Any], name: str, between: str = ", ") -> str:
    """A value of the gate's as text; empty where it is not there."""
    value = document.get(name)
    if isinstance(value, list):
        return between.join(_shown(one) for one in value)
    return "" if value is None else _shown(value)


def _shown(value: object) -> str:
    """Without anything that moves the terminal's cursor: an agent chose some of these words."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 3]}..."


def _path(approval: str, what: str = "") -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", approval):
        raise click.BadParameter("this is no id of an approval: see `narrowgate approvals list`", param_hint="APPROVAL")
    return f"/approvals/{approval}" + (f"/{what}" if what else "")
