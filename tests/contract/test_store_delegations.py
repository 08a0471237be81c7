"""What every store must do with delegations."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tests.contract.stores import OPENERS

from narrowgate.core.delegation import Delegation
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere, Store

DAY = 86_400.0


@pytest.fixture(params=list(OPENERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = OPENERS[request.param](tmp_path)
    yield made
    made.close()


def away(delegation_id: str = "d1", **other: object) -> Delegation:
    made = Delegation(
        id=delegation_id,
        person="alice",
        delegate="bob",
        groups=("security", "sre"),
        made_at=1_000.25,
        begins_at=1_000.25,
        ends_at=2_000.0,
        comment='a "holiday" é',
    )
    return msgspec.structs.replace(made, **other)


def add(store: Store, delegation: Delegation) -> Delegation:
    store.delegations.add(delegation, by=f"person:{delegation.person}", at=delegation.made_at)
    return delegation


def end(store: Store, delegation: Delegation, at: float) -> Delegation:
    ended = msgspec.structs.replace(delegation, ended_at=at, ended_by="person:root")
    store.delegations.change(ended, was=delegation, by="person:root", at=at)
    return ended


def test_a_delegation_comes_back_as_it_was_added_and_as_it_was_changed(store: Store) -> None:
    made = add(store, away())
    assert store.delegations.get("d1") == made
    ended = end(store, made, 1_500.0)
    assert store.delegations.get("d1") == ended
    with pytest.raises(NotThere, match='no delegation "d9"'):
        store.delegations.get("d9")


def test_a_place_is_filled_by_one_person_at_a_time(store: Store) -> None:
    made = add(store, away())
    for other in (
        away("d2", delegate="carol", begins_at=1_999.0, ends_at=3_000.0),
        away("d2", begins_at=1_200.0, ends_at=1_300.0),
        away("d2", delegate="carol"),
    ):
        with pytest.raises(AlreadyThere, match=r"bob answers in alice's place at that time already \(delegation d1\)"):
            add(store, other)
    add(store, away("d3", delegate="carol", begins_at=2_000.0, ends_at=3_000.0))
    add(store, away("d4", person="dave"))
    end(store, made, 1_500.0)
    add(store, away("d5", delegate="carol", made_at=1_500.0, begins_at=1_500.0))
    with pytest.raises(AlreadyThere, match="with this id"):
        add(store, away("d3", person="erin"))


def test_who_answers_for_whom_is_told_for_its_time_alone(store: Store) -> None:
    first = add(store, away())
    add(store, away("d2", person="dave", begins_at=1_900.0, ends_at=2_500.0))
    add(store, away("d3", person="erin", delegate="carol"))
    assert [one.id for one in store.delegations.filled_by("bob", at=1_500.0)] == ["d1"]
    assert [one.id for one in store.delegations.filled_by("bob", at=1_950.0)] == ["d1", "d2"]
    assert [one.id for one in store.delegations.filled_by("bob", at=2_000.0)] == ["d2"]
    assert store.delegations.filled_by("alice", at=1_500.0) == ()
    end(store, first, 1_600.0)
    assert [one.id for one in store.delegations.filled_by("bob", at=1_950.0)] == ["d2"]
    # Whoever asks about a moment before it was taken back is told what is so now.
    assert store.delegations.filled_by("bob", at=1_550.0) == ()


def test_the_list_has_those_to_and_from_somebody(store: Store) -> None:
    add(store, away("d2"))
    add(store, away("d1", person="bob", delegate="carol"))
    add(store, away("d3", person="erin", delegate="dave"))
    assert [one.id for one in store.delegations.listed()] == ["d1", "d2", "d3"]
    assert [one.id for one in store.delegations.listed({"bob"})] == ["d1", "d2"]
    assert [one.id for one in store.delegations.listed({"alice", "dave"})] == ["d2", "d3"]
    assert store.delegations.listed(set()) == ()


def test_what_is_long_over_goes_as_something_new_comes(store: Store) -> None:
    add(store, away())
    ended = add(store, away("d2", person="erin", ends_at=2_000.0 + 20 * DAY))
    end(store, ended, 1_200.0)
    add(store, away("d3", person="dave", made_at=1_999.0 + 30 * DAY, ends_at=2_000.0 + 40 * DAY))
    assert [one.id for one in store.delegations.listed()] == ["d1", "d3"]
    add(store, away("d4", person="fred", made_at=2_001.0 + 30 * DAY, ends_at=2_000.0 + 40 * DAY))
    assert [one.id for one in store.delegations.listed()] == ["d3", "d4"]


def test_a_change_of_what_is_not_there_any_more_changes_nothing(store: Store) -> None:
    made = add(store, away())
    end(store, made, 1_500.0)
    with pytest.raises(ChangedMeanwhile, match='delegation "d1" was changed meanwhile'):
        end(store, made, 1_600.0)
    with pytest.raises(NotThere):
        end(store, away("d9"), 1_600.0)


def test_every_change_is_told_with_who_made_it(store: Store) -> None:
    end(store, add(store, away()), 1_500.0)
    told = [(change.action, change.subject, change.by, change.at) for change in store.changes()]
    assert told == [
        ("delegation.changed", "d1", "person:root", 1_500.0),
        ("delegation.added", "d1", "person:alice", 1_000.25),
    ]
    assert msgspec.json.decode(store.changes()[1].detail)["delegate"] == "bob"


def test_of_many_at_once_about_one_time_one_is_kept(store: Store) -> None:
    def one(number: int) -> bool:
        try:
            add(store, away(f"d{number}", delegate=f"p{number}"))
        except AlreadyThere:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(24))) == 1
    assert len(store.delegations.listed()) == 1
