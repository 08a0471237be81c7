"""What refused requests lacked, asked of the gate by their ids and put together as the words of one task."""

from __future__ import annotations

import re
import time
from typing import Any, Protocol

import click

from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GateRefused, GateUnreachable
from narrowgate.cli.output import note
from narrowgate.core.denied_request import put_together
from narrowgate.core.wanted import WantedRefused

WRITTEN_SECONDS = 3.0
"""Longest wait for a refusal to be written down: the gate does it within a second, and who is refused asks at once."""
ASK_AGAIN_SECONDS = 0.3

MOST_IDS = 32
"""As many refusals as a task has rules."""

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_NOT_FOUND = 404


class Caller(Protocol):
    """Calls the API of one gate, as `task_caller.TaskCaller` does."""

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path."""
        ...


def read_ids(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Ids of refused requests, as they were typed: one in each text, or several with commas. Raises BadParameter."""
    found = tuple(dict.fromkeys(one.strip() for text in texts for one in text.split(",")))
    if any(not _ID.fullmatch(one) for one in found):
        raise click.BadParameter(
            "this is no id of a request: it stands in the refusal's Audit-Id header, in its Status as the cause "
            "NarrowgateRequest, and in `narrowgate audit search`",
            param_hint="--from-denied",
        )
    if len(found) > MOST_IDS:
        raise click.BadParameter(f"name at most {MOST_IDS} requests", param_hint="--from-denied")
    return found


def with_denied(caller: Caller, wish: dict[str, Any], ids: tuple[str, ...]) -> dict[str, Any]:
    """The wish for a task, with all that these requests lacked. Raises Failed, Unusable."""
    denied = [_denied(caller, one) for one in ids]
    asked = {**wish}
    for name in ("agent", "cluster"):
        meant = {str(one.get(name)) for one in denied} | ({wish[name]} if wish.get(name) else set())
        if len(meant) > 1:
            raise Failed(
                f"these are requests of more than one {name}: {', '.join(sorted(meant))}",
                ", ".join(ids),
                "ask for a task for each",
            )
        asked[name] = next(iter(meant), "")
    try:
        words = put_together(str(word) for one in denied for word in one.get("allow", ()))
    except WantedRefused as error:
        raise GateUnreachable(f"the gate tells what no task can be asked for with: {error}") from None
    asked["allow"] = list(dict.fromkeys([*wish.get("allow", ()), *words]))
    for word in words:
        note(f'asks for: --allow "{word}"')
    return asked


def _denied(caller: Caller, audit_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + WRITTEN_SECONDS
    while True:
        try:
            return caller.get(f"/denied/{audit_id}")
        except GateRefused as error:
            if error.status != _NOT_FOUND or time.monotonic() > deadline:
                raise
        time.sleep(ASK_AGAIN_SECONDS)
