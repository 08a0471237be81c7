"""Trees of tasks read from where they are kept: tasks and pods from the store, what each did from the record.

The API and the command line on the gate's machine both end here. It blocks; whether somebody may see a tree at all is
asked before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from narrowgate.core.audit import timestamp
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import AuditQuery, Sight, query_of
from narrowgate.core.call_timeline import credential_of
from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Placement
from narrowgate.core.lineage_tree import with_pods
from narrowgate.core.sign_in import SignIn
from narrowgate.core.task_tree import Node, sign_in_node, tree_of
from narrowgate.core.tasks import Task
from narrowgate.core.tree_doings import Doings, by_pod, doings_of
from narrowgate.store.port import Lineage, NotThere, SignIns, Tasks
from narrowgate.store.task_trees import ancestors_of, descendants_of
from narrowgate.trail.index import Index

MOST_READ: Final = 2_000
"""Requests of the record that are read for the tasks of one tree, and again for its pods: a fraction of a second. Each
task gets an equal part of them."""

LEAST_READ: Final = 10
"""Of each task, however many there are."""

PODS: Final = "pods"
MOST_PODS: Final = 10_000
"""The newest pods among which those of a tree are looked for."""

MOST_ROOTS: Final = 10
"""Tasks of one sign-in that are told with all that came of them, the newest."""

MOST_SEARCHED: Final = 1_000
"""The newest tasks, among which those of a sign-in are looked for."""


class Kept(Protocol):
    """What is needed of a store (`store.port.Store`)."""

    @property
    def tasks(self) -> Tasks:
        """All tasks."""
        ...

    @property
    def sign_ins(self) -> SignIns:
        """All sign-ins."""
        ...

    @property
    def lineage(self) -> Lineage:
        """Who had which pod made."""
        ...


class NoTree(Exception):
    """Nothing hangs on what was named; the message says why, for whoever named it."""


class Place(msgspec.Struct, frozen=True):
    """Where something stands: the root of its tree, and by what the tree was asked for."""

    root: Task | SignIn
    named: str
    entry: AuditEntry | None = None
    """The request that was named; None where a task or a sign-in was."""


class TreeReader:
    """Reads trees as they are at one moment."""

    def __init__(self, kept: Kept, index: Index | None, sight: Sight, now: float) -> None:
        """`index` is None where the record cannot be searched: then nothing is said of what anybody did. `sight` is
        what of the record is shown; `now` is in Unix seconds.
        """
        self._kept = kept
        self._index = index
        self._sight = sight
        self._now = now
        self._pods: dict[str, tuple[Placement, ...]] = {}
        """Of clusters that were looked at; the trees of one sign-in are mostly of one."""

    def place_of(self, session: str) -> Place:
        """Where the task, the sign-in or the recorded session of this id stands. Raises NoTree, and errors of the
        store's port and of the index.
        """
        if (task := self._task(session)) is not None:
            return Place(self._root(task), session)
        if (sign_in := self._sign_in(session)) is not None:
            return Place(sign_in, session)
        if self._index is None:
            raise NoTree("the record cannot be searched now, so that no session is found; name a task")
        found = next(self._index.search(query_of({"id": session}, self._now), self._sight), None)
        if found is None:
            raise NoTree(f'there is no task, no sign-in and no session "{session[:64]}"')
        return self._place_of(found.entry, credential_of(self._index.with_events(found).events))

    def tree_at(self, place: Place) -> Node:
        """The tree of that place, with what is named by it marked."""
        match place.root:
            case Task():
                return self.tree_below(place.root, place.named, place.entry)
            case SignIn():
                return self._tree_of_sign_in(place.root, place)

    def tree_below(self, root: Task, named: str = "", entry: AuditEntry | None = None, most: int = MOST_READ) -> Node:
        """A task with all that came of it. `entry` is told of among the rest, however many there are; `most` requests
        are read for tasks, and for pods.
        """
        below = descendants_of(self._kept.tasks, root)
        tasks = (root, *below)
        each = max(LEAST_READ, most // len(tasks))
        did = {}
        for task in tasks[: most // LEAST_READ]:
            also = entry if entry is not None and entry.task == task.id else None
            if (doings := self._doings({"task": task.id}, each, named, also)) is not None:
                did[task.id] = doings
        tree = tree_of(root, below, self._now, did, named)
        if root.cluster not in self._pods:
            listed = self._kept.lineage.listed(root.cluster, PODS, limit=MOST_PODS, with_gone=True)
            self._pods[root.cluster] = listed
        return with_pods(tree, self._pods[root.cluster], self._doings_of_pods(root, named, entry, most))

    # Where something stands.

    def _place_of(self, entry: AuditEntry, credential: str) -> Place:
        if entry.task:
            if (task := self._task(entry.task)) is None:
                raise NoTree(f"task {entry.task} of this session is not kept any more; the record has what it did")
            return Place(self._root(task), entry.audit_id, entry)
        if entry.pod_uid:
            placed = self._kept.lineage.get(entry.cluster, entry.pod_uid)
            authors = () if placed is None else placed.authors
            for task_id in (author[0].task for author in sorted(authors, key=len)):
                if (task := self._task(task_id)) is not None:
                    return Place(self._root(task), entry.audit_id, entry)
        elif (sign_in := self._sign_in(credential)) is not None:
            return Place(sign_in, entry.audit_id, entry)
        raise NoTree("this session is of no task and of no sign-in that is kept, so that nothing hangs on it")

    def _root(self, task: Task) -> Task:
        return next(iter(reversed(ancestors_of(self._kept.tasks, task))), task)

    def _task(self, task_id: str) -> Task | None:
        try:
            return self._kept.tasks.get(task_id) if task_id else None
        except NotThere:
            return None

    def _sign_in(self, sign_in_id: str) -> SignIn | None:
        try:
            return self._kept.sign_ins.get(sign_in_id) if sign_in_id else None
        except NotThere:
            return None

    # What hangs on a sign-in.

    def _tree_of_sign_in(self, sign_in: SignIn, place: Place) -> Node:
        roots = self._asked_for_in(sign_in)
        shown = roots[:MOST_ROOTS]
        children = tuple(self.tree_below(root, most=MOST_READ // len(shown)) for root in shown)
        words = {
            "who": f"person:{sign_in.person}",
            "since": timestamp(sign_in.created_at).decode(),
            "until": timestamp(sign_in.expires_at + 1).decode(),
        }
        doings = self._doings(words, MOST_READ, place.named, place.entry, credential=sign_in.id)
        node = sign_in_node(sign_in, children, self._now, doings, place.named)
        left_out = len(roots) - len(shown) + sum(child.left_out for child in children)
        return msgspec.structs.replace(node, left_out=left_out)

    def _asked_for_in(self, sign_in: SignIn) -> list[Task]:
        """The tasks that the person asked for in it. An emergency says in which sign-in it was taken; of all others it
        is the time that counts.
        """
        until = sign_in.expires_at if sign_in.ended_at is None else sign_in.ended_at
        person = f"person:{sign_in.person}"

        def is_of_it(task: Task) -> bool:
            if task.requested_by != person or task.parent:
                return False
            if task.sign_in:
                return task.sign_in == sign_in.id
            return sign_in.created_at <= task.requested_at < until

        return [task for task in self._kept.tasks.listed(limit=MOST_SEARCHED) if is_of_it(task)]

    # What somebody did.

    def _doings(
        self, words: dict[str, str], most: int, named: str, also: AuditEntry | None, *, credential: str = ""
    ) -> Doings | None:
        """What the record has by these words; None where it cannot be searched."""
        if self._index is None:
            return None
        entries, is_cut_off = self._read(query_of(words, self._now), most, credential)
        return doings_of(_with(entries, also), named=named, is_cut_off=is_cut_off)

    def _read(self, query: AuditQuery, most: int, credential: str = "") -> tuple[list[AuditEntry], bool]:
        """Those of that credential among the newest, and whether there are more than were looked at."""
        assert self._index is not None
        index = self._index
        found = list(itertools.islice(index.search(query, self._sight), most + 1))
        entries = [
            one.entry
            for one in found[:most]
            if not credential or credential_of(index.with_events(one).events) == credential
        ]
        return entries, len(found) > most

    def _doings_of_pods(
        self, root: Task, named: str, entry: AuditEntry | None, most: int
    ) -> Callable[[str], Doings | None] | None:
        """Tells by a pod's UID what it did: all that any pod asked that speaks for the root's holder is read once."""
        if self._index is None or root.kind is not Kind.AGENT:
            return None
        words = {
            "who": f"agent:{root.name}",
            "kind": "serviceaccount",
            "cluster": root.cluster,
            "since": timestamp(root.requested_at).decode(),
        }
        read, is_cut_off = self._read(query_of(words, self._now), most)
        found = by_pod(_with(read, entry if entry is not None and entry.pod_uid else None))
        return lambda uid: doings_of(found.get(uid, ()), named=named, is_cut_off=is_cut_off)


def _with(entries: Iterable[AuditEntry], also: AuditEntry | None) -> list[AuditEntry]:
    """These, and that one where it is not among them."""
    listed = list(entries)
    if also is not None and all(entry.audit_id != also.audit_id for entry in listed):
        listed.append(also)
    return listed
