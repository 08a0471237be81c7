"""How many requests and streams a task covers: the numbers, the smaller of two, and what is handed out at a time.

Counting is the store's and the proxy's; here is what both, and the policies, must mean alike. A limit that is None is
none; a limit is never 0, because a task that covers nothing is not asked for.
"""

from __future__ import annotations

from typing import Final

import msgspec

MOST_REQUESTS: Final = 1_000_000
"""Largest limit of requests that can be written: more is no limit that anybody would notice."""

MOST_STREAMS: Final = 1_000
"""Largest limit of streams: ten times what one process of a client opens at a time."""

SHARE: Final = 8
"""A process is handed an eighth of what is left: few calls of the store while there is plenty, and single requests
towards the end, so that no process keeps what another one lacks."""

TELL_SECONDS: Final = 2.0
"""How often a process tells which streams it has under way, and gives back requests that nobody has used meanwhile."""

STALE_SECONDS: Final = 10.0
"""After so long without a word a process is taken to be gone, and its streams with it: five times missed."""

SILENT_SECONDS: Final = 8.0
"""After so long without having been able to tell, a process ends its streams itself: before others may count without
them."""


class Limits(msgspec.Struct, frozen=True):
    """What one task still has limits of; at least one of the two is a number."""

    task: str
    requests: int | None = None
    """In all, from its beginning to its end."""
    streams: int | None = None
    """At one time: watches, execs, attaches, port-forwards, followed logs, whatever goes through `proxy`."""


class TaskUse(msgspec.Struct, frozen=True):
    """How much of its limits a task has used."""

    requests: int = 0
    """Handed out to processes: used, or about to be; what nobody uses comes back within seconds."""
    streams: int = 0
    """Under way."""


def limits_of(task: str, requests: int | None, streams: int | None) -> Limits | None:
    """The limits of a task; None where it has none."""
    return None if requests is None and streams is None else Limits(task, requests, streams)


def least(*limits: int | None) -> int | None:
    """The smallest of them; None where none is a number."""
    return min((limit for limit in limits if limit is not None), default=None)


def is_within(limit: int | None, bound: int | None) -> bool:
    """Whether a limit is no wider than what bounds it."""
    return bound is None or (limit is not None and limit <= bound)


def limit_problem(name: str, limit: int | None, most: int) -> str:
    """Why this cannot be the limit called `name`; empty where it can."""
    return "" if limit is None or 1 <= limit <= most else f"{name}: write a whole number from 1 to {most}"


def block_of(left: int) -> int:
    """How many of `left` requests a process is handed at a time; 0 where none are left."""
    return 0 if left <= 0 else max(1, left // SHARE)
