"""Who had an object made does not hang on the order in which that was heard, and nobody is ever taken away."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Author, PendingWrite, Placement, Sighted, merged
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
