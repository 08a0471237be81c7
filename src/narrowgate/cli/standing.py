"""`narrowgate tasks list --standing`: what is open at any time, without a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import write_json, write_table
from narrowgate.cli.task_caller import TaskCaller

_PAGE = 100
"""Lines asked for at a time; a hundred with a long rule each fit into an answer."""

_HEADS = ("HOLDER", "AGENTS", "CLUSTER", "RULE", "SINCE", "LAST USE", "ALLOWS")


def list_standing(caller: TaskCaller, limit: int, output: str) -> None:
    """Show at most `limit` lines, the worst first. Raises Failed, Unusable."""
    found = standing_of(caller, limit)
    if output == "json":
        write_json(found)
        return
    write_table(_HEADS, [_row(line) for line in found], "nothing stands: every access is by a task or by an approval")


def standing_of(caller: TaskCaller, limit: int) -> Sequence[Mapping[str, Any]]:
    """What the gate lists for whoever calls. Raises Failed, Unusable."""
    found: list[Mapping[str, Any]] = []
    more = ""
    while len(found) < limit:
        page = caller.get(f"/standing?limit={min(_PAGE, limit - len(found))}{more}")
        items, metadata = page.get("items"), page.get("metadata")
        if not isinstance(items, list) or not isinstance(metadata, dict):
            raise GateUnreachable(f"{caller.gate} does not answer as a gate does: is it a gate of this version?")
        found += [line for line in items if isinstance(line, dict)]
        behind = str(metadata.get("continue") or "")
        # Only the gate's own tokens have nothing that an address would have to encode.
        if not behind or not behind.isascii() or not behind.replace("-", "").replace("_", "").isalnum():
            break
        more = f"&continue={behind}"
    return found


def use_text(line: Mapping[str, Any]) -> str:
    """When it was last used, in words."""
    if used_at := _text(line, "lastUsedAt"):
        used_by = _text(line, "lastUsedBy")
        return used_at if used_by == _text(line, "holder") else f"{used_at} by {used_by}"
    unused_since = _text(line, "unusedSince")
    return f"never since {unused_since}" if unused_since else "not known"


def since_text(line: Mapping[str, Any]) -> str:
    """Since when it stands, in words."""
    since = _text(line, "since")
    if not since:
        return "not known"
    return f"before {since}" if line.get("isOlder") is True else since


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _text(line, "holder"),
        _text(line, "agents"),
        _text(line, "cluster"),
        f"{_text(line, 'policy')}/{_text(line, 'rule')}",
        since_text(line),
        use_text(line),
        _text(line, "allow"),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    """A value of the gate's, without anything that moves the terminal's cursor."""
    value = document.get(name)
    return "" if value is None else "".join(letter if letter.isprintable() else "?" for letter in str(value))
