"""How much one holder can have people told: whoever is asked all day stops reading, and then says yes to anything.

An agent may take a question back and ask another one, again and again, so that a limit on what waits is no limit on
what people get.
"""

from __future__ import annotations

import enum
from collections import deque

from narrowgate.control.notifications.messages import Message

MOST_ASKED = 30
"""Questions and tasks of one holder that are told to people within the hour; who needs more needs another policy."""

WINDOW_SECONDS = 3600.0

MOST_HOLDERS = 10_000
"""Holders that are remembered; the one that was told of longest ago is forgotten first."""

_COUNTED = frozenset({"approval.asked", "task.requested", "task.began"})


class Measure(enum.Enum):
    """What is done with a message."""

    TELL = "tell"
    TELL_LAST = "tell last"
    """With the word that there is no more of it for a while."""
    LEAVE_OUT = "leave out"


class Flood:
    """What one receiver was told of each holder lately. In memory: a gate that starts again begins to count again."""

    def __init__(self) -> None:
        self._told: dict[str, deque[float]] = {}

    def measure(self, message: Message, now: float) -> Measure:
        """What is done with it at `now` (Unix seconds). Emergencies, and what has no holder, are always told."""
        if not message.holder or message.kind.startswith("emergency."):
            return Measure.TELL
        told = self._told.get(message.holder, deque())
        while told and not now - told[0] < WINDOW_SECONDS:
            told.popleft()
        if len(told) >= MOST_ASKED:
            return Measure.LEAVE_OUT
        last = message.kind in _COUNTED and len(told) == MOST_ASKED - 1
        return Measure.TELL_LAST if last else Measure.TELL

    def told(self, message: Message, now: float) -> None:
        """Count what was told."""
        if not message.holder or message.kind not in _COUNTED:
            return
        times = self._told.pop(message.holder, deque())
        times.append(now)
        self._told[message.holder] = times
        if len(self._told) > MOST_HOLDERS:
            del self._told[next(iter(self._told))]
