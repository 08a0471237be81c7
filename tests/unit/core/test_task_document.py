"""The JSON of a task: as time leaves it, without a credential."""

from __future__ import annotations

import msgspec

from narrowgate.core.identity import Kind
from narrowgate.core.task_document import task_document
from narrowgate.core.task_limits import TaskUse
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import read_wanted

REQUESTED = Task(
    id="t",
    kind=Kind.AGENT,
    name="bot",
    requested_by="person:alice",
    cluster="prod",
    purpose="look",
    rules=(read_wanted("get,list pods/log/web -n ci", 1), read_wanted("get nodes", 2)),
    credential_id="t",
    credential_hash=b"\xde\xad\xbe\xef" * 8,
    seconds=90,
    requested_at=1000,
    lapses_at=1010,
)


def test_a_task_is_shown_as_time_leaves_it() -> None:
    requested = task_document(REQUESTED, 1001)
    assert (requested.state.value, requested.began_at, requested.ends_at) == ("requested", None, None)
    active = REQUESTED.after(TaskEvent.ACTIVATED, 1002)
    shown = task_document(active, 1003)
    assert (shown.state.value, shown.lasts) == ("active", "1m30s")
    assert (shown.began_at, shown.ends_at) == ("1970-01-01T00:16:42Z", "1970-01-01T00:18:12Z")
    assert task_document(active, 1092).state.value == "expired"
    assert task_document(REQUESTED, 1010).state.value == "lapsed"


def test_what_it_is_for_is_shown_as_it_was_asked() -> None:
    shown = msgspec.to_builtins(task_document(REQUESTED, 1001))
    assert [(rule["id"], rule["text"]) for rule in shown["allow"]] == [
        ("allow-1", "get,list pods/log/web -n ci"),
        ("allow-2", "get nodes"),
    ]
    assert (shown["name"], shown["requestedBy"]) == ("bot", "person:alice")


def test_nothing_of_its_credential_is_in_it() -> None:
    assert b"3q2-7w" not in msgspec.json.encode(task_document(REQUESTED, 1001))
    assert not {name for name in msgspec.to_builtins(task_document(REQUESTED, 1001)) if "credential" in name.lower()}


def test_what_it_may_use_and_has_used_is_in_it_where_it_is_counted() -> None:
    free = task_document(REQUESTED, 1001, TaskUse(7, 3))
    assert (free.max_requests, free.requests_used, free.max_streams, free.streams) == (None, None, None, None)
    limited = msgspec.structs.replace(REQUESTED, max_requests=50, max_streams=5)
    shown = msgspec.to_builtins(task_document(limited, 1001, TaskUse(7, 3)))
    assert [shown[name] for name in ("maxRequests", "requestsUsed", "maxStreams", "streams")] == [50, 7, 5, 3]
