"""SQLite files of indexes: derived from the record, private as it is, and made anew whenever that is simplest.

Here belongs what does not depend on what is in them (`trail/index_file.py`, `trail/text_file.py`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path


def make_private(path: Path) -> None:
    """Make the file before SQLite does, which would let others read it. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def remove_file(path: Path) -> None:
    """Delete it, with what SQLite keeps beside it. Raises OSError."""
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
