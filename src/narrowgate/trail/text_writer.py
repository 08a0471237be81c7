"""How the text of recordings gets into the text index, and out of it again.

Here belongs what changes `text.db`. One process at a time does, under `LOCK`; a recording whose text is partly in it
belongs to the filler that began it, and is begun anew by any other: what it knows of the recording is in memory alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.recorded_text import Passage, Stream
from narrowgate.core.text_matching import folded
from narrowgate.trail.index_database import transaction
from narrowgate.trail.text_file import (
    MARK_MICROSECONDS,
    OVERLAP,
    PIECE,
    PIECE_BITS,
    TEXT,
    TIE_BITS,
    Piece,
    State,
    empty,
    mark_of,
    opened,
    packed,
    unpacked,
    unusable,
)

_LAST_SECOND = (1 << 32) - 1


class _Open(msgspec.Struct):
    """The last piece of a stream, which still grows."""

    number: int = -1
    """Under which it is stored; none while it is not."""
    stored: str = ""
    """What is stored of it."""
    text: str = ""
    marks: list[tuple[int, int]] = []

    def add(self, at: int, text: str) -> None:
        """Put text behind it."""
        if not self.marks or at - self.marks[-1][1] >= MARK_MICROSECONDS:
            self.marks.append((len(self.text), at))
        self.text += text

    def cut(self) -> tuple[Piece, _Open] | None:
        """The piece, where there is enough for one, and the one that follows; of any stream."""
        if len(self.text) <= PIECE:
            return None
        piece = Piece(Stream.OUTPUT, self.text[:PIECE], tuple(mark for mark in self.marks if mark[0] < PIECE))
        start = PIECE - OVERLAP
        inside = [(place - start, at) for place, at in self.marks if place > start]
        before = [at for place, at in self.marks if place <= start]
        return piece, _Open(text=self.text[start:], marks=[(0, before[-1]), *inside])


class Growing:
    """The text of one recording while it is taken in. What of it is stored is the business of `TextWriter.store`."""

    def __init__(self, name: str, number: int) -> None:
        """Not for callers: `TextWriter.begin` makes them."""
        self.name = name
        self.number = number
        self.pieces = 0
        self.open = {stream: _Open() for stream in Stream}
        self.waiting = 0
        """Characters that are not stored."""

    def add(self, passages: Iterable[Passage]) -> None:
        """Take text, without storing it."""
        for passage in passages:
            self.open[passage.stream].add(passage.at, passage.text)
            self.waiting += len(passage.text)


class TextWriter:
    """The open file, for the process that holds its lock. All calls raise TextUnusable."""

    def __init__(self, path: Path, database: sqlite3.Connection, filler: str) -> None:
        """Not for callers: they `open` one."""
        self._path = path
        self._database = database
        self._filler = filler
        self.mark = mark_of(database)
        """Another one than before: the index was made anew, and nothing of what was stored is there."""

    @classmethod
    def open(cls, folder: Path, filler: str) -> Self:
        """Open or make the file for the filler of this name, which is nobody else's."""
        return cls(folder / TEXT, opened(folder), filler)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def clear(self) -> None:
        """Forget everything: it is made anew from the recordings."""
        with self._changing():
            empty(self._database)
        self.mark = mark_of(self._database)

    # Which recordings there are.

    def names(self, day: str = "") -> list[str]:
        """The recordings that are known, of one day (`2026-11-21`) or all."""
        with self._worded():
            rows = self._database.execute(
                "SELECT name FROM recordings WHERE name BETWEEN ? AND ?",
                (f"{day}/" if day else "", f"{day}0" if day else "~"),
            )
            return [str(name) for (name,) in rows]

    def days(self) -> set[str]:
        """The days of which recordings are known."""
        with self._worded():
            return {
                str(day) for (day,) in self._database.execute("SELECT DISTINCT substr(name, 1, 10) FROM recordings")
            }

    def expect(self, names: Iterable[str]) -> None:
        """Know of recordings that are there; nothing changes for those that are known already."""
        with self._changing():
            self._database.executemany(
                "INSERT OR IGNORE INTO recordings (name, state) VALUES (?, ?)",
                [(name, State.WAITING) for name in names],
            )

    def waiting(self, limit: int) -> list[str]:
        """Recordings of which nothing was taken in, the newest day first."""
        with self._worded():
            rows = self._database.execute(
                "SELECT name FROM recordings WHERE state = ? ORDER BY name DESC LIMIT ?", (State.WAITING, limit)
            )
            return [str(name) for (name,) in rows]

    def count_waiting(self) -> int:
        """How many those are."""
        with self._worded():
            row = self._database.execute("SELECT count(*) FROM recordings WHERE state = ?", (State.WAITING,)).fetchone()
            return int(row[0])

    def forget(self, names: Sequence[str]) -> None:
        """Forget recordings that are gone, with their text."""
        for name in names:
            with self._changing():
                self._forget_text(name)
                self._database.execute("DELETE FROM recordings WHERE name = ?", (name,))

    def begun(self) -> dict[str, int | None]:
        """The recordings of which a part was taken in, and the number of each that this filler began."""
        with self._worded():
            rows = self._database.execute(
                "SELECT name, CASE filler WHEN ? THEN number END FROM recordings WHERE state = ?",
                (self._filler, State.PARTLY),
            )
            return dict(rows.fetchall())

    def all_of(self, state: State) -> list[str]:
        """The recordings of this state."""
        with self._worded():
            rows = self._database.execute("SELECT name FROM recordings WHERE state = ?", (state,))
            return [str(name) for (name,) in rows]

    def again(self, names: Iterable[str]) -> None:
        """Have these recordings read once more, from their beginning."""
        for name in names:
            with self._changing():
                self._forget_text(name)
                self._set(name, State.WAITING)

    def leave_out_encrypted(self) -> None:
        """Forget the text of recordings that are encrypted."""
        with self._worded():
            rows = self._database.execute(
                "SELECT name FROM recordings WHERE is_encrypted AND state <> ?", (State.ENCRYPTED,)
            ).fetchall()
        for (name,) in rows:
            with self._changing():
                self._forget_text(name)
                self._set(name, State.ENCRYPTED)

    # What they hold.

    def begin(self, name: str, began: int, *, is_encrypted: bool) -> Growing:
        """Begin to take in a recording that is known, from its beginning; `began`: Unix microseconds."""
        with self._changing():
            self._forget_text(name)
            number = self._free_number(began)
            self._database.execute(
                "UPDATE recordings SET state = ?, number = ?, filler = ?, is_encrypted = ?, problem = NULL "
                "WHERE name = ?",
                (State.PARTLY, number, self._filler, is_encrypted, name),
            )
        return Growing(name, number)

    def store(self, growing: Growing, *, as_far_as_it_is: bool = True) -> None:
        """Store what was added; where it is not `as_far_as_it_is`, what fills a piece."""
        with self._changing():
            self._store(growing, as_far_as_it_is=as_far_as_it_is)

    def settle(self, growing: Growing, state: State, problem: str = "") -> None:
        """Store the rest: this is all that will be taken of the recording."""
        with self._changing():
            self._store(growing, as_far_as_it_is=True)
            self._set(growing.name, state, problem)

    def give_up(self, name: str, state: State, problem: str = "") -> None:
        """Nothing can be taken of a recording, or nothing more."""
        with self._changing():
            self._set(name, state, problem)

    def _store(self, growing: Growing, *, as_far_as_it_is: bool) -> None:
        for stream, last in growing.open.items():
            while (found := last.cut()) is not None:
                whole, following = found
                self._put(growing, last, msgspec.structs.replace(whole, stream=stream))
                last = growing.open[stream] = following
            if as_far_as_it_is and len(last.text) > len(last.stored) and last.text != last.stored:
                self._put(growing, last, Piece(stream, last.text, tuple(last.marks)))
                last.stored = last.text
        growing.waiting = sum(len(last.text) - len(last.stored) for last in growing.open.values())

    def _put(self, growing: Growing, last: _Open, piece: Piece) -> None:
        if last.number < 0:
            last.number = (growing.number << PIECE_BITS) + growing.pieces
            growing.pieces += 1
        else:
            self._unlist(last.number, last.stored)
        self._database.execute("INSERT OR REPLACE INTO pieces VALUES (?, ?)", (last.number, packed(piece)))
        self._database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (last.number, folded(piece.text)))

    def _free_number(self, began: int) -> int:
        second = min(max(0, began // 1_000_000), _LAST_SECOND)
        first = second << TIE_BITS
        row = self._database.execute(
            "SELECT max(number) FROM recordings WHERE number BETWEEN ? AND ?", (first, first + (1 << TIE_BITS) - 1)
        ).fetchone()
        # In a second that is full, the next one's are used: they need to differ, and to be about right.
        number = first if row[0] is None else int(row[0]) + 1
        while self._database.execute("SELECT 1 FROM recordings WHERE number = ?", (number,)).fetchone():
            number += 1
        return number

    def _forget_text(self, name: str) -> None:
        row = self._database.execute("SELECT number FROM recordings WHERE name = ?", (name,)).fetchone()
        if row is None or row[0] is None:
            return
        bounds = row[0] << PIECE_BITS, ((row[0] + 1) << PIECE_BITS) - 1
        for number, content in self._database.execute(
            "SELECT id, content FROM pieces WHERE id BETWEEN ? AND ?", bounds
        ).fetchall():
            try:
                text = unpacked(content).text
            except ValueError:
                # Its place in the lists leads to nothing from now on.
                continue
            self._unlist(number, text)
        self._database.execute("DELETE FROM pieces WHERE id BETWEEN ? AND ?", bounds)
        self._database.execute("UPDATE recordings SET number = NULL WHERE name = ?", (name,))

    def _unlist(self, number: int, text: str) -> None:
        self._database.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (number, folded(text)))

    def _set(self, name: str, state: State, problem: str = "") -> None:
        self._database.execute(
            "UPDATE recordings SET state = ?, filler = NULL, problem = ? WHERE name = ?", (state, problem or None, name)
        )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._worded(), transaction(self._database):
            yield

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise unusable(self._path, error) from error
