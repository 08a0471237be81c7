"""What every store must do with sessions that somebody ends while they run."""

from __future__ import annotations

import json

from narrowgate.store.port import Store
from narrowgate.store.session_ends import KEPT_SECONDS


def test_an_end_is_told_with_who_and_why(store: Store) -> None:
    store.session_ends.end("s1", "it looked at secrets", by="person:alice", at=1_000.0)
    store.session_ends.end("s2", "", by="local:root", at=2_000.0)
    assert store.session_ends.since(0.0) == {
        "s1": "the session was ended by person:alice: it looked at secrets",
        "s2": "the session was ended by local:root",
    }
    assert list(store.session_ends.since(1_500.0)) == ["s2"]


def test_the_first_reason_counts(store: Store) -> None:
    store.session_ends.end("s1", "first", by="person:alice", at=1_000.0)
    store.session_ends.end("s1", "second", by="person:bob", at=1_001.0)
    assert store.session_ends.since(0.0) == {"s1": "the session was ended by person:alice: first"}
    assert [change.action for change in store.changes()] == ["session.ended"]


def test_everybody_hears_of_it_and_it_stays_in_the_list_of_changes(store: Store) -> None:
    before = store.change_stamp()
    store.session_ends.end("s1", "why", by="person:alice", at=1_000.0)
    assert store.change_stamp() != before
    (change,) = store.changes()
    assert (change.by, change.at, change.subject) == ("person:alice", 1_000.0, "s1")
    assert json.loads(change.detail) == {"because": "why"}


def test_what_is_old_is_forgotten_as_something_new_comes(store: Store) -> None:
    store.session_ends.end("old", "", by="local:root", at=1_000.0)
    store.session_ends.end("new", "", by="local:root", at=1_001.0 + KEPT_SECONDS)
    assert list(store.session_ends.since(0.0)) == ["new"]
