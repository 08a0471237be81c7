"""Taking the journals into the search index: what they have gained, and what retention has removed.

Here belongs everything that changes `index.db`. One process at a time does this, while others append to the journals
and search. It may be ended anywhere: a batch of lines is in the index whole, together with how far it reaches, or not
at all.
"""

from __future__ import annotations

import itertools
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from narrowgate.core.audit_chain import BrokenLine, Payload, frame
from narrowgate.core.audit_entry import AuditEvent, entry_of, facts_of, read_event
from narrowgate.trail.index_database import transaction
from narrowgate.trail.index_file import (
    PERIOD_BITS,
    PLACE,
    TIE_BITS,
    add_period,
    audit_key,
    facts_table,
    first_number,
    microseconds_of,
    token,
)
from narrowgate.trail.read import complete_lines, line_at
from narrowgate.trail.segments import segments_of, writers_of

BATCH = 20_000
"""Lines between two commits: what an interrupted search has done is kept. Some 20 MB of the record, half a second."""

MOST_PLACES = 64
"""Events of one request whose places are kept: one that waits and streams has five. Of more, the latest counts."""

Progress = Callable[[int, int], None]
"""Called with the bytes indexed so far and the bytes to index in all."""

Key = tuple[str, str]
"""What tells requests of one journal apart: audit id, and when it was received, as written."""


class Source(msgspec.Struct, frozen=True):
    """A segment, and up to which offset it was taken in."""

    id: int
    writer: str
    segment: int
    path: Path
    offset: int


class Shrunk(Exception):
    """A segment is shorter than what was taken in of it: the index is not of this record."""


class Pending(msgspec.Struct):
    """What a batch says of one request."""

    event: AuditEvent
    """The latest."""
    offsets: list[int]


