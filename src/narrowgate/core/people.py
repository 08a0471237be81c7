"""People as they are known when their answers are counted: in which groups, in whose place, and who is kept out.

Nothing here is remembered with a question. It is looked up anew whenever somebody answers and when the answers are
used, so that whoever left a group, or has been shown a credential in between, has not approved.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """The place of somebody who is away, which another person fills."""

    person: str
    """Who is away."""
    groups: frozenset[str]
    """What whoever fills it is in for them: groups that were delegated, and that they are still in."""
    member_of: frozenset[str]
    """All groups of whoever is away: what keeps them from answering keeps out who answers in their place."""


class People(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who matters to one question, at one moment. Whoever is left out is nobody, and may not answer."""

    groups: Mapping[str, frozenset[str]] = {}
    """By name, of those who are signed in: whoever is not here does not count, in whosever place."""
    seats: Mapping[str, tuple[Seat, ...]] = {}
    """By the name of who fills them."""
    excluded: frozenset[str] = frozenset()
    """Who can ask as the agent by now, or answers for it: they do not answer, whatever was so when it was asked."""
    owner_groups: frozenset[str] = frozenset()
    """Groups that answer for the agent by now: their members do not, where a rule says so."""
