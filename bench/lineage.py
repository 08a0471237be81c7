"""`python -m bench.lineage`: what it costs a request that its pod is placed, and what remembering 10,000 pods takes.

Processor time of one process, without the proof of the token that comes before it: the first request of each pod under
a new snapshot, and every later one. No gate runs, and no cluster.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

from narrowgate.authenticators.placed_workloads import Authors, PlacedWorkloads
from narrowgate.authenticators.port import Answer, Presented
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.lineage import Ancestor, Placement
from narrowgate.store.sqlite import SQLiteStore

PODS: Final = 10_000
PAGE_BYTES: Final = 4096
"""Of `/proc/self/statm`."""
NOW: Final = 1_000.0
AGENT: Final = AgentRecord(
    name="bot", owner="person:alice", purpose="bench", cluster="dev", credential_id="", credential_hash=b"",
    created_at=1.0, expires_at=1e9,
)  # fmt: skip


class Proven:
    """Says of each number which pod that is, as if its token had been looked at a moment ago."""

    def __init__(self) -> None:
        self._pods = {str(number): _pod(number) for number in range(PODS)}

    async def authenticate(self, presented: Presented, now: float) -> Answer:  # noqa: ARG002 (the port's)
        """See the port."""
        return self._pods[presented.bearer]


class Remembered:
    """Who had each of them made: an agent, and a pod of its."""

    def __init__(self) -> None:
        self._placements = {f"uid-{number}": _placement(number) for number in range(PODS)}

    def covers(self, cluster: str) -> bool:
        """See `placed_workloads.Lineage`."""
        return cluster == "dev"

    def known(self, cluster: str, uid: str) -> Placement | None:  # noqa: ARG002 (the port's)
        """See `placed_workloads.Lineage`."""
        return self._placements.get(uid)

    # The port's arguments, of which a UID is enough here.
    async def placed(self, cluster: str, namespace: str, pod: str, uid: str) -> Placement | None:  # noqa: ARG002
        """See `placed_workloads.Lineage`."""
        return self._placements.get(uid)


def _pod(number: int) -> Identity:
    claims = (("node", "n1"), ("pod", f"pod-{number}"), ("pod-uid", f"uid-{number}"))
    return Identity(
        kind=Kind.WORKLOAD, name="ci/worker", proven_by="service-account", credential=f"sa-{number}", claims=claims,
        cluster="dev", expires_at=1e9,
    )  # fmt: skip


def _placement(number: int) -> Placement:
    root = Ancestor(kind=Kind.AGENT, name="bot", since=10.0)
    parent = Ancestor(kind=Kind.WORKLOAD, name="ci/parent", cluster="dev", pod=f"p-{number}", pod_uid=f"up-{number}")
    return Placement(
        cluster="dev", uid=f"uid-{number}", resource="pods", namespace="ci", name=f"pod-{number}",
        authors=((root, parent),), owners=(f"uo-{number}",), is_settled=True, first_at=10.0,
    )  # fmt: skip


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


async def _round(asked: list[Presented], authenticator: Proven | PlacedWorkloads) -> float:
    """Microseconds of one answer."""
    began = time.process_time()
    for presented in asked:
        await authenticator.authenticate(presented, NOW)
    return (time.process_time() - began) / len(asked) * 1e6


async def _measured() -> None:
    proven = Proven()
    before = _resident()
    lineage = Remembered()
    print(f"remembering {PODS} pods: {(_resident() - before) / 2**20:.1f} MiB")
    asked = [Presented(str(number)) for number in range(PODS)]
    placed = PlacedWorkloads(proven, lineage, Authors(TaskCredentials([], [AGENT]), [AGENT]))
    alone = await _round(asked, proven)
    before = _resident()
    first = await _round(asked, placed)
    print(f"first request of a pod under a snapshot: {first - alone:.2f} µs")
    print(f"their chains: {(_resident() - before) / 2**20:.1f} MiB")
    print(f"every later one: {await _round(asked, placed) - alone:.2f} µs")
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "gate.db")
        store.lineage.add(_placement(0))
        began = time.process_time()
        for _ in range(1_000):
            store.lineage.get("dev", "uid-0")
        print(f"looked up in the store: {(time.process_time() - began) * 1e3:.0f} µs")
        store.close()


if __name__ == "__main__":
    asyncio.run(_measured())
