"""The check "no resting access": a credential is tried, and whatever it opens between tasks is a finding.

What the tries show counts. What the gate tells besides (the task of a credential, the rules that stand) says why, and
finds narrow rules that a few tries could miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from narrowgate.authenticators.task_credential import task_named
from narrowgate.cli.api_calls import API
from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.cli.doctor_tries import Came, Tries, tries_of
from narrowgate.cli.kubeconfig_contexts import CannotUse, Way, shown_by
from narrowgate.cli.oauth_client import GatePort, GateRefused, GateUnreachable
from narrowgate.cli.standing import since_text, use_text

RESTING = "resting access"
AROUND = "access around the gate"
STANDING = "standing rule"

MOST_STANDING = 100
"""Rules that are named; whoever has more of them reads `narrowgate tasks list --standing`."""


NEWEST_TASKS = 10
"""Of the holder of a credential, looked through for those that run; ten with all their rules fit into an answer."""


class KnownGate(msgspec.Struct, frozen=True):
    """A gate that can be asked why something is open."""

    port: GatePort
    hosts: tuple[tuple[str, int], ...]
    """Where its clusters are reached."""
    authority: str
    """PEM of its CA; empty: what the system trusts."""


class Looked(msgspec.Struct, frozen=True):
    """What was found about one way, and the requests that it was found by (None: none were made)."""

    lines: tuple[Line, ...]
    tries: Tries | None = None


def resting(way: Way, gate: KnownGate | None, *, runs_plugins: bool) -> Looked:
    """Try one credential at the server that it is for."""
    at_gate = gate is not None and (way.host, way.port) in gate.hosts
    check = RESTING if at_gate or gate is None else AROUND
    try:
        shown = shown_by(way, runs_plugins=runs_plugins)
        tries = tries_of(way, shown)
    except CannotUse as error:
        line = Line(check=check, where=way.name, outcome=Outcome.NOT_TRIED, found=_at(way, str(error)))
        return Looked((line,))
    lines = [_line(check, way, tries, gate)]
    if isinstance(shown, str) and gate is not None and at_gate:
        lines += why_open(gate, shown, way)
    return Looked(tuple(lines), tries)


def why_open(gate: KnownGate, token: str, way: Way) -> list[Line]:
    """What the gate says about a credential: the task that it is for, or the rules that stand for its holder."""
    task = task_named(token)
    try:
        if task:
            return _of_task(gate.port.call("GET", f"{API}/tasks/{task}", token), way)
        standing = gate.port.call("GET", f"{API}/standing?limit={MOST_STANDING}", token).get("items")
        tasks = gate.port.call("GET", f"{API}/tasks?limit={NEWEST_TASKS}", token).get("items")
    except GateRefused:
        # It proves nobody there: a task that is over, or a credential for the clusters' port alone.
        return []
    except GateUnreachable as error:
        line = Line(check=STANDING, where=way.name, outcome=Outcome.NOT_TRIED, found=plain(error))
        return [line]
    return [*standing_lines(_documents(standing)), *(line for one in _documents(tasks) for line in _of_task(one, None))]


def _documents(items: object) -> list[dict[str, Any]]:
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def standing_lines(found: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A finding for each rule that stands, as the API tells of it."""
    lines = []
    for one in found:
        policy, rule = plain(one.get("policy")), plain(one.get("rule"))
        said = f"allows {plain(one.get('holder'))} to {plain(one.get('allow'))} on {plain(one.get('cluster'))}"
        lines.append(
            Line(
                check=STANDING,
                where=f"{policy}/{rule}",
                outcome=Outcome.FINDING,
                found=f"{said}; since {since_text(one)}, last used: {use_text(one)}",
                to_do=f"remove it from policy {policy}, or write `effect: grantable`, which gives it to tasks alone; "
                "all of them: narrowgate tasks list --standing",
            )
        )
    return lines


def _of_task(task: Mapping[str, Any], way: Way | None) -> list[Line]:
    """A finding for a task that runs; `way` is what was tried, where that is the task's own credential."""
    if task.get("state") != "active":
        return []
    identifier = plain(task.get("id"))
    with_it = f" --kubeconfig {plain(way.file)}" if way is not None and way.context else ""
    return [
        Line(
            check="active task",
            where=way.name if way is not None else f"agent {plain(task.get('name'))}",
            outcome=Outcome.FINDING,
            found=f"task {identifier} ({plain(task.get('purpose'))}) is active until {plain(task.get('endsAt'))}",
            to_do=f"when its work is done: narrowgate tasks complete {identifier}{with_it}",
        )
    ]


def _line(check: str, way: Way, tries: Tries, gate: KnownGate | None) -> Line:
    opened = [
        one.request.name + (f" ({one.said})" if one.request.method == "POST" else "")
        for one in tries.those(Came.OPENED)
    ]
    unknown = tries.those(Came.UNKNOWN)
    if opened:
        return Line(
            check=check,
            where=way.name,
            outcome=Outcome.FINDING,
            found=_at(way, f"{way.kind} opens: {', '.join(opened)}"),
            to_do=_to_do(check, way, gate),
        )
    if unknown or not tries.tried:
        said = "; ".join(f"{one.request.name}: {one.said}" for one in unknown) or "nothing could be tried"
        return Line(check=check, where=way.name, outcome=Outcome.NOT_TRIED, found=_at(way, said))
    codes = sorted({one.said for one in tries.tried})
    said = f"all of {len(tries.tried)} requests were refused ({', '.join(codes)})"
    return Line(check=check, where=way.name, outcome=Outcome.OK, found=_at(way, said))


def _to_do(check: str, way: Way, gate: KnownGate | None) -> str:
    if check == AROUND:
        return f"revoke it in the cluster, and remove it from {plain(way.file)}: what it opens, no policy sees"
    if gate is None:
        return "name the gate with --gate URL to see which task or rule it is; no gate there means a road around it"
    return "complete the task, or change the rule, that is named below; see narrowgate tasks list --standing"


def _at(way: Way, said: str) -> str:
    return f"{plain(way.server)}: {said}" if way.server else said
