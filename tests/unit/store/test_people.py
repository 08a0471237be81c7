"""Who may answer, as the store tells it: by sign-ins, delegations and the records of agents, at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalQuestion, Matter, Said, Voice
from narrowgate.core.decision import RuleRef
from narrowgate.core.delegation import Delegation
from narrowgate.core.people import People, Seat
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.people import PeopleNow, groups_of_absent
from narrowgate.store.sqlite import SQLiteStore

NOW = 10_000.0
SRE = frozenset({"sre"})
NONE: frozenset[str] = frozenset()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    made = SQLiteStore(tmp_path / "gate.db")
    yield made
    made.close()


def sign_in(store: SQLiteStore, person: str, *groups: str, at: float = NOW - 100, lasts: float = 1_000.0) -> str:
    made = SignIn(
        id=f"{person}-{at}",
        person=person,
        groups=groups,
        source="oidc:corp",
        client=Client.CLI,
        secret_hash=f"{person}-{at}".encode(),
        renewed_at=at,
        created_at=at,
        expires_at=at + lasts,
    )
    store.sign_ins.add(made, by=f"person:{person}", at=at)
    return made.id


def end(store: SQLiteStore, sign_in_id: str) -> None:
    store.sign_ins.end(sign_in_id, "signed out", by="person:x", at=NOW)


def away(store: SQLiteStore, person: str, delegate: str, *groups: str) -> None:
    made = Delegation(
        id=f"{person}-{delegate}",
        person=person,
        delegate=delegate,
        groups=groups,
        made_at=NOW - 50,
        begins_at=NOW - 50,
        ends_at=NOW + 1_000,
    )
    store.delegations.add(made, by=f"person:{person}", at=NOW - 50)


def agent(store: SQLiteStore, name: str, owner: str, *handed_to: str) -> None:
    made = AgentRecord(
        name=name,
        owner=owner,
        purpose="tests",
        cluster="dev",
        credential_id="",
        credential_hash=b"",
        created_at=1.0,
        expires_at=1.0,
        handed_to=handed_to,
    )
    store.add_agent(made, by="local:test", at=1.0)


def question(*said: str, chain: tuple[str, ...] = ("agent:bot",)) -> ApprovalQuestion:
    return ApprovalQuestion(
        id="q",
        asks=(Approval((Approvers("sre", 1),), 60.0),),
        rules=(RuleRef("p", "r"),),
        about=Matter(chain=chain),
        asked_at=NOW - 10,
        lapses_at=NOW + 50,
        said=tuple(Said(person=name, voice=Voice.YES, at=NOW) for name in said),
    )


def test_it_tells_of_whoever_has_answered_and_of_those_who_are_named(store: SQLiteStore) -> None:
    sign_in(store, "ada", "sre")
    sign_in(store, "ben", "developers")
    sign_in(store, "cora", "sre")
    known = PeopleNow(store, NOW).about(question("ada", "gone"), "ben")
    assert known == People(groups={"ada": SRE, "ben": frozenset({"developers"})})


def test_the_agents_of_the_chain_say_who_is_kept_out(store: SQLiteStore) -> None:
    agent(store, "bot", "group:sre", "person:rae", "local:root")
    agent(store, "other", "person:olga")
    asked = question(chain=("person:zoe", "agent:bot", "agent:other", "agent:removed"))
    known = PeopleNow(store, NOW).about(asked)
    assert (known.excluded, known.owner_groups) == (frozenset({"rae", "olga"}), SRE)


def test_whoever_answers_for_somebody_away_is_in_the_groups_that_both_tell_of(store: SQLiteStore) -> None:
    sign_in(store, "ben", "developers")
    sign_in(store, "ada", "sre", "admins")
    away(store, "ada", "ben", "sre", "security")
    now = PeopleNow(store, NOW)
    seat = Seat(person="ada", groups=SRE, member_of=frozenset({"sre", "admins"}))
    assert now.about(question(), "ben").seats == {"ben": (seat,)}
    assert now.groups("ben") == frozenset({"developers", "sre"})
    assert now.groups("ada") == frozenset({"sre", "admins"})
    # Nothing is passed on further: what counts are the groups of ada's own sign-ins.
    sign_in(store, "cora", "developers")
    away(store, "ben", "cora", "developers", "sre")
    assert PeopleNow(store, NOW).groups("cora") == frozenset({"developers"})


def test_whoever_is_signed_in_nowhere_answers_for_nobody(store: SQLiteStore) -> None:
    sign_in(store, "ada", "sre")
    away(store, "ada", "ben", "sre")
    now = PeopleNow(store, NOW)
    assert now.groups("ben") == NONE
    assert now.about(question(), "ben") == People()


def test_it_counts_while_only_time_has_ended_the_sign_in_of_who_is_away(store: SQLiteStore) -> None:
    sign_in(store, "ada", "security", at=NOW - 5_000, lasts=10.0)
    latest = sign_in(store, "ada", "sre", at=NOW - 4_000, lasts=10.0)
    assert groups_of_absent(store.sign_ins, "ada", NOW) == SRE
    end(store, latest)
    # What an older one told is not asked: it may be why the newer one was ended.
    assert groups_of_absent(store.sign_ins, "ada", NOW) == NONE


def test_a_sign_in_that_runs_tells_before_any_other(store: SQLiteStore) -> None:
    sign_in(store, "ada", "sre")
    browser = sign_in(store, "ada", "security", at=NOW - 10)
    assert groups_of_absent(store.sign_ins, "ada", NOW) == frozenset({"security"})
    end(store, browser)
    assert groups_of_absent(store.sign_ins, "ada", NOW) == SRE


def test_whoever_never_signed_in_passes_nothing_on_nor_does_everybody(store: SQLiteStore) -> None:
    sign_in(store, "ada", "sre")
    assert groups_of_absent(store.sign_ins, "nobody", NOW) == NONE
    assert groups_of_absent(store.sign_ins, "", NOW) == NONE
    # A list of sign-ins of nobody in particular is one of everybody's.
    assert PeopleNow(store, NOW).groups("") == NONE
