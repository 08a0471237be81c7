"""What every store must do with when rules were last used."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.core.standing import RuleUse, RuleUses
from narrowgate.store.port import Store, StoreUnavailable
from narrowgate.store.rule_uses import MOST_KEPT

USE = RuleUse(holder="agent:ci-bot", cluster="prod", policy="ci", rule="read", at=1_000.25)


def changed(**fields: object) -> RuleUse:
    return msgspec.structs.replace(USE, **fields)


def test_nothing_is_known_before_anybody_counts(store: Store) -> None:
    assert store.rule_uses.known() == RuleUses((), None)


def test_counting_begins_once(store: Store) -> None:
    store.rule_uses.begin(500.0)
    store.rule_uses.begin(900.0)
    assert store.rule_uses.known() == RuleUses((), 500.0)


def test_the_latest_use_of_each_rule_by_each_identity_on_each_cluster_is_kept(store: Store) -> None:
    others = [changed(holder="agent:other", at=1.0), changed(cluster="dev", at=2.0), changed(rule="write", at=3.0)]
    store.rule_uses.begin(0.5)
    store.rule_uses.tell([USE, *others])
    store.rule_uses.tell([changed(at=2_000.0), changed(policy="two", at=4.0)])
    expected = (changed(at=2_000.0), changed(policy="two", at=4.0), *reversed(others))
    assert store.rule_uses.known() == RuleUses(expected, 0.5)


def test_a_use_that_is_told_late_does_not_hide_a_later_one(opener: Opener) -> None:
    one, two = opener(), opener()
    one.rule_uses.tell([changed(at=2_000.0)])
    two.rule_uses.tell([USE])
    assert one.rule_uses.known().uses == (changed(at=2_000.0),)


def test_where_a_use_was_lost_nothing_before_it_is_called_complete(store: Store) -> None:
    store.rule_uses.begin(500.0)
    store.rule_uses.tell([], lost_at=700.0)
    store.rule_uses.tell([USE], lost_at=600.0)
    assert store.rule_uses.known() == RuleUses((USE,), 700.0)


def test_the_oldest_go_where_there_are_too_many_and_that_is_known(store: Store) -> None:
    store.rule_uses.begin(0.5)
    store.rule_uses.tell([changed(rule=f"rule-{number}", at=float(number)) for number in range(1, MOST_KEPT + 3)])
    known = store.rule_uses.known()
    assert (len(known.uses), known.uses[-1].at, known.complete_since) == (MOST_KEPT, 3.0, 2.0)


def test_keeping_uses_is_no_change_that_snapshots_are_read_anew_for(store: Store) -> None:
    before = store.change_stamp()
    store.rule_uses.begin(500.0)
    store.rule_uses.tell([USE])
    assert store.change_stamp() == before
    assert store.changes() == ()


def test_a_closed_store_is_unavailable(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        store.rule_uses.tell([USE])
