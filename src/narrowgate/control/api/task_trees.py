"""Calls about trees of tasks: what came of a task, as far as its delegates go, and what each of them did."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.records import opened_index
from narrowgate.control.api.tasks import found_task
from narrowgate.control.problems import Problem
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import SeesAll, query_of
from narrowgate.core.lineage_tree import with_pods
from narrowgate.core.task_tree import Did, tree_of
from narrowgate.core.tasks import Task
from narrowgate.store.task_trees import ancestors_of, descendants_of
from narrowgate.trail.index import Index

MOST_READ = 2_000
"""Requests of the record that are read for one tree: a fraction of a second. Each task gets an equal part of them."""

PODS = "pods"
MOST_PODS = 10_000
"""The newest pods among which those of a tree are looked for."""

_REFUSED = frozenset({"deny", "malformed", "needs-approval"})
"""Decisions by which a request was not let through; one that runs has none yet."""


def get_task_tree(parts: ApiParts, sent: Sent) -> Answered:
    """The tree that a task belongs to; for a task's own credential what hangs on that task."""
    task = found_task(parts, sent)
    if not sent.caller.identity.task:
        task = next(iter(reversed(ancestors_of(parts.store.tasks, task))), task)
    below = descendants_of(parts.store.tasks, task)
    did = dict(_did(parts, (task, *below), sent.now))
    pods = parts.store.lineage.listed(task.cluster, PODS, limit=MOST_PODS)
    return Answered(document=with_pods(tree_of(task, below, sent.now, did), pods))


def _did(parts: ApiParts, tasks: tuple[Task, ...], now: float) -> Iterator[tuple[str, Did]]:
    """What the record has of each task; nothing where it cannot be searched now."""
    each = max(10, MOST_READ // len(tasks))
    try:
        with opened_index(parts) as (index, _):
            for task in tasks[: MOST_READ // 10]:
                yield task.id, _counted(index, task, each, now)
    except Problem:
        # The tree is as good without it; what is missing is null.
        return


def _counted(index: Index, task: Task, most: int, now: float) -> Did:
    query = query_of({"task": task.id}, now)
    entries = [found.entry for found in itertools.islice(index.search(query, SeesAll()), most + 1)]
    asked = [entry for entry in entries[:most] if _is_of_cluster(entry)]
    return Did(
        requests=len(asked),
        denied=_refused(asked),
        last_at=asked[0].received_at if asked else "",
        is_cut_off=len(entries) > most,
    )


def _is_of_cluster(entry: AuditEntry) -> bool:
    """Whether it is a request to the cluster, and no call of the gate's own API."""
    return bool(entry.cluster)


def _refused(entries: Iterable[AuditEntry]) -> int:
    return sum(entry.decision in _REFUSED for entry in entries)
