"""Who had what made, as one process finds it out from a store: pending writes, owners, what others added."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.proxy.lineage_world import PATHS, World, a_world, owned_by
from tests.unit.proxy.loopback import run

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Author, Owner, PendingWrite, Placement, Sighted
from narrowgate.proxy.lineage import MOST_ABOVE, MOST_LEVELS, MOST_OWNERS, Lineage
from narrowgate.store.port import Lineage as KeptLineage
from narrowgate.store.sqlite import SQLiteStore

BOT: Author = (Ancestor(kind=Kind.AGENT, name="bot", task="t1"),)
OTHER: Author = (Ancestor(kind=Kind.AGENT, name="other", task="t2"),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "gate.db")
    yield opened
    opened.close()


def kept(uid: str, *authors: Author, resource: str = "pods", owners: tuple[str, ...] = ()) -> Placement:
    return Placement(
        cluster="dev", uid=uid, resource=resource, namespace="ci", name=uid, authors=authors, owners=owners,
        is_settled=True, first_at=1.0,
    )  # fmt: skip


def owner(uid: str, kind: str = "ReplicaSet") -> Owner:
    return Owner(api_version="v1" if kind == "Node" else "apps/v1", kind=kind, name=uid, uid=uid)


def pod(uid: str = "p1", *owners: Owner, name: str = "one", at: float = 1_000.0) -> Sighted:
    return Sighted(uid=uid, resource="pods", namespace="ci", name=name, created_at=at, owners=owners)


def pending(name: str, *, is_create: bool = True, resource: str = "pods") -> PendingWrite:
    return PendingWrite(
        audit_id=f"a-{name}", cluster="dev", resource=resource, namespace="ci", name=name, is_create=is_create,
        author=BOT, at=1_000.0,
    )  # fmt: skip


def settled(store: SQLiteStore, seen: Sighted, *, is_asked: bool = False) -> Placement:
    async def settle() -> Placement:
        return await Lineage(store.lineage, {}).settle("dev", seen, is_asked=is_asked)

    return asyncio.run(settle())


def test_a_write_whose_answer_was_lost_counts_for_whatever_fits_it(store: SQLiteStore) -> None:
    store.lineage.begin(pending("one"))
    assert settled(store, pod()).authors == (BOT,)
    assert settled(store, pod("p2", name="two")).authors == ()
    assert settled(store, pod("p3", at=2_000.0)).authors == ()


def test_what_was_found_stays_when_the_write_is_forgotten(store: SQLiteStore) -> None:
    store.lineage.begin(pending("one"))
    settled(store, pod())
    store.lineage.drop("a-one")
    assert settled(store, pod()).authors == (BOT,)


def test_a_pod_of_nobody_is_kept_only_where_it_was_asked_for(store: SQLiteStore) -> None:
    settled(store, pod())
    assert store.lineage.get("dev", "p1") is None
    settled(store, pod(), is_asked=True)
    found = store.lineage.get("dev", "p1")
    assert found is not None
    assert (found.authors, found.is_settled) == ((), True)


def test_a_pod_has_the_authors_of_all_above_it_with_those_that_were_added_since(store: SQLiteStore) -> None:
    store.lineage.add(kept("d1", BOT, resource="deployments.apps"))
    store.lineage.add(kept("r1", BOT, resource="replicasets.apps", owners=("d1",)))
    first = settled(store, pod("p1", owner("r1")))
    store.lineage.add(kept("d1", OTHER, resource="deployments.apps"))
    assert settled(store, pod("p2", owner("r1"))).authors == (BOT, OTHER)
    # What ran before stays as it was.
    assert (first.authors, store.lineage.get("dev", "p1")) == ((BOT,), first)


def test_who_writes_a_revision_is_an_author_of_what_stateful_sets_make_there(store: SQLiteStore) -> None:
    store.lineage.add(kept("rev", BOT, resource="controllerrevisions.apps"))
    store.lineage.add(kept("s2", resource="statefulsets.apps"))
    store.lineage.add(kept("r2", resource="replicasets.apps"))
    assert settled(store, pod("p1", owner("s2", "StatefulSet"))).authors == (BOT,)
    assert settled(store, pod("p2", owner("r2"))).authors == ()
    # That it is gone by now does not unmake what was made of it.
    store.lineage.gone("dev", "rev", at=2_000.0)
    assert settled(store, pod("p3", owner("s2", "StatefulSet"))).authors == (BOT,)


def test_owners_without_end_make_nobody_pass_for_unknown(store: SQLiteStore) -> None:
    store.lineage.add(kept("d1", BOT, resource="deployments.apps"))
    names = ("d1", *(f"bogus-{number}" for number in range(MOST_ABOVE)))
    store.lineage.add(kept("r1", resource="replicasets.apps", owners=names))
    with pytest.raises(ClusterSilent, match="objects are above it"):
        settled(store, pod("p1", owner("r1")))
    # Not when the owner is taken off it, either.
    with pytest.raises(ClusterSilent, match="make it anew"):
        settled(store, pod("p1"))
    found = store.lineage.get("dev", "p1")
    assert found is not None
    assert not found.is_settled


def test_a_change_of_which_nobody_knows_counts_for_pods_made_afterwards(store: SQLiteStore) -> None:
    store.lineage.add(kept("r1", OTHER, resource="replicasets.apps"))
    store.lineage.begin(pending("r1", is_create=False, resource="replicasets.apps"))
    assert settled(store, pod("p1", owner("r1"))).authors == (BOT, OTHER)


def test_a_change_of_a_running_pod_of_which_nobody_knows_counts_for_that_pod(store: SQLiteStore) -> None:
    store.lineage.add(kept("one", OTHER))
    store.lineage.begin(pending("one", is_create=False))

    async def placed() -> tuple[Placement | None, Placement | None]:
        lineage = Lineage(store.lineage, {})
        return await lineage.placed("dev", "ci", "one", "one"), lineage.known("dev", "one")

    found, known = asyncio.run(placed())
    assert found is not None
    assert found == known == store.lineage.get("dev", "one")
    assert found.authors == (BOT, OTHER)


def test_what_others_add_to_a_pod_is_heard(store: SQLiteStore) -> None:
    store.lineage.add(kept("one", BOT))

    async def look() -> list[Placement | None]:
        lineage = Lineage(store.lineage, {})
        lineage.hear()
        await lineage.placed("dev", "ci", "one", "one")
        store.lineage.add(kept("one", OTHER))
        before = lineage.known("dev", "one")
        lineage.hear()
        return [before, lineage.known("dev", "one"), await lineage.placed("dev", "ci", "one", "one")]

    before, forgotten, after = asyncio.run(look())
    assert before is not None
    assert after is not None
    assert (before.authors, forgotten, after.authors) == ((BOT,), None, (BOT, OTHER))


def test_owners_that_form_a_ring_end_the_walk(store: SQLiteStore) -> None:
    store.lineage.add(kept("r1", BOT, owners=("r2",)))
    store.lineage.add(kept("r2", OTHER, owners=("r1",)))
    assert settled(store, pod("p1", owner("r1"))).authors == (BOT, OTHER)


def test_a_mirror_of_a_static_pod_is_nobodys(store: SQLiteStore) -> None:
    assert settled(store, pod("p1", owner("n1", "Node"))).authors == ()


def test_more_levels_than_are_looked_at_are_a_doubt(store: SQLiteStore) -> None:
    async def settle() -> None:
        await Lineage(store.lineage, {}).settle("dev", pod("p1", owner("r1")), MOST_LEVELS)

    with pytest.raises(ClusterSilent, match="more than 8 owners above it"):
        asyncio.run(settle())


def test_what_a_watch_shows_again_changes_no_pod_and_adds_to_what_makes_pods(store: SQLiteStore) -> None:
    store.lineage.add(kept("d2", OTHER, resource="deployments.apps"))
    store.lineage.add(kept("p1", BOT))
    store.lineage.add(kept("r1", BOT, resource="replicasets.apps"))
    adopted = Sighted(
        uid="r1", resource="replicasets.apps", namespace="ci", name="r1", created_at=1.0, owners=(owner("d2"),)
    )

    async def follow() -> None:
        lineage = Lineage(store.lineage, {})
        await lineage.follow("dev", pod("p1", owner("d2")))
        await lineage.follow("dev", adopted)

    asyncio.run(follow())
    of_pod, of_set = store.lineage.get("dev", "p1"), store.lineage.get("dev", "r1")
    assert of_pod is not None
    assert of_set is not None
    assert (of_pod.authors, of_set.authors, of_set.owners) == ((BOT,), (BOT, OTHER), ("d2",))


class Growing:
    """A store in which something is added to every pod all the time."""

    def grown_since(self, number: int) -> tuple[int, tuple[tuple[str, str], ...]]:
        return number + 1, tuple(("dev", f"p{pod}") for pod in range(64))


def test_what_is_heard_in_another_thread_while_pods_are_remembered_disturbs_nobody() -> None:
    """`hear` is called where a snapshot is read, which is no event loop's thread."""
    lineage = Lineage(cast("KeptLineage", Growing()), {}, most_remembered=32)
    over = threading.Event()

    def hear() -> None:
        while not over.is_set():
            lineage.hear()

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    hearing = threading.Thread(target=hear)
    hearing.start()
    try:
        for number in range(5_000):
            name = f"p{number % 64}"
            lineage._remember(("dev", name), kept(name, BOT), lineage._epoch)
    finally:
        sys.setswitchinterval(switching)
        over.set()
        hearing.join()
    assert len(lineage) <= 32


