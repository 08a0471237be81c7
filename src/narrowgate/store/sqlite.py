"""The store in one SQLite file: the default, and enough for any number of gate processes on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from narrowgate.core.agent import AgentKey, AgentRecord, OldCredential
from narrowgate.store.approvals import ApprovalTable
from narrowgate.store.changes import move_generation, note_change
from narrowgate.store.delegations import DelegationTable
from narrowgate.store.denied_requests import DeniedRequestTable
from narrowgate.store.leftovers import LeftoverTable
from narrowgate.store.lineage import LineageTable
from narrowgate.store.notification_cursors import NotificationCursorTable
from narrowgate.store.once import OnceTable
from narrowgate.store.port import (
    AlreadyThere,
    Change,
    ChangedMeanwhile,
    NotThere,
    PolicyFiles,
    PolicyRevision,
    RevisionSummary,
    digest_of,
)
from narrowgate.store.pruning import Pruning
from narrowgate.store.roles import RoleTable
from narrowgate.store.rule_uses import RuleUseTable
from narrowgate.store.session_ends import SessionEndTable
from narrowgate.store.sightings import SightingTable
from narrowgate.store.sign_ins import SignInTable
from narrowgate.store.sqlite_file import SQLiteFile
from narrowgate.store.tables import agents, changes, revisions
from narrowgate.store.task_limits import TaskLimitTable
from narrowgate.store.tasks import TaskTable


class SQLiteStore:
    """A store (see `store.port.Store`) in the file `path`."""

    def __init__(self, path: Path) -> None:
        """Open, or make, the database. Raises StoreUnavailable."""
        self._file = SQLiteFile(path)
        self.sign_ins = SignInTable(self._file)
        self.once = OnceTable(self._file)
        self.roles = RoleTable(self._file)
        self.sightings = SightingTable(self._file)
        self.notifications = NotificationCursorTable(self._file)
        self.pruning = Pruning(self._file)
        self.denied_requests = DeniedRequestTable(self._file)
        self.tasks = TaskTable(self._file)
        self.task_limits = TaskLimitTable(self._file)
        self.approvals = ApprovalTable(self._file)
        self.delegations = DelegationTable(self._file)
        self.rule_uses = RuleUseTable(self._file)
        self.session_ends = SessionEndTable(self._file)
        self.lineage = LineageTable(self._file)
        self.leftovers = LeftoverTable(self._file)

    def agents(self) -> tuple[AgentRecord, ...]:
        """See the port."""
        with self._file.reading() as connection:
            rows = connection.execute(select(agents).order_by(agents.c.name)).all()
        return tuple(_agent(row) for row in rows)

    def agent(self, name: str) -> AgentRecord:
        """See the port."""
        with self._file.reading() as connection:
            row = connection.execute(select(agents).where(agents.c.name == name)).one_or_none()
        if row is None:
            raise NotThere(f'there is no agent "{name}"; look at the list of agents')
        return _agent(row)

    def add_agent(self, agent: AgentRecord, *, by: str, at: float) -> None:
        """See the port."""
        with self._file.writing() as connection:
            if connection.execute(select(agents.c.name).where(agents.c.name == agent.name)).first():
                raise AlreadyThere(f'there is an agent "{agent.name}" already; rotate it, or use another name')
            _refuse_taken_proofs(connection, agent)
            connection.execute(insert(agents).values(_columns(agent)))
            note_change(connection, "agent.added", agent.name, _told(agent), by=by, at=at)
            move_generation(connection)

    def change_agent(self, agent: AgentRecord, *, by: str, at: float, was: AgentRecord | None = None) -> None:
        """See the port."""
        with self._file.writing() as connection:
            if was is not None:
                _refuse_other(connection, was)
            _refuse_taken_proofs(connection, agent)
            done = connection.execute(update(agents).where(agents.c.name == agent.name).values(_columns(agent)))
            if done.rowcount == 0:
                raise NotThere(f'there is no agent "{agent.name}"; look at the list of agents')
            note_change(connection, "agent.changed", agent.name, _told(agent), by=by, at=at)
            move_generation(connection)

    def remove_agent(self, name: str, *, by: str, at: float) -> None:
        """See the port."""
        with self._file.writing() as connection:
            row = connection.execute(select(agents).where(agents.c.name == name)).one_or_none()
            if row is None:
                raise NotThere(f'there is no agent "{name}"; look at the list of agents')
            connection.execute(delete(agents).where(agents.c.name == name))
            note_change(connection, "agent.removed", name, _told(_agent(row)), by=by, at=at)
            move_generation(connection)

    def add_revision(self, files: Sequence[tuple[str, str]], *, by: str, at: float) -> PolicyRevision:
        """See the port."""
        digest = digest_of(files)
        with self._file.writing() as connection:
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
            note_change(connection, "policies.revised", str(number), detail, by=by, at=at)
            move_generation(connection)
            return made

    def revision(self, number: int | None = None) -> PolicyRevision:
        """See the port."""
        query = select(revisions).order_by(revisions.c.number.desc()).limit(1)
        if number is not None:
            query = query.where(revisions.c.number == number)
        with self._file.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotThere(
                "there is no policy revision yet" if number is None else f"there is no policy revision {number}"
            )
        return _revision(row)

    def revisions(self, limit: int = 100, *, before: int | None = None) -> tuple[RevisionSummary, ...]:
        """See the port."""
        query = select(*[column for column in revisions.c if column.name != "files"])
        if before is not None:
            query = query.where(revisions.c.number < before)
        with self._file.reading() as connection:
            rows = connection.execute(query.order_by(revisions.c.number.desc()).limit(limit)).all()
        return tuple(RevisionSummary(**row._mapping) for row in rows)

    def changes(self, limit: int = 100, *, before: int | None = None) -> tuple[Change, ...]:
        """See the port."""
        query = select(changes).order_by(changes.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(changes.c.number < before)
        with self._file.reading() as connection:
            rows = connection.execute(query).all()
        return tuple(Change(**row._mapping) for row in rows)

    def change_stamp(self) -> int | str:
        """See the port."""
        return self._file.stamp()

    def close(self) -> None:
        """See the port."""
        self._file.close()


def _refuse_other(connection: Connection, was: AgentRecord) -> None:
    """Refuse a change of an agent that is not any more what the change was made from."""
    row = connection.execute(select(agents).where(agents.c.name == was.name)).one_or_none()
    if row is not None and _agent(row) != was:
        raise ChangedMeanwhile(f'agent "{was.name}" was changed in the meantime; look at it and try again')


def _refuse_taken_proofs(connection: Connection, agent: AgentRecord) -> None:
    """Refuse what would make two agents one: a credential, key or certificate name that another one has."""
    # Changes are rare and agents are some thousands at most, so that all of them may be read.
    rows = connection.execute(select(agents).where(agents.c.name != agent.name)).all()
    for other in (_agent(row) for row in rows):
        if not _credentials(other).isdisjoint(_credentials(agent)):
            raise AlreadyThere("another agent holds this credential; make a new one for each")
        if {key.public for key in other.keys} & {key.public for key in agent.keys}:
            raise AlreadyThere(f'agent "{other.name}" has this key already; give each agent a key of its own')
        if shared := sorted({*other.certificate_names} & {*agent.certificate_names}):
            raise AlreadyThere(
                f'certificates named "{shared[0]}" stand for agent "{other.name}" already; remove it there'
            )


def _credentials(agent: AgentRecord) -> set[str | bytes]:
    """Ids and hashes of the simple credentials that open something for this agent."""
    found: set[str | bytes] = {agent.credential_id, agent.credential_hash} if agent.credential_id else set()
    if agent.old_credential is not None:
        found |= {agent.old_credential.id, agent.old_credential.hash}
    return found


def _columns(agent: AgentRecord) -> dict[str, Any]:
    listed = ("groups", "labels", "keys", "certificate_names", "handed_to")
    old = agent.old_credential
    return msgspec.structs.asdict(agent) | {
        "old_credential": None if old is None else msgspec.json.encode(old).decode(),
        "credential_id": agent.credential_id or None,
        "credential_hash": agent.credential_hash or None,
        **{name: msgspec.json.encode(getattr(agent, name)).decode() for name in listed},
    }


def _agent(row: Row[Any]) -> AgentRecord:
    columns = dict(row._mapping)
    columns["groups"] = msgspec.json.decode(columns["groups"], type=tuple[str, ...])
    columns["labels"] = msgspec.json.decode(columns["labels"], type=tuple[tuple[str, str], ...])
    columns["keys"] = msgspec.json.decode(columns["keys"], type=tuple[AgentKey, ...])
    for name in ("certificate_names", "handed_to"):
        columns[name] = msgspec.json.decode(columns[name], type=tuple[str, ...])
    if columns["old_credential"] is not None:
        columns["old_credential"] = msgspec.json.decode(columns["old_credential"], type=OldCredential)
    columns["credential_id"] = columns["credential_id"] or ""
    columns["credential_hash"] = columns["credential_hash"] or b""
    return AgentRecord(**columns)


def _revision(row: Row[Any]) -> PolicyRevision:
    files = msgspec.json.decode(row.files, type=PolicyFiles)
    return PolicyRevision(number=row.number, made_at=row.made_at, made_by=row.made_by, digest=row.digest, files=files)


def _told(agent: AgentRecord) -> str:
    """What the change list says about an agent: all but the hashes."""
    told = msgspec.structs.asdict(agent)
    del told["credential_hash"]
    old = agent.old_credential
    told["old_credential"] = None if old is None else {"id": old.id, "expires_at": old.expires_at}
    return msgspec.json.encode(told).decode()
