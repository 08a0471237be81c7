"""What every store must do with what agents were refused lately."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.core.denied_request import DeniedRequest
from narrowgate.store.denied_requests import KEPT_SECONDS, MOST_OF_ONE
from narrowgate.store.port import NotThere, Store, StoreUnavailable

NOW = 10_000.0
DENIED = DeniedRequest(audit_id="a-1", holder="agent:bot", cluster="dev", at=NOW, wanted=("get pods/web -n ci",))


def changed(**fields: object) -> DeniedRequest:
    return msgspec.structs.replace(DENIED, **fields)


def test_it_is_found_by_its_id_and_nothing_else_is(store: Store) -> None:
    store.denied_requests.tell([DENIED, DENIED, changed(audit_id="a-2", wanted=("get nodes",))], now=NOW)
    assert store.denied_requests.get("a-1", now=NOW) == DENIED
    assert store.denied_requests.get("a-2", now=NOW).wanted == ("get nodes",)
    for unknown in ("", "a-3", "A-1", "a-1 "):
        with pytest.raises(NotThere, match="refused within the last hour"):
            store.denied_requests.get(unknown, now=NOW)


def test_what_was_told_first_stays_whoever_tells_the_same_id(store: Store) -> None:
    store.denied_requests.tell([DENIED], now=NOW)
    store.denied_requests.tell([changed(holder="agent:other", wanted=("delete nodes",))], now=NOW)
    assert store.denied_requests.get("a-1", now=NOW) == DENIED


def test_after_an_hour_it_is_gone(store: Store) -> None:
    store.denied_requests.tell([DENIED], now=NOW)
    assert store.denied_requests.get("a-1", now=NOW + KEPT_SECONDS) == DENIED
    with pytest.raises(NotThere):
        store.denied_requests.get("a-1", now=NOW + KEPT_SECONDS + 1)
    store.denied_requests.tell([], now=NOW + KEPT_SECONDS + 1)
    with pytest.raises(NotThere):
        store.denied_requests.get("a-1", now=NOW)


def test_of_one_identity_the_newest_are_kept_and_nobody_elses_go_for_them(store: Store) -> None:
    store.denied_requests.tell([changed(audit_id="other", holder="agent:other", at=NOW - 60.0)], now=NOW)
    flood = [changed(audit_id=f"f-{number:05}", at=NOW + number) for number in range(MOST_OF_ONE + 5)]
    for begin in range(0, len(flood), 300):
        store.denied_requests.tell(flood[begin : begin + 300], now=NOW)
    assert store.denied_requests.get("other", now=NOW).holder == "agent:other"
    assert store.denied_requests.get("f-00005", now=NOW) == flood[5]
    with pytest.raises(NotThere):
        store.denied_requests.get("f-00004", now=NOW)


def test_nobody_reads_policies_and_agents_anew_for_it(store: Store) -> None:
    before = store.change_stamp()
    store.denied_requests.tell([DENIED], now=NOW)
    assert store.change_stamp() == before
    assert store.changes() == ()


def test_another_process_finds_it(opener: Opener) -> None:
    first, second = opener(), opener()
    first.denied_requests.tell([DENIED], now=NOW)
    assert second.denied_requests.get("a-1", now=NOW) == DENIED


def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        store.denied_requests.tell([DENIED], now=NOW)
    with pytest.raises(StoreUnavailable):
        store.denied_requests.get("a-1", now=NOW)
