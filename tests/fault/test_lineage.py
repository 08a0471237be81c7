"""A store that cannot be written, two processes at once, and a gate that dies anywhere: who had a pod made stays known.

The cluster is one that plays tricks; the stores are files, locked and full as they are for anybody.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.proxy.lineage_world import BOT, OTHER, World, a_world, owned_by
from tests.unit.proxy.loopback import run

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.lineage import PendingWrite, Placement
from narrowgate.proxy.lineage import Lineage
from narrowgate.store.sqlite import SQLiteStore

PROGRAM_SECONDS = 60


def lived(folder: Path, test: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with a_world(folder) as world:
            await test(world)

    run(main())


def a_write(name: str, *, is_create: bool = True, at: float = 1_767_225_600.0) -> PendingWrite:
    """At the second at which everything in that cluster was made."""
    return PendingWrite(
        audit_id=f"a-{name}", cluster="dev", resource="pods", namespace="ci", name=name, is_create=is_create,
        author=BOT, at=at,
    )  # fmt: skip


def test_while_the_store_is_locked_a_watch_misses_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "web", BOT)
        async with world.followed():
            with closing(sqlite3.connect(tmp_path / "gate.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                replicas = world.put("ReplicaSet", "one", "", owned_by("Deployment", "web", "uid-web"))
                lists = world.lists
                await world.tell("ReplicaSet", "ADDED", replicas)
                # The store is given up, and everything is listed anew for as long as that lasts.
                await world.until(lambda: world.lists > lists)
                assert world.authors("uid-one") is None
                other.execute("ROLLBACK")
            await world.until(lambda: world.authors("uid-one") == (BOT,))

    lived(tmp_path, test)


def test_while_the_store_is_locked_nobody_knows_who_had_a_new_pod_made(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Job", "mine", BOT)
        world.put("Pod", "one", "", owned_by("Job", "mine", "uid-mine"))
        with closing(sqlite3.connect(tmp_path / "gate.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ClusterSilent, match="nobody knows who had this pod made"):
                await world.lineage.placed("dev", "ci", "one", "uid-one")
            other.execute("ROLLBACK")
        found = await world.lineage.placed("dev", "ci", "one", "uid-one")
        assert found is not None
        assert found.authors == (BOT,)

    lived(tmp_path, test)


@pytest.mark.parametrize("step", ["begin", "add", "gone"])
def test_on_a_full_disk_each_step_is_refused_and_what_was_known_stays(tmp_path: Path, step: str) -> None:
    path = tmp_path / "gate.db"
    with closing(SQLiteStore(path)) as store:
        store.lineage.begin(a_write("before"))
        store.lineage.add(Placement(cluster="dev", uid="u1", resource="pods", namespace="ci", name="one", first_at=1.0))
    program = (
        "import sys, resource; from pathlib import Path; from narrowgate.store.sqlite import SQLiteStore\n"
        "from narrowgate.store.port import StoreUnavailable; from narrowgate.core.lineage import Placement\n"
        "from tests.fault.test_lineage import a_write\n"
        "from tests.unit.proxy.lineage_world import BOT\n"
        "path = Path(sys.argv[1]); s = SQLiteStore(path); s.lineage.get('dev', 'u1')\n"
        # Less than one page of the write-ahead log, which is empty.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "steps = {'begin': lambda: s.lineage.begin(a_write('after')),\n"
        "  'add': lambda: s.lineage.add(Placement(cluster='dev', uid='u1', resource='pods', namespace='ci',\n"
        "    name='one', first_at=1.0, authors=(BOT,)), answered='a-before'),\n"
        "  'gone': lambda: s.lineage.gone('dev', 'u1', at=1.0)}\n"
        "try: steps[sys.argv[2]]()\n"
        "except StoreUnavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), step], capture_output=True, text=True, timeout=PROGRAM_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert "the store cannot be used" in done.stdout
    with closing(SQLiteStore(path)) as store:
        assert store.lineage.pending("dev", "pods", "ci") == (a_write("before"),)
        kept = store.lineage.get("dev", "u1")
        assert kept is not None
        assert kept.authors == ()
        assert [one.uid for one in store.lineage.listed("dev")] == ["u1"]


def test_two_processes_that_place_one_pod_while_it_is_written_agree(tmp_path: Path) -> None:
    """Its owner's maker is found by both at once, its writer is kept by a third, and a fourth changes it."""

    async def test(world: World) -> None:
        path = tmp_path / "gate.db"
        world.keep("Job", "mine", OTHER)
        for number in range(20):
            name = f"pod-{number}"
            world.put("Pod", name, "", owned_by("Job", "mine", "uid-mine"))
            with closing(SQLiteStore(path)) as second, closing(SQLiteStore(path)) as third:
                third.lineage.begin(a_write(name))
                others = Lineage(second.lineage, {"dev": world.cluster})
                written = Placement(
                    cluster="dev", uid=f"uid-{name}", resource="pods", namespace="ci", name=name, authors=(BOT,),
                    first_at=1.0, audit_id=f"a-{name}",
                )  # fmt: skip

                def keep(third: SQLiteStore = third, written: Placement = written) -> None:
                    third.lineage.add(written, answered=written.audit_id)

                found = await asyncio.gather(
                    world.lineage.placed("dev", "ci", name, f"uid-{name}"),
                    others.placed("dev", "ci", name, f"uid-{name}"),
                    asyncio.to_thread(keep),
                )
                assert [one.authors for one in found if one is not None] == [(BOT, OTHER)] * 2
                assert world.authors(f"uid-{name}") == (BOT, OTHER)

    lived(tmp_path, test)


