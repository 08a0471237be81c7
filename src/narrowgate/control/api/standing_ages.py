"""Since when standing access stands, looked up in the revisions that were in force: once for each new revision."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from narrowgate.core.rulebook import Rulebook
from narrowgate.core.standing import Access, Age, Revision, ages
from narrowgate.store.port import NotThere, PolicyRevision, Store

_PAGE = 20
"""Revisions named at a time; most rules are younger than that."""


class StandingAges:
    """What was found out about one revision; the next one replaces it. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._ages: Mapping[Access, Age] = {}

    def of(self, rulebook: Rulebook, store: Store) -> Callable[[Access], Age | None]:
        """The age of each access by these rules; None of what is not known. Raises StoreUnavailable.

        Reading old files takes a second or two where there are many: whoever asks meanwhile waits for the same answer.
        """
        with self._lock:
            if self._number != rulebook.revision:
                self._ages = _looked_up(rulebook, store)
                self._number = rulebook.revision
            return self._ages.get


def _looked_up(rulebook: Rulebook, store: Store) -> Mapping[Access, Age]:
    try:
        current = store.revision(rulebook.revision)
    except NotThere:
        return {}
    return ages(_read(current), rulebook.policies, _older(store, current.number))


def _older(store: Store, before: int) -> Iterator[Revision]:
    """Newest first, each read when it is asked for."""
    while summaries := store.revisions(_PAGE, before=before):
        for summary in summaries:
            yield _read(store.revision(summary.number))
        before = summaries[-1].number


def _read(revision: PolicyRevision) -> Revision:
    return Revision(revision.number, revision.made_at, revision.files)
