"""What every store must do with approvals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.core.approvals import (
    ApprovalEvent,
    ApprovalQuestion,
    ApprovalState,
    Matter,
    Said,
    Voice,
    after,
)
from narrowgate.core.decision import RuleRef
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.approvals import groups_now
from narrowgate.store.port import AlreadyThere, ChangedMeanwhile, NotThere, Store


def a_question(approval_id: str = "q1", **other: object) -> ApprovalQuestion:
    made = ApprovalQuestion(
        id=approval_id,
        asks=(Approval((Approvers("sre", 2),), 300.0),),
        rules=(RuleRef("p", "held", 4),),
        digest=approval_id * 8,
        credential="c1",
        about=Matter(
            asked_by="agent:bot",
            chain=("agent:bot",),
            cluster="prod",
            verb="get",
            resource="secrets",
            namespace='k"é',
            path="/api/v1/namespaces/ci/secrets/key",
            audit_id="a1",
            summary=("one", "two"),
        ),
        excluded=("alice",),
        asked_at=1_000.25,
        lapses_at=1_300.0,
    )
    return msgspec.structs.replace(made, **other)


def answered_yes(question: ApprovalQuestion) -> ApprovalQuestion:
    return after(question, ApprovalEvent.APPROVED, 1_100.0)


def test_a_question_comes_back_as_it_was_added(store: Store) -> None:
    said = (Said(person="bob", voice=Voice.YES, comment="fine", at=1_001.5),)
    store.approvals.add(a_question(said=said), by="agent:bot", at=1_000.0)
    assert store.approvals.get("q1") == a_question(said=said)
    (change,) = store.changes()
    assert (change.action, change.subject, change.by) == ("approval.asked", "q1", "agent:bot")


def test_one_request_is_asked_about_once_while_its_question_is_open(store: Store) -> None:
    store.approvals.add(a_question(), by="x", at=1_000.0)
    again = a_question("q2", digest=a_question().digest)
    with pytest.raises(AlreadyThere):
        store.approvals.add(again, by="x", at=1_299.9)
    store.approvals.change(answered_yes(a_question()), was=a_question(), by="x", at=1_100.0)
    with pytest.raises(AlreadyThere):
        store.approvals.add(again, by="x", at=1_299.9)
    with pytest.raises(AlreadyThere):
        store.approvals.add(a_question(digest="other"), by="x", at=1_400.0)
    store.approvals.add(again, by="x", at=1_300.0)
    assert [one.id for one in store.approvals.about_request(again.digest)] == ["q1", "q2"]


@pytest.mark.parametrize("event", [ApprovalEvent.DENIED, ApprovalEvent.WITHDRAWN, ApprovalEvent.LAPSED])
def test_a_question_that_is_over_leaves_room_for_another(store: Store, event: ApprovalEvent) -> None:
    store.approvals.add(a_question(), by="x", at=1_000.0)
    store.approvals.change(after(a_question(), event, 1_100.0), was=a_question(), by="x", at=1_100.0)
    store.approvals.add(a_question("q2", digest=a_question().digest, asked_at=1_101.0), by="x", at=1_101.0)
    assert [one.id for one in store.approvals.about_request(a_question().digest)] == ["q2", "q1"]


def test_of_many_who_ask_at_once_one_asks(store: Store) -> None:
    def ask(number: int) -> bool:
        try:
            store.approvals.add(a_question(f"q{number}", digest="same"), by="x", at=1_000.0)
        except AlreadyThere:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(8))).count(True) == 1
    assert len(store.approvals.open()) == 1


def test_an_approval_is_spent_once_whoever_spends_it(opener: Opener) -> None:
    store = opener()
    approved = answered_yes(a_question())
    store.approvals.add(approved, by="x", at=1_000.0)
    others = [opener() for _ in range(4)]

    def spend(number: int) -> bool:
        spent = after(approved, ApprovalEvent.SPENT, 1_101.0 + number)
        try:
            others[number].approvals.change(spent, was=approved, by="x", at=1_101.0)
        except ChangedMeanwhile:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(spend, range(4)))
    assert done.count(True) == 1
    assert store.approvals.get("q1").state is ApprovalState.SPENT
    assert store.approvals.open() == ()


def test_of_an_answer_and_a_lapse_at_once_one_happens(store: Store) -> None:
    store.approvals.add(a_question(), by="x", at=1_000.0)
    ends = [answered_yes(a_question()), after(a_question(), ApprovalEvent.LAPSED, 1_300.0)]

    def change(end: ApprovalQuestion) -> bool:
        try:
            store.approvals.change(end, was=a_question(), by="x", at=1_300.0)
        except ChangedMeanwhile:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(change, ends))
    assert done.count(True) == 1
    assert store.approvals.get("q1") == ends[done.index(True)]


def test_what_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(NotThere):
        store.approvals.get("none")
    with pytest.raises(NotThere):
        store.approvals.change(a_question(), was=a_question(), by="x", at=1.0)
    assert store.approvals.about_request("none") == store.approvals.about_task("none") == ()


def test_an_empty_digest_or_task_names_no_question(store: Store) -> None:
    store.approvals.add(a_question("q1", digest="", task="t1"), by="x", at=1_000.0)
    store.approvals.add(a_question("q2", digest="d"), by="x", at=1_000.0)
    store.approvals.add(a_question("q3", digest="", task="t2"), by="x", at=1_000.0)
    assert store.approvals.about_request("") == store.approvals.about_task("") == ()
    assert [one.id for one in store.approvals.about_task("t1")] == ["q1"]


def test_the_stamp_moves_when_a_question_changes_its_state_and_not_before(opener: Opener) -> None:
    store, other = opener(), opener()
    stamps = [store.change_stamp()]
    other.approvals.add(a_question(), by="x", at=1_000.0)
    stamps.append(store.change_stamp())
    one_yes = a_question(said=(Said(person="bob", voice=Voice.YES, at=1_001.0),))
    other.approvals.change(one_yes, was=a_question(), by="x", at=1_001.0)
    stamps.append(store.change_stamp())
    assert len(set(stamps)) == 1
    other.approvals.change(answered_yes(one_yes), was=one_yes, by="x", at=1_100.0)
    assert store.change_stamp() not in stamps


def test_questions_are_listed_newest_first_and_on_behind_what_was_seen(store: Store) -> None:
    for number, approval_id in enumerate(("a", "b", "c", "d")):
        holder = Matter(chain=("agent:other" if approval_id == "d" else "agent:bot",))
        store.approvals.add(a_question(approval_id, asked_at=float(number // 2), about=holder), by="x", at=1.0)
    store.approvals.change(answered_yes(store.approvals.get("b")), was=store.approvals.get("b"), by="x", at=2.0)
    assert [one.id for one in store.approvals.listed()] == ["c", "d", "a", "b"]
    assert [one.id for one in store.approvals.listed({"agent:bot"})] == ["c", "a", "b"]
    assert [one.id for one in store.approvals.listed(states={ApprovalState.APPROVED})] == ["b"]
    assert store.approvals.listed(()) == store.approvals.listed(states=()) == ()
    seen = [one.id for one in store.approvals.listed(limit=2)]
    assert seen + [one.id for one in store.approvals.listed(behind=seen[-1])] == ["c", "d", "a", "b"]
    assert store.approvals.listed(behind="none") == ()


def signed_in(sign_in_id: str, groups: tuple[str, ...], created_at: float, person: str = "bob") -> SignIn:
    return SignIn(
        id=sign_in_id,
        person=person,
        groups=groups,
        source="oidc:dex",
        client=Client.CLI,
        secret_hash=sign_in_id.encode(),
        renewed_at=created_at,
        created_at=created_at,
        expires_at=2_000.0,
    )


def test_somebodys_groups_are_those_of_their_newest_running_sign_in(store: Store) -> None:
    store.sign_ins.add(signed_in("s1", ("sre", "dev"), 1_000.0), by="x", at=1_000.0)
    store.sign_ins.add(signed_in("s2", ("dev",), 1_100.0), by="x", at=1_100.0)
    assert groups_now(store.sign_ins, ["bob", "eve"], 1_200.0) == {"bob": frozenset({"dev"})}
    assert groups_now(store.sign_ins, ["bob"], 2_000.0) == {}
    store.sign_ins.end("s2", "signed out", by="x", at=1_300.0)
    assert groups_now(store.sign_ins, ["bob"], 1_400.0) == {"bob": frozenset({"sre", "dev"})}