def asked(folder: Path, test: Callable[[World], Awaitable[None]]) -> None:
    """In a cluster where no watch has seen anything."""

    async def main() -> None:
        async with a_world(folder) as world:
            await test(world)

    run(main())


async def placed(world: World, name: str) -> tuple[Author, ...] | str:
    """Who had that pod made, or why nobody knows."""
    try:
        found = await world.lineage.placed("dev", "ci", name, f"uid-{name}")
    except ClusterSilent as error:
        return str(error)
    return found.authors if found is not None else "gone"


def test_a_pod_that_nobody_has_seen_is_looked_up_with_all_that_owns_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Team", "red", BOT)
        world.put("Team", "red")
        world.put("Deployment", "web", "", owned_by("Team", "red", "uid-red"))
        world.put("ReplicaSet", "web-1", "", owned_by("Deployment", "web", "uid-web"))
        world.put("Pod", "one", "", owned_by("ReplicaSet", "web-1", "uid-web-1"))
        assert await placed(world, "one") == (BOT,)
        world.put("Pod", "free")
        assert await placed(world, "free") == ()
        assert await placed(world, "nowhere") == "gone"

    asked(tmp_path, test)


@pytest.mark.parametrize("how", ["refused", "unserved"])
def test_a_doubt_stays_one_when_its_reason_is_taken_from_the_pod(tmp_path: Path, how: str) -> None:
    async def test(world: World) -> None:
        getattr(world, how).add(f"{PATHS['Team']}/red")
        team, job = owned_by("Team", "red", "uid-red"), owned_by("Job", "mine", "uid-mine")
        world.keep("Job", "mine", BOT)
        world.put("Job", "mine")
        world.put("Pod", "one", "", job, team)
        assert "nobody knows who had this pod made" in await placed(world, "one")
        # Whoever may change a pod's references takes both away.
        world.put("Pod", "one")
        assert "make it anew" in await placed(world, "one")
        getattr(world, how).clear()
        world.put("Team", "red")
        world.put("Pod", "one", "", team)
        assert await placed(world, "one") == (BOT,), "the Job's maker is known from the first look"

    asked(tmp_path, test)


