"""Full text of what was recorded: which recordings hold these characters, and where; in SQLite beside the journals.

Here belongs what searches `text.db`; `trail/text_writer.py` fills it. It is a file of its own, because it is made from
the recordings and not from the journals, and goes with them. What stands in it can be read by whoever reads the file.
"""

from __future__ import annotations

import bisect
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.audit_query import LONGEST_TEXT, SHORTEST_TEXT
from narrowgate.core.found_text import FoundText
from narrowgate.core.text_matching import folded, line_around
from narrowgate.trail.text_file import PIECE_BITS, Piece, State, opened, unpacked, unusable
from narrowgate.trail.text_file import TEXT as TEXT
from narrowgate.trail.text_file import TextUnusable as TextUnusable

MOST_RECORDINGS = 10_000
"""Recordings that one search looks through, newest first; whoever gets as many should say more of what they want."""

MOST_RUNS = 64
"""Runs of three characters that are looked up: more do not make the candidates fewer, and each costs a list."""


class TextCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many recordings are in the text index, and how many are not."""

    searched: int = 0
    """In it whole, or as far as they are recorded by now."""
    cut: int = 0
    """Of which only the beginning is in it: they held more text than is taken of one."""
    waiting: int = 0
    """Not in it yet."""
    encrypted: int = 0
    """Not in it, because text of encrypted recordings is not wanted there."""
    unreadable: int = 0
    """Not in it, or in part, because they could not be read."""


class TextIndex:
    """The open file. For one thread; several processes may have it open. All calls raise TextUnusable."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database
        self.pieces_read = 0
        """How many pieces were read by now to see whether they hold a text."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open or make the text index in the trail's folder. Raises TextUnusable."""
        return cls(folder / TEXT, opened(folder))

    def holding(self, text: str, limit: int = MOST_RECORDINGS) -> Mapping[str, int]:
        """Sessions whose recordings may hold the text, the newest so many of them first, each with its number here.

        Those that do hold it are among them; `find` tells. Raises ValueError for a text that is too short or too long.
        """
        match = _matching(text)
        found: dict[str, int] = {}
        last = -1
        try:
            for (piece,) in self._database.execute(
                "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC", (match,)
            ):
                number = piece >> PIECE_BITS
                if number == last:
                    continue
                if len(found) == limit:
                    break
                last = number
                if session := self._session_of(number):
                    found[session] = number
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise self._unusable(error) from error
        return found

    def find(self, number: int, text: str) -> FoundText | None:
        """Where the recording of that number first holds the text: of its output, its errors, its input; None where it
        does not.
        """
        sought = folded(text)
        first = number << PIECE_BITS
        try:
            rows = self._database.execute(
                "SELECT pieces.id, content FROM words CROSS JOIN pieces ON pieces.id = words.rowid "
                "WHERE words MATCH ? AND words.rowid BETWEEN ? AND ? ORDER BY words.rowid",
                (_matching(text), first, first + (1 << PIECE_BITS) - 1),
            )
            for _, content in rows:
                self.pieces_read += 1
                hit = _hit(content, sought)
                if hit is not None:
                    return hit
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None

    def counts(self) -> TextCounts:
        """How many recordings are in it, and how many are not."""
        try:
            rows = self._database.execute("SELECT state, count(*) FROM recordings GROUP BY state")
            by_state = {State(state): count for state, count in rows}
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return TextCounts(
            searched=sum(by_state.get(each, 0) for each in (State.PARTLY, State.WHOLE, State.CUT)),
            cut=by_state.get(State.CUT, 0),
            waiting=by_state.get(State.WAITING, 0),
            encrypted=by_state.get(State.ENCRYPTED, 0),
            unreadable=by_state.get(State.UNREADABLE, 0),
        )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _session_of(self, number: int) -> str:
        """The session of a recording; empty where it was forgotten a moment ago."""
        row = self._database.execute("SELECT name FROM recordings WHERE number = ?", (number,)).fetchone()
        return "" if row is None else str(row[0]).rpartition("/")[2].partition(".")[0]

    def _unusable(self, error: sqlite3.Error | UnicodeEncodeError) -> TextUnusable:
        if isinstance(error, sqlite3.Error):
            return unusable(self._path, error)
        return TextUnusable("a text that is no Unicode stands in no recording; write another one")


def _matching(text: str) -> str:
    """What pieces that hold the text must hold: its runs of three characters. Raises ValueError."""
    if not SHORTEST_TEXT <= len(text) <= LONGEST_TEXT or "\0" in text:
        raise ValueError(f"a text to look for has {SHORTEST_TEXT} to {LONGEST_TEXT} characters")
    sought = folded(text)
    runs = dict.fromkeys(sought[start : start + 3] for start in range(len(sought) - 2))
    return " AND ".join('"' + run.replace('"', '""') + '"' for run, _ in zip(runs, range(MOST_RUNS), strict=False))


def _hit(content: bytes, sought: str) -> FoundText | None:
    try:
        piece = unpacked(content)
    except ValueError:
        # Somebody changed the file; what it held is found again when it is made anew.
        return None
    at = folded(piece.text).find(sought)
    if at < 0:
        return None
    line = line_around(piece.text, at, len(sought))
    return FoundText(seconds=_time_of(piece, at) / 1_000_000, stream=piece.stream.value, line=line)


def _time_of(piece: Piece, place: int) -> int:
    mark = bisect.bisect_right(piece.marks, place, key=lambda each: each[0]) - 1
    return piece.marks[mark][1] if mark >= 0 else 0
