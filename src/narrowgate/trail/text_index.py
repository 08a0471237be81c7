"""Full text of what was recorded: which recordings hold these characters, in SQLite beside the journals.

Here belongs everything about `text.db`. Whoever records hands over the text that it has stored, after masking and in
order (`add`), and takes it back when the recording is removed (`forget`); a search asks for recordings (`holding`). It
is a file of its own, because it is made from the recordings and not from the journals: the index of the record can be
made anew without it. What stands here can be read by whoever reads the file: text of recordings that are kept encrypted
must not be handed over unless that is wanted.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Self

import msgspec

from narrowgate.core.audit_query import LONGEST_TEXT, SHORTEST_TEXT

TEXT = "text.db"

SCHEMA_VERSION = 1
"""Of this file alone: one of another version is refused by name, for it cannot be made anew from the journals."""

PIECE = 16 * 1024
"""Characters of a piece at most, besides what it repeats of the one before: what a hit is found to."""

OVERLAP = LONGEST_TEXT - 1
"""Characters that a piece repeats of the one before it, so that no text is missed where it was cut."""

MOST_RECORDINGS = 10_000
"""Recordings that one search looks through, newest first; whoever gets as many should say more of what they want."""

LOCK_WAIT = 10.0
"""Seconds to wait for another writer, each of which holds the file for one piece."""


class TextUnusable(Exception):
    """The text index cannot be used."""


class Hit(msgspec.Struct, frozen=True):
    """Where a text was found: the recording (the audit id of its request), and where its piece begins in it."""

    recording: str
    offset: int
    """As it was given to `add_text`."""


class TextIndex:
    """The open file. For one thread; several processes may have it open. All calls raise TextUnusable."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open or make the text index in the trail's folder. Raises TextUnusable."""
        path = folder / TEXT
        try:
            # Before SQLite does, which would let others read it.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise _unusable(path, error) from error
        try:
            _prepare(path, database)
        except sqlite3.Error as error:
            database.close()
            raise _unusable(path, error) from error
        except BaseException:
            database.close()
            raise
        return cls(path, database)

    def add_text(self, recording: str, offset: int, text: str) -> None:
        """Take in text that a recording holds at `offset`, a place whose unit is the recorder's (it grows).

        What is added to one recording is taken as one text, in the order of the calls.
        """
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                before = self._end_of(recording)
                for start in range(0, len(text), PIECE):
                    piece = text[start : start + PIECE].replace("\0", " ")
                    self._add_piece(recording, offset, before + piece)
                    before = (before + piece)[-OVERLAP:]
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def forget(self, recording: str) -> None:
        """Forget all text of a recording that is removed."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                pieces = self._database.execute("SELECT id, text FROM pieces WHERE recording = ?", (recording,))
                self._database.executemany(
                    "INSERT INTO words(words, rowid, text) VALUES ('delete', ?, ?)", pieces.fetchall()
                )
                self._database.execute("DELETE FROM pieces WHERE recording = ?", (recording,))
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def holding(self, text: str, limit: int = MOST_RECORDINGS) -> dict[str, Hit]:
        """The recordings that hold the text, whatever the case of its letters: the newest so many, each with its first
        hit. Raises ValueError for a text that is too short or too long to be looked for.
        """
        if not SHORTEST_TEXT <= len(text) <= LONGEST_TEXT or "\0" in text:
            raise ValueError(f"a text to look for has {SHORTEST_TEXT} to {LONGEST_TEXT} characters")
        found: dict[str, Hit] = {}
        quoted = '"' + text.replace('"', '""') + '"'
        try:
            rows = self._database.execute(
                "SELECT recording, offset FROM words CROSS JOIN pieces ON pieces.id = words.rowid "
                "WHERE words MATCH ? ORDER BY words.rowid DESC",
                (quoted,),
            )
            for recording, offset in rows:
                if recording not in found and len(found) == limit:
                    break
                found[recording] = Hit(recording, offset)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _end_of(self, recording: str) -> str:
        """The last characters of what is known of a recording."""
        row = self._database.execute(
            "SELECT text FROM pieces WHERE recording = ? ORDER BY id DESC LIMIT 1", (recording,)
        ).fetchone()
        return "" if row is None else str(row[0])[-OVERLAP:]

    def _add_piece(self, recording: str, offset: int, text: str) -> None:
        (number,) = self._database.execute(
            "INSERT INTO pieces (recording, offset, text) VALUES (?, ?, ?) RETURNING id", (recording, offset, text)
        ).fetchone()
        self._database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, text))


_SCHEMA = f"""
CREATE TABLE pieces (id INTEGER PRIMARY KEY, recording TEXT, offset INTEGER, text TEXT);
CREATE INDEX pieces_by_recording ON pieces (recording);
CREATE VIRTUAL TABLE words USING fts5(text, content='pieces', content_rowid='id', columnsize=0, tokenize='trigram');
PRAGMA user_version = {SCHEMA_VERSION};
"""


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("BEGIN IMMEDIATE")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
    database.execute("COMMIT")
    if version not in (0, SCHEMA_VERSION):
        raise TextUnusable(
            f"{path}: its format is {version}, this version of narrowgate reads {SCHEMA_VERSION}: "
            "use the version that wrote it, or delete the file and go without a search for text"
        )


def _unusable(path: Path, error: sqlite3.Error | OSError) -> TextUnusable:
    return TextUnusable(f"{path}: the text index cannot be used: {error}; free some space, or delete the file")
