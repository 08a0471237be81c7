"""One search for a text: which recordings may hold it, and for each request that is found, where its recording does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.found_text import FoundEntry, FoundText, found_entry
from narrowgate.trail.index import Found
from narrowgate.trail.text_file import TEXT
from narrowgate.trail.text_index import MOST_RECORDINGS, TextCounts, TextIndex


class FoundRequest(msgspec.Struct, frozen=True):
    """One answer, its number in the index, and what was found in its recording where somebody looked there."""

    number: int
    entry: FoundEntry


class TextSearch:
    """A search for a text, for as long as its answers are read. All calls raise TextUnusable."""

    def __init__(self, index: TextIndex | None, text: str, most_pieces: int | None = None) -> None:
        """`index` is None where no text of recordings is kept, so that nothing holds it; `most_pieces` ends what a
        search may cost.
        """
        self._index = index
        self._text = text
        self._most_pieces = most_pieces
        self._numbers = {} if index is None else dict(index.holding(text))

    @property
    def sessions(self) -> tuple[str, ...]:
        """The audit ids whose recordings may hold the text, newest first, `MOST_RECORDINGS` at most."""
        return tuple(self._numbers)

    @property
    def is_full(self) -> bool:
        """Whether there are more than those, or than may be read, so that not all are looked at."""
        return len(self._numbers) >= MOST_RECORDINGS or self._is_at_its_end()

    def counts(self) -> TextCounts | None:
        """How many recordings were searched and how many were not; None where no text is kept."""
        return None if self._index is None else self._index.counts()

    def place_in(self, entry: AuditEntry) -> FoundText | None:
        """Where the recording of this request holds the text; None where it does not."""
        number = self._numbers.get(entry.audit_id)
        if number is None or self._index is None or self._is_at_its_end():
            return None
        return self._index.find(number, self._text)

    def _is_at_its_end(self) -> bool:
        return (
            self._index is not None and self._most_pieces is not None and self._index.pieces_read >= self._most_pieces
        )


@contextmanager
def text_search(trail: Path, text: str, most_pieces: int | None = None) -> Iterator[TextSearch]:
    """Search the text index in the trail's folder as it is, in no more than so many pieces. Raises TextUnusable;
    ValueError for a text that is too short or too long.
    """
    if not (trail / TEXT).exists():
        yield TextSearch(None, text)
        return
    with closing(TextIndex.open(trail)) as index:
        yield TextSearch(index, text, most_pieces)


def with_places(found: Iterable[Found], search: TextSearch | None) -> Iterator[FoundRequest]:
    """The answers, each with the place in its recording; without those whose recording does not hold the text.

    Without a search for a text they are what they were.
    """
    for one in found:
        place = None if search is None else search.place_in(one.entry)
        if search is None or place is not None:
            yield FoundRequest(one.number, found_entry(one.entry, place))
