"""A search finds what reading the whole record finds, whatever was taken in when, and from wherever a page goes on."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.search import Record, questions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.trail.sealed import SIGNER

from narrowgate.core.audit_entry import AuditEntry, entry_of, read_event
from narrowgate.core.audit_query import SeesAll, SeesOwn, Sight, matches, query_of
from narrowgate.trail.index import Index
from narrowgate.trail.journal import Bounds, Journal
from narrowgate.trail.read import events

EXAMPLES = 60
"""Each is a record of up to sixty events and eight questions: a tenth of a second."""

NAMES = ("ci", "web", "db", 'a"b', "x y", "OR", "ß", "")
PEOPLE = ("alice", "bob")
SECONDS = tuple(f"2026-{month:02d}-01T00:00:0{second}" for month in (1, 2, 12) for second in (0, 1))
DECIDED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "allowed": lambda one: one["d"] == "allow",
    "denied": lambda one: one["d"] in ("deny", "malformed"),
    "waited": lambda one: one["d"] == "needs-approval" or (one["d"] == "allow" and one["q"] != ""),
    "failed": lambda one: one["d"] == "error",
}

names = st.sampled_from(NAMES)
requests = st.fixed_dictionaries(
    {
        "id": st.sampled_from(("r1", "r2", "r3", "5f0e1d2c-3b4a-4958-0001-000000000001")),
        "at": st.sampled_from(SECONDS),
        "sender": st.sampled_from(("agent:ci", "agent:web", "person:alice", "serviceaccount:ci/db")),
        "root": st.sampled_from(("", "person:alice", "person:bob")),
        "owner": st.sampled_from(("", "person:alice", "group:sre")),
        "ns": names,
        "name": names,
        "resource": st.sampled_from(("pods", "deployments", "")),
        "group": st.sampled_from(("", "apps")),
        "verb": st.sampled_from(("get", "delete")),
        "d": st.sampled_from(("allow", "deny", "needs-approval", "malformed", "error", "")),
        "q": st.sampled_from(("", "q1")),
        "rule": st.sampled_from(("", "ci/read", "ci/write", "ops/read")),
        "code": st.sampled_from((0, 200, 403, 404, 500)),
        "writer": st.sampled_from(("w0", "w1")),
    }
)
wordings = st.fixed_dictionaries(
    {},
    optional={
        "who": st.sampled_from(("ci", "agent:ci", "alice", "person:alice", "ci/db", "nobody")),
        "namespace": names,
        "name": names,
        "object": st.sampled_from(("pods/web", "deployments.apps/web")),
        "verb": st.sampled_from(("get", "delete")),
        "decision": st.sampled_from(tuple(DECIDED)),
        "code": st.sampled_from(("403", "4xx", "5xx")),
        "rule": st.sampled_from(("ci", "ci/read", "ops")),
        "since": st.sampled_from(SECONDS).map(lambda at: at + "Z"),
        "id": st.sampled_from(("r1", "5f0e1d2c-3b4a-4958-0001-000000000001")),
    },
).filter(lambda words: not ("object" in words and words.get("name")))
sights: st.SearchStrategy[Sight] = st.sampled_from((SeesAll(), SeesOwn("alice"), SeesOwn("bob", frozenset({"sre"}))))


def event(one: dict[str, Any]) -> bytes:
    notes = {"decision": one["d"], "approval": one["q"], "rule": one["rule"], "chain": json.dumps(chain(one))}
    return json.dumps(
        {
            "auditID": one["id"],
            "stage": "ResponseComplete",
            "verb": one["verb"],
            "user": {"username": one["sender"], "extra": {"narrowgate.dev/owner": [one["owner"]]}},
            "objectRef": {
                "resource": one["resource"], "apiGroup": one["group"], "namespace": one["ns"], "name": one["name"]
            },
            "responseStatus": {"code": one["code"]},
            "requestReceivedTimestamp": one["at"] + ".000000Z",
            "stageTimestamp": "x",
            "annotations": {f"narrowgate.dev/{name}": value for name, value in notes.items()},
        }
    ).encode()  # fmt: skip


def chain(one: dict[str, Any]) -> list[str]:
    return [member for member in (one["root"], one["sender"]) if member]


def is_answer(one: dict[str, Any], words: dict[str, str], sight: Sight) -> bool:
    """What the words mean, said without facts and lists."""
    said = {word: text for word, text in words.items() if text}
    object_type, _, object_name = said.get("object", "").partition("/")
    object_resource, _, object_group = object_type.partition(".")
    checks: dict[str, Callable[[str], bool]] = {
        "who": lambda who: any(who in (member, member.partition(":")[2]) for member in chain(one)),
        "namespace": lambda text: one["ns"] == text,
        "name": lambda text: one["name"] == text,
        "object": lambda _: one["resource"] == object_resource and one["name"] == object_name
        and object_group in ("", one["group"]),
        "verb": lambda text: one["verb"] == text,
        "decision": lambda text: DECIDED[text](one),
        "code": lambda text: str(one["code"]) == text or (text.endswith("xx") and one["code"] // 100 == int(text[0])),
        "rule": lambda text: one["rule"] == text or one["rule"].startswith(text + "/"),
        "since": lambda text: one["at"] + "Z" >= text,
        "id": lambda text: one["id"] == text,
    }  # fmt: skip
    if isinstance(sight, SeesOwn):
        owners = {f"person:{sight.person}", *(f"group:{group}" for group in sight.groups)}
        if f"person:{sight.person}" not in chain(one) and one["owner"] not in owners:
            return False
    return all(checks[word](text) for word, text in said.items())


def latest(folder: Path, written: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every request as its latest event tells it, by reading all the journals."""
    assert len(list(events(folder))) == len(written)
    return list({(one["writer"], one["id"], one["at"]): one for one in written}.values())


