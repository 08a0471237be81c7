"""What may be asked of the record, and what the words of a question mean."""

from __future__ import annotations

import pytest
from tests.unit.core.test_audit_entry import entry

from narrowgate.core.audit_query import SeesAll, SeesOwn, Unsearchable, matches, moment_before, query_of

NOW = 1_767_225_605.0
"""Five seconds into 2026."""


def asks(**words: str) -> bool:
    return matches(query_of(words, NOW), SeesAll(), entry())


@pytest.mark.parametrize(
    ("word", "right", "wrong"),
    [
        ("who", "ci", "c"),
        ("who", "agent:ci", "person:ci"),
        ("who", "alice", "agent:alice"),
        ("kind", "agent", "person"),
        ("owner", "person:alice", "alice"),
        ("since", "5s", "4s"),
        ("since", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000001Z"),
        ("until", "4s", "5s"),
        ("until", "2026-01-01T00:00:00.000001", "2026-01-01T00:00:00Z"),
        ("cluster", "dev", "prod"),
        ("namespace", "prod", "pro"),
        ("object", "pods/db", "pods/web"),
        ("object", "pods/db", "deployments/db"),
        ("object", "pods/db", "pods.apps/db"),
        ("resource", "pods", "pod"),
        ("resource", "pods/exec", "pods/log"),
        ("name", "db", "d"),
        ("verb", "create", "get"),
        ("decision", "allowed", "denied"),
        ("decision", "waited", "failed"),
        ("decision", "allow", "needs-approval"),
        ("rule", "ci", "ci/read"),
        ("rule", "ci/exec", "c"),
        ("task", "t1", "t"),
        ("approval", "q1", "q2"),
        ("code", "101", "100"),
        ("code", "1xx", "2xx"),
        ("source", "10.0.0.1", "1.1.1.1"),
        ("id", "a", "b"),
    ],
)
def test_a_word_means(word: str, right: str, wrong: str) -> None:
    assert (asks(**{word: right}), asks(**{word: wrong})) == (True, False)


def test_all_that_is_asked_must_hold() -> None:
    assert asks(who="ci", verb="create", noticed="true", code="1xx")
    assert not asks(who="ci", verb="create", noticed="true", code="2xx")


def test_an_empty_word_says_nothing_and_no_words_ask_for_everything() -> None:
    assert asks()
    assert asks(who="", cluster="")


@pytest.mark.parametrize(
    ("words", "wrong", "told"),
    [
        ({"decision": "maybe"}, "decision", "write one of allowed, denied, waited, failed"),
        ({"code": "600"}, "code", "write 403, or 4xx"),
        ({"code": "４０３"}, "code", "write 403, or 4xx"),
        ({"object": "web"}, "object", "like deployments/web"),
        ({"object": "pods/a/b"}, "object", "like deployments/web"),
        ({"object": "pods/a", "resource": "pods"}, "object", "leave the others out"),
        ({"resource": ".apps"}, "resource", "write pods"),
        ({"since": "soon"}, "since", "write how long ago"),
        ({"until": "1969-12-31T23:59:59Z"}, "until", "before 1970"),
        ({"since": "9999-12-31T23:59:59-23:59"}, "since", "after 2100"),
        ({"since": "1h", "until": "1h"}, "until", "not later than"),
        ({"text": "ab"}, "text", "3 to 256"),
        ({"text": "a\0bc"}, "text", "3 to 256"),
        ({"who": "x" * 513}, "who", "longer than 512"),
        ({"whom": "x"}, "whom", "known are who, since"),
    ],
)
def test_what_cannot_be_asked_names_its_word(words: dict[str, str], wrong: str, told: str) -> None:
    with pytest.raises(Unsearchable, match=told) as refused:
        query_of(words, NOW)
    assert refused.value.word == wrong


@pytest.mark.parametrize(
    ("sight", "seen"),
    [
        (SeesAll(), True),
        (SeesOwn("alice"), True),
        (SeesOwn("bob"), False),
        (SeesOwn("ci"), False),
        (SeesOwn(""), False),
        (SeesOwn("bob", frozenset({"alice"})), False),
    ],
)
def test_who_sees_an_entry(sight: SeesAll | SeesOwn, seen: bool) -> None:
    assert matches(query_of({}, NOW), sight, entry()) is seen


def test_a_group_sees_what_agents_did_that_it_answered_for() -> None:
    theirs = entry(user={"username": "agent:ci", "extra": {"narrowgate.dev/owner": ["group:sre"]}}, annotations={})
    query = query_of({}, NOW)
    assert matches(query, SeesOwn("bob", frozenset({"sre"})), theirs)
    assert not matches(query, SeesOwn("sre", frozenset({"ops"})), theirs)


def test_a_time_is_told_as_the_trail_writes_it() -> None:
    assert moment_before("1h", NOW) == "2025-12-31T23:00:05.000000Z"
    assert moment_before("2026-01-01", NOW) == "2026-01-01T00:00:00.000000Z"
