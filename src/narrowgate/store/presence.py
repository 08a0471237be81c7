"""Which people in an emergency are still signed in, looked up in the store at one moment."""

from __future__ import annotations

from collections.abc import Iterable

from narrowgate.core.emergency import Present, presence
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import SignIn
from narrowgate.core.tasks import Task
from narrowgate.store.port import NotThere, SignIns


def people_present(sign_ins: SignIns, tasks: Iterable[Task], now: float) -> dict[str, Present]:
    """Those who took these emergencies and may go on at `now` (Unix seconds), by the id of the task.

    Tasks of others are passed over. Raises StoreUnavailable.
    """
    found = {}
    for task in tasks:
        if task.kind is not Kind.PERSON or not task.emergency:
            continue
        newest = sign_ins.listed(task.name, running_at=now, limit=1)
        taken_with = _sign_in(sign_ins, task)
        present = presence(taken_with, newest[0] if newest else None, now)
        if present is not None:
            found[task.id] = present
    return found


def _sign_in(sign_ins: SignIns, task: Task) -> SignIn | None:
    """The one that it was taken with; None where that is another person's, or forgotten since."""
    try:
        found = sign_ins.get(task.sign_in)
    except NotThere:
        return None
    return found if found.person == task.name else None
