"""What the checks of `narrowgate doctor` say: one line each, in one shape for people and programs."""

from __future__ import annotations

import enum

import msgspec


class Outcome(enum.Enum):
    """How one check came out."""

    OK = "ok"
    FINDING = "finding"
    NOT_TRIED = "not tried"
    """Nobody knows: it could not be tried, or whoever asked did not want it to be."""


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the report."""

    check: str
    """What was looked at, in the same few words each time: `resting access`, `credential around the gate`, ..."""
    where: str
    outcome: Outcome
    found: str
    to_do: str = ""
    counts: bool = True
    """Whether not knowing this means that the question is not answered."""


def is_well(lines: list[Line]) -> bool:
    """Whether something was tried, nothing was found, and everything that was asked for could be tried."""
    found = any(line.outcome is Outcome.FINDING for line in lines)
    unknown = any(line.outcome is Outcome.NOT_TRIED and line.counts for line in lines)
    return not found and not unknown and any(line.outcome is Outcome.OK for line in lines)


def plain(text: object) -> str:
    """What files and servers say, without anything that moves the terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