def test_whoever_changes_a_pod_in_another_process_is_heard_before_it_is_asked_again(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Job", "mine", OTHER)
        world.put("Pod", "one", "", owned_by("Job", "mine", "uid-mine"))
        first = await world.lineage.placed("dev", "ci", "one", "uid-one")
        assert first is not None
        stamp = world.store.change_stamp()
        with closing(SQLiteStore(tmp_path / "gate.db")) as second:
            second.lineage.begin(a_write("one", is_create=False))
            second.lineage.add(
                Placement(
                    cluster="dev", uid="uid-one", resource="pods", namespace="ci", name="one", authors=(BOT,),
                    first_at=1.0, audit_id="a-one",
                ),
                answered="a-one",
            )  # fmt: skip
        assert world.store.change_stamp() != stamp, "every process makes a new snapshot of it"
        world.lineage.hear()
        assert world.lineage.known("dev", "uid-one") is None
        after = await world.lineage.placed("dev", "ci", "one", "uid-one")
        assert after is not None
        assert (first.authors, after.authors) == ((OTHER,), (BOT, OTHER))

    lived(tmp_path, test)


@pytest.mark.parametrize("asked", ["before", "while", "after"])
def test_a_write_that_is_lost_anywhere_leaves_its_chain(tmp_path: Path, asked: str) -> None:
    """Begun, made by the cluster, never answered; asked for by its pod at any moment of that."""

    async def test(world: World) -> None:
        path = tmp_path / "gate.db"
        with closing(SQLiteStore(path)) as writer:
            if asked == "before":
                assert await world.lineage.placed("dev", "ci", "one", "uid-one") is None
            writer.lineage.begin(a_write("one"))
            world.put("Pod", "one")
            if asked == "while":
                during = await world.lineage.placed("dev", "ci", "one", "uid-one")
                assert during is not None
                assert during.authors == (BOT,)
        # The process is gone, and another one begins with what is kept.
        with closing(SQLiteStore(path)) as again:
            found = await Lineage(again.lineage, {"dev": world.cluster}).placed("dev", "ci", "one", "uid-one")
            assert found is not None
            assert found.authors == (BOT,)
            assert found.is_settled

    lived(tmp_path, test)


def test_more_pods_than_are_remembered_cost_no_more_memory_and_lose_nobody(tmp_path: Path) -> None:
    """What a process remembers is bounded; the oldest goes, and is found again in the store."""
    most, beyond = 20, 5

    async def test(world: World) -> None:
        lineage = Lineage(world.store.lineage, {"dev": world.cluster}, most_remembered=most)
        world.keep("Job", "mine", BOT)
        world.put("Job", "mine")
        names = [f"pod-{number}" for number in range(most + beyond)]
        for name in (*names, names[0]):
            world.put("Pod", name, "", owned_by("Job", "mine", "uid-mine"))
            found = await lineage.placed("dev", "ci", name, f"uid-{name}")
            assert found is not None
            assert found.authors == (BOT,)
            assert len(lineage) <= most
        assert len(lineage) == most
        remembered = [name for name in names if lineage.known("dev", f"uid-{name}") is not None]
        assert remembered == [names[0], *names[beyond + 1 :]]

    lived(tmp_path, test)
