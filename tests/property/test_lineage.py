"""Who had an object made does not hang on the order in which that was heard, and nobody is ever taken away."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.proxy.loopback import Script, access_to

from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Author, Owner, PendingWrite, Placement, Sighted, merged
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.lineage import Lineage
from narrowgate.proxy.lineage_watch import LineageWatch
from narrowgate.store.sqlite import SQLiteStore

ANCESTORS = st.builds(
    Ancestor,
    kind=st.sampled_from([Kind.AGENT, Kind.WORKLOAD]),
    name=st.sampled_from(["a", "b", "ci/worker"]),
    task=st.sampled_from(["", "t1", "t2"]),
    since=st.sampled_from([0.0, 1.0, 2.0]),
)
AUTHORS: st.SearchStrategy[Author] = st.lists(ANCESTORS, min_size=1, max_size=2).map(tuple)
TOLD = st.lists(
    st.tuples(st.lists(AUTHORS, max_size=2), st.lists(st.sampled_from(["o1", "o2"]), max_size=2), st.booleans()),
    min_size=1,
    max_size=5,
)
EMPTY = Placement(cluster="dev", uid="u1", resource="pods", namespace="ci", name="one", first_at=1.0)


def names(placement: Placement) -> set[tuple[tuple[str, str], ...]]:
    return {tuple((one.name, one.task) for one in author) for author in placement.authors}


@settings(deadline=None)
@given(told=TOLD, order=st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_heard_does_not_matter(
    told: list[tuple[list[Author], list[str], bool]], order: random.Random
) -> None:
    shuffled = list(told)
    order.shuffle(shuffled)
    results = []
    for heard in (told, shuffled, told + shuffled):
        found = EMPTY
        for authors, owners, settled in heard:
            before, found = found, found.grown(authors, owners, is_settled=settled)
            assert names(before) <= names(found)
            assert set(before.owners) <= set(found.owners)
            assert found.is_settled >= before.is_settled
        results.append(found)
    assert results[0] == results[1] == results[2]


@settings(deadline=None, max_examples=25)
@given(first=st.lists(AUTHORS, max_size=4), second=st.lists(AUTHORS, max_size=4))
def test_a_store_keeps_what_the_union_says(first: list[Author], second: list[Author]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "gate.db")
        store.lineage.add(EMPTY.grown(first))
        kept = store.lineage.add(EMPTY.grown(second))
        assert kept.authors == merged(second, first)
        assert store.lineage.get("dev", "u1") == kept
        store.close()


@settings(deadline=None)
@given(at=st.floats(0, 1e6), created=st.floats(0, 1e6), name=st.sampled_from(["one", "one-x", "two"]))
def test_what_a_create_is_taken_to_have_made_a_change_is_taken_to_have_changed(
    at: float, created: float, name: str
) -> None:
    def write(*, is_create: bool) -> PendingWrite:
        author = (Ancestor(kind=Kind.AGENT, name="bot"),)
        return PendingWrite(
            audit_id="a", cluster="dev", resource="pods", namespace="ci", name="one", is_create=is_create,
            author=author, at=at,
        )  # fmt: skip

    seen = Sighted(uid="u", resource="pods", namespace="ci", name=name, created_at=created)
    assert write(is_create=False).may_have_made(seen) >= write(is_create=True).may_have_made(seen)
    assert not write(is_create=False).may_have_made(seen) or name == "one"


class Remembering:
    """A cluster, and a gate that hears of some of what happens there at once, and of the rest with its next list."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        cluster = Cluster(access_to(Script(port=1)))
        self._watch = LineageWatch(cluster, Lineage(store.lineage, {"dev": cluster}), store.lineage)
        self.there: dict[str, Sighted] = {}
        self.authors: dict[str, frozenset[str]] = {}
        """Who really had each of them made."""

    async def made(self, by: str) -> None:
        """Through the gate."""
        uid = f"u{len(self.authors)}"
        author = (Ancestor(kind=Kind.AGENT, name=by, task="t1"),)
        resource = "replicasets.apps"
        self.there[uid] = Sighted(uid=uid, resource=resource, namespace="ci", name=uid, created_at=time.time())
        self.authors[uid] = frozenset({by})
        self._store.lineage.add(
            Placement(
                cluster="dev", uid=uid, resource=resource, namespace="ci", name=uid, authors=(author,),
                first_at=time.time(),
            )
        )  # fmt: skip
        await self._watch.place(self.there[uid])

    async def owned(self, parents: list[str], *, is_heard: bool) -> None:
        """By a controller."""
        uid = f"u{len(self.authors)}"
        owners = tuple(Owner(api_version="apps/v1", kind="ReplicaSet", name=one, uid=one) for one in parents)
        seen = Sighted(uid=uid, resource="pods", namespace="ci", name=uid, created_at=time.time(), owners=owners)
        self.there[uid] = seen
        self.authors[uid] = frozenset[str]().union(*(self.authors[one] for one in parents))
        if is_heard:
            await self._watch.place(seen)

    async def deleted(self, uid: str, *, is_heard: bool) -> None:
        """What it owned stays (`--cascade=orphan`), and loses its reference."""
        del self.there[uid]
        if is_heard:
            await self._watch.forget(uid)

    async def day(self) -> None:
        """A list, and a day in which nothing comes up; then what is gone is dropped."""
        for seen in list(self.there.values()):
            await self._watch.place(seen)
        for resource in ("pods", "replicasets.apps"):
            uids = {seen.uid for seen in self.there.values() if seen.resource == resource}
            await self._watch.forget_others(resource, uids, time.time() + 1.0)
        self._store.lineage.prune(time.time() + 1.0, 0.0, 10_000)

    def known(self) -> dict[str, frozenset[str]]:
        kept = {uid: self._store.lineage.get("dev", uid) for uid in self.authors}
        return {
            uid: frozenset(one.name for author in placement.authors for one in author)
            for uid, placement in kept.items()
            if placement is not None
        }


STEPS = st.lists(
    st.tuples(st.sampled_from(["made", "owned", "owned", "deleted", "day"]), st.integers(0, 99), st.booleans()),
    max_size=14,
)


@settings(deadline=None, max_examples=25)
@given(steps=STEPS)
def test_forgetting_never_drops_what_lives_and_leaves_nothing_that_does_not(
    steps: list[tuple[str, int, bool]],
) -> None:
    async def lived(store: SQLiteStore) -> None:
        world = Remembering(store)
        for step, number, is_heard in [*steps, ("day", 0, True)]:
            living = sorted(world.there)
            owners = [uid for uid in living if world.there[uid].resource != "pods"]
            match step:
                case "made":
                    await world.made(f"bot-{number % 3}")
                case "owned" if owners:
                    parents = [owners[number % len(owners)], owners[(number // 7) % len(owners)]]
                    await world.owned(sorted(set(parents)), is_heard=is_heard)
                case "deleted" if living:
                    await world.deleted(living[number % len(living)], is_heard=is_heard)
                case "day":
                    await world.day()
                    assert world.known() == {uid: world.authors[uid] for uid in world.there}
                case _:
                    pass
            # What the gate knows of anything is never less than the truth.
            assert all(world.authors[uid] == names for uid, names in world.known().items())

    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "gate.db")
        asyncio.run(lived(store))
        store.close()
