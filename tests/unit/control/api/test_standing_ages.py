"""The ages of rules are read from the store's revisions, page after page, once for each revision in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.control.api.calling import POLICY

from narrowgate.control.api.standing_ages import StandingAges
from narrowgate.core.policy_set import check_files
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.core.standing import Age, accesses
from narrowgate.store.open import open_store
from narrowgate.store.port import Store, StoreUnavailable

FILES = [("look.yaml", POLICY)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store("", tmp_path)
    yield opened
    opened.close()


def revised(store: Store, times: int) -> Rulebook:
    """The same rules in force again and again, with something else beside them."""
    for number in range(times):
        made = store.add_revision([*FILES, ("note.yaml", f"# {number}\n")], by="folder", at=1_000.0 + number)
    return compile_policies(check_files(FILES).policies, made.number)


def test_an_age_is_found_behind_many_revisions(store: Store) -> None:
    rulebook = revised(store, 45)
    first = next(accesses(rulebook.policies))
    assert StandingAges().of(rulebook, store)(first) == Age(1, 1_000.0)


def test_it_is_looked_up_once_for_each_revision(store: Store) -> None:
    found = StandingAges()
    rulebook = revised(store, 3)
    first = next(accesses(rulebook.policies))
    assert found.of(rulebook, store)(first) == Age(1, 1_000.0)
    changed = store.add_revision([("look.yaml", POLICY.replace("[get]", "[get, list]"))], by="folder", at=5_000.0)
    newer = compile_policies(check_files([("look.yaml", changed.files[0][1])]).policies, changed.number)
    assert found.of(newer, store)(next(accesses(newer.policies))) == Age(4, 5_000.0)
    assert found.of(newer, store)(first) is None


def test_nothing_is_known_of_a_revision_that_is_not_there(store: Store) -> None:
    rulebook = compile_policies(check_files(FILES).policies, 7)
    assert StandingAges().of(rulebook, store)(next(accesses(rulebook.policies))) is None


def test_a_store_that_is_away_is_said_and_asked_again(tmp_path: Path) -> None:
    opened = open_store("", tmp_path)
    rulebook, found = revised(opened, 2), StandingAges()
    first = next(accesses(rulebook.policies))
    opened.close()
    with pytest.raises(StoreUnavailable):
        found.of(rulebook, opened)
    again = open_store("", tmp_path)
    assert found.of(rulebook, again)(first) == Age(1, 1_000.0)
    again.close()
