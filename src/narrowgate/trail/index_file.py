"""The file of the search index: its tables, its lock, and how a request gets its number in it.

Here belongs what is common to who fills the index (`trail/index_filling.py`) and who searches it (`trail/index.py`).

The file holds no words of the record. One row is one request: its number, its audit id, and where in the journals its
events lie. What it can be found by is in inverted lists, one set of them for each fortnight (`PERIOD_BITS`), as hashes
of its facts (`core/audit_entry.py`); what is shown is read from the journals. The number is the moment it was received,
so that the lists are in order of time, and "newest first", "since" and "go on behind" cost nothing.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import struct
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from narrowgate.file_lock import held
from narrowgate.trail.index_database import make_private, remove_file, transaction

INDEX = "index.db"
LOCK = "index.lock"
"""Held by the one process that is filling the index."""

SCHEMA_VERSION = 3
"""Of the index alone: it is made anew when this differs, so there is no step from one to the next."""

TIE_BITS = 11
"""Of a request's number, below its microseconds: 2,048 requests may come in one. 52 bits are left for the time, which
is enough until 2112."""

PERIOD_BITS = TIE_BITS + 40
"""Numbers that differ below this share one set of lists: 2^40 microseconds are 12.7 days. Retention removes whole sets,
and none grows with the age of the record; fewer and larger ones would make looking through years faster."""

READER_WAIT = 10.0
"""Seconds that a reader waits for SQLite's own locks, which nobody holds for longer than a commit."""

CACHE_KIBIBYTES = 64 * 1024
"""Of the file held in memory while it is open: what filling comes back to."""

HASH_BYTES = 16 * 1024 * 1024
"""Postings that wait in memory while a batch is taken in: one run of sorted lists for each batch."""

LOG_LIMIT = 64 * 1024 * 1024
"""Bytes that the write-ahead log is cut back to."""


class IndexUnusable(Exception):
    """The index can neither be used nor made."""


PLACE = struct.Struct(">IQ")
"""Where an event is: the number of its file in `sources`, and the offset of its line."""

_SCHEMA = f"""
CREATE TABLE sources (
    id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT, segment INTEGER, offset INTEGER, low INTEGER, high INTEGER,
    UNIQUE (writer, segment)
);
CREATE TABLE requests (id INTEGER PRIMARY KEY, audit_id, places BLOB);
CREATE INDEX requests_by_audit_id ON requests (audit_id);
CREATE TABLE periods (period INTEGER PRIMARY KEY);
PRAGMA user_version = {SCHEMA_VERSION};
"""
# An audit id alone is no key: a caller who could choose it would overwrite another request's row.


def facts_table(period: int) -> str:
    """The name of the lists of one period."""
    return f"facts_{period:d}"


def add_period(database: sqlite3.Connection, period: int) -> None:
    """Make the lists of a period. No text is kept, and no place in it: a fact holds or does not."""
    table = facts_table(period)
    database.execute(
        f"CREATE VIRTUAL TABLE {table} USING fts5(facts, content='', columnsize=0, detail=none, tokenize='ascii')"
    )
    database.execute(f"INSERT INTO {table}({table}, rank) VALUES ('hashsize', ?)", (HASH_BYTES,))
    database.execute("INSERT INTO periods VALUES (?)", (period,))


@lru_cache(maxsize=65536)
def token(fact: str) -> str:
    """How a fact is written in the lists: its letter, and 64 bits of a hash of its value.

    Two facts of one hash would be found together; whoever searches looks at the entry itself, so that nothing wrong
    comes of it.
    """
    return fact[0] + hashlib.blake2b(fact[1:].encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def microseconds_of(moment: str) -> int:
    """A time as the trail writes it, in Unix microseconds. Raises ValueError where it is none."""
    if not _TIME.fullmatch(moment):
        raise ValueError(f"{moment!r} is not how the trail writes a time")
    return _seconds_of(moment[:19]) * 1_000_000 + int(moment[20:26])


@lru_cache(maxsize=4096)
def _seconds_of(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def first_number(microseconds: int) -> int:
    """The lowest number that a request of that microsecond can have. Raises ValueError beyond what a number holds."""
    if not 0 <= microseconds < 1 << (63 - TIE_BITS):
        raise ValueError("a moment that no number stands for")
    return microseconds << TIE_BITS


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def audit_key(audit_id: str) -> bytes | str:
    """An audit id as the index keeps it: the 16 bytes of a UUID, and whatever else it is as text."""
    return bytes.fromhex(audit_id.replace("-", "")) if _UUID.fullmatch(audit_id) else audit_id


def opened(folder: Path) -> sqlite3.Connection:
    """Open or make the index of the trail in `folder`; in memory where the folder cannot be written.

    Raises IndexUnusable.
    """
    path = folder / INDEX
    try:
        database = _current(path)
        if database is not None:
            return database
        with filling_lock(folder, READER_WAIT) as held:
            if not held:
                raise IndexUnusable(f"{path}: the search index is being made anew; try again in a moment")
            # Somebody else may have made it while this one waited.
            return _current(path) or _made(path)
    except (sqlite3.OperationalError, OSError):
        # A folder that cannot be written (a copy of the trail on read-only media): search works, once, in memory.
        return _made(None)
    except sqlite3.DatabaseError as error:
        raise IndexUnusable(f"{path}: the search index cannot be made: {error}; delete the file") from error


def _current(path: Path) -> sqlite3.Connection | None:
    """The index as it is; None where there is none that this version reads, or where it is damaged."""
    if not path.exists():
        return None
    database = _connected(path)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        _tune(database)
    except sqlite3.OperationalError:
        database.close()
        raise
    except sqlite3.DatabaseError:
        version = 0
    if version == SCHEMA_VERSION:
        return database
    database.close()
    return None


def _made(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        remove(path.parent)
        make_private(path)
    database = _connected(path or ":memory:")
    try:
        database.execute("PRAGMA page_size = 8192")
        _tune(database)
        with transaction(database):
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def remove(folder: Path) -> None:
    """Delete the index: it holds nothing that the journals do not. Raises OSError."""
    remove_file(folder / INDEX)


def _connected(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=READER_WAIT, isolation_level=None, check_same_thread=False)


def _tune(database: sqlite3.Connection) -> None:
    # Derived data: a power cut may cost the index, so it need not wait for the disk.
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    database.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")


def filling_lock(folder: Path, wait: float) -> AbstractContextManager[bool]:
    """Be the one that fills the index; False where somebody else still is after `wait` seconds. Raises OSError."""
    return held(folder / LOCK, wait)
