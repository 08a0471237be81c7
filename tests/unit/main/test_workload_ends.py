"""What tasks leave behind, deleted: by what the cluster answers, in whatever state it, the store and the trail are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.proxy.loopback import Peer, Play, Script, access_to, api_server, run, signing_key

from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.identity import Kind
from narrowgate.core.leftovers import GIVE_UP_SECONDS, Fate
from narrowgate.core.lineage import Ancestor, Author, PendingWrite, Placement
from narrowgate.core.policy import OnEnd
from narrowgate.core.tasks import Task, TaskEvent, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.main.workload_ends import WorkloadEnds
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.deletion import Deletion
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.store.sqlite import SQLiteStore
from narrowgate.trail.segment_file import TrailUnwritable

BOT: Author = (Ancestor(kind=Kind.AGENT, name="bot", task="t1"),)
EVE: Author = (Ancestor(kind=Kind.AGENT, name="eve"),)
DISCOVERY = Discovery(
    (
        ResourceType(group="batch", version="v1", resource="jobs", kind="Job", namespaced=True, verbs=("delete",)),
        ResourceType(group="corp.example", version="v2", resource="teams", kind="Team", namespaced=False, verbs=()),
    )
)
NOT_FOUND = {"kind": "Status", "reason": "NotFound", "details": {"name": "u1"}}
OTHER = {"kind": "Status", "reason": "Conflict", "message": "the UID in the precondition (u1) does not match the UID"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "gate.db")
    yield opened
    opened.close()


@pytest.fixture
def over(store: SQLiteStore) -> Task:
    """A task that is over, and deletes."""
    task = Task(
        id="t1", kind=Kind.AGENT, name="bot", requested_by="agent:bot", cluster="dev", purpose="tests",
        rules=(read_wanted("get pods -n ci", 1),), seconds=100.0, requested_at=900.0, lapses_at=901.0,
        on_end=OnEnd.DELETE_WORKLOADS, state=TaskState.ACTIVE, began_at=900.0, ends_at=9_000.0,
    )  # fmt: skip
    store.tasks.add(task, by="agent:bot", at=900.0)
    ended = task.after(TaskEvent.REVOKED, 2_000.0, "enough")
    store.tasks.change(ended, was=task, by="person:ann", at=2_000.0)
    return ended


def created(store: SQLiteStore, uid: str = "u1", *others: Author, resource: str = "jobs.batch") -> None:
    placement = Placement(
        cluster="dev", uid=uid, resource=resource, namespace="ci" if resource == "jobs.batch" else "", name=uid,
        authors=(BOT,), first_at=1_000.0,
    )  # fmt: skip
    store.lineage.add(placement, created=True)
    for other in others:
        store.lineage.add(msgspec.structs.replace(placement, authors=(other,)))


def answering(*answers: tuple[int, Any]) -> Play:
    """Answers one after the other, the last again and again."""
    left = list(answers)

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            status, document = left.pop(0) if len(left) > 1 else left[0]
            body = json.dumps(document).encode()
            await peer.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    return play


class World:
    """A sweep after the other, on one cluster that plays a script."""

    def __init__(self, ends: WorkloadEnds, store: SQLiteStore, script: Script, trail: Path) -> None:
        self.sweep = ends.sweep
        self._store = store
        self._script = script
        self._trail = trail

    @property
    def asked(self) -> list[tuple[str, str, Any]]:
        """Of the cluster."""
        return [(one.method, one.target, json.loads(one.body or b"null")) for one in self._script.received]

    def fates(self) -> list[tuple[str, Fate, int, str]]:
        return [(one.uid, one.fate, one.tries, one.why) for one in self._store.leftovers.of_task("t1")]

    def entries(self) -> list[tuple[str, str, int]]:
        lines = [line for file in self._trail.rglob("*.jsonl") for line in file.read_text().splitlines()]
        events = [document["event"] for line in lines if isinstance((document := json.loads(line)).get("event"), dict)]
        return [
            (one["stage"], one["annotations"]["narrowgate.dev/decision"], one.get("responseStatus", {}).get("code", 0))
            for one in events
        ]


@asynccontextmanager
async def world(folder: Path, store: SQLiteStore, play: Play, *, away: bool = False) -> AsyncIterator[World]:
    async with api_server(folder, play) as script:
        access = access_to(script)
        cluster = Cluster(msgspec.structs.replace(access, port=1) if away else access)
        account_for(cluster, str)
        cluster.discovery = DISCOVERY
        trail = TrailWriter.open(folder / "trail", "control-0", signing_key())
        try:
            yield World(WorkloadEnds(store, {"dev": cluster}, Deletion(trail)), store, script, folder / "trail")
        finally:
            await trail.close()
            cluster.close()


def swept(folder: Path, store: SQLiteStore, play: Play, *at: float, away: bool = False) -> World:
    async def main() -> World:
        async with world(folder, store, play, away=away) as found:
            for now in at or (3_000.0,):
                await found.sweep(now)
        return found

    return run(main())


def test_it_is_deleted_by_its_uid_with_an_entry_before_and_one_after(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    created(store)
    created(store, "team", resource="teams.corp.example")
    found = swept(tmp_path, store, answering((200, {})), 3_000.0, 3_001.0)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    assert found.asked == [
        ("DELETE", "/apis/corp.example/v2/teams/team", options | {"preconditions": {"uid": "team"}}),
        ("DELETE", "/apis/batch/v1/namespaces/ci/jobs/u1", options | {"preconditions": {"uid": "u1"}}),
    ]
    assert found.fates() == [("team", Fate.DELETED, 0, ""), ("u1", Fate.DELETED, 0, "")]
    assert found.entries() == [("RequestReceived", "allow", 0), ("ResponseComplete", "allow", 200)] * 2
    told = (tmp_path / "trail").rglob("*.jsonl")
    assert f"task {over.id} is over (revoked: enough)" in "".join(file.read_text() for file in told)


@pytest.mark.parametrize("answer", [(404, NOT_FOUND), (409, OTHER)], ids=["not there", "another object"])
def test_what_is_not_there_any_more_is_gone(
    tmp_path: Path, store: SQLiteStore, over: Task, answer: tuple[int, Any]
) -> None:
    created(store)
    assert swept(tmp_path, store, answering(answer)).fates() == [("u1", Fate.GONE, 0, "")]
    assert store.leftovers.due(9e9) == ()
    assert over.is_final


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, {}), "the API server answers 500"),
        ((404, "404 page not found"), "the API server answers 404"),
        ((404, NOT_FOUND | {"details": {"name": "ci"}}), "the API server answers 404"),
        ((409, {"reason": "Conflict", "message": "the object has been modified"}), "the API server answers 409"),
        ((403, {}), "the gate's account may not delete jobs.batch (403); its operator gives it that right"),
    ],
)
def test_every_other_answer_is_tried_again_and_not_at_once(
    tmp_path: Path, store: SQLiteStore, over: Task, answer: tuple[int, Any], why: str
) -> None:
    created(store)
    found = swept(tmp_path, store, answering(answer, (200, {})), 3_000.0, 3_001.9)
    ((uid, fate, tries, said),) = found.fates()
    assert (uid, fate, tries) == ("u1", Fate.WAITS, 1)
    assert said.startswith(why)
    assert swept(tmp_path, store, answering((200, {})), 3_002.0).fates() == [("u1", Fate.DELETED, 1, "")]
    assert over.is_final


def test_what_a_finalizer_keeps_is_asked_to_let_go_first_of_what_it_owns(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    created(store)
    kept = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["evil.example/stay"]}}
    first = swept(tmp_path, store, answering((200, kept)), 3_000.0, 3_002.0)
    assert [options["propagationPolicy"] for _, _, options in first.asked] == ["Background", "Foreground"]
    why = "it is on its way out, and its finalizers keep it: evil.example/stay"
    assert first.fates() == [("u1", Fate.WAITS, 2, why)]
    assert swept(tmp_path, store, answering((404, NOT_FOUND)), 3_006.0).fates() == [("u1", Fate.GONE, 2, "")]
    assert over.is_final


def test_a_cluster_that_is_away_is_asked_once_for_all_that_is_due_there(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    for uid in ("u1", "u2", "u3"):
        created(store, uid)
    found = swept(tmp_path, store, answering((200, {})), away=True)
    assert [(fate, tries) for _, fate, tries, _ in found.fates()] == [(Fate.WAITS, 1)] * 3
    assert found.entries() == [("RequestReceived", "allow", 0), ("ResponseComplete", "error", 0)]
    back = swept(tmp_path, store, answering((200, {})), 3_002.0)
    assert {fate for _, fate, _, _ in back.fates()} == {Fate.DELETED}
    assert over.is_final


def test_what_others_have_changed_is_left_and_what_they_may_have_changed_waits(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    created(store, "u1", EVE)
    created(store, "u2")
    write = PendingWrite(
        audit_id="a1", cluster="dev", resource="jobs.batch", namespace="ci", name="u2", is_create=False, author=EVE,
        at=1_500.0,
    )  # fmt: skip
    store.lineage.begin(write)
    found = swept(tmp_path, store, answering((200, {})))
    assert found.asked == []
    assert found.fates() == [
        ("u1", Fate.LEFT, 0, "agent:eve had a hand in it"),
        ("u2", Fate.WAITS, 1, "request a1 may have changed it, and is not answered"),
    ]
    store.lineage.drop("a1")
    assert swept(tmp_path, store, answering((200, {})), 3_002.0).fates()[1][1] is Fate.DELETED
    assert over.is_final


def owned(store: SQLiteStore, uid: str, by: str) -> None:
    """A controller made it of what was created."""
    placement = Placement(
        cluster="dev", uid=uid, resource="jobs.batch", namespace="ci", name=uid, authors=(BOT,), owners=(by,),
        first_at=1_000.0,
    )  # fmt: skip
    store.lineage.add(placement)


def test_what_was_orphaned_goes_after_its_owner_and_what_goes_with_it_is_not_asked_for(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    created(store)
    owned(store, "orphan", "u1")
    owned(store, "collected", "u1")
    first = swept(tmp_path, store, answering((404, NOT_FOUND)), 2_000.0)
    assert first.fates() == [
        ("collected", Fate.WAITS, 0, ""),
        ("orphan", Fate.WAITS, 0, ""),
        ("u1", Fate.GONE, 0, ""),
    ]
    store.lineage.gone("dev", "collected", at=2_001.0)
    second = swept(tmp_path, store, answering((200, {})), 2_030.0)
    assert [target for _, target, _ in second.asked] == ["/apis/batch/v1/namespaces/ci/jobs/orphan"]
    assert second.fates()[1][1] is Fate.DELETED
    assert over.is_final


def test_what_belongs_to_what_stays_stays_and_what_belongs_to_what_waits_waits(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    created(store, "a-left", EVE)
    owned(store, "pod-of-left", "a-left")
    created(store, "b-kept")
    owned(store, "pod-of-kept", "b-kept")
    found = swept(tmp_path, store, answering((500, {})), 3_000.0)
    assert found.fates() == [
        ("a-left", Fate.LEFT, 0, "agent:eve had a hand in it"),
        ("b-kept", Fate.WAITS, 1, "the API server answers 500"),
        ("pod-of-kept", Fate.WAITS, 1, "what owns it is not deleted yet"),
        ("pod-of-left", Fate.LEFT, 0, "it belongs to what stays"),
    ]
    assert len(found.asked) == 1
    assert over.is_final


def test_after_a_week_it_is_given_up(tmp_path: Path, store: SQLiteStore, over: Task) -> None:
    created(store)
    ended_at = over.ended_at or 0.0
    at = (ended_at + GIVE_UP_SECONDS - 10.0, ended_at + GIVE_UP_SECONDS + 1.0)
    found = swept(tmp_path, store, answering((500, {})), *at)
    assert found.fates() == [("u1", Fate.GIVEN_UP, 1, "the API server answers 500")]
    assert len(found.asked) == 1


def test_a_kind_that_is_not_served_and_a_cluster_that_is_not_registered_wait(
    tmp_path: Path, store: SQLiteStore, over: Task
) -> None:
    created(store, "u1", resource="gone.corp.example")
    assert "does not serve gone.corp.example now" in swept(tmp_path, store, answering((200, {}))).fates()[0][3]
    run(_sweep_without_clusters(tmp_path, store, 3_100.0))
    ((_, fate, tries, why),) = [(one.uid, one.fate, one.tries, one.why) for one in store.leftovers.of_task("t1")]
    assert (fate, tries, why) == (Fate.WAITS, 2, "cluster dev is not registered any more")
    run(_sweep_without_clusters(tmp_path, store, (over.ended_at or 0.0) + GIVE_UP_SECONDS + 1.0))
    ((fate, why),) = [(one.fate, one.why) for one in store.leftovers.of_task("t1")]
    assert (fate, why) == (Fate.GIVEN_UP, "cluster dev is not registered any more")


async def _sweep_without_clusters(folder: Path, store: SQLiteStore, now: float) -> None:
    trail = TrailWriter.open(folder / "trail", "control-0", signing_key())
    try:
        await WorkloadEnds(store, {}, Deletion(trail)).sweep(now)
    finally:
        await trail.close()


def test_without_an_entry_in_the_record_nothing_is_sent(tmp_path: Path, store: SQLiteStore, over: Task) -> None:
    created(store)

    async def main() -> list[Any]:
        async with api_server(tmp_path, answering((200, {}))) as script:
            cluster = Cluster(access_to(script))
            account_for(cluster, str)
            cluster.discovery = DISCOVERY
            trail = TrailWriter.open(tmp_path / "trail", "control-0", signing_key())
            await trail.close()
            try:
                with pytest.raises(TrailUnwritable):
                    await WorkloadEnds(store, {"dev": cluster}, Deletion(trail)).sweep(3_000.0)
                return script.received
            finally:
                cluster.close()

    assert run(main()) == []
    assert [one.fate for one in store.leftovers.of_task("t1")] == [Fate.WAITS]
    assert over.is_final
