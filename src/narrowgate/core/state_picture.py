"""Pictures of state machines, drawn from their tables: what documents show is what the code does."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar

_State = TypeVar("_State", bound=enum.Enum)
_Event = TypeVar("_Event", bound=enum.Enum)


def mermaid(transitions: Mapping[tuple[_State, _Event], _State], start: _State) -> str:
    """A Mermaid state diagram of a table, in the table's order; final states lead out of the picture."""
    lines = ["stateDiagram-v2", f"    [*] --> {start.value}"]
    lines += [f"    {state.value} --> {to.value}: {event.value}" for (state, event), to in transitions.items()]
    left = {state for state, _ in transitions}
    final = [state for state in dict.fromkeys(transitions.values()) if state not in left]
    lines += [f"    {state.value} --> [*]" for state in final]
    return "\n".join(lines) + "\n"
