"""Waiting until people have answered about a task, and collecting it then.

It is asked again and again, as in the poll mode of OpenID Connect CIBA (Core 1.0, section 5).
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import note

INTERVAL_SECONDS = 2.0
"""From one question to the next, where the gate does not say: people take longer than that to read."""

LONGEST_INTERVAL = 60.0
"""Whatever a gate says: who waits for people wants to hear of them within a minute."""

MOST_SILENCE = 30
"""Questions in a row that a gate may leave unanswered: a restart takes less than this minute."""


class Caller(Protocol):
    """Calls the API of one gate, as `task_caller.TaskCaller` does."""

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path."""
        ...

    def post(self, path: str, document: object = None) -> dict[str, Any]:
        """The answer to a call that does something."""
        ...


def collected(caller: Caller, task: str, interval: float = INTERVAL_SECONDS) -> dict[str, Any]:
    """The task, begun, with its credential, once people have said yes. Raises Failed, Unusable.

    `task` is its id, and its approval's. It ends by itself: the gate lets every question lapse.
    """
    state, silence, told = "pending", 0, False
    while state == "pending":
        try:
            question = caller.get(f"/approvals/{task}")
        except GateUnreachable as error:
            silence += 1
            if silence > MOST_SILENCE:
                raise
            note(f"{error}")
        else:
            silence, state = 0, str(question.get("state"))
            if state == "pending" and not told:
                note(f"task {task} waits for {_people(question)} until {_line(question.get('lapsesAt'))}")
                note(f"they see it with `narrowgate approvals show {task}`, and answer with approve or deny")
                told = True
        if state == "pending":
            time.sleep(interval)
    if state != "approved":
        because = _line(question.get("endedBecause") or "")
        reason = f"{_line(state)} ({because})" if because and because != state else _line(state)
        raise Failed(f"nothing was granted: the approval is {reason}", f"task {task}", "ask for less, or ask anew")
    return caller.post(f"/tasks/{task}/collect")


def interval_of(task: dict[str, Any]) -> float:
    """Seconds from one question to the next, as the gate says with a task that waits."""
    told = task.get("interval")
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= LONGEST_INTERVAL:
        return INTERVAL_SECONDS
    return float(told)


def _people(question: dict[str, Any]) -> str:
    """Who must say yes: `2 of sre and 1 of security`."""
    asks = question.get("asks")
    wanted = (
        [one for ask in asks if isinstance(ask, dict) for one in ask.get("from", ())] if isinstance(asks, list) else []
    )
    found = [f"{_line(one.get('count'))} of {_line(one.get('group'))}" for one in wanted if isinstance(one, dict)]
    return " and ".join(found) or "people"


def _line(value: object) -> str:
    """A value of the gate's, without anything that moves the terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))