class Filling:
    """One go at bringing the index up to date, by whoever holds the lock."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self._folder = folder
        self._database = database
        self._paths: dict[int, Source] = {}
        """All files that rows may point to, by their number."""
        self._periods = {period for (period,) in database.execute("SELECT period FROM periods")}
        self.unreadable = 0
        """Lines that could not be read; `verify` says what is wrong with them."""

    def run(self, progress: Progress | None, stop: Callable[[], bool]) -> None:
        """Take in what the journals have gained, until `stop` says so. Raises Shrunk, sqlite3.Error, OSError."""
        with transaction(self._database):
            self._forget_removed()
        sources = self._sources()
        behind: dict[str, int] = {}
        for source, size in sources:
            behind[source.writer] = behind.get(source.writer, 0) + size - source.offset
        # The journal that is furthest behind goes first, or whoever stops early never comes to the others. The order
        # within one stays: the latest event is what is told of a request.
        sources.sort(key=lambda each: (-behind[each[0].writer], each[0].writer, each[0].segment))
        total, done = sum(behind.values()), 0
        for source, size in sources:
            if size == source.offset:
                continue
            if stop():
                return
            for count in self._take_in(source, stop):
                done += count
                if progress is not None:
                    progress(done, max(total, done))

    def _sources(self) -> list[tuple[Source, int]]:
        """The segments that are there, oldest first within a journal, and their sizes."""
        known = {
            (writer, segment): (number, offset)
            for number, writer, segment, offset in self._database.execute(
                "SELECT id, writer, segment, offset FROM sources"
            )
        }
        found = []
        for writer in writers_of(self._folder):
            for each in segments_of(self._folder / writer):
                size = _size_of(each.path)
                number, offset = known.get((writer, each.number), (0, 0))
                if size is None:
                    continue
                if size < offset:
                    raise Shrunk(str(each.path))
                number = number or self._add_source(writer, each.number)
                source = Source(number, writer, each.number, each.path, offset)
                self._paths[number] = source
                found.append((source, size))
        return found

    def _add_source(self, writer: str, segment: int) -> int:
        (number,) = self._database.execute(
            "INSERT INTO sources (writer, segment, offset) VALUES (?, ?, 0) RETURNING id", (writer, segment)
        ).fetchone()
        return int(number)

    # What retention removed.

    def _forget_removed(self) -> None:
        there = {
            (writer, each.number) for writer in writers_of(self._folder) for each in segments_of(self._folder / writer)
        }
        rows = self._database.execute("SELECT id, writer, segment, low, high FROM sources").fetchall()
        gone = [row for row in rows if (row[1], row[2]) not in there]
        numbers = {row[0] for row in gone}
        for number, _, _, low, high in gone:
            if low is not None:
                self._forget_rows(numbers, low, high)
            self._database.execute("DELETE FROM sources WHERE id = ?", (number,))
        if gone:
            self._forget_periods()

    def _forget_rows(self, gone: set[int], low: int, high: int) -> None:
        """Forget the places in files that are gone, and requests that have no other place."""
        rows = self._database.execute("SELECT id, places FROM requests WHERE id BETWEEN ? AND ?", (low, high))
        left = [(number, [place for place in places_of(places) if place[0] not in gone]) for number, places in rows]
        self._database.executemany(
            "DELETE FROM requests WHERE id = ?", [(number,) for number, rest in left if not rest]
        )
        kept = [(_packed(rest), number) for number, rest in left if rest]
        self._database.executemany("UPDATE requests SET places = ? WHERE id = ?", kept)

    def _forget_periods(self) -> None:
        """Drop the lists that lie wholly before the oldest request; others keep what search does not look at."""
        (oldest,) = self._database.execute("SELECT min(id) FROM requests").fetchone()
        for period in sorted(self._periods):
            if oldest is None or period < oldest >> PERIOD_BITS:
                self._database.execute(f"DROP TABLE {facts_table(period)}")
                self._database.execute("DELETE FROM periods WHERE period = ?", (period,))
                self._periods.discard(period)

    # What the journals have gained.

    def _take_in(self, source: Source, stop: Callable[[], bool]) -> Iterable[int]:
        lines = complete_lines(source.path, source.offset)
        offset = source.offset
        while not stop() and (batch := list(itertools.islice(lines, BATCH))):
            reached = batch[-1][0]
            with transaction(self._database):
                self._add(source, self._read(batch, offset))
                self._database.execute("UPDATE sources SET offset = ? WHERE id = ?", (reached, source.id))
            yield reached - offset
            offset = reached

    def _read(self, batch: Sequence[tuple[int, bytes]], offset: int) -> dict[Key, Pending]:
        found: dict[Key, Pending] = {}
        for behind, line in batch:
            try:
                framed = frame(line)
                if framed.kind is Payload.EVENT:
                    event = read_event(framed.payload)
                    key = event.audit_id, event.request_received_timestamp
                    pending = found.get(key)
                    if pending is None:
                        pending = found[key] = Pending(event, [])
                    pending.event = event
                    pending.offsets.append(offset)
            except (BrokenLine, ValueError):
                self.unreadable += 1
            offset = behind
        return found

    def _add(self, source: Source, found: dict[Key, Pending]) -> None:
        rows: dict[int, tuple[bytes | str, bytes]] = {}
        facts: list[tuple[int, set[str]]] = []
        for (audit_id, received_at), pending in found.items():
            try:
                first = first_number(microseconds_of(received_at))
                now = facts_of(entry_of(pending.event, source.writer, source.segment, 0))
            except ValueError:
                self.unreadable += len(pending.offsets)
                continue
            key = audit_key(audit_id)
            number, before = self._number(source.writer, key, first, rows)
            if before:
                now = now - self._facts_before(before[-1])
            places = [*before, *((source.id, offset) for offset in pending.offsets)]
            rows[number] = key, _packed(places)
            if now:
                facts.append((number, now))
        self._write(source, rows, facts)

    def _number(
        self, writer: str, key: bytes | str, first: int, rows: dict[int, tuple[bytes | str, bytes]]
    ) -> tuple[int, list[tuple[int, int]]]:
        """The number of this request, and the places that are known of it: none where it is new.

        The lowest bits are a hash of the audit id, so that the number is the same whenever the index is made; where
        two requests share it, the later one goes to the next that is free.
        """
        tie = zlib.crc32(key if isinstance(key, bytes) else key.encode("utf-8", "surrogatepass")) % (1 << TIE_BITS)
        number = first + tie
        while True:
            # One that this batch has put there is another request: those of a batch have been told apart.
            if number not in rows:
                row = self._database.execute("SELECT audit_id, places FROM requests WHERE id = ?", (number,)).fetchone()
                if row is None:
                    return number, []
                if row[0] == key and self._writer_of(row[1]) == writer:
                    return number, places_of(row[1])
            number += 1

    def _writer_of(self, places: bytes) -> str:
        source = self._paths.get(PLACE.unpack_from(places)[0])
        return source.writer if source is not None else ""

    def _facts_before(self, place: tuple[int, int]) -> set[str]:
        """What the lists hold of a request whose latest event was at that place; nothing where it cannot be read."""
        source = self._paths.get(place[0])
        try:
            line = b"" if source is None else line_at(source.path, place[1])
            framed = frame(line)
            return facts_of(entry_of(read_event(framed.payload), "", 0, framed.seq))
        except (OSError, BrokenLine, ValueError):
            return set()

    def _write(
        self, source: Source, rows: dict[int, tuple[bytes | str, bytes]], facts: list[tuple[int, set[str]]]
    ) -> None:
        if not rows:
            return
        ordered = sorted((number, key, places) for number, (key, places) in rows.items())
        self._database.executemany("INSERT OR REPLACE INTO requests VALUES (?, ?, ?)", ordered)
        self._database.execute(
            "UPDATE sources SET low = min(coalesce(low, ?1), ?1), high = max(coalesce(high, ?2), ?2) WHERE id = ?3",
            (ordered[0][0], ordered[-1][0], source.id),
        )
        # In order of number: one that is not ends the run in memory, and each run costs a merge.
        facts.sort(key=lambda each: each[0])
        for period, group in itertools.groupby(facts, key=lambda each: each[0] >> PERIOD_BITS):
            if period not in self._periods:
                add_period(self._database, period)
                self._periods.add(period)
            self._database.executemany(
                f"INSERT INTO {facts_table(period)} (rowid, facts) VALUES (?, ?)",
                ((number, " ".join(map(token, found))) for number, found in group),
            )


def places_of(packed: bytes) -> list[tuple[int, int]]:
    """Where the events of a request are, in the order of the journal: number of the file, offset."""
    return list(PLACE.iter_unpack(packed))


def _packed(places: list[tuple[int, int]]) -> bytes:
    kept = places if len(places) <= MOST_PLACES else [*places[: MOST_PLACES - 1], places[-1]]
    return b"".join(PLACE.pack(*place) for place in kept)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # Retention of a running gate took it meanwhile.
        return None
