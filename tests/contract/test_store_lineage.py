"""What every store must do with who had which object made: add, never forget, tell whoever remembers it."""

from __future__ import annotations

import msgspec
from tests.contract.stores import Opener

from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Author, PendingWrite, Placement
from narrowgate.store.port import Store

BOT: Author = (Ancestor(kind=Kind.AGENT, name="bot", task="t1"),)
OTHER: Author = (Ancestor(kind=Kind.AGENT, name="other"),)


def write(audit_id: str, *, at: float = 1_000.0, resource: str = "pods", namespace: str = "ci") -> PendingWrite:
    return PendingWrite(
        audit_id=audit_id, cluster="dev", resource=resource, namespace=namespace, name="one", is_create=True,
        author=BOT, at=at,
    )  # fmt: skip


def placement(uid: str = "u1", *authors: Author, settled: bool = False, owners: tuple[str, ...] = ()) -> Placement:
    return Placement(
        cluster="dev", uid=uid, resource="pods", namespace="ci", name="one", authors=authors, owners=owners,
        is_settled=settled, first_at=1_000.0,
    )  # fmt: skip


def test_a_write_is_pending_until_what_it_made_is_known(store: Store) -> None:
    store.lineage.begin(write("a1"))
    store.lineage.begin(write("a2", resource="jobs.batch"))
    assert store.lineage.pending("dev", "pods", "ci") == (write("a1"),)
    assert store.lineage.pending("dev", "pods", "other") == ()
    store.lineage.add(placement("u1", BOT), answered="a1")
    assert store.lineage.pending("dev", "pods", "ci") == ()
    store.lineage.drop("a2")
    store.lineage.drop("never-there")
    assert store.lineage.pending("dev", "jobs.batch", "ci") == ()


def test_lost_writes_are_listed_oldest_first(store: Store) -> None:
    for audit_id, at in (("a2", 2_000.0), ("a1", 1_000.0), ("a3", 3_000.0)):
        store.lineage.begin(write(audit_id, at=at, resource="jobs.batch", namespace=audit_id))
    found = store.lineage.lost("dev", 3_000.0)
    assert [one.audit_id for one in found] == ["a1", "a2"]
    assert [one.audit_id for one in store.lineage.lost("dev", 9_000.0, limit=1)] == ["a1"]
    assert store.lineage.lost("prod", 9_000.0) == ()


def test_what_is_kept_is_there_after_the_store_is_opened_again(opener: Opener) -> None:
    first = opener()
    first.lineage.begin(write("a1"))
    first.lineage.add(placement("u1", BOT, owners=("o1",)))
    first.close()
    again = opener()
    assert again.lineage.get("dev", "u1") == placement("u1", BOT, owners=("o1",))
    assert again.lineage.get("prod", "u1") is None
    assert again.lineage.pending("dev", "pods", "ci") == (write("a1"),)


def test_authors_and_owners_are_added_and_never_taken(store: Store) -> None:
    store.lineage.add(placement("u1", BOT, owners=("o2",)))
    store.lineage.add(placement("u1", OTHER, owners=("o1",), settled=True))
    kept = store.lineage.add(placement("u1"))
    assert (kept.authors, kept.owners, kept.is_settled) == ((BOT, OTHER), ("o1", "o2"), True)
    assert store.lineage.get("dev", "u1") == kept


def test_everybody_hears_when_a_settled_object_gets_an_author(store: Store) -> None:
    store.lineage.add(placement("u1", BOT, settled=True))
    store.lineage.add(placement("u2", BOT))
    before = store.change_stamp()
    store.lineage.add(placement("u2", OTHER))
    store.lineage.add(placement("u1", BOT))
    assert store.change_stamp() == before
    assert store.lineage.grown_since(0) == (0, ())
    store.lineage.add(placement("u1", OTHER))
    assert store.change_stamp() != before
    number, grown = store.lineage.grown_since(0)
    assert grown == (("dev", "u1"),)
    assert store.lineage.grown_since(number) == (number, ())


def test_what_is_gone_stays_for_a_while_and_is_not_listed(store: Store) -> None:
    store.lineage.add(placement("u1", BOT))
    store.lineage.add(placement("u2", BOT))
    store.lineage.begin(write("old", at=500.0))
    store.lineage.gone("dev", "u1", at=2_000.0)
    store.lineage.gone("dev", "unknown", at=2_000.0)
    assert [one.uid for one in store.lineage.listed("dev", "pods")] == ["u2"]
    assert {one.uid: one.gone_at for one in store.lineage.listed("dev", "pods", with_gone=True)} == {
        "u1": 2_000.0,
        "u2": None,
    }
    assert store.lineage.listed("dev", "jobs.batch", with_gone=True) == ()
    store.lineage.add(placement("u1", OTHER))
    assert [one.uid for one in store.lineage.listed("dev", "pods")] == ["u2"]
    assert store.lineage.prune(2_000.0, 500.0, 10) == 0
    assert store.lineage.get("dev", "u1") is not None
    assert store.lineage.prune(2_001.0, 501.0, 10) == 2
    assert store.lineage.get("dev", "u1") is None
    assert store.lineage.pending("dev", "pods", "ci") == ()


def test_an_addition_is_never_given_an_earlier_number(store: Store) -> None:
    store.lineage.add(placement("u1", BOT, settled=True))
    store.lineage.add(placement("u1", OTHER))
    number, _ = store.lineage.grown_since(0)
    store.lineage.gone("dev", "u1", at=1.0)
    store.lineage.prune(2.0, 2.0, 10)
    store.lineage.add(placement("u2", BOT, settled=True))
    store.lineage.add(placement("u2", OTHER))
    assert store.lineage.grown_since(number)[1] == (("dev", "u2"),)


def test_everybody_hears_of_a_change_before_it_is_sent_and_when_it_was_refused(store: Store) -> None:
    """Its answer may never come, and what it changed then is not as it is remembered."""
    store.lineage.add(placement("u1", settled=True))
    store.lineage.add(msgspec.structs.replace(placement("u2", settled=True), name="two"))
    change = msgspec.structs.replace(write("a1"), is_create=False)
    before = store.change_stamp()
    store.lineage.begin(change)
    assert store.change_stamp() != before
    number, moved = store.lineage.grown_since(0)
    assert moved == (("dev", "u1"),)
    store.lineage.drop("a1")
    number, moved = store.lineage.grown_since(number)
    assert moved == (("dev", "u1"),)
    # Whoever is its author already changes nobody's mind by it, nor does a write that can only make something new.
    store.lineage.add(placement("u1", BOT))
    number, _ = store.lineage.grown_since(number)
    before = store.change_stamp()
    store.lineage.begin(msgspec.structs.replace(change, audit_id="a2"))
    store.lineage.begin(msgspec.structs.replace(write("a3"), author=OTHER))
    store.lineage.drop("a2")
    store.lineage.drop("a3")
    assert store.lineage.grown_since(number) == (number, ())
    assert store.change_stamp() == before
