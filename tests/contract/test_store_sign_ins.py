"""What every store must do with sign-ins, with what counts once, and with roles given by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tests.contract.stores import Opener

from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.port import AlreadyThere, NotThere, RoleGrant, Store, StoreUnavailable


def secret(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def a_sign_in(name: str = "one", **other: object) -> SignIn:
    made = SignIn(
        id=name,
        person="corp:alice",
        groups=("sre", "dev"),
        source="oidc:corp",
        claims=(("issuer", "https://idp"), ("subject", "42")),
        client=Client.CLI,
        secret_hash=secret(name),
        renewed_at=10.5,
        created_at=10.5,
        expires_at=1_000.0,
        source_ip="192.0.2.1",
        user_agent='a "browser"',
    )
    return msgspec.structs.replace(made, **other)


# --- sign-ins


def test_a_sign_in_comes_back_as_it_was_added(store: Store) -> None:
    store.sign_ins.add(a_sign_in(), by="person:corp:alice", at=10.5)
    assert store.sign_ins.get("one") == a_sign_in()
    assert store.sign_ins.by_secret(secret("one")) == a_sign_in()
    (change,) = store.changes()
    assert (change.action, change.subject, change.by) == ("signin.added", "one", "person:corp:alice")


@pytest.mark.parametrize("same", [{"id": "one"}, {"secret_hash": secret("one")}])
def test_an_id_and_a_secret_are_taken_once(store: Store, same: dict[str, object]) -> None:
    store.sign_ins.add(a_sign_in(), by="x", at=1.0)
    with pytest.raises(AlreadyThere):
        store.sign_ins.add(msgspec.structs.replace(a_sign_in("two"), **same), by="x", at=1.0)
    assert len(store.sign_ins.listed()) == 1


def test_a_secret_that_was_replaced_cannot_become_another_sign_ins(store: Store) -> None:
    store.sign_ins.add(a_sign_in(), by="x", at=1.0)
    assert store.sign_ins.renew("one", secret("one"), secret("new"), at=2.0)
    with pytest.raises(AlreadyThere):
        store.sign_ins.add(a_sign_in("two", secret_hash=secret("one")), by="x", at=1.0)


def test_what_is_not_there_is_said(store: Store) -> None:
    for call in (
        lambda: store.sign_ins.get("none"),
        lambda: store.sign_ins.by_secret(secret("none")),
        lambda: store.sign_ins.end("none", "x", by="x", at=1.0),
    ):
        with pytest.raises(NotThere):
            call()


def test_a_renewal_replaces_the_secret_and_remembers_the_one_before(store: Store) -> None:
    store.sign_ins.add(a_sign_in(), by="x", at=1.0)
    assert store.sign_ins.renew("one", secret("one"), secret("new"), at=20.0)
    now = store.sign_ins.get("one")
    assert (now.secret_hash, now.previous_hash, now.renewed_at) == (secret("new"), secret("one"), 20.0)
    assert store.sign_ins.by_secret(secret("one")) == now == store.sign_ins.by_secret(secret("new"))


def test_of_two_renewals_at_once_one_wins(store: Store) -> None:
    store.sign_ins.add(a_sign_in(), by="x", at=1.0)
    with ThreadPoolExecutor(4) as threads:
        done = list(
            threads.map(lambda n: store.sign_ins.renew("one", secret("one"), secret(f"new-{n}"), at=2.0), range(8))
        )
    assert done.count(True) == 1
    assert store.sign_ins.get("one").secret_hash == secret(f"new-{done.index(True)}")


def test_an_ended_sign_in_is_not_renewed(store: Store) -> None:
    store.sign_ins.add(a_sign_in(), by="x", at=1.0)
    store.sign_ins.end("one", "signed out", by="x", at=2.0)
    assert not store.sign_ins.renew("one", secret("one"), secret("new"), at=3.0)


def test_ending_is_kept_once_with_its_reason(store: Store) -> None:
    store.sign_ins.add(a_sign_in(), by="x", at=1.0)
    store.sign_ins.end("one", "signed out", by="x", at=20.0)
    store.sign_ins.end("one", "something else", by="y", at=30.0)
    ended = store.sign_ins.get("one")
    assert (ended.ended_at, ended.ended_because) == (20.0, "signed out")
    assert [change.action for change in store.changes()] == ["signin.ended", "signin.added"]


def test_the_ended_ones_are_told_from_a_time_on(store: Store) -> None:
    for name, at in (("one", 10.0), ("two", 20.0), ("three", None)):
        store.sign_ins.add(a_sign_in(name), by="x", at=1.0)
        if at is not None:
            store.sign_ins.end(name, "x", by="x", at=at)
    assert store.sign_ins.ended_since(0.0) == {"one", "two"}
    assert store.sign_ins.ended_since(20.0) == {"two"}
    assert store.sign_ins.ended_since(20.5) == frozenset()


def test_what_was_over_a_month_ago_is_not_kept_for_ever(store: Store) -> None:
    store.sign_ins.add(a_sign_in("old", expires_at=1_000.0), by="x", at=1.0)
    store.sign_ins.add(a_sign_in("new", expires_at=9e6), by="x", at=1_000.0 + 30 * 86_400)
    assert [each.id for each in store.sign_ins.listed()] == ["new", "old"]
    store.sign_ins.add(a_sign_in("newer", expires_at=9e6), by="x", at=1_001.0 + 30 * 86_400)
    assert {each.id for each in store.sign_ins.listed()} == {"new", "newer"}


def test_only_an_end_moves_the_stamp(opener: Opener) -> None:
    store, other = opener(), opener()
    before = store.change_stamp()
    other.sign_ins.add(a_sign_in(), by="x", at=1.0)
    other.sign_ins.renew("one", secret("one"), secret("new"), at=2.0)
    other.once.put("code", "k", "v", expires_at=10.0, now=1.0)
    other.roles.give(RoleGrant(person="a", role="admin", given_by="x", given_at=1.0))
    assert store.change_stamp() == before
    other.sign_ins.end("one", "x", by="x", at=3.0)
    assert store.change_stamp() != before


def test_sign_ins_are_listed_newest_first_by_person_and_by_time(store: Store) -> None:
    store.sign_ins.add(a_sign_in("old", created_at=1.0, expires_at=50.0), by="x", at=1.0)
    store.sign_ins.add(a_sign_in("new", created_at=2.0), by="x", at=2.0)
    store.sign_ins.add(a_sign_in("gone", created_at=3.0), by="x", at=3.0)
    store.sign_ins.add(a_sign_in("bob", created_at=4.0, person="bob"), by="x", at=4.0)
    store.sign_ins.end("gone", "x", by="x", at=5.0)
    listed = store.sign_ins.listed
    assert [each.id for each in listed()] == ["bob", "gone", "new", "old"]
    assert [each.id for each in listed("corp:alice")] == ["gone", "new", "old"]
    assert [each.id for each in listed("corp:alice", running_at=50.0)] == ["new"]
    assert [each.id for each in listed(limit=1)] == ["bob"]


# --- what counts once


def test_what_was_put_is_seen_and_taken_once(store: Store) -> None:
    assert store.once.put("code", "k", "payload", expires_at=10.0, now=1.0)
    assert store.once.look("code", "k", now=9.9) == "payload"
    assert store.once.take("code", "k", now=9.9) == "payload"
    assert store.once.take("code", "k", now=9.9) is None
    assert store.once.look("code", "k", now=9.9) is None


def test_purposes_do_not_meet(store: Store) -> None:
    store.once.put("a", "b:k", "1", expires_at=10.0, now=1.0)
    assert store.once.look("a:b", "k", now=1.0) is None
    assert store.once.look("b", "b:k", now=1.0) is None


def test_what_is_there_is_not_put_again_before_it_expires(store: Store) -> None:
    assert store.once.put("jti", "k", "1", expires_at=10.0, now=1.0)
    assert not store.once.put("jti", "k", "2", expires_at=99.0, now=9.0)
    assert store.once.look("jti", "k", now=9.0) == "1"
    assert store.once.put("jti", "k", "3", expires_at=99.0, now=10.0)


def test_nothing_is_found_after_its_end(store: Store) -> None:
    store.once.put("code", "k", "payload", expires_at=10.0, now=1.0)
    assert store.once.look("code", "k", now=10.0) is None
    assert not store.once.change("code", "k", "other", now=10.0)
    assert store.once.take("code", "k", now=10.0) is None


def test_of_many_that_take_it_one_gets_it(store: Store) -> None:
    store.once.put("code", "k", "payload", expires_at=10.0, now=1.0)
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(lambda _: store.once.take("code", "k", now=2.0), range(8)))
    assert sorted(got, key=str) == [None] * 7 + ["payload"]


def test_a_payload_can_change_while_it_is_there(store: Store) -> None:
    store.once.put("device", "k", "pending", expires_at=10.0, now=1.0)
    assert store.once.change("device", "k", "approved", now=2.0)
    assert store.once.look("device", "k", now=2.0) == "approved"
    assert not store.once.change("device", "none", "x", now=2.0)


def test_keys_of_any_text_are_told_apart(store: Store) -> None:
    keys = ["", "\0", "ü", "u\u0308", "x" * 100_000, "\udc80", "'; DROP TABLE once; --"]
    for index, key in enumerate(keys):
        assert store.once.put("p", key, str(index), expires_at=10.0, now=1.0)
    assert [store.once.look("p", key, now=1.0) for key in keys] == [str(index) for index in range(len(keys))]


def test_the_key_itself_is_not_in_the_file(store: Store, tmp_path: Path) -> None:
    store.once.put("code", "a-secret-code-nobody-may-find", "payload", expires_at=10.0, now=1.0)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"payload" in written
    assert b"a-secret-code-nobody-may-find" not in written


# --- roles


def test_a_role_is_given_listed_and_taken(store: Store) -> None:
    grant = RoleGrant(person="corp:alice", role="admin", given_by="link", given_at=1.0)
    store.roles.give(grant)
    store.roles.give(msgspec.structs.replace(grant, given_by="somebody else"))
    store.roles.give(msgspec.structs.replace(grant, person="bob", role="auditor"))
    assert [(each.person, each.role, each.given_by) for each in store.roles.listed()] == [
        ("bob", "auditor", "link"),
        ("corp:alice", "admin", "link"),
    ]
    store.roles.take("bob", "auditor", by="corp:alice", at=2.0)
    assert store.roles.listed() == (grant,)
    with pytest.raises(NotThere):
        store.roles.take("bob", "auditor", by="corp:alice", at=3.0)
    assert [change.action for change in store.changes()] == ["role.taken", "role.given", "role.given"]


def test_a_closed_store_says_so_everywhere(store: Store) -> None:
    store.close()
    for call in (
        store.sign_ins.listed,
        lambda: store.sign_ins.ended_since(0.0),
        lambda: store.once.put("a", "b", "c", expires_at=2.0, now=1.0),
        lambda: store.once.look("a", "b", now=1.0),
        store.roles.listed,
    ):
        with pytest.raises(StoreUnavailable):
            call()
