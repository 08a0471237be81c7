"""A cluster of pods and what owns them, for tests of lineage: objects are put in and taken out, refused, kept silent.

It says what an API server says: metadata of one object or of all of a sort, events, a Status that names what is
missing, and a plain 404 for what is not served.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.unit.proxy.loopback import PATIENCE, Peer, Script, access_to, api_server, ok
from tests.unit.proxy.watched_server import WATCH

from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Author, Placement
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.lineage import Lineage
from narrowgate.proxy.lineage_watch import LineageWatch, Pace
from narrowgate.store.sqlite import SQLiteStore

BOT: Author = (Ancestor(kind=Kind.AGENT, name="bot", task="t1"),)
OTHER: Author = (Ancestor(kind=Kind.AGENT, name="other", task="t2"),)

PATHS = {
    "Pod": "/api/v1/namespaces/ci/pods",
    "ReplicaSet": "/apis/apps/v1/namespaces/ci/replicasets",
    "Job": "/apis/batch/v1/namespaces/ci/jobs",
    "Deployment": "/apis/apps/v1/namespaces/ci/deployments",
    "Team": "/apis/example.com/v1/namespaces/ci/teams",
}
RESOURCES = {
    "Pod": "pods",
    "ReplicaSet": "replicasets.apps",
    "Job": "jobs.batch",
    "Deployment": "deployments.apps",
    "Team": "teams.example.com",
}
VERSIONS = {"Pod": "v1", "ReplicaSet": "apps/v1", "Job": "batch/v1", "Deployment": "apps/v1", "Team": "example.com/v1"}
CREATED = "2026-01-01T00:00:00Z"
SILENT = Pace(watch=600.0, sweep=600.0, again=600.0)
"""Nothing happens by itself while a test runs."""


def owned_by(kind: str, name: str, uid: str) -> dict[str, str]:
    return {"apiVersion": VERSIONS.get(kind, f"{kind.lower()}.example/v1"), "kind": kind, "name": name, "uid": uid}


def _type(kind: str) -> ResourceType:
    group, _, version = VERSIONS[kind].rpartition("/")
    resource = RESOURCES[kind].partition(".")[0]
    return ResourceType(
        group=group, version=version, resource=resource, kind=kind, namespaced=True, verbs=("get",), subresources={}
    )


class World:
    """The API server, the gate's store, and what one process knows."""

    def __init__(self, store: SQLiteStore, script: Script) -> None:
        self.store = store
        self.cluster = Cluster(access_to(script))
        self.cluster.discovery = Discovery(tuple(_type(kind) for kind in VERSIONS))
        account_for(self.cluster, str)
        self.lineage = Lineage(store.lineage, {"dev": self.cluster})
        self.objects: dict[str, dict[str, Any]] = {}
        """Metadata by path."""
        self.refused: set[str] = set()
        self.unserved: set[str] = set()
        self.lists = 0
        self.asked = 0
        """Requests that came."""
        self.watching: dict[str, Peer] = {}
        """The newest watch of each resource."""

    # --- the cluster

    def put(self, kind: str, name: str, uid: str = "", *owners: dict[str, str]) -> dict[str, Any]:
        """There is such an object from now on; its event."""
        metadata = {
            "uid": uid or f"uid-{name}",
            "name": name,
            "namespace": "ci",
            "creationTimestamp": CREATED,
            "resourceVersion": "9",
            "ownerReferences": list(owners),
        }
        self.objects[f"{PATHS[kind]}/{name}"] = metadata
        return {"kind": kind, "metadata": metadata}

    def take(self, kind: str, name: str) -> dict[str, Any]:
        """There is none any more; what was there."""
        return {"kind": kind, "metadata": self.objects.pop(f"{PATHS[kind]}/{name}")}

    async def tell(self, kind: str, event: str, there: dict[str, Any]) -> None:
        """Write an event to the watch of that kind."""
        line = json.dumps({"type": event, "object": there}).encode() + b"\n"
        await self.watching[RESOURCES[kind]].send(b"%x\r\n%b\r\n" % (len(line), line))

    # --- the store

    def keep(self, kind: str, name: str, *authors: Author, uid: str = "", first_at: float = 1.0) -> None:
        """Somebody had made that through the gate."""
        self.store.lineage.add(
            Placement(
                cluster="dev", uid=uid or f"uid-{name}", resource=RESOURCES[kind], namespace="ci", name=name,
                authors=authors, first_at=first_at,
            )
        )  # fmt: skip

    def authors(self, uid: str) -> tuple[Author, ...] | None:
        """Who is kept as its authors, once its owners were looked at."""
        kept = self.store.lineage.get("dev", uid)
        return kept.authors if kept is not None and kept.is_settled else None

    def is_kept(self, uid: str) -> bool:
        """Whether it is not gone."""
        return uid in {one.uid for one in self.store.lineage.listed("dev")}

    # --- the gate

    @asynccontextmanager
    async def followed(self, pace: Pace = SILENT) -> AsyncIterator[LineageWatch]:
        """While the gate watches; entered once it watches all three."""
        watch = LineageWatch(self.cluster, self.lineage, self.store.lineage, pace)
        following = asyncio.ensure_future(watch.follow())
        try:
            await self.until(lambda: len(self.watching) == 3 or following.done())
            yield watch
            assert not following.done()
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 what is waited for is in the gate, which tells nobody
                await asyncio.sleep(0.01)

    # --- its answers

    async def serve(self, script: Script, peer: Peer) -> None:
        while True:
            target = (await script.take(peer)).target
            self.asked += 1
            path, _, query = target.partition("?")
            if path in self.refused:
                await peer.send(self._one(path))
                continue
            for kind, place in PATHS.items():
                if path in (place, place.replace("/namespaces/ci", "")):
                    if "watch=1" in query:
                        await peer.send(WATCH)
                        self.watching[RESOURCES[kind]] = peer
                        await asyncio.Event().wait()
                    self.lists += 1
                    there = [{"metadata": one} for at, one in self.objects.items() if at.rpartition("/")[0] == place]
                    await peer.send(ok(json.dumps({"metadata": {"resourceVersion": "7"}, "items": there}).encode()))
                    break
            else:
                await peer.send(self._one(path))

    def _one(self, path: str) -> bytes:
        if path in self.refused:
            return _answer(b"403 Forbidden", b"{}")
        if path in self.unserved:
            return _answer(b"404 Not Found", b"404 page not found\n")
        if path in self.objects:
            return ok(json.dumps({"metadata": self.objects[path]}).encode())
        missing = {"kind": "Status", "reason": "NotFound", "details": {"name": path.rpartition("/")[2]}}
        return _answer(b"404 Not Found", json.dumps(missing).encode())


def _answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    """An empty cluster, and an empty store."""
    store = SQLiteStore(folder / "gate.db")
    found: list[World] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        await found[0].serve(script, peer)

    async with api_server(folder, play) as script:
        found.append(World(store, script))
        try:
            yield found[0]
        finally:
            found[0].cluster.close()
            store.close()
