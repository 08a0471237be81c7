"""One SQLite file as connections, transactions and a stamp; what is kept in it is `sqlite.py` and its neighbours.

WAL, so that readers never wait for the writer; synchronous=FULL, so that an acknowledged change survives a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from narrowgate.store.migrations import migrate
from narrowgate.store.port import StoreUnavailable

BUSY_SECONDS = 5.0
"""How long a writer waits for another one. Our transactions take milliseconds; longer means that something hangs."""

CONNECTIONS = 4
"""Open at once: the data plane's refresh, the control plane, and two to spare."""


class SQLiteFile:
    """The database in the file `path`; every call may raise StoreUnavailable."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the database. Raises StoreUnavailable."""
        self._path = path
        self._stamp_lock = threading.Lock()
        self._closed = False
        _make_private(path)
        self._engine = _engine(path)
        self._stamp_connection: sqlite3.Connection | None = None
        try:
            with self.writing() as connection:
                migrate(connection, str(path))
            with self._translated():
                self._stamp_connection = sqlite3.connect(
                    path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
                self._inode = path.stat().st_ino
                self._stamp_connection.execute("SELECT number FROM generation").fetchone()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with; all that is read in one transaction is of one moment."""
        self._refuse_when_closed()
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: done when the block ends well, undone when it raises."""
        self._refuse_when_closed()
        with self._translated(), self._engine.connect() as plain:
            # The write lock is taken at the beginning: a transaction that reads first and is then refused it would have
            # decided on what is no longer so.
            connection = plain.execution_options(narrowgate_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    def stamp(self) -> int:
        """The number of the generation, as `Store.change_stamp` wants it."""
        with self._stamp_lock, self._translated():
            if self._stamp_connection is None:
                raise StoreUnavailable(f"{self._path}: the store is closed")
            # A file that was removed or replaced under us still answers, and would never change again.
            if os.stat(self._path).st_ino != self._inode:
                raise StoreUnavailable(f"{self._path}: the store's file was replaced; restart the gate")
            number: int = self._stamp_connection.execute("SELECT number FROM generation").fetchone()[0]
            return number

    def close(self) -> None:
        """Give everything back; any call after it raises StoreUnavailable."""
        self._closed = True
        with self._stamp_lock:
            if self._stamp_connection is not None:
                self._stamp_connection.close()
                self._stamp_connection = None
        self._engine.dispose()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._path}: the store is closed")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreUnavailable(f"{self._path}: {_reason(error.orig)}") from error
        except PoolTimeout as error:
            raise StoreUnavailable(f"{self._path}: no connection within {BUSY_SECONDS:g} s; try again") from error
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path}: {_reason(error)}") from error


def _engine(path: Path) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path),
        poolclass=QueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("narrowgate_begin", "BEGIN"))

    return engine


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level None: the driver begins nothing by itself, `begin` above says how each transaction starts.
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Make the file, for this user alone; SQLite gives its -wal and -shm files the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"{path}: {_reason(error)}") from error


def _reason(error: BaseException | None) -> str:
    """Why, and what to do about the reasons that people meet."""
    text = (error.strerror if isinstance(error, OSError) else str(error)) or "unknown error"
    advice = {
        "locked": "another process holds it; find and stop that one",
        "readonly": "make it writable for this user",
        "full": "make room on its disk",
        "not a database": "it is another kind of file; correct `store`, or restore a backup",
        "malformed": "it is damaged; restore a backup",
        "No such file": "restore it, or correct `store`, and restart the gate",
        "denied": "correct its owner or mode",
    }
    for sign, what_to_do in advice.items():
        if sign in text:
            return f"the store cannot be used: {text}; {what_to_do}"
    return f"the store cannot be used: {text}; look at the file and its disk"
