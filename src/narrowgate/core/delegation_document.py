"""A delegation as programs read it: the one document of `narrowgate approvals delegations -o json` and of the API.

Fields are added at the end and never taken away: programs outside depend on them.
"""

from __future__ import annotations

import enum

import msgspec

from narrowgate.core.delegation import Delegation
from narrowgate.core.moment import moment_text


class DelegationState(enum.Enum):
    """Where a delegation is."""

    AHEAD = "ahead"
    """Its time has not begun."""
    IN_FORCE = "inForce"
    OVER = "over"
    """Its time has passed."""
    ENDED = "ended"
    """It was taken back."""


_KEYS = {"begins_at": "from", "ends_at": "until", "made_at": "madeAt", "ended_at": "endedAt"}
"""As the calls that make a delegation write them, and camel case beyond them."""


class DelegationDocument(
    msgspec.Struct, frozen=True, kw_only=True, rename=_KEYS | {"ended_by": "endedBy", "counts_for": "countsFor"}
):
    """One delegation. Moments are RFC 3339."""

    id: str
    person: str
    """Who is away."""
    to: str
    """Who answers in their place."""
    groups: tuple[str, ...]
    state: DelegationState
    begins_at: str
    ends_at: str
    comment: str
    made_at: str
    ended_at: str | None
    ended_by: str
    counts_for: tuple[str, ...]
    """Those of the groups in which it counts now; none while the sign-in tells nothing that would be passed on."""


def delegation_state(delegation: Delegation, now: float) -> DelegationState:
    """Where it is at `now` (Unix seconds)."""
    if delegation.ended_at is not None:
        return DelegationState.ENDED
    if delegation.is_over(now):
        return DelegationState.OVER
    return DelegationState.IN_FORCE if delegation.is_in_force(now) else DelegationState.AHEAD


def delegation_document(delegation: Delegation, theirs: frozenset[str], now: float) -> DelegationDocument:
    """The document at `now`, `theirs` being the groups that whoever is away is known to be in by then."""
    return DelegationDocument(
        id=delegation.id,
        person=delegation.person,
        to=delegation.delegate,
        groups=delegation.groups,
        state=delegation_state(delegation, now),
        begins_at=moment_text(delegation.begins_at),
        ends_at=moment_text(delegation.ends_at),
        comment=delegation.comment,
        made_at=moment_text(delegation.made_at),
        ended_at=None if delegation.ended_at is None else moment_text(delegation.ended_at),
        ended_by=delegation.ended_by,
        counts_for=tuple(group for group in delegation.groups if group in theirs)
        if delegation.is_in_force(now)
        else (),
    )
