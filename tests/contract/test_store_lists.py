"""What every store must do for those who read lists page by page, and for those who change what others change too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.stores import OPENERS
from tests.contract.test_store import an_agent
from tests.contract.test_store_sign_ins import a_sign_in, secret

from narrowgate.store.port import ChangedMeanwhile, NotThere, Store


@pytest.fixture(params=list(OPENERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = OPENERS[request.param](tmp_path)
    yield store
    store.close()


def test_a_change_of_what_is_still_there_is_made(store: Store) -> None:
    store.add_agent(an_agent(), by="x", at=1.0)
    store.change_agent(an_agent(paused=True), by="x", at=2.0, was=an_agent())
    assert store.agent("ci-bot").paused


@pytest.mark.parametrize(
    "field", [{"paused": True}, {"groups": ()}, {"labels": ()}, {"ends_at": 5.0}, {"owner": "person:b"}]
)
def test_a_change_of_what_is_not_there_any_more_is_refused_and_nothing_changed(
    store: Store, field: dict[str, object]
) -> None:
    store.add_agent(an_agent(**field), by="x", at=1.0)
    stamp = store.change_stamp()
    with pytest.raises(ChangedMeanwhile, match="ci-bot"):
        store.change_agent(an_agent(purpose="other"), by="x", at=2.0, was=an_agent())
    assert store.agent("ci-bot") == an_agent(**field)
    assert (len(store.changes()), store.change_stamp()) == (1, stamp)


def test_a_change_of_what_was_removed_finds_nothing(store: Store) -> None:
    with pytest.raises(NotThere):
        store.change_agent(an_agent(paused=True), by="x", at=2.0, was=an_agent())


def test_of_many_that_change_one_agent_at_once_no_change_is_lost(store: Store) -> None:
    store.add_agent(an_agent(labels=()), by="x", at=1.0)

    def label(number: int) -> None:
        while True:
            was = store.agent("ci-bot")
            labels = tuple(sorted((*was.labels, (f"l{number}", "1"))))
            try:
                store.change_agent(msgspec.structs.replace(was, labels=labels), by="x", at=2.0, was=was)
            except ChangedMeanwhile:
                continue
            return

    threads = [threading.Thread(target=label, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key for key, _ in store.agent("ci-bot").labels] == [f"l{number}" for number in range(8)]


def test_sign_ins_go_on_behind_the_last_one_seen_and_none_is_left_out(store: Store) -> None:
    moments = {"a": 5.0, "b": 7.0, "c": 5.0, "d": 5.0, "e": 1.0}
    for name, at in moments.items():
        store.sign_ins.add(a_sign_in(name, secret_hash=secret(name), created_at=at), by="x", at=1.0)
    seen: list[str] = []
    behind = None
    while page := store.sign_ins.listed(limit=2, behind=behind):
        seen += [one.id for one in page]
        behind = (page[-1].created_at, page[-1].id)
    assert seen == ["b", "a", "c", "d", "e"]


def test_revisions_go_on_before_a_number(store: Store) -> None:
    for number in range(1, 6):
        store.add_revision([("a.yaml", str(number))], by="x", at=1.0)
    assert [one.number for one in store.revisions(2, before=4)] == [3, 2]
    assert store.revisions(2, before=1) == ()
