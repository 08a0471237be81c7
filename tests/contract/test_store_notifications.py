"""What every store must do with the list of changes as a queue, and with how far each receiver has read it."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.store.port import ChangedMeanwhile, NotificationCursor, RoleGrant, Store, StoreUnavailable


def change_roles(store: Store, *people: str) -> None:
    for person in people:
        store.roles.give(RoleGrant(person=person, role="admin", given_by="local:test", given_at=1_000.25))


def test_changes_come_in_their_order_and_once(store: Store) -> None:
    change_roles(store, "a", "b", "c")
    assert [one.subject for one in store.notifications.after(0)] == ["a", "b", "c"]
    assert [one.subject for one in store.notifications.after(1, limit=1)] == ["b"]
    assert store.notifications.after(3) == ()
    assert store.notifications.newest() == 3


def test_an_empty_store_has_no_newest_change(store: Store) -> None:
    assert store.notifications.newest() == 0
    assert store.notifications.cursor("pager").change == 0


def test_a_new_receiver_begins_behind_the_newest_change_and_stays_there(store: Store) -> None:
    change_roles(store, "a", "b")
    begun = store.notifications.cursor("pager")
    change_roles(store, "c")
    assert begun == NotificationCursor(receiver="pager", change=2)
    assert store.notifications.cursor("pager") == begun
    assert store.notifications.cursor("later").change == 3


def test_the_change_before_is_about_the_same_thing(store: Store) -> None:
    change_roles(store, "a", "b")
    store.roles.take("a", "admin", by="local:test", at=2_000.0)
    first, other, taken = store.notifications.after(0)
    assert store.notifications.before(taken) == first
    assert store.notifications.before(first) is None
    assert store.notifications.before(other) is None
    assert store.notifications.before(msgspec.structs.replace(taken, action="agent.changed")) is None


def test_a_moved_cursor_is_seen_by_others_and_moved_from_where_it_is_alone(opener: Opener) -> None:
    one, other = opener(), opener()
    begun = one.notifications.cursor("pager")
    failed = msgspec.structs.replace(begun, attempts=1, next_at=1_234.5, trouble="it answered 503")
    one.notifications.move(failed, was=begun)
    assert other.notifications.cursor("pager") == failed
    assert other.notifications.cursors() == (failed,)
    with pytest.raises(ChangedMeanwhile, match="another process"):
        other.notifications.move(begun, was=begun)


def test_nobody_reads_policies_and_agents_anew_for_a_cursor_nor_is_it_a_change(store: Store) -> None:
    before = store.change_stamp()
    begun = store.notifications.cursor("pager")
    store.notifications.move(msgspec.structs.replace(begun, attempts=1), was=begun)
    assert store.change_stamp() == before
    assert store.changes() == ()


def test_a_test_is_a_change_that_names_its_receiver_and_moves_nothing_else(store: Store) -> None:
    before = store.change_stamp()
    assert store.notifications.ask_test("pager", by="local:test", at=1_000.25) == 1
    (asked,) = store.notifications.after(0)
    assert (asked.action, asked.subject, asked.by, asked.at) == ("notification.test", "pager", "local:test", 1_000.25)
    assert store.change_stamp() == before


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        store.notifications.newest()
    with pytest.raises(StoreUnavailable):
        store.notifications.cursor("pager")
