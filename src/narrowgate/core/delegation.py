"""Delegation for absence: somebody says who answers in their place, for which groups, and until when.

It passes on no more than who gave it still has, it is never passed on further (what counts are groups of the giver's
own sign-ins), and it makes nobody able to answer what either of the two may not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

LONGEST_SECONDS: Final = 30 * 86_400.0
"""A month: a longer absence is a matter for whoever keeps the groups at the identity provider."""

LATEST_BEGIN: Final = 90 * 86_400.0
"""Seconds ahead at which one may begin: a holiday is entered some weeks before."""

LONGEST_COMMENT: Final = 200
"""Characters; one line for whoever looks at it."""

SLACK_SECONDS: Final = 60.0
"""How far in the past the beginning may lie, as a clock that goes slow writes it."""


class Delegation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That one person answers in another one's place for a while."""

    id: str
    person: str
    """Who is away, and said so themselves."""
    delegate: str
    """Who answers in their place."""
    groups: tuple[str, ...]
    """For these, sorted: groups that the person was in when they said so. Never empty."""
    made_at: float
    """Unix seconds, as all that follow."""
    begins_at: float
    ends_at: float
    comment: str = ""
    ended_at: float | None = None
    """When it was taken back before its time; None where it was not."""
    ended_by: str = ""
    """Who took it back: `person:alice`."""

    def is_over(self, now: float) -> bool:
        """Whether it counts no more, and never will."""
        # Written so that a time that is no number (NaN) counts as past the end.
        return self.ended_at is not None or not now < self.ends_at

    def is_in_force(self, now: float) -> bool:
        """Whether it counts at `now`."""
        return not self.is_over(now) and self.begins_at <= now

    def overlaps(self, other: Delegation) -> bool:
        """Whether there is a moment at which both count, as far as their times say."""
        return self.begins_at < other.ends_at and other.begins_at < self.ends_at


def delegation_problem(wanted: Delegation, own: frozenset[str]) -> str:
    """Why this cannot be delegated by a person who is in the groups `own`, in words; empty when it can."""
    if wanted.delegate == wanted.person:
        return "to: name somebody else, who answers in your place"
    if not wanted.comment.isprintable() or len(wanted.comment) > LONGEST_COMMENT:
        return f"comment: write one line of up to {LONGEST_COMMENT} characters"
    if not wanted.groups:
        return "groups: you are in no group by your sign-in, so there is nothing to answer in your place"
    if strange := sorted(set(wanted.groups) - own):
        return f'groups: you are not in "{strange[0]}" by your sign-in; you are in: {", ".join(sorted(own)) or "none"}'
    return _time_problem(wanted)


def _time_problem(wanted: Delegation) -> str:
    now = wanted.made_at
    if not now - SLACK_SECONDS <= wanted.begins_at <= now + LATEST_BEGIN:
        latest = datetime.fromtimestamp(now + LATEST_BEGIN, UTC).strftime("%Y-%m-%d")
        return f"from: it begins now (leave it out) or later, by {latest} at the latest"
    if not max(now, wanted.begins_at) < wanted.ends_at:
        return "until: this is not after its beginning"
    if not wanted.ends_at - wanted.begins_at <= LONGEST_SECONDS:
        return "until: it lasts for 30 days at most"
    return ""
