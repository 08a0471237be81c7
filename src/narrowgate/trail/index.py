"""A search index over the trail: SQLite beside the journals, made from them, and searched newest first.

Here belongs what searches it. It is derived: deleting it costs the time to make it again, the data path never touches
it, and what is shown is read from the journals at the places that it names. So a changed index can hide an entry from
a search, never forge one; `verify` does not look at it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.audit_chain import BrokenLine, Payload, frame
from narrowgate.core.audit_entry import AuditEntry, entry_of, read_event
from narrowgate.core.audit_query import AuditQuery, Sight, conditions_of, matches
from narrowgate.trail.index_file import (
    PERIOD_BITS,
    IndexUnusable,
    audit_key,
    facts_table,
    filling_lock,
    first_number,
    microseconds_of,
    opened,
    remove,
    token,
)
from narrowgate.trail.index_filling import Filling, Progress, Shrunk, places_of
from narrowgate.trail.read import line_at
from narrowgate.trail.segments import segment_path, segments_of, writers_of

PAGE = 256
"""Places read from the index at a time: some screens of answers, and few more than somebody wanted who stops early."""

FILLING_WAIT = 5.0
"""Seconds that a search waits for another process that fills the index: a gate's own needs a fraction of one. After
that it answers from what is there, and says so."""

_LAST_NUMBER = (1 << 63) - 1


class Found(msgspec.Struct, frozen=True):
    """One answer, and its number: what lies behind it has a lower one."""

    number: int
    entry: AuditEntry
    events: tuple[bytes, ...] = ()
    """All events about it as JSON, oldest first; only where they were asked for."""


class Index:
    """The open index. Not for several threads at one time."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self._folder = folder
        self._database = database
        self._sources: dict[int, tuple[str, int]] = {}
        self.unreadable = 0
        """Lines that could not be read while bringing it up to date; `verify` says what is wrong with them."""
        self.astray = 0
        """Places where the journals do not hold what the index says; it should be made anew."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open or make the index of the trail in `folder`; in memory where the folder cannot be written.

        Raises IndexUnusable.
        """
        return cls(folder, opened(folder))

    @classmethod
    def open_anew(cls, folder: Path) -> Self:
        """Forget the index that is there and begin with an empty one. Raises IndexUnusable, OSError."""
        with filling_lock(folder, FILLING_WAIT) as held:
            if not held:
                raise IndexUnusable(f"{folder}: another process is filling the search index; try again in a moment")
            remove(folder)
        return cls.open(folder)

    @property
    def in_memory(self) -> bool:
        """Whether the folder cannot be written, so that the index is forgotten when it is closed."""
        return not self._database.execute("PRAGMA database_list").fetchone()[2]

    def update(
        self, progress: Progress | None = None, stop: Callable[[], bool] = lambda: False, wait: float = FILLING_WAIT
    ) -> bool:
        """Take in what the journals have gained, and forget what retention removed; False where another process is at
        it and does not end within `wait` seconds. `stop` is asked between batches. Raises IndexUnusable, OSError.
        """
        try:
            if self.in_memory:
                self._fill(progress, stop)
                return True
            with filling_lock(self._folder, wait) as held:
                if held:
                    self._fill(progress, stop)
                return held
        except sqlite3.Error as error:
            raise self._unusable("brought up to date", error) from error

    def behind(self) -> int:
        """Bytes of the record that are not taken in yet. Raises IndexUnusable, OSError."""
        try:
            known = {
                (writer, segment): offset
                for writer, segment, offset in self._database.execute("SELECT writer, segment, offset FROM sources")
            }
        except sqlite3.Error as error:
            raise self._unusable("read", error) from error
        there = ((writer, each) for writer in writers_of(self._folder) for each in segments_of(self._folder / writer))
        return sum(
            max(0, each.path.stat().st_size - known.get((writer, each.number), 0))
            for writer, each in there
            if each.path.exists()
        )

    def search(
        self, query: AuditQuery, sight: Sight, *, behind: int | None = None, texts: Sequence[str] | None = None
    ) -> Iterator[Found]:
        """Requests that match, newest first; with `behind`, those after the answer of that number.

        `texts` are the audit ids whose recordings hold the text of the query, as the text index tells them; they must
        be given where the query has one. Raises IndexUnusable, OSError while it is read.
        """
        if query.text and texts is None:
            raise ValueError("a query with a text needs the recordings that hold it")
        low, high = _range(query, behind)
        ids = [query.audit_id] if query.audit_id else texts
        try:
            if ids is not None:
                rows = self._by_audit_id(set(ids), low, high)
            else:
                rows = self._by_facts([_alternatives(each) for each in conditions_of(query, sight)], low, high)
            wanted = None if texts is None else set(texts)
            for number, packed in rows:
                entry = self._entry(number, packed)
                if entry is not None and matches(query, sight, entry) and (wanted is None or entry.audit_id in wanted):
                    yield Found(number, entry)
        except sqlite3.Error as error:
            raise self._unusable("read", error) from error

    def with_events(self, found: Found) -> Found:
        """The same answer with all events about it, as they stand in the journals. Raises IndexUnusable, OSError."""
        row = self._database.execute("SELECT places FROM requests WHERE id = ?", (found.number,)).fetchone()
        places = [] if row is None else places_of(row[0])
        read = [self._read(*place) for place in places]
        events = [payload for payload in read if payload is not None]
        return Found(found.number, found.entry, tuple(payload for _, _, _, payload in events))

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    # How rows are found.

    def _by_facts(self, conditions: list[str], low: int, high: int) -> Iterator[tuple[int, bytes]]:
        if not conditions:
            yield from self._pages(
                "SELECT id, places FROM requests WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT ?", low, high
            )
            return
        match = " AND ".join(conditions)
        (oldest,) = self._database.execute("SELECT min(id) FROM requests").fetchone()
        # Lists may still hold what retention removed; it is older than everything that is there.
        low = high + 1 if oldest is None else max(low, oldest)
        periods = self._database.execute(
            "SELECT period FROM periods WHERE period BETWEEN ? AND ? ORDER BY period DESC",
            (low >> PERIOD_BITS, high >> PERIOD_BITS),
        ).fetchall()
        for (period,) in periods:
            table = facts_table(period)
            yield from self._pages(
                f"SELECT requests.id, places FROM {table} CROSS JOIN requests ON requests.id = {table}.rowid "
                f"WHERE {table} MATCH ? AND {table}.rowid BETWEEN ? AND ? ORDER BY {table}.rowid DESC LIMIT ?",
                low,
                high,
                match,
            )

    def _pages(self, statement: str, low: int, high: int, *before: str) -> Iterator[tuple[int, bytes]]:
        """The rows of a statement, page by page: no reader holds the file back while its answers are looked at."""
        while page := self._database.execute(statement, (*before, low, high, PAGE)).fetchall():
            yield from page
            high = page[-1][0] - 1

    def _by_audit_id(self, ids: set[str], low: int, high: int) -> Iterator[tuple[int, bytes]]:
        numbers = [
            number
            for audit_id in ids
            for (number,) in self._database.execute(
                "SELECT id FROM requests WHERE audit_id = ? AND id BETWEEN ? AND ?", (audit_key(audit_id), low, high)
            )
        ]
        for number in sorted(numbers, reverse=True):
            row = self._database.execute("SELECT id, places FROM requests WHERE id = ?", (number,)).fetchone()
            if row is not None:
                yield row

    # How entries are read.

    def _entry(self, number: int, packed: bytes) -> AuditEntry | None:
        """The entry at the latest of these places; None where it is gone, or is not what the index says."""
        place = places_of(packed)[-1]
        read = self._read(*place)
        if read is None:
            return None
        writer, segment, seq, payload = read
        try:
            entry = entry_of(read_event(payload), writer, segment, seq)
            agrees = 0 <= number - first_number(microseconds_of(entry.received_at)) < _FARTHEST
        except ValueError:
            agrees = False
        if not agrees:
            self.astray += 1
            return None
        return entry

    def _read(self, source: int, offset: int) -> tuple[str, int, int, bytes] | None:
        """Writer, segment, number and payload of the line there; None where the file is gone or holds no event."""
        if source not in self._sources:
            found = self._database.execute("SELECT id, writer, segment FROM sources")
            self._sources = {number: (writer, segment) for number, writer, segment in found}
        if source not in self._sources:
            return None
        writer, segment = self._sources[source]
        try:
            framed = frame(line_at(segment_path(self._folder / writer, segment), offset))
        except FileNotFoundError:
            # Retention of a running gate took it meanwhile.
            return None
        except BrokenLine:
            self.astray += 1
            return None
        if framed.kind is not Payload.EVENT:
            self.astray += 1
            return None
        return writer, segment, framed.seq, framed.payload

    # How it is kept.

    def _fill(self, progress: Progress | None, stop: Callable[[], bool]) -> None:
        try:
            filling = Filling(self._folder, self._database)
            filling.run(progress, stop)
        except Shrunk:
            # Another record lies where the one was that this is the index of.
            self._empty()
            filling = Filling(self._folder, self._database)
            filling.run(progress, stop)
        self.unreadable = filling.unreadable

    def _empty(self) -> None:
        for (period,) in self._database.execute("SELECT period FROM periods").fetchall():
            self._database.execute(f"DROP TABLE {facts_table(period)}")
        for table in ("periods", "requests", "sources"):
            self._database.execute(f"DELETE FROM {table}")
        self._sources = {}

    def _unusable(self, what: str, error: sqlite3.Error) -> IndexUnusable:
        return IndexUnusable(
            f"{self._folder}: the search index cannot be {what}: {error}; "
            "free some space, or delete index.db and search again"
        )


_FARTHEST = 1 << 24
"""How far a request's number may lie from the first of its microsecond: thousands of full ones in a row."""


def _range(query: AuditQuery, behind: int | None) -> tuple[int, int]:
    """The numbers that an answer can have. A time between two microseconds is none that the trail writes."""
    low = first_number(microseconds_of(query.since)) if query.since else 0
    high = first_number(microseconds_of(query.until)) + _FARTHEST if query.until else _LAST_NUMBER
    return low, min(high, _LAST_NUMBER, _LAST_NUMBER if behind is None else behind - 1)


def _alternatives(facts: frozenset[str]) -> str:
    return "(" + " OR ".join(sorted(map(token, facts))) + ")"
