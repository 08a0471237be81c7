"""A search index over the trail: SQLite beside the journals, made from them when somebody searches.

Here belongs everything about `index.db`. It is derived: deleting it costs the time to make it again, and the data path
never touches it. One row is one request, whatever number of events it has.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec

from narrowgate.core.audit_chain import BrokenLine, Payload, frame
from narrowgate.trail.read import complete_lines
from narrowgate.trail.segments import segments_of, writers_of

INDEX = "index.db"

SCHEMA_VERSION = 2
"""Of the index alone: it is made anew when this differs, so there is no step from one to the next."""

LOCK_WAIT = 60.0
"""Seconds to wait for another search that is bringing the index up to date: some five million events' worth."""

BATCH = 20_000
"""Lines between two commits: what an interrupted search has done is kept."""

Progress = Callable[[int, int], None]
"""Called with the bytes indexed so far and the bytes to index in all."""


class IndexUnusable(Exception):
    """The index can neither be used nor made."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What to search for; empty means everything. Times are compared as the trail writes them (RFC 3339, UTC)."""

    who: str = ""
    """A user or any member of the chain: `agent:ci` or just `ci`."""
    verb: str = ""
    resource: str = ""
    """`pods`, `pods/exec`, `deployments.apps`, `deployments.apps/scale`."""
    namespace: str = ""
    name: str = ""
    decision: str = ""
    cluster: str = ""
    rule: str = ""
    """`policy/rule`, or the policy alone."""
    audit_id: str = ""
    since: str = ""
    until: str = ""
    noticed: bool = False
    """Only requests that revealed something about their credential."""
    limit: int = 0
    """The latest so many; 0 means all."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request as the trail knows it by now."""

    audit_id: str
    received_at: str
    finished_at: str
    """Empty while it runs, and for good where the gate was killed."""
    stage: str
    user: str
    chain: tuple[str, ...]
    verb: str
    api_group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    cluster: str
    decision: str
    rule: str
    reason: str
    code: int
    request_uri: str
    source_ip: str
    user_agent: str
    task: str
    writer: str
    segment: int
    seq: int
    """Place of the latest event about it."""
    noticed: str
    """What it revealed about its credential, in a sentence; mostly empty."""


