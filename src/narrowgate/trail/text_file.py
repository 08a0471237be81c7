"""The file of the text index: its tables, its locks, and how recorded text is laid out in it.

Here belongs what is common to who fills it (`trail/text_writer.py`) and who searches it (`trail/text_index.py`).

    recordings   each recording that is known, and how far its text is in the file
    pieces       the text of each, in pieces that overlap by the longest text that can be looked for
    words        which pieces hold which three characters

Only lists of pieces are kept for each three characters, not where they stand: whoever searches reads the pieces and
compares. That makes the file a fifth of what it would be otherwise. A piece's number begins with the moment at which
its recording began, so that the newest are found first in whatever order they came.
"""

from __future__ import annotations

import enum
import secrets
import sqlite3
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import msgspec
import zstandard

from narrowgate.core.audit_query import LONGEST_TEXT
from narrowgate.core.recorded_text import Stream
from narrowgate.file_lock import held
from narrowgate.trail.index_database import make_private, remove_file, transaction

TEXT = "text.db"

LOCK = "text.lock"
"""Held by the one process that is filling the index, for a bite of text at a time."""

FOLLOWING = "text.following"
"""Held, for as long as it lives, by the process that follows recordings while they are made."""

SCHEMA_VERSION = 2
"""An older file is made anew from the recordings, a newer one is refused by name."""

PIECE = 16 * 1024
"""Characters of a piece at most, besides what it repeats of the one before: what is read to look at a hit."""

OVERLAP = LONGEST_TEXT - 1
"""Characters that a piece repeats of the one before it, so that no text is missed where it was cut."""

MARK_MICROSECONDS = 100_000
"""Times within a piece are kept to a tenth of a second, never later than what they are the time of."""

PIECE_BITS = 18
"""Of a piece's number: its place in its recording. `MOST_CHARACTERS` of text are fewer than 300 pieces."""

TIE_BITS = 12
"""Above those: 4,096 recordings may begin in one second. 32 bits are left for the second, enough until 2106."""

LOCK_WAIT = 10.0
"""Seconds to wait for SQLite's own locks, which a writer holds for some pieces."""

LEVEL = 3
"""Of zstd: text of programs becomes a fifth at some hundred MB/s."""


class TextUnusable(Exception):
    """The text index cannot be used."""


class State(enum.IntEnum):
    """How far a recording's text is in the index."""

    WAITING = 0
    """Not at all: nobody has come to it yet."""
    PARTLY = 1
    """It is being recorded, or being read."""
    WHOLE = 2
    CUT = 3
    """Its beginning; there was more text than is taken of one recording."""
    ENCRYPTED = 4
    """Not at all: text of encrypted recordings is not wanted here."""
    UNREADABLE = 5
    """As far as it could be read."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Some text of one stream."""

    stream: Stream
    text: str
    marks: tuple[tuple[int, int], ...]
    """Places in the text, and the time in the recording (microseconds) of what stands there and behind."""


_SCHEMA = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE recordings (
    name TEXT PRIMARY KEY, state INTEGER NOT NULL, number INTEGER UNIQUE, filler TEXT, is_encrypted INTEGER,
    problem TEXT
) WITHOUT ROWID;
CREATE INDEX recordings_by_state ON recordings (state, name);
CREATE TABLE pieces (id INTEGER PRIMARY KEY, content BLOB);
CREATE VIRTUAL TABLE words USING fts5(
    text, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
PRAGMA user_version = {SCHEMA_VERSION};
"""


def opened(folder: Path) -> sqlite3.Connection:
    """Open or make the text index in the trail's folder. Raises TextUnusable."""
    path = folder / TEXT
    try:
        make_private(path)
        database = sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error
    try:
        _prepare(path, database)
    except sqlite3.Error as error:
        database.close()
        raise unusable(path, error) from error
    except BaseException:
        database.close()
        raise
    return database


def remove(folder: Path) -> None:
    """Delete the index: it holds nothing that the recordings do not. Raises OSError."""
    remove_file(folder / TEXT)


def empty(database: sqlite3.Connection) -> None:
    """Forget everything, within a transaction. Whoever remembers what was in the file knows by the new mark."""
    for table in ("recordings", "pieces"):
        database.execute(f"DELETE FROM {table}")
    database.execute("INSERT INTO words(words) VALUES ('delete-all')")
    database.execute("INSERT OR REPLACE INTO facts VALUES ('mark', ?)", (secrets.token_hex(8),))


def mark_of(database: sqlite3.Connection) -> str:
    """What this filling of the file is called: another one where it was made anew."""
    return str(database.execute("SELECT value FROM facts WHERE name = 'mark'").fetchone()[0])


def unusable(path: Path, error: sqlite3.Error | OSError) -> TextUnusable:
    """What went wrong with the file, in words."""
    return TextUnusable(
        f"{path}: the text index cannot be used: {error}; free some space, or delete the file, it is made anew"
    )


def lock_of(folder: Path, name: str, wait: float = 0.0) -> AbstractContextManager[bool]:
    """Hold `LOCK` or `FOLLOWING`; False where another process still does after `wait` seconds. Raises OSError."""
    return held(folder / name, wait)


def packed(piece: Piece) -> bytes:
    """A piece as it is stored."""
    return _compressor().compress(msgspec.msgpack.encode(piece))


def unpacked(content: bytes) -> Piece:
    """A stored piece. Raises ValueError where it is none."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(content, max_output_size=_LARGEST)
        return msgspec.msgpack.decode(raw, type=Piece)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ValueError("no piece of text") from error


_LARGEST = 1024 * 1024
"""Bytes of an unpacked piece: its text in UTF-8, and a mark of up to eight bytes for each of its characters."""


@cache
def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=LEVEL)


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    # What is forgotten is overwritten: the file holds what programs wrote.
    database.execute("PRAGMA secure_delete = ON")
    with transaction(database):
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise TextUnusable(
                f"{path}: its format is {version}, this version of narrowgate reads {SCHEMA_VERSION}: "
                "use the version that wrote it, or delete the file, and it is made anew from the recordings"
            )
        if version < SCHEMA_VERSION:
            for table in ("words", "pieces"):
                database.execute(f"DROP TABLE IF EXISTS {table}")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            empty(database)
