"""What a process counted reaches the store, also after the store was away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.main.shared_rule_uses import SharedRuleUses
from narrowgate.proxy.rule_uses import CountedRuleUses
from narrowgate.store.sqlite import SQLiteStore

WHO = chain_of(Identity(kind=Kind.AGENT, name="bot", proven_by="test", credential="c"))
ALLOWED = Allow(rule=RuleRef("ci", "read"), covers=(RuleRef("ci", "read"),))


def test_what_is_counted_is_told_and_counting_begins_with_the_first_time(tmp_path: Path) -> None:
    store, counted = SQLiteStore(tmp_path / "gate.db"), CountedRuleUses()
    shared = SharedRuleUses(counted, store)
    asyncio.run(shared.tell())
    begun = store.rule_uses.known()
    counted.count(WHO, "prod", ALLOWED, 10.0)
    asyncio.run(shared.tell())
    known = store.rule_uses.known()
    store.close()
    assert begun.uses == ()
    assert begun.complete_since is not None
    assert [(use.holder, use.rule, use.at) for use in known.uses] == [("agent:bot", "read", 10.0)]
    assert known.complete_since == begun.complete_since


def test_what_a_closed_store_did_not_take_is_told_later(tmp_path: Path) -> None:
    closed, counted = SQLiteStore(tmp_path / "gate.db"), CountedRuleUses()
    closed.close()
    counted.count(WHO, "prod", ALLOWED, 10.0)
    asyncio.run(SharedRuleUses(counted, closed).tell())
    again = SQLiteStore(tmp_path / "gate.db")
    asyncio.run(SharedRuleUses(counted, again).tell())
    known = again.rule_uses.known()
    again.close()
    assert [use.at for use in known.uses] == [10.0]
