"""Trees read from a store and a record: who did what in them, and where a session stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.trail.sealed import SIGNER

from narrowgate.control.trees import MOST_READ, NoTree, TreeReader
from narrowgate.core.audit_query import SeesAll, SeesOwn, Sight
from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Placement
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.task_tree import Node
from narrowgate.core.tasks import Task, TaskEvent
from narrowgate.core.wanted import read_wanted
from narrowgate.store.open import open_store
from narrowgate.store.port import Store
from narrowgate.trail.index import Index
from narrowgate.trail.journal import Journal

BEGAN = 1_767_225_600.0
"""2026-01-01, Unix seconds."""
NOW = BEGAN + 100.0
ROOT = Task(
    id="root",
    kind=Kind.AGENT,
    name="bot",
    requested_by="person:alice",
    cluster="dev",
    purpose="roll back",
    rules=(read_wanted("get pods -n ci", 1),),
    seconds=1_000.0,
    requested_at=BEGAN,
    lapses_at=BEGAN + 1.0,
).after(TaskEvent.ACTIVATED, BEGAN)
CHILD = msgspec.structs.replace(ROOT, id="child", name="bot/helper", requested_by="agent:bot", parent="root")
OTHER = msgspec.structs.replace(ROOT, id="other", requested_by="agent:bot")
SIGN_IN = SignIn(
    id="signin",
    person="alice",
    source="oidc:corp",
    client=Client.CLI,
    secret_hash=b"h",
    renewed_at=BEGAN - 10,
    created_at=BEGAN - 10,
    expires_at=BEGAN + 1_000,
)
BOT = ["agent:bot"]
POD = ["agent:bot", "serviceaccount:ci/runner"]


class Kept:
    """A store and a record, and what is asked of them."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = open_store("", folder)
        self._trail = folder / "trail"
        self._journal = Journal.open(self._trail, "gate-0", SIGNER)
        self._second = 0
        for task in (ROOT, CHILD, OTHER):
            self.store.tasks.add(task, by="test", at=BEGAN)
        self.store.sign_ins.add(SIGN_IN, by="test", at=BEGAN)

    def note(self, audit_id: str, chain: list[str], **notes: str) -> None:
        """Put a list of pods into the record; of an exec that runs where its id begins with `exec`."""
        self._second += 1
        at, runs = f"2026-01-01T00:00:00.{self._second:06d}Z", audit_id.startswith("exec")
        pod = notes.pop("pod", "")
        event: dict[str, Any] = {
            "auditID": audit_id,
            "stage": "ResponseStarted" if runs else "ResponseComplete",
            "requestURI": "/x?command=ls",
            "verb": "create" if runs else "list",
            "user": {
                "username": chain[-1],
                "extra": {"narrowgate.dev/owner": ["person:olga"]}
                | ({"narrowgate.dev/pod-uid": [pod], "narrowgate.dev/node": ["node-1"]} if pod else {}),
            },
            "objectRef": {"resource": "pods", "namespace": "ci", "name": "web"}
            | ({"subresource": "exec"} if runs else {}),
            "responseStatus": {"code": 101 if runs else 200},
            "requestReceivedTimestamp": at,
            "stageTimestamp": at,
            "annotations": {
                "narrowgate.dev/chain": json.dumps(chain),
                "narrowgate.dev/decision": "allow",
                "narrowgate.dev/cluster": "dev",
            }
            | {f"narrowgate.dev/{name}": value for name, value in notes.items()},
        }
        self._journal.append(json.dumps(event).encode())

    def place(self, uid: str, *above: Ancestor) -> None:
        """Keep a pod that these had made."""
        self.store.lineage.add(
            Placement(
                cluster="dev",
                uid=uid,
                resource="pods",
                namespace="ci",
                name=f"pod-{uid}",
                authors=(tuple(above),) if above else (),
                first_at=BEGAN,
            )
        )

    def tree(self, session: str, sight: Sight | None = None) -> Node:
        """The tree of what has this id."""
        self._journal.write()
        with closing(Index.open(self._trail)) as index:
            index.update()
            reader = TreeReader(self.store, index, sight or SeesAll(), NOW)
            return reader.tree_at(reader.place_of(session))

    def blind_tree(self, session: str) -> Node:
        """The same while the record cannot be searched."""
        reader = TreeReader(self.store, None, SeesAll(), NOW)
        return reader.tree_at(reader.place_of(session))

    def close(self) -> None:
        self._journal.close()
        self.store.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.close()


TASK = Ancestor(kind=Kind.AGENT, name="bot", task="root")
PARENT = Ancestor(kind=Kind.WORKLOAD, name="ci/runner", cluster="dev", pod="pod-p1", pod_uid="p1")


def shown(node: Node) -> dict[str, tuple[int | None, list[str]]]:
    """By each id how often it asked, and its streams."""
    return {
        one.id: (one.did.requests if one.did is not None else None, [stream.id for stream in one.streams])
        for one in node
    }