class Index:
    """The open index. Not for several threads."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self._folder = folder
        self._database = database
        self.unreadable = 0
        """Lines that could not be read while bringing it up to date; `verify` says what is wrong with them."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open or make the index of the trail in `folder`; in memory where the folder cannot be written.

        Raises IndexUnusable.
        """
        path = folder / INDEX
        try:
            return cls(folder, _opened(path))
        except sqlite3.OperationalError:
            # A folder that cannot be written (a copy of the trail on read-only media): search works, once, in memory.
            return cls(folder, _opened(None))
        except sqlite3.DatabaseError:
            # Damaged: it holds nothing that the journals do not.
            for suffix in ("", "-wal", "-shm"):
                path.with_name(INDEX + suffix).unlink(missing_ok=True)
        try:
            return cls(folder, _opened(path))
        except sqlite3.DatabaseError as error:
            raise IndexUnusable(f"{path}: the search index cannot be made: {error}; delete the file") from error

    def update(self, progress: Progress | None = None) -> None:
        """Take in what the journals have gained, and forget what retention removed. Raises IndexUnusable, OSError."""
        try:
            with _transaction(self._database):
                sources = self._sources()
                self._forget_removed(sources)
            work = [(source, offset) for source, offset in sources.items() if source[2].stat().st_size > offset]
            total = sum(source[2].stat().st_size - offset for source, offset in work)
            done = 0
            for (writer, segment, path), offset in work:
                for count in self._take_in(writer, segment, path, offset):
                    done += count
                    if progress is not None:
                        progress(done, max(total, done))
        except sqlite3.Error as error:
            raise IndexUnusable(
                f"{self._folder / INDEX}: the search index cannot be brought up to date: {error}; "
                "free some space, or delete the file and search again"
            ) from error

    def search(self, filters: Filters) -> Iterator[Entry]:
        """Requests that match, oldest first; with a limit, the latest so many. Stable for the same trail."""
        where, values = _conditions(filters)
        limit = f"LIMIT {int(filters.limit)}" if filters.limit > 0 else ""
        columns = ", ".join(Entry.__struct_fields__)
        latest = f"SELECT {columns}, id FROM requests WHERE {where} ORDER BY received_at DESC, id DESC {limit}"
        rows = self._database.execute(f"SELECT * FROM ({latest}) ORDER BY received_at, id", values)
        for row in rows:
            fields = dict(zip(Entry.__struct_fields__, row, strict=False))
            fields["chain"] = msgspec.json.decode(fields["chain"], type=tuple[str, ...])
            yield Entry(**fields)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _sources(self) -> dict[tuple[str, int, Path], int]:
        """The segments that are there, and up to where each was taken in."""
        known = {
            (writer, segment): offset
            for writer, segment, offset in self._database.execute("SELECT writer, segment, offset FROM sources")
        }
        return {
            (writer, each.number, each.path): known.get((writer, each.number), 0)
            for writer in writers_of(self._folder)
            for each in segments_of(self._folder / writer)
        }

    def _forget_removed(self, sources: dict[tuple[str, int, Path], int]) -> None:
        there = {(writer, segment) for writer, segment, _ in sources}
        known = set(self._database.execute("SELECT writer, segment FROM sources"))
        # Also one that got shorter: it is not the file it was, so it is read again from its beginning.
        for source, offset in list(sources.items()):
            if source[2].stat().st_size < offset:
                sources[source] = 0
                known.add(source[:2])
                there.discard(source[:2])
        gone = known - there
        for table in ("sources", "requests"):
            self._database.executemany(f"DELETE FROM {table} WHERE writer = ? AND segment = ?", gone)
        if gone:
            self._database.execute("DELETE FROM members WHERE request NOT IN (SELECT id FROM requests)")

    def _take_in(self, writer: str, segment: int, path: Path, offset: int) -> Iterator[int]:
        lines = complete_lines(path, offset)
        while batch := list(itertools.islice(lines, BATCH)):
            with _transaction(self._database):
                for _, line in batch:
                    self._take_in_line(writer, segment, line)
                reached = batch[-1][0]
                self._database.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", (writer, segment, reached))
            yield reached - offset
            offset = reached

    def _take_in_line(self, writer: str, segment: int, line: bytes) -> None:
        try:
            framed = frame(line)
            if framed.kind is not Payload.EVENT:
                return
            event = _decode(framed.payload)
            chain = _decode_chain(event.annotations.get("narrowgate.dev/chain", "[]"))
        except (BrokenLine, msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
            return
        row = _row(event) | {"writer": writer, "segment": segment, "seq": framed.seq}
        (request,) = self._database.execute(_UPSERT, row).fetchone()
        members = [(each, request) for each in {event.user.username, *chain}]
        self._database.executemany("INSERT OR IGNORE INTO members VALUES (?, ?)", members)


class _User(msgspec.Struct):
    username: str = ""


class _Object(msgspec.Struct, rename="camel"):
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = msgspec.field(default="", name="apiGroup")


class _Status(msgspec.Struct):
    code: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0


class _Event(msgspec.Struct, rename="camel"):
    audit_id: str = msgspec.field(name="auditID")
    stage: str
    verb: str
    request_received_timestamp: str
    stage_timestamp: str
    request_uri: str = msgspec.field(default="", name="requestURI")
    user: _User = msgspec.field(default_factory=_User)
    source_ips: list[str] = msgspec.field(default_factory=list, name="sourceIPs")
    user_agent: str = ""
    object_ref: _Object = msgspec.field(default_factory=_Object)
    response_status: _Status = msgspec.field(default_factory=_Status)
    annotations: dict[str, str] = {}


_decode = msgspec.json.Decoder(_Event).decode
_decode_chain = msgspec.json.Decoder(tuple[str, ...]).decode


def _row(event: _Event) -> dict[str, Any]:
    notes = {key.removeprefix("narrowgate.dev/"): value for key, value in event.annotations.items()}
    ended = event.stage in ("ResponseComplete", "Panic")
    return {
        "audit_id": event.audit_id,
        "received_at": event.request_received_timestamp,
        "finished_at": event.stage_timestamp if ended else "",
        "stage": event.stage,
        "user": event.user.username,
        "chain": notes.get("chain", "[]"),
        "verb": event.verb,
        "api_group": event.object_ref.api_group,
        "resource": event.object_ref.resource,
        "subresource": event.object_ref.subresource,
        "namespace": event.object_ref.namespace,
        "name": event.object_ref.name,
        "cluster": notes.get("cluster", ""),
        "decision": notes.get("decision", ""),
        "rule": notes.get("rule", ""),
        "reason": notes.get("reason", notes.get("ended", "")),
        "code": event.response_status.code,
        "request_uri": event.request_uri,
        "source_ip": event.source_ips[-1] if event.source_ips else "",
        "user_agent": event.user_agent,
        "task": notes.get("task", ""),
        "noticed": notes.get("noticed", ""),
    }


_SCHEMA = f"""
CREATE TABLE sources (writer TEXT, segment INTEGER, offset INTEGER, PRIMARY KEY (writer, segment)) WITHOUT ROWID;
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, {", ".join(Entry.__struct_fields__)},
    UNIQUE (writer, audit_id, received_at)
);
CREATE INDEX requests_by_time ON requests (received_at);
CREATE TABLE members (member TEXT, request INTEGER, PRIMARY KEY (member, request)) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
"""
# An audit id alone is no key: a caller who could choose it would overwrite another request's row.

_COLUMNS = Entry.__struct_fields__
_KEY = ("writer", "audit_id", "received_at")
_UPSERT = (
    f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{each}' for each in _COLUMNS)}) "
    f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE "
    f"SET {', '.join(f'{each} = excluded.{each}' for each in _COLUMNS if each not in _KEY)} RETURNING id"
)

_KINDS = ("agent", "person", "serviceaccount", "system")


def _conditions(filters: Filters) -> tuple[str, dict[str, str]]:
    """The WHERE clause; every value is bound, none is written into it."""
    exact = ("verb", "namespace", "name", "decision", "cluster", "audit_id")
    values = {field: value for field in exact if (value := getattr(filters, field))}
    where = [f"{field} = :{field}" for field in values]
    if filters.who:
        names = {filters.who, *(f"{kind}:{filters.who}" for kind in _KINDS)}
        bound = {f"who{number}": name for number, name in enumerate(sorted(names))}
        values |= bound
        marks = ", ".join(f":{key}" for key in bound)
        where.append(f"id IN (SELECT request FROM members WHERE member IN ({marks}))")
    if filters.resource:
        kind, _, subresource = filters.resource.partition("/")
        resource, _, group = kind.partition(".")
        parts = {"resource": resource, "api_group": group, "subresource": subresource}
        values |= {field: value for field, value in parts.items() if value}
        where += [f"{field} = :{field}" for field, value in parts.items() if value]
    if filters.rule:
        values["rule"] = filters.rule
        where.append("(rule = :rule OR rule >= :rule || '/' AND rule < :rule || '0')")
    if filters.noticed:
        where.append("noticed <> ''")
    for field, sign in (("since", ">="), ("until", "<")):
        if value := getattr(filters, field):
            values[field] = value
            where.append(f"received_at {sign} :{field}")
    return " AND ".join(where) or "1", values


def _opened(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(path or ":memory:", timeout=LOCK_WAIT, isolation_level=None)
    try:
        # Derived data: a power cut may cost the index, so it need not wait for the disk.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA journal_mode = WAL")
        with _transaction(database):
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                for table in ("sources", "requests", "members"):
                    database.execute(f"DROP TABLE IF EXISTS {table}")
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
