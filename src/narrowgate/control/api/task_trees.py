"""Calls about trees of tasks: what came of a task, or of whatever a session belongs to, and what each member did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.records import opened_index
from narrowgate.control.api.tasks import found_task, is_of_caller
from narrowgate.control.problems import Problem, Trouble
from narrowgate.control.trees import NoTree, Place, TreeReader
from narrowgate.core.audit_query import SeesAll, SeesOwn, Sight
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import SignIn
from narrowgate.store.task_trees import ancestors_of
from narrowgate.trail.index import Index


def get_task_tree(parts: ApiParts, sent: Sent) -> Answered:
    """The tree that a task belongs to; for a task's own credential what hangs on that task."""
    task = found_task(parts, sent)
    root = task
    if not sent.caller.identity.task:
        root = next(iter(reversed(ancestors_of(parts.store.tasks, task))), task)
    with _index(parts) as index:
        return Answered(document=_reader(parts, sent, index).tree_below(root, task.id))


def get_session_tree(parts: ApiParts, sent: Sent) -> Answered:
    """The tree that a session belongs to: a recorded one, a task or a sign-in. Whoever may not see it is told what
    they would be told if it were not there.
    """
    session = sent.path["id"]
    more = "" if sent.reaches_all else ", or it is not yours"
    missing = Problem(Trouble.NOT_FOUND, f'there is no session "{session}"{more}; look at the list of sessions')
    with _index(parts) as index:
        reader = _reader(parts, sent, index)
        try:
            place = reader.place_of(session)
        except NoTree as error:
            raise (Problem(Trouble.NOT_FOUND, str(error)) if sent.reaches_all else missing) from None
        if not _may_see(parts, sent, place):
            raise missing
        return Answered(document=reader.tree_at(place))


def _may_see(parts: ApiParts, sent: Sent, place: Place) -> bool:
    if sent.reaches_all:
        return True
    if isinstance(place.root, SignIn):
        who = sent.caller.identity
        return who.kind is Kind.PERSON and place.root.person == who.name
    return is_of_caller(parts, sent, place.root)


def _reader(parts: ApiParts, sent: Sent, index: Index | None) -> TreeReader:
    return TreeReader(parts.store, index, _sight_of(sent), sent.now)


def _sight_of(sent: Sent) -> Sight:
    """What of the record is told in a tree that the caller may see: of people without a role, what they did, and what
    agents did that they answered for then.
    """
    who = sent.caller.identity
    if sent.reaches_all or who.kind is not Kind.PERSON:
        return SeesAll()
    return SeesOwn(who.name, frozenset(who.groups))


@contextmanager
def _index(parts: ApiParts) -> Iterator[Index | None]:
    """The index; None where it cannot be searched now: a tree is as good without it, what is missing is null."""
    with ExitStack() as opened:
        try:
            index, _ = opened.enter_context(opened_index(parts))
        except Problem:
            index = None
        yield index