def test_each_member_is_told_with_what_it_did_and_with_nothing_of_others(kept: Kept) -> None:
    kept.place("p1", TASK)
    kept.place("p2", TASK, PARENT)
    kept.place("p3", Ancestor(kind=Kind.AGENT, name="bot", task="other"))
    kept.note("1", BOT, task="root")
    kept.note("2", [*BOT, "agent:bot/helper"], task="child")
    kept.note("exec-3", [*BOT, "agent:bot/helper"], task="child")
    kept.note("4", BOT, task="other")
    kept.note("5", POD, pod="p1")
    kept.note("exec-6", [*POD, "serviceaccount:ci/other"], pod="p2")
    kept.note("7", POD, pod="p3")
    tree = kept.tree("child")
    assert shown(tree) == {
        "root": (1, []),
        "child": (2, ["exec-3"]),
        "p1": (1, []),
        "p2": (1, ["exec-6"]),
    }
    assert [node.id for node in tree if node.is_named] == ["child"]
    assert [node.runs_on for node in tree] == ["", "", "node-1", "node-1"]


@pytest.mark.parametrize("session", ["exec-task", "exec-pod"])
def test_a_session_stands_in_the_tree_of_its_root_and_is_marked(kept: Kept, session: str) -> None:
    kept.place("p1", TASK)
    kept.note("exec-task", [*BOT, "agent:bot/helper"], task="child")
    kept.note("exec-pod", POD, pod="p1")
    tree = kept.tree(session)
    assert tree.id == "root"
    assert [stream.id for node in tree for stream in node.streams if stream.is_named] == [session]
    assert not any(node.is_named for node in tree)


def test_a_session_is_told_of_however_many_requests_came_after_it(kept: Kept) -> None:
    kept.place("p1", TASK)
    kept.note("exec-old", BOT, task="root")
    kept.note("exec-pod", POD, pod="p1")
    for number in range(MOST_READ + 1):
        kept.note(f"a{number}", BOT, task="root")
        kept.note(f"b{number}", POD, pod="p1")
    for session in ("exec-old", "exec-pod"):
        tree = kept.tree(session)
        assert [stream.id for node in tree for stream in node.streams] == [session]
        assert all(node.did is not None and node.did.is_cut_off for node in tree if node.id in ("root", "p1"))


def test_a_sign_in_stands_above_the_tasks_that_were_asked_for_in_it(kept: Kept) -> None:
    later = msgspec.structs.replace(ROOT, id="later", requested_at=SIGN_IN.expires_at + 1)
    kept.store.tasks.add(later, by="test", at=BEGAN)
    kept.note("exec-own", ["person:alice"], credential="signin")
    kept.note("elsewhere", ["person:alice"], credential="another")
    kept.note("1", BOT, task="root")
    for session in ("signin", "exec-own"):
        tree = kept.tree(session)
        assert shown(tree) == {"signin": (1, ["exec-own"]), "root": (1, []), "child": (0, [])}
        assert (tree.is_named, tree.streams[0].is_named) == (session == "signin", session == "exec-own")


def test_of_a_sign_in_it_is_told_when_not_all_was_read(kept: Kept) -> None:
    """Requests of the person's other sign-ins are read as well, and are told of nowhere."""
    kept.note("own", ["person:alice"], credential="signin")
    before = kept.tree("signin").did
    for number in range(MOST_READ + 1):
        kept.note(f"a{number}", ["person:alice"], credential="another")
    after = kept.tree("signin").did
    assert before is not None
    assert after is not None
    assert (before.requests, before.is_cut_off) == (1, False)
    assert (after.requests, after.is_cut_off) == (0, True)


def test_an_emergency_hangs_on_the_sign_in_that_it_was_taken_in_and_on_no_other(kept: Kept) -> None:
    taken = {"kind": Kind.PERSON, "name": "alice", "emergency": True}
    for task_id, sign_in in (("mine", "signin"), ("elsewhere", "another")):
        emergency = msgspec.structs.replace(ROOT, id=task_id, sign_in=sign_in, **taken)
        kept.store.tasks.add(emergency, by="test", at=BEGAN)
    assert {node.id for node in kept.tree("signin").children} == {"root", "mine"}


def test_of_the_record_no_more_is_told_than_whoever_asks_may_see(kept: Kept) -> None:
    kept.place("p1", TASK)
    kept.note("exec-1", BOT, task="root")
    kept.note("exec-2", POD, pod="p1")
    assert shown(kept.tree("root", SeesOwn("olga")))["root"] == (1, ["exec-1"])
    assert shown(kept.tree("root", SeesOwn("olga")))["p1"] == (1, ["exec-2"])
    assert shown(kept.tree("root", SeesOwn("mia"))) == {"root": (0, []), "child": (0, []), "p1": (0, [])}
    with pytest.raises(NoTree, match="there is no task, no sign-in and no session"):
        kept.tree("exec-1", SeesOwn("mia"))


def test_without_the_record_the_tree_is_told_and_nothing_of_what_was_done(kept: Kept) -> None:
    kept.place("p1", TASK)
    assert shown(kept.blind_tree("child")) == {"root": (None, []), "child": (None, []), "p1": (None, [])}
    with pytest.raises(NoTree, match="the record cannot be searched now"):
        kept.blind_tree("exec-1")


def test_where_nothing_hangs_on_a_session_it_says_why(kept: Kept) -> None:
    kept.note("exec-standing", BOT)
    kept.note("exec-nobodys", ["serviceaccount:ci/free"], pod="free")
    kept.note("exec-forgotten", BOT, task="forgotten")
    for session, why in (
        ("exec-standing", "of no task and of no sign-in"),
        ("exec-nobodys", "of no task and of no sign-in"),
        ("exec-forgotten", "task forgotten of this session is not kept any more"),
        ("nothing", 'no session "nothing"'),
    ):
        with pytest.raises(NoTree, match=why):
            kept.tree(session)
