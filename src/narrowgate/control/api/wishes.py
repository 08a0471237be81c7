"""What is read of everybody who wants access for a while: for a task, a delegate, an emergency.

Fields that mean the same have one type here, and what is wrong with them is said in one way.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.authorization_details import TaskDetails, locations_of, words_of
from narrowgate.core.duration import seconds_of
from narrowgate.core.task_limits import MOST_REQUESTS, MOST_STREAMS
from narrowgate.core.wanted import MOST_WANTED, WantedRefused

LONGEST_WORDS = 2_000
"""Characters of one rule in words: eight names of the longest that Kubernetes has, and less is to be read."""

RequestLimit = Annotated[int, msgspec.Meta(ge=1, le=MOST_REQUESTS)]
StreamLimit = Annotated[int, msgspec.Meta(ge=1, le=MOST_STREAMS)]
Words = tuple[Annotated[str, msgspec.Meta(max_length=LONGEST_WORDS)], ...]
Details = Annotated[
    tuple[TaskDetails, ...],
    msgspec.Meta(max_length=MOST_WANTED, description="The same in the form of RFC 9396, in the place of `allow`."),
]


def words_wanted(allow: tuple[str, ...], details: tuple[TaskDetails, ...], cluster: str) -> tuple[str, ...]:
    """What is wanted on that cluster, in words, however it was written. Raises Problem."""
    if bool(allow) == bool(details):
        raise Problem(Trouble.INVALID, "say what is wanted by allow or by authorization_details: send one of them")
    if allow:
        return allow
    if elsewhere := sorted(locations_of(details) - {cluster}):
        raise Problem(
            Trouble.INVALID, f'authorization_details: the work is on "{cluster}", and not on "{elsewhere[0]}"'
        )
    try:
        words = words_of(details)
    except WantedRefused as error:
        raise Problem(Trouble.INVALID, f"authorization_details: {error}") from None
    if len(words) > MOST_WANTED:
        raise Problem(Trouble.INVALID, f"authorization_details: name {MOST_WANTED} datatypes at most")
    return words


def seconds_wanted(text: str) -> float:
    """How long it is wanted (`for`), in seconds. Raises Problem."""
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise Problem(Trouble.INVALID, f"for: {error}") from None
    if not seconds > 0:
        raise Problem(Trouble.INVALID, f"for: {text} is no time; write it like 10m")
    return float(seconds)
