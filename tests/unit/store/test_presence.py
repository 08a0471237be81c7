"""Who took an emergency and is still signed in, from the sign-ins as the store has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from narrowgate.core.emergency import Present
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.wanted import read_wanted
from narrowgate.store.open import open_store
from narrowgate.store.port import Store
from narrowgate.store.presence import people_present

TASK = Task(
    id="t",
    kind=Kind.PERSON,
    name="alice",
    requested_by="person:alice",
    cluster="dev",
    purpose="the database is down",
    rules=(read_wanted("get pods -n ci", 1),),
    seconds=100.0,
    requested_at=1_000.0,
    lapses_at=1_001.0,
    emergency=True,
    sign_in="one",
    state=TaskState.ACTIVE,
    began_at=1_000.0,
    ends_at=1_100.0,
    credential_hash=b"h",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store("", tmp_path)
    yield opened
    opened.close()


def sign_in(store: Store, name: str, **more: Any) -> None:
    told: dict[str, Any] = {
        "id": name,
        "person": "alice",
        "groups": ("sre",),
        "source": "oidc:corp",
        "client": Client.CLI,
        "secret_hash": name.encode(),
        "renewed_at": 900.0,
        "created_at": 900.0,
        "expires_at": 2_000.0,
    }
    made = SignIn(**(told | more))
    store.sign_ins.add(made, by=f"person:{made.person}", at=made.created_at)


def present(store: Store, task: Task = TASK, now: float = 1_050.0) -> dict[str, Present]:
    return people_present(store.sign_ins, (task,), now)


def test_their_groups_are_those_of_the_newest_sign_in_and_the_sooner_end_counts(store: Store) -> None:
    sign_in(store, "one")
    assert present(store) == {"t": Present(groups=("sre",), expires_at=2_000.0)}
    sign_in(store, "two", created_at=1_010.0, groups=("other",), expires_at=1_900.0)
    assert present(store) == {"t": Present(groups=("other",), expires_at=1_900.0)}


def test_whoever_signs_out_and_in_again_is_not_in_the_emergency_any_more(store: Store) -> None:
    sign_in(store, "one")
    store.sign_ins.end("one", "signed out", by="person:alice", at=1_010.0)
    assert present(store) == {}
    sign_in(store, "two", created_at=1_020.0)
    assert present(store) == {}


def test_another_persons_sign_in_or_none_keeps_nobody_in(store: Store) -> None:
    sign_in(store, "one", person="bob")
    sign_in(store, "two")
    assert present(store) == {}
    assert present(store, msgspec.structs.replace(TASK, sign_in="")) == {}


@pytest.mark.parametrize("now", [2_000.0, float("nan")])
def test_time_ends_it(store: Store, now: float) -> None:
    sign_in(store, "one")
    assert present(store, now=now) == {}


def test_other_tasks_are_nobodys_here(store: Store) -> None:
    sign_in(store, "one")
    assert present(store, msgspec.structs.replace(TASK, kind=Kind.AGENT)) == {}
    assert present(store, msgspec.structs.replace(TASK, emergency=False)) == {}


def test_a_new_sign_in_of_somebody_at_work_is_heard_of_and_nobody_elses_is(store: Store) -> None:
    sign_in(store, "one")
    store.tasks.add(TASK, by="person:alice", at=1_000.0)
    before = store.change_stamp()
    sign_in(store, "three", person="bob")
    assert store.change_stamp() == before
    sign_in(store, "two")
    assert store.change_stamp() != before
