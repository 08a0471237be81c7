"""The store in one SQLite file: the default, and enough for any number of gate processes on one machine.

WAL, so that readers never wait for the writer; synchronous=FULL, so that an acknowledged change survives a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, create_engine, delete, event, func, insert, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from narrowgate.core.agent import AgentRecord
from narrowgate.store.migrations import migrate
from narrowgate.store.port import (
    AlreadyThere,
    Change,
    NotThere,
    PolicyFiles,
    PolicyRevision,
    RevisionSummary,
    StoreUnavailable,
    digest_of,
)
from narrowgate.store.tables import agents, changes, revisions

BUSY_SECONDS = 5.0
"""How long a writer waits for another one. Our transactions take milliseconds; longer means that something hangs."""

CONNECTIONS = 4
"""Open at once: the data plane's refresh, the control plane, and two to spare."""


class SQLiteStore:
    """A store (see `store.port.Store`) in the file `path`."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the database. Raises StoreUnavailable."""
        self._path = path
        self._stamp_lock = threading.Lock()
        self._closed = False
        _make_private(path)
        self._engine = _engine(path)
        self._stamp_connection: sqlite3.Connection | None = None
        try:
            with self._writing() as connection:
                migrate(connection, str(path))
            with self._translated():
                # A connection that never writes: for it SQLite counts what all others commit, this process's too.
                self._stamp_connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
                self._inode = path.stat().st_ino
                self._stamp_connection.execute("PRAGMA data_version").fetchone()
        except BaseException:
            self.close()
            raise

    def agents(self) -> tuple[AgentRecord, ...]:
        """See the port."""
        with self._reading() as connection:
            rows = connection.execute(select(agents).order_by(agents.c.name)).all()
        return tuple(_agent(row) for row in rows)

    def agent(self, name: str) -> AgentRecord:
        """See the port."""
        with self._reading() as connection:
            row = connection.execute(select(agents).where(agents.c.name == name)).one_or_none()
        if row is None:
            raise NotThere(f'there is no agent "{name}"; look at the list of agents')
        return _agent(row)

    def add_agent(self, agent: AgentRecord, *, by: str, at: float) -> None:
        """See the port."""
        with self._writing() as connection:
            if connection.execute(select(agents.c.name).where(agents.c.name == agent.name)).first():
                raise AlreadyThere(f'there is an agent "{agent.name}" already; rotate it, or use another name')
            _refuse_taken_credential(connection, agent)
            connection.execute(insert(agents).values(_columns(agent)))
            _note(
                connection,
                Change(number=0, at=at, by=by, action="agent.added", subject=agent.name, detail=_told(agent)),
            )

    def change_agent(self, agent: AgentRecord, *, by: str, at: float) -> None:
        """See the port."""
        with self._writing() as connection:
            _refuse_taken_credential(connection, agent)
            done = connection.execute(update(agents).where(agents.c.name == agent.name).values(_columns(agent)))
            if done.rowcount == 0:
                raise NotThere(f'there is no agent "{agent.name}"; look at the list of agents')
            detail = _told(agent)
            _note(connection, Change(number=0, at=at, by=by, action="agent.changed", subject=agent.name, detail=detail))

    def remove_agent(self, name: str, *, by: str, at: float) -> None:
        """See the port."""
        with self._writing() as connection:
            row = connection.execute(select(agents).where(agents.c.name == name)).one_or_none()
            if row is None:
                raise NotThere(f'there is no agent "{name}"; look at the list of agents')
            connection.execute(delete(agents).where(agents.c.name == name))
            detail = _told(_agent(row))
            _note(connection, Change(number=0, at=at, by=by, action="agent.removed", subject=name, detail=detail))

    def add_revision(self, files: Sequence[tuple[str, str]], *, by: str, at: float) -> PolicyRevision:
        """See the port."""
        digest = digest_of(files)
        with self._writing() as connection:
            newest = connection.execute(select(revisions).order_by(revisions.c.number.desc()).limit(1)).one_or_none()
            if newest is not None and newest.digest == digest:
                return _revision(newest)
            number = 1 if newest is None else newest.number + 1
            kept: PolicyFiles = tuple(sorted((name, text) for name, text in files))
            made = PolicyRevision(number=number, made_at=at, made_by=by, digest=digest, files=kept)
            text = msgspec.json.encode(kept).decode()
            connection.execute(
                insert(revisions).values(
                    number=number, made_at=at, made_by=by, digest=digest, file_count=len(kept), files=text
                )
            )
            detail = msgspec.json.encode({"digest": digest, "files": [name for name, _ in kept]}).decode()
            _note(
                connection,
                Change(number=0, at=at, by=by, action="policies.revised", subject=str(number), detail=detail),
            )
            return made

    def revision(self, number: int | None = None) -> PolicyRevision:
        """See the port."""
        query = select(revisions).order_by(revisions.c.number.desc()).limit(1)
        if number is not None:
            query = query.where(revisions.c.number == number)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotThere(
                "there is no policy revision yet" if number is None else f"there is no policy revision {number}"
            )
        return _revision(row)

    def revisions(self, limit: int = 100) -> tuple[RevisionSummary, ...]:
        """See the port."""
        wanted = [column for column in revisions.c if column.name != "files"]
        with self._reading() as connection:
            rows = connection.execute(select(*wanted).order_by(revisions.c.number.desc()).limit(limit)).all()
        return tuple(RevisionSummary(**row._mapping) for row in rows)

    def changes(self, limit: int = 100) -> tuple[Change, ...]:
        """See the port."""
        with self._reading() as connection:
            rows = connection.execute(select(changes).order_by(changes.c.number.desc()).limit(limit)).all()
        return tuple(Change(**row._mapping) for row in rows)

    def change_stamp(self) -> int | str:
        """See the port."""
        with self._stamp_lock, self._translated():
            if self._stamp_connection is None:
                raise StoreUnavailable(f"{self._path}: the store is closed")
            # A file that was removed or replaced under us still answers, and would never change again.
            if os.stat(self._path).st_ino != self._inode:
                raise StoreUnavailable(f"{self._path}: the store's file was replaced; restart the gate")
            stamp: int = self._stamp_connection.execute("PRAGMA data_version").fetchone()[0]
            return stamp

    def close(self) -> None:
        """See the port."""
        self._closed = True
        with self._stamp_lock:
            if self._stamp_connection is not None:
                self._stamp_connection.close()
                self._stamp_connection = None
        self._engine.dispose()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._refuse_when_closed()
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._refuse_when_closed()
        with self._translated(), self._engine.connect() as plain:
            # The write lock is taken at the beginning: a transaction that reads first and is then refused it would have
            # decided on what is no longer so.
            connection = plain.execution_options(narrowgate_begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

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


def _refuse_taken_credential(connection: Connection, agent: AgentRecord) -> None:
    same = (agents.c.credential_id == agent.credential_id) | (agents.c.credential_hash == agent.credential_hash)
    if connection.execute(select(agents.c.name).where(same, agents.c.name != agent.name)).first():
        raise AlreadyThere("another agent holds this credential; make a new one for each")


def _note(connection: Connection, change: Change) -> None:
    number = (connection.execute(select(func.max(changes.c.number))).scalar() or 0) + 1
    connection.execute(insert(changes).values(msgspec.structs.asdict(change) | {"number": number}))


def _columns(agent: AgentRecord) -> dict[str, Any]:
    return msgspec.structs.asdict(agent) | {
        "groups": msgspec.json.encode(agent.groups).decode(),
        "labels": msgspec.json.encode(agent.labels).decode(),
    }


def _agent(row: Row[Any]) -> AgentRecord:
    columns = dict(row._mapping)
    columns["groups"] = msgspec.json.decode(columns["groups"], type=tuple[str, ...])
    columns["labels"] = msgspec.json.decode(columns["labels"], type=tuple[tuple[str, str], ...])
    return AgentRecord(**columns)


def _revision(row: Row[Any]) -> PolicyRevision:
    files = msgspec.json.decode(row.files, type=PolicyFiles)
    return PolicyRevision(number=row.number, made_at=row.made_at, made_by=row.made_by, digest=row.digest, files=files)


def _told(agent: AgentRecord) -> str:
    """What the change list says about an agent: all but the hash."""
    told = msgspec.structs.asdict(agent)
    del told["credential_hash"]
    return msgspec.json.encode(told).decode()
