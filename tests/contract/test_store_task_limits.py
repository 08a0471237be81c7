"""What every store must do with what tasks with limits have used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contract.stores import Opener

from narrowgate.core.task_limits import STALE_SECONDS, TaskUse
from narrowgate.store.port import Store, StoreUnavailable

NOW = 1_000.0


def all_of(store: Store, task: str, limit: int) -> list[int]:
    blocks = []
    while block := store.task_limits.hand_out(task, limit):
        blocks.append(block)
    return blocks


def test_requests_are_handed_out_in_blocks_until_the_limit_is_reached(store: Store) -> None:
    blocks = all_of(store, "t1", 50)
    assert (sum(blocks), blocks[0], blocks[-1]) == (50, 6, 1)
    assert store.task_limits.hand_out("t1", 50) == 0
    # Each task by itself.
    assert store.task_limits.hand_out("t2", 8) == 1
    assert store.task_limits.used(["t1", "t2", "t3"], now=NOW) == {
        "t1": TaskUse(50, 0),
        "t2": TaskUse(1, 0),
        "t3": TaskUse(),
    }


def test_any_number_of_processes_together_get_no_more_than_the_limit(opener: Opener) -> None:
    stores = [opener() for _ in range(3)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda number: sum(all_of(stores[number % 3], "t1", 200)), range(6)))
    assert sum(found) == 200


def test_what_comes_back_is_handed_out_again_and_never_more(store: Store) -> None:
    assert store.task_limits.hand_out("t1", 80) == 10
    store.task_limits.take_back({"t1": 4, "unknown": 3})
    assert store.task_limits.used(["t1", "unknown"], now=NOW) == {"t1": TaskUse(6, 0), "unknown": TaskUse()}
    assert store.task_limits.hand_out("t1", 14, returned=6) == 1
    assert store.task_limits.used(["t1"], now=NOW)["t1"] == TaskUse(1, 0)
    store.task_limits.take_back({"t1": 100})
    assert sum(all_of(store, "t1", 14)) == 14


def test_a_limit_that_was_lowered_below_what_is_out_gives_nothing(store: Store) -> None:
    store.task_limits.hand_out("t1", 80)
    assert store.task_limits.hand_out("t1", 10) == 0
    assert store.task_limits.hand_out("t1", 10, returned=1) == 1


def test_streams_of_all_processes_together_are_no_more_than_the_limit(opener: Opener) -> None:
    first, second = opener().task_limits, opener().task_limits
    assert first.add_stream("t1", 3, 0, by="one", now=NOW)
    assert second.add_stream("t1", 3, 0, by="two", now=NOW)
    assert first.add_stream("t1", 3, 1, by="one", now=NOW)
    assert not second.add_stream("t1", 3, 1, by="two", now=NOW)
    assert not first.add_stream("t1", 3, 2, by="one", now=NOW)
    assert second.add_stream("t2", 1, 0, by="two", now=NOW)
    assert first.used(["t1", "t2"], now=NOW) == {"t1": TaskUse(0, 3), "t2": TaskUse(0, 1)}

    first.tell_streams({"t1": 1}, by="one", now=NOW + 1)
    assert second.add_stream("t1", 3, 1, by="two", now=NOW + 1)
    first.tell_streams({"t1": 0}, by="one", now=NOW + 2)
    assert first.used(["t1"], now=NOW + 2)["t1"].streams == 2


def test_what_a_process_that_is_gone_had_counts_until_it_is_stale(store: Store) -> None:
    limits = store.task_limits
    assert limits.add_stream("t1", 1, 0, by="gone", now=NOW)
    last = NOW + STALE_SECONDS
    assert not limits.add_stream("t1", 1, 0, by="here", now=last)
    assert limits.used(["t1"], now=last)["t1"].streams == 1
    assert limits.used(["t1"], now=last + 0.1)["t1"].streams == 0
    assert limits.add_stream("t1", 1, 0, by="here", now=last + 0.1)


def test_what_is_told_again_stays_fresh(store: Store) -> None:
    limits = store.task_limits
    assert limits.add_stream("t1", 1, 0, by="here", now=NOW)
    limits.tell_streams({"t1": 1}, by="here", now=NOW + STALE_SECONDS)
    assert not limits.add_stream("t1", 1, 0, by="other", now=NOW + 2 * STALE_SECONDS)


def test_a_clock_that_was_put_back_frees_nothing(store: Store) -> None:
    assert store.task_limits.add_stream("t1", 1, 0, by="here", now=NOW)
    assert not store.task_limits.add_stream("t1", 1, 0, by="other", now=NOW - 3_600)


def test_nobody_reads_policies_and_agents_anew_for_it(store: Store) -> None:
    before = store.change_stamp()
    store.task_limits.hand_out("t1", 8)
    store.task_limits.take_back({"t1": 1})
    store.task_limits.add_stream("t1", 1, 0, by="here", now=NOW)
    store.task_limits.tell_streams({"t1": 1}, by="here", now=NOW)
    assert store.change_stamp() == before
    assert store.changes() == ()


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        store.task_limits.hand_out("t1", 8)
    with pytest.raises(StoreUnavailable):
        store.task_limits.add_stream("t1", 1, 0, by="here", now=NOW)
    with pytest.raises(StoreUnavailable):
        store.task_limits.used(["t1"], now=NOW)
