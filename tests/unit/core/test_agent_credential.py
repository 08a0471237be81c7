"""A new credential in the place of the old one."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.agent_credential import NextCredential, handed_over, with_credential

AGENT = AgentRecord(
    name="bot", owner="person:olga", purpose="p", cluster="dev", credential_id="one", credential_hash=b"1" * 32,
    created_at=0.0, expires_at=1_000.0,
)  # fmt: skip
NEXT = NextCredential(id="two", hash=b"2" * 32, to="person:rae", until=5_000.0)


def test_the_old_one_is_worth_nothing_unless_it_is_kept() -> None:
    rotated = with_credential(AGENT, NEXT, 100.0)
    assert (rotated.credential_id, rotated.credential_hash, rotated.expires_at) == ("two", b"2" * 32, 5_000.0)
    assert rotated.old_credential is None
    assert with_credential(rotated, NEXT, 100.0).old_credential is None


@pytest.mark.parametrize(("until", "expires_at"), [(200.0, 200.0), (9_000.0, 1_000.0)])
def test_a_kept_one_is_never_good_for_longer_than_it_was(until: float, expires_at: float) -> None:
    old = with_credential(AGENT, msgspec.structs.replace(NEXT, old_until=until), 100.0).old_credential
    assert old is not None
    assert (old.id, old.hash, old.expires_at) == ("one", b"1" * 32, expires_at)


def test_what_was_kept_before_goes_with_the_next_rotation() -> None:
    kept = with_credential(AGENT, msgspec.structs.replace(NEXT, old_until=200.0), 100.0)
    again = NextCredential(id="three", hash=b"3" * 32, to="person:rae", until=5_000.0, old_until=300.0)
    old = with_credential(kept, again, 150.0).old_credential
    assert old is not None
    assert old.id == "two"


def test_no_credential_outlives_its_agent() -> None:
    assert with_credential(msgspec.structs.replace(AGENT, ends_at=3_000.0), NEXT, 100.0).expires_at == 3_000.0


def test_an_agent_that_had_none_keeps_none() -> None:
    bare = msgspec.structs.replace(AGENT, credential_id="", credential_hash=b"")
    assert with_credential(bare, msgspec.structs.replace(NEXT, old_until=200.0), 100.0).old_credential is None


KNOWN = msgspec.structs.replace(AGENT, handed_to=("local:root", "person:alice"))
KEY = AgentKey(id="k", public=b"3" * 32, added_at=0.0)


def test_whoever_had_the_replaced_one_can_ask_no_more_and_is_forgotten() -> None:
    assert with_credential(KNOWN, NEXT, 100.0).handed_to == ("person:rae",)


@pytest.mark.parametrize(
    "good_yet", [{"keys": (KEY,)}, {"certificate_names": ("cn:bot",)}, {"keys": (KEY,), "certificate_names": ("cn:b",)}]
)
def test_while_another_proof_is_good_nobody_is_forgotten(good_yet: dict[str, object]) -> None:
    agent = msgspec.structs.replace(KNOWN, **good_yet)
    assert with_credential(agent, NEXT, 100.0).handed_to == ("local:root", "person:alice", "person:rae")


def test_while_the_old_one_is_kept_nobody_is_forgotten_and_the_next_without_does() -> None:
    kept = with_credential(KNOWN, msgspec.structs.replace(NEXT, old_until=200.0), 100.0)
    assert kept.handed_to == ("local:root", "person:alice", "person:rae")
    again = msgspec.structs.replace(NEXT, id="three", to="person:bob")
    assert with_credential(kept, again, 150.0).handed_to == ("person:bob",)


def test_whoever_is_handed_something_twice_is_there_once() -> None:
    assert handed_over(handed_over(KNOWN, "person:rae"), "person:alice").handed_to == (
        "local:root",
        "person:alice",
        "person:rae",
    )
