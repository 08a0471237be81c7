"""Taking journals in: wherever it is interrupted, whatever retention removes, and what one request has many of."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.sealed import SIGNER

from narrowgate.core.audit_query import AuditQuery, SeesAll, query_of
from narrowgate.trail.index import Index
from narrowgate.trail.index_filling import MOST_PLACES
from narrowgate.trail.journal import Bounds, Journal

EVENT = (
    b'{"auditID":"%d","stage":"%b","verb":"get","requestReceivedTimestamp":"%b",'
    b'"stageTimestamp":"x","annotations":{"narrowgate.dev/decision":"%b"}}'
)
DAY = 86_400


def event(number: int, stage: bytes = b"ResponseComplete", decision: bytes = b"allow", day: int = 1) -> bytes:
    return EVENT % (
        number,
        stage,
        b"2026-%02d-%02dT00:00:00.%06dZ" % ((day - 1) // 28 + 1, (day - 1) % 28 + 1, number),
        decision,
    )


def written(journal: Journal, *events: bytes) -> None:
    for each in events:
        journal.append(each)
    journal.write()


def found(folder: Path, **words: str) -> list[str]:
    index = Index.open(folder)
    assert index.update()
    assert index.behind() == 0
    ids = [one.entry.audit_id for one in index.search(query_of(words, 0.0), SeesAll())]
    assert index.astray == 0
    index.close()
    return ids


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path, "w0", SIGNER, bounds=Bounds(segment_bytes=2000))


def test_a_request_that_is_taken_in_twice_is_told_as_it_is_now(tmp_path: Path, journal: Journal) -> None:
    written(journal, event(1, b"RequestReceived", b"needs-approval"))
    assert (found(tmp_path, decision="waited"), found(tmp_path, decision="allowed")) == (["1"], [])
    written(journal, event(1))
    assert (found(tmp_path, decision="waited"), found(tmp_path, decision="allowed")) == ([], ["1"])
    assert found(tmp_path) == ["1"]
    journal.close()


def test_requests_of_one_moment_are_all_kept(tmp_path: Path, journal: Journal) -> None:
    same = [event(7).replace(b'"7"', b'"%d"' % number) for number in range(3000)]
    written(journal, *same[:1500])
    assert len(found(tmp_path)) == 1500
    written(journal, *same[1500:], *same[:10])
    assert sorted(map(int, found(tmp_path))) == list(range(3000))
    moment = "2026-01-01T00:00:00.00000"
    assert len(found(tmp_path, since=moment + "7Z", until=moment + "8Z")) == 3000
    assert found(tmp_path, since=moment + "8Z") == []
    journal.close()


def test_of_very_many_events_of_one_request_the_latest_is_told(tmp_path: Path, journal: Journal) -> None:
    written(journal, *(event(1, b"ResponseStarted") for _ in range(3 * MOST_PLACES)), event(1, decision=b"error"))
    assert found(tmp_path, decision="failed") == ["1"]
    journal.close()


def test_an_interrupted_filling_goes_on_where_it_was(tmp_path: Path, journal: Journal) -> None:
    written(journal, *map(event, range(5)))
    other = Journal.open(tmp_path, "w1", SIGNER)
    written(other, *map(event, range(100, 200)))
    index = Index.open(tmp_path)
    done: list[int] = []
    assert index.update(lambda now, _: done.append(now), stop=lambda: bool(done))
    assert index.behind() > 0
    # The journal that is furthest behind went first.
    assert len(list(index.search(AuditQuery(), SeesAll()))) == 100
    index.close()
    assert len(found(tmp_path)) == 105
    journal.close()
    other.close()


def test_what_retention_removes_is_found_no_more(tmp_path: Path, journal: Journal) -> None:
    for day in (1, 20, 40, 60):
        written(journal, *(event(number, day=day) for number in range(day * 10, day * 10 + 10)))
    segments = sorted((tmp_path / "w0").glob("*.jsonl"))
    assert len(segments) == 4
    assert len(found(tmp_path, verb="get")) == 40
    for gone, left in ((1, 30), (2, 20), (3, 10)):
        segments[gone - 1].unlink()
        assert len(found(tmp_path, verb="get")) == left
        assert len(found(tmp_path)) == left
    journal.close()


def test_a_request_whose_beginning_was_removed_is_still_found(tmp_path: Path, journal: Journal) -> None:
    written(journal, *(event(number, b"RequestReceived") for number in range(10)))
    written(journal, *(event(number) for number in range(10)))
    first, *_ = sorted((tmp_path / "w0").glob("*.jsonl"))
    assert len(found(tmp_path)) == 10
    first.unlink()
    assert len(found(tmp_path)) == 10
    journal.close()


def test_another_record_in_the_place_of_the_one_before_is_taken_in_anew(tmp_path: Path, journal: Journal) -> None:
    written(journal, *map(event, range(5)))
    assert len(found(tmp_path)) == 5
    journal.close()
    (tmp_path / "w0" / "00000001.jsonl").unlink()
    fresh = Journal.open(tmp_path, "w0", SIGNER)
    written(fresh, event(9))
    assert found(tmp_path) == ["9"]
    fresh.close()


def test_a_line_that_is_not_what_the_index_says_is_left_out_and_counted(tmp_path: Path, journal: Journal) -> None:
    written(journal, *map(event, range(5)))
    assert len(found(tmp_path)) == 5
    path = tmp_path / "w0" / "00000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b".000003Z", b".000004Z"))
    index = Index.open(tmp_path)
    assert len(list(index.search(AuditQuery(), SeesAll()))) == 4
    assert index.astray == 1
    index.close()
    journal.close()
