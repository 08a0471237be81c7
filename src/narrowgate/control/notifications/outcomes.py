"""What came of telling a receiver something, and how long it is left alone after a failure."""

from __future__ import annotations

from typing import Protocol

import msgspec

from narrowgate.control.notifications.messages import Message

FIRST_WAIT_SECONDS = 1.0
"""After the first failure; it doubles with each."""

LONGEST_WAIT_SECONDS = 300.0
"""Between two attempts: a receiver that is back hears of it within five minutes."""

LONGEST_ASKED_SECONDS = 3600.0
"""A receiver that asks for a longer pause (Retry-After) gets this: nobody switches it off by mistake."""

MOST_REFUSALS = 8
"""Attempts at one message that the receiver refuses for what it is, some four minutes; then the next ones go on."""


class Told(msgspec.Struct, frozen=True):
    """The receiver has it."""


class NotNow(msgspec.Struct, frozen=True, kw_only=True):
    """It is tried again, and what comes after waits, so that the order stays."""

    trouble: str
    """One line, without anything secret."""
    wait: float | None = None
    """Seconds that the receiver asked for."""
    refused: bool = False
    """Whether this very message was refused, and not whatever comes: then it does not hold up the others for ever."""


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver wants nothing more: it is left alone until the gate starts again."""

    trouble: str


Outcome = Told | NotNow | Gone


class Sender(Protocol):
    """One receiver, as it is told. It lives as long as the process."""

    async def send(self, message: Message, now: float) -> Outcome:
        """Tell it once, within half a minute. `now` (Unix seconds) goes into what is signed. Raises nothing."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


def pause_seconds(attempts: int, outcome: NotNow, chance: float) -> float:
    """Seconds until the next attempt, after `attempts` failures (1, 2, ...). `chance` from 0 to 1 spreads attempts.

    Half of the wait is fixed and half is chance, so that receivers behind one broken thing are not tried in step.
    """
    if outcome.wait is not None:
        return min(max(outcome.wait, FIRST_WAIT_SECONDS), LONGEST_ASKED_SECONDS)
    longest: float = min(FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, 20), LONGEST_WAIT_SECONDS)
    return longest * (0.5 + 0.5 * chance)
