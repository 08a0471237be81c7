"""What every store must do with what processes see of agents' credentials."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.core.sighting import Sighting
from narrowgate.store.port import Store, StoreUnavailable

SEEN = Sighting(proof="abc", agent="ci-bot", network="10.0.0.1", user_agent="kubectl ü", at=1_000.25)


def changed(**fields: object) -> Sighting:
    return msgspec.structs.replace(SEEN, **fields)


def test_a_process_hears_what_the_others_saw_and_not_what_it_saw_itself(store: Store) -> None:
    store.sightings.tell([SEEN], by="one", forget_before=0.0)
    assert store.sightings.others(by="two", since=0.0) == (SEEN,)
    assert store.sightings.others(by="one", since=0.0) == ()


def test_what_is_told_again_replaces_what_was_told_before(store: Store) -> None:
    later = changed(at=2_000.0, user_agent="helm")
    store.sightings.tell([SEEN], by="one", forget_before=0.0)
    store.sightings.tell([later, changed(network="10.0.0.2")], by="one", forget_before=0.0)
    store.sightings.tell([changed(at=1_500.0)], by="two", forget_before=0.0)
    assert store.sightings.others(by="three", since=0.0) == (later, changed(at=1_500.0), changed(network="10.0.0.2"))


def test_what_is_old_is_left_out_and_dropped(store: Store) -> None:
    store.sightings.tell([SEEN, changed(proof="new", at=3_000.0)], by="one", forget_before=0.0)
    assert [one.proof for one in store.sightings.others(by="two", since=1_000.5)] == ["new"]
    store.sightings.tell([], by="two", forget_before=2_000.0)
    assert [one.proof for one in store.sightings.others(by="two", since=0.0)] == ["new"]


def test_nobody_reads_policies_and_agents_anew_for_it(store: Store) -> None:
    before = store.change_stamp()
    store.sightings.tell([SEEN], by="one", forget_before=0.0)
    assert store.change_stamp() == before
    assert store.changes() == ()


def test_another_process_hears_of_it(opener: Opener) -> None:
    first, second = opener(), opener()
    first.sightings.tell([SEEN], by="one", forget_before=0.0)
    assert second.sightings.others(by="two", since=0.0) == (SEEN,)


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        store.sightings.tell([SEEN], by="one", forget_before=0.0)
    with pytest.raises(StoreUnavailable):
        store.sightings.others(by="one", since=0.0)
