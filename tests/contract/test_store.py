"""What every store must do. An implementation joins by one more entry in `stores.OPENERS`, and by nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.core.agent import AgentKey, AgentRecord, OldCredential
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere, Store, StoreUnavailable


def an_agent(name: str = "ci-bot", **other: object) -> AgentRecord:
    told: dict[str, object] = {
        "name": name,
        "owner": "person:alice",
        "purpose": "restarts pods",
        "cluster": "prod",
        "credential_id": f"id-{name}",
        "credential_hash": name.encode().ljust(32, b"\0"),
        "created_at": 1_000.25,
        "expires_at": 2_000.5,
        "groups": ("bots", "ci"),
        "labels": (("team", "sre"), ("tier", "1")),
    }
    return msgspec.convert(told | other, AgentRecord)


FILES = [("b.yaml", "two: ü\n"), ("a.yaml", "one\n")]


def test_a_new_store_is_empty(store: Store) -> None:
    assert (store.agents(), store.revisions(), store.changes()) == ((), (), ())


def test_an_agent_comes_back_as_it_was_added(store: Store) -> None:
    agent = an_agent(paused=True, purpose="quotes \" ' and ünïcode\n")
    store.add_agent(agent, by="local:root", at=1.0)
    assert store.agent("ci-bot") == agent
    assert store.agents() == (agent,)


KEY = AgentKey(id="thumb", public=bytes(range(32)), added_at=5.5)
OLD = OldCredential(id="older", hash=b"o" * 32, expires_at=1_500.5)


def test_every_proof_of_an_agent_comes_back_as_it_was_added(store: Store) -> None:
    agent = an_agent(
        ends_at=9_000.125,
        keys=(KEY,),
        certificate_names=("spiffe://prod/ci", "cn:ci bot"),
        paused=True,
        paused_because='it is "loose"\u00fc',
        old_credential=OLD,
        handed_to=("person:alice",),
    )
    store.add_agent(agent, by="local:root", at=1.0)
    assert store.agent("ci-bot") == agent
    assert store.agents() == (agent,)


def test_any_number_of_agents_may_be_without_a_credential(store: Store) -> None:
    bare = [an_agent(name, credential_id="", credential_hash=b"") for name in ("a", "b", "c")]
    for agent in bare:
        store.add_agent(agent, by="local:root", at=1.0)
    store.change_agent(msgspec.structs.replace(bare[0], purpose="other"), by="local:root", at=2.0)
    assert [(agent.credential_id, agent.credential_hash) for agent in store.agents()] == [("", b"")] * 3


@pytest.mark.parametrize(
    ("mine", "others", "says"),
    [
        ({"keys": (KEY,)}, {"keys": (KEY,)}, 'agent "ci-bot" has this key already'),
        ({"keys": (KEY,)}, {"keys": (msgspec.structs.replace(KEY, id="x"),)}, 'agent "ci-bot" has this key already'),
        ({"certificate_names": ("cn:a", "cn:b")}, {"certificate_names": ("cn:b",)}, 'named "cn:b" stand for'),
        ({"old_credential": OLD}, {"credential_id": "older"}, "another agent holds this credential"),
        ({"old_credential": OLD}, {"credential_hash": OLD.hash}, "another agent holds this credential"),
        ({}, {"old_credential": OldCredential(id="id-ci-bot", hash=b"x", expires_at=1.0)}, "another agent holds"),
        ({"old_credential": OLD}, {"old_credential": OLD}, "another agent holds this credential"),
    ],
)
def test_no_proof_is_of_two_agents(store: Store, mine: dict[str, Any], others: dict[str, Any], says: str) -> None:
    store.add_agent(an_agent(**mine), by="local:root", at=1.0)
    other = an_agent("other", **others)
    with pytest.raises(AlreadyThere, match=says):
        store.add_agent(other, by="local:root", at=2.0)
    store.add_agent(an_agent("other"), by="local:root", at=2.0)
    with pytest.raises(AlreadyThere, match=says):
        store.change_agent(other, by="local:root", at=3.0)
    assert store.agents() == (an_agent(**mine), an_agent("other"))
    store.remove_agent("ci-bot", by="local:root", at=4.0)
    store.change_agent(other, by="local:root", at=5.0)
    assert store.agents() == (other,)


def test_a_change_that_was_made_from_an_older_record_is_refused_and_undoes_nothing(store: Store) -> None:
    store.add_agent(an_agent(), by="local:root", at=1.0)
    seen = store.agent("ci-bot")
    store.change_agent(msgspec.structs.replace(seen, paused=True), by="local:bob", at=2.0, was=seen)
    with pytest.raises(ChangedMeanwhile, match='"ci-bot" was changed in the meantime'):
        store.change_agent(msgspec.structs.replace(seen, purpose="other"), by="local:alice", at=3.0, was=seen)
    assert store.agent("ci-bot") == an_agent(paused=True)
    assert len(store.changes()) == 2
    store.remove_agent("ci-bot", by="local:bob", at=4.0)
    with pytest.raises(NotThere):
        store.change_agent(seen, by="local:alice", at=5.0, was=seen)


def test_agents_are_listed_by_name(store: Store) -> None:
    for name in ("c", "a", "b"):
        store.add_agent(an_agent(name), by="local:root", at=1.0)
    assert [agent.name for agent in store.agents()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "other",
    [
        an_agent(),
        an_agent("other", credential_id="id-ci-bot"),
        an_agent("other", credential_hash=b"ci-bot".ljust(32, b"\0")),
    ],
    ids=["name", "credential id", "credential hash"],
)
def test_nothing_about_an_agent_that_must_be_unique_is_taken_twice(store: Store, other: AgentRecord) -> None:
    store.add_agent(an_agent(), by="local:root", at=1.0)
    with pytest.raises(AlreadyThere):
        store.add_agent(other, by="local:root", at=2.0)
    assert store.agents() == (an_agent(),)
    assert len(store.changes()) == 1


def test_a_changed_agent_replaces_the_one_of_its_name(store: Store) -> None:
    store.add_agent(an_agent(), by="local:root", at=1.0)
    store.add_agent(an_agent("other"), by="local:root", at=1.0)
    rotated = an_agent(credential_id="new", credential_hash=b"n" * 32, expires_at=9_000.0)
    store.change_agent(rotated, by="local:root", at=2.0)
    assert store.agents() == (rotated, an_agent("other"))


def test_a_change_may_keep_the_credential_but_not_take_another_agents(store: Store) -> None:
    store.add_agent(an_agent(), by="local:root", at=1.0)
    store.add_agent(an_agent("other"), by="local:root", at=1.0)
    store.change_agent(an_agent(paused=True), by="local:root", at=2.0)
    assert store.agent("ci-bot").paused
    with pytest.raises(AlreadyThere):
        store.change_agent(an_agent(credential_id="id-other"), by="local:root", at=3.0)
    assert store.agent("ci-bot") == an_agent(paused=True)


def test_a_removed_agent_is_gone_and_its_name_free(store: Store) -> None:
    store.add_agent(an_agent(), by="local:root", at=1.0)
    store.remove_agent("ci-bot", by="local:root", at=2.0)
    assert store.agents() == ()
    store.add_agent(an_agent(), by="local:root", at=3.0)
    assert store.agents() == (an_agent(),)


def test_what_is_not_there_is_named(store: Store) -> None:
    for call in (
        lambda: store.agent("nobody"),
        lambda: store.change_agent(an_agent("nobody"), by="local:root", at=1.0),
        lambda: store.remove_agent("nobody", by="local:root", at=1.0),
    ):
        with pytest.raises(NotThere, match='"nobody"'):
            call()
    with pytest.raises(NotThere, match="7"):
        store.revision(7)
    with pytest.raises(NotThere, match="no policy revision yet"):
        store.revision()
    assert store.changes() == ()


def test_a_revision_comes_back_with_its_files_by_name(store: Store) -> None:
    made = store.add_revision(FILES, by="person:alice", at=5.5)
    assert (made.number, made.made_by, made.made_at) == (1, "person:alice", 5.5)
    assert made.files == (("a.yaml", "one\n"), ("b.yaml", "two: ü\n"))
    assert store.revision() == store.revision(1) == made


def test_the_same_files_again_make_no_new_revision(store: Store) -> None:
    first = store.add_revision(FILES, by="a", at=1.0)
    assert store.add_revision(list(reversed(FILES)), by="b", at=2.0) == first
    assert len(store.revisions()) == 1


def test_going_back_to_older_files_is_a_new_revision(store: Store) -> None:
    store.add_revision(FILES, by="a", at=1.0)
    store.add_revision([], by="a", at=2.0)
    assert store.add_revision(FILES, by="a", at=3.0).number == 3


def test_revisions_and_changes_are_listed_newest_first_and_no_more_than_asked(store: Store) -> None:
    for number in range(5):
        store.add_revision([("a.yaml", str(number))], by="a", at=float(number))
    assert [summary.number for summary in store.revisions(3)] == [5, 4, 3]
    assert [summary.file_count for summary in store.revisions(1)] == [1]
    assert [change.subject for change in store.changes(2)] == ["5", "4"]


def test_every_change_is_kept_with_who_and_when_and_without_the_hash(store: Store) -> None:
    old = OldCredential(id="older", hash=b"SECRET-HASH", expires_at=9.0)
    agent = an_agent(credential_hash=b"SECRET-HASH".ljust(32, b"\0"), old_credential=old)
    store.add_agent(agent, by="local:alice", at=1.0)
    store.change_agent(msgspec.structs.replace(agent, paused=True), by="person:bob", at=2.0)
    store.remove_agent("ci-bot", by="local:carol", at=3.0)
    store.add_revision(FILES, by="gate", at=4.0)
    told = [(change.number, change.at, change.by, change.action, change.subject) for change in store.changes()]
    assert told == [
        (4, 4.0, "gate", "policies.revised", "1"),
        (3, 3.0, "local:carol", "agent.removed", "ci-bot"),
        (2, 2.0, "person:bob", "agent.changed", "ci-bot"),
        (1, 1.0, "local:alice", "agent.added", "ci-bot"),
    ]
    for change in store.changes():
        assert isinstance(msgspec.json.decode(change.detail), dict)
        assert "SECRET" not in change.detail
        assert "hash" not in change.detail


def test_the_stamp_stays_while_nothing_changes(store: Store) -> None:
    store.add_agent(an_agent(), by="a", at=1.0)
    store.add_revision(FILES, by="a", at=1.0)
    before = store.change_stamp()
    store.agents()
    store.revision()
    store.add_revision(FILES, by="a", at=2.0)
    assert store.change_stamp() == before


@pytest.mark.parametrize("writer", ["this store", "another store"])
def test_the_stamp_moves_with_every_change(opener: Opener, writer: str) -> None:
    watching = opener()
    writing = watching if writer == "this store" else opener()
    stamps = [watching.change_stamp()]
    for change in (
        lambda: writing.add_agent(an_agent(), by="a", at=1.0),
        lambda: writing.change_agent(an_agent(paused=True), by="a", at=2.0),
        lambda: writing.remove_agent("ci-bot", by="a", at=3.0),
        lambda: writing.add_revision(FILES, by="a", at=4.0),
    ):
        change()
        stamps.append(watching.change_stamp())
        assert stamps[-1] not in stamps[:-1]


def test_a_change_by_another_process_is_seen(opener: Opener, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = opener()
    before = store.change_stamp()
    kind = request.node.callspec.params["opener"]
    program = (
        "import sys; from pathlib import Path; from tests.contract.stores import OPENERS;"
        "from tests.contract.test_store import an_agent;"
        "s = OPENERS[sys.argv[1]](Path(sys.argv[2])); s.add_agent(an_agent('from-afar'), by='x', at=1.0); s.close()"
    )
    subprocess.run([sys.executable, "-c", program, kind, str(tmp_path)], check=True, timeout=60)
    assert store.change_stamp() != before
    assert [agent.name for agent in store.agents()] == ["from-afar"]


def test_a_store_that_is_opened_again_has_everything(opener: Opener) -> None:
    first = opener()
    first.add_agent(an_agent(), by="a", at=1.0)
    first.add_revision(FILES, by="a", at=2.0)
    kept = (first.agents(), first.revision(), first.changes())
    first.close()
    second = opener()
    assert (second.agents(), second.revision(), second.changes()) == kept


def test_threads_may_write_at_once_and_nothing_is_lost(opener: Opener) -> None:
    stores = [opener(), opener()]
    names = [f"agent-{number}" for number in range(24)]

    def add(index: int) -> None:
        stores[index % 2].add_agent(an_agent(names[index]), by="a", at=1.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(len(names))))
    assert [agent.name for agent in stores[0].agents()] == sorted(names)
    assert [change.number for change in stores[1].changes()] == list(range(len(names), 0, -1))


def test_of_many_that_add_one_name_at_once_one_succeeds(opener: Opener) -> None:
    stores = [opener(), opener()]
    start = threading.Barrier(6)

    def add(index: int) -> bool:
        start.wait(timeout=30)
        try:
            stores[index % 2].add_agent(
                an_agent(credential_id=f"id-{index}", credential_hash=bytes([index]) * 32), by="a", at=1.0
            )
        except AlreadyThere:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(add, range(6))) == 1
    assert len(stores[0].agents()) == 1


def test_processes_that_load_the_same_policies_at_once_make_one_revision(opener: Opener) -> None:
    stores = [opener(), opener()]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda index: stores[index % 2].add_revision(FILES, by="gate", at=1.0), range(6)))
    assert {revision.number for revision in made} == {1}


def test_a_closed_store_refuses_every_call(opener: Opener) -> None:
    store = opener()
    store.close()
    store.close()
    for call in (
        store.agents,
        lambda: store.agent("a"),
        lambda: store.add_agent(an_agent(), by="a", at=1.0),
        lambda: store.add_revision(FILES, by="a", at=1.0),
        store.revision,
        store.revisions,
        store.changes,
        store.change_stamp,
    ):
        with pytest.raises(StoreUnavailable):
            call()
