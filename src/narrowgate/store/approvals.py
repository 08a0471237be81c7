"""The table of approvals: questions put to people, and the groups of whoever answered them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from sqlalchemy import Row, and_, insert, or_, select, update

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.store.changes import Transactions, move_generation, note_change
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere, SignIns
from narrowgate.store.tables import approvals

_OPEN = (ApprovalState.PENDING.value, ApprovalState.APPROVED.value)


class ApprovalTable:
    """See `store.port.Approvals`."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def add(self, question: ApprovalQuestion, *, by: str, at: float) -> None:
        """See the port."""
        same = approvals.c.id == question.id
        if question.digest:
            is_open = and_(approvals.c.state.in_(_OPEN), approvals.c.lapses_at > at)
            same = or_(same, and_(approvals.c.digest == question.digest, is_open))
        with self._database.writing() as connection:
            if connection.execute(select(approvals.c.id).where(same)).first():
                raise AlreadyThere("there is an open approval about this request, or one with this id, already")
            connection.execute(insert(approvals).values(_columns(question)))
            note_change(connection, "approval.asked", question.id, _told(question), by=by, at=at)
            if question.state is not ApprovalState.PENDING:
                move_generation(connection)

    def get(self, approval_id: str) -> ApprovalQuestion:
        """See the port."""
        with self._database.reading() as connection:
            row = connection.execute(select(approvals).where(approvals.c.id == approval_id)).one_or_none()
        if row is None:
            raise NotThere(f'there is no approval "{approval_id}"')
        return _question(row)

    def change(self, question: ApprovalQuestion, *, was: ApprovalQuestion, by: str, at: float) -> None:
        """See the port."""
        with self._database.writing() as connection:
            row = connection.execute(select(approvals).where(approvals.c.id == was.id)).one_or_none()
            if row is None:
                raise NotThere(f'there is no approval "{was.id}"')
            if _question(row) != was:
                raise ChangedMeanwhile(f'approval "{was.id}" was changed meanwhile; look at it again')
            connection.execute(update(approvals).where(approvals.c.id == was.id).values(_columns(question)))
            note_change(connection, "approval.changed", question.id, _told(question), by=by, at=at)
            if question.state is not was.state:
                # One answer of several changes nothing that is judged by: no process need read everything anew.
                move_generation(connection)

    def open(self) -> tuple[ApprovalQuestion, ...]:
        """See the port."""
        query = select(approvals).where(approvals.c.state.in_(_OPEN)).order_by(approvals.c.id)
        with self._database.reading() as connection:
            return tuple(_question(row) for row in connection.execute(query).all())

    def about_request(self, digest: str, limit: int = 10) -> tuple[ApprovalQuestion, ...]:
        """See the port."""
        return self._newest(approvals.c.digest == digest, limit) if digest else ()

    def about_task(self, task_id: str, limit: int = 10) -> tuple[ApprovalQuestion, ...]:
        """See the port."""
        return self._newest(approvals.c.task == task_id, limit) if task_id else ()

    def listed(
        self,
        holders: Collection[str] | None = None,
        *,
        states: Collection[ApprovalState] | None = None,
        behind: str = "",
        limit: int = 100,
    ) -> tuple[ApprovalQuestion, ...]:
        """See the port."""
        query = select(approvals).order_by(approvals.c.asked_at.desc(), approvals.c.id).limit(limit)
        if holders is not None:
            query = query.where(approvals.c.holder.in_(sorted(holders)))
        if states is not None:
            query = query.where(approvals.c.state.in_(sorted(state.value for state in states)))
        with self._database.reading() as connection:
            if behind:
                last = connection.execute(select(approvals.c.asked_at).where(approvals.c.id == behind)).scalar()
                if last is None:
                    return ()
                later = and_(approvals.c.asked_at == last, approvals.c.id > behind)
                query = query.where(or_(approvals.c.asked_at < last, later))
            return tuple(_question(row) for row in connection.execute(query).all())

    def _newest(self, which: Any, limit: int) -> tuple[ApprovalQuestion, ...]:
        query = select(approvals).where(which).order_by(approvals.c.asked_at.desc(), approvals.c.id).limit(limit)
        with self._database.reading() as connection:
            return tuple(_question(row) for row in connection.execute(query).all())


def groups_now(sign_ins: SignIns, people: Iterable[str], now: float) -> dict[str, frozenset[str]]:
    """The groups of each of these people, as their newest sign-in that runs at `now` tells them; nobody else is in it.

    Whoever is signed in nowhere is in no group: what they answered counts again once they have signed in and are still
    in the group. Raises StoreUnavailable.
    """
    found = {}
    # No name is everybody's name to the list of sign-ins, and nobody's here.
    for person in sorted({*people} - {""}):
        if running := sign_ins.listed(person, running_at=now, limit=1):
            found[person] = frozenset(running[0].groups)
    return found


def _columns(question: ApprovalQuestion) -> dict[str, Any]:
    return {
        "id": question.id,
        "holder": question.holder,
        "task": question.task,
        "digest": question.digest,
        "state": question.state.value,
        "asked_at": question.asked_at,
        "lapses_at": question.lapses_at,
        "document": msgspec.json.encode(question).decode(),
    }


def _question(row: Row[Any]) -> ApprovalQuestion:
    return msgspec.json.decode(row.document, type=ApprovalQuestion)


def _told(question: ApprovalQuestion) -> str:
    """What the change list says about a question."""
    about = question.about
    told: dict[str, Any] = {"for": question.holder, "cluster": about.cluster, "state": question.state.value}
    told["rules"] = [str(rule) for rule in question.rules]
    if question.task:
        told["task"] = question.task
    if about.audit_id:
        told |= {"request": about.audit_id, "verb": about.verb, "path": about.path}
    if question.said:
        told["said"] = {one.person: one.voice.value for one in question.said}
    if question.ended_because:
        told["because"] = question.ended_because
    return msgspec.json.encode(told).decode()