def test_what_an_agent_made_bounds_a_pod_below_it_also_where_it_may_not_be_read(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.refused.add(f"{PATHS['Team']}/red")
        world.keep("Team", "red", BOT)
        world.put("Pod", "one", "", owned_by("Team", "red", "uid-red"))
        assert "may not get teams.example.com" in await placed(world, "one")
        world.refused.clear()
        # Gone by now; what is kept of it by its UID still stands for it.
        assert await placed(world, "one") == (BOT,)

    asked(tmp_path, test)


def test_an_owner_whose_version_is_not_served_is_a_doubt_and_not_gone(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.unserved.add(f"{PATHS['Team']}/red")
        world.put("Pod", "one", "", owned_by("Team", "red", "uid-red"))
        assert "answers 404" in await placed(world, "one")
        world.unserved.clear()
        assert await placed(world, "one") == ()

    asked(tmp_path, test)


def test_a_pod_that_is_gone_before_its_owners_were_looked_at_is_not_taken_for_its_writers_alone(
    tmp_path: Path,
) -> None:
    async def test(world: World) -> None:
        world.keep("Pod", "one", OTHER)
        assert await placed(world, "one") == "gone"

    asked(tmp_path, test)


def test_a_doubt_at_the_top_of_many_ways_up_is_met_once(tmp_path: Path) -> None:
    """Four levels of eight owners each are four thousand ways: whoever writes references could have all be walked."""

    async def test(world: World) -> None:
        above = [owned_by("Nothing", "top", "uid-top")]
        for level in range(4):
            names = [f"r{level}-{number}" for number in range(8)]
            for name in names:
                world.keep("ReplicaSet", name, BOT)
                world.put("ReplicaSet", name, "", *above)
            above = [owned_by("ReplicaSet", name, f"uid-{name}") for name in names]
        world.put("Pod", "one", "", *above)
        asked_before = world.asked
        assert "does not serve now" in await placed(world, "one")
        assert world.asked - asked_before < 50

    asked(tmp_path, test)


def test_an_owner_that_somebody_took_over_meanwhile_is_looked_at_again(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Deployment", "mine", BOT)
        world.put("Deployment", "mine")
        world.put("ReplicaSet", "web")
        world.put("Pod", "before", "", owned_by("ReplicaSet", "web", "uid-web"))
        assert await placed(world, "before") == ()
        # Adopted, and no watch has told of it.
        world.put("ReplicaSet", "web", "", owned_by("Deployment", "mine", "uid-mine"))
        world.put("Pod", "after", "", owned_by("ReplicaSet", "web", "uid-web"))
        assert await placed(world, "after") == (BOT,)

    asked(tmp_path, test)


def test_more_owners_than_are_looked_at_are_a_doubt(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.keep("Job", "mine", BOT)
        world.put("Job", "mine")
        crowd = [owned_by("ReplicaSet", f"r{number}", f"uid-r{number}") for number in range(MOST_OWNERS)]
        world.put("Pod", "one", "", *crowd, owned_by("Job", "mine", "uid-mine"))
        assert "more than 16 owners" in await placed(world, "one")

    asked(tmp_path, test)


def test_of_more_objects_above_than_are_put_together_what_is_known_stays(store: SQLiteStore) -> None:
    crowd = tuple(f"o{number}" for number in range(MOST_ABOVE + 1))
    store.lineage.add(kept("r1", BOT, resource="replicasets.apps", owners=crowd))
    with pytest.raises(ClusterSilent, match="more than 256 objects"):
        settled(store, pod("p1", owner("r1")))
    found = store.lineage.get("dev", "p1")
    assert found is not None
    assert (found.authors, found.is_settled) == ((BOT,), False)


@pytest.mark.parametrize(
    "kind", ["Team\n2026-01-01 INFO narrowgate: all is well", "T" * 100_000], ids=["lines", "long"]
)
def test_what_an_owner_is_said_to_be_makes_no_lines_and_no_walls_of_text(tmp_path: Path, kind: str) -> None:
    """Owner references hold what their writers like, and it goes into refusals and logs."""

    async def test(world: World) -> None:
        world.put("Pod", "one", "", {**owned_by("Team", "red", "uid-red"), "kind": kind})
        said = await placed(world, "one")
        assert isinstance(said, str)
        assert "which the cluster does not serve now" in said
        assert said.isprintable()
        assert len(said) < 500

    asked(tmp_path, test)


@pytest.mark.parametrize("name", ["web:80/proxy/admin", "web:80%2Fproxy", "..", "."])
def test_nothing_is_asked_for_an_owner_that_nothing_can_be_called(tmp_path: Path, name: str) -> None:
    """Whoever writes owner references would have the gate's own account ask for any path below an object."""

    async def test(world: World) -> None:
        world.keep("Job", "mine", BOT)
        world.put("Pod", "one", "", {**owned_by("Pod", "web", "uid-mine"), "name": name})
        asked_before = world.asked
        assert await placed(world, "one") == (BOT,)
        assert world.asked == asked_before + 1

    asked(tmp_path, test)


def test_nothing_is_asked_for_a_lost_write_of_what_nothing_can_be_called(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.lineage.find(pending("web:80/proxy/admin"))
        assert world.asked == 0

    asked(tmp_path, test)


def test_a_change_that_begins_while_a_pod_is_looked_at_counts_for_it(tmp_path: Path) -> None:
    """Nobody hears of it: the pod was not known yet when it began, and it is never answered."""

    async def test(world: World) -> None:
        change = PendingWrite(
            audit_id="a-change", cluster="dev", resource="pods", namespace="ci", name="one", is_create=False,
            author=OTHER, at=1_000.0,
        )  # fmt: skip

        class Changed(dict[str, Any]):
            """Objects, of which one is changed when its owner is read."""

            def __contains__(self, path: object) -> bool:
                if path == f"{PATHS['Job']}/mine":
                    world.store.lineage.begin(change)
                return super().__contains__(path)

        world.keep("Job", "mine", BOT)
        world.put("Job", "mine")
        world.put("Pod", "one", "", owned_by("Job", "mine", "uid-mine"))
        world.objects = Changed(world.objects)
        assert await placed(world, "one") == (BOT, OTHER)

    asked(tmp_path, test)