@given(
    st.lists(st.lists(requests, max_size=20), min_size=1, max_size=3),
    st.lists(st.tuples(wordings, sights), min_size=1, max_size=8),
    st.integers(1, 5),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_search_finds_what_reading_everything_finds(
    batches: list[list[dict[str, Any]]], asked: list[tuple[dict[str, str], Sight]], page: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journals = {
            writer: Journal.open(folder, writer, SIGNER, bounds=Bounds(segment_bytes=3000)) for writer in ("w0", "w1")
        }
        index = Index.open(folder)
        for batch in batches:
            for one in batch:
                journals[one["writer"]].append(event(one))
                journals[one["writer"]].write()
            assert index.update()
        anew = Index.open_anew(folder)
        assert anew.update()
        there = latest(folder, [one for batch in batches for one in batch])
        for words, sight in asked:
            query = query_of(words, 0.0)
            expected = sorted((one["at"], one["writer"], one["id"]) for one in there if is_answer(one, words, sight))
            for each in (index, anew):
                found = list(each.search(query, sight))
                entries = [one.entry for one in found]
                assert sorted((one.received_at[:19], one.writer, one.audit_id) for one in entries) == expected
                assert [one.received_at for one in entries] == sorted(
                    (one.received_at for one in entries), reverse=True
                )
                if len(found) > page:
                    rest = each.search(query, sight, behind=found[page - 1].number)
                    assert [one.number for one in itertools.chain(found[:page], rest)] == [one.number for one in found]
        index.close()
        anew.close()
        for journal in journals.values():
            journal.close()


def read_through(folder: Path) -> list[AuditEntry]:
    """Every request of a record as its latest event tells it, newest first."""
    found: dict[tuple[str, str, str], AuditEntry] = {}
    for line in sorted(events(folder), key=lambda line: (line.writer, line.segment, line.seq)):
        entry = entry_of(read_event(line.event), line.writer, line.segment, line.seq)
        found[entry.writer, entry.audit_id, entry.received_at] = entry
    return sorted(found.values(), key=lambda entry: entry.received_at, reverse=True)


def test_what_the_bench_asks_is_answered_as_by_reading_everything(tmp_path: Path) -> None:
    record = Record(tmp_path)
    index = Index.open(tmp_path)
    for size in (500, 1_000, 3_000):
        # Watches begin in one go and end in another.
        record.grow(size)
        assert index.update()
    there = read_through(tmp_path)
    assert len(there) == 3_000
    for question, words in questions(record).items():
        query = query_of(words, 0.0)
        if not query.text:
            expected = [entry for entry in there if matches(query, SeesAll(), entry)]
            assert (question, [one.entry for one in index.search(query, SeesAll())]) == (question, expected)
    index.close()
    record.close()
