"""The index by itself; what people search for is tried through the command in tests/unit/cli/test_audit.py."""

from __future__ import annotations

from pathlib import Path

from tests.unit.trail.recorded import a_record
from tests.unit.trail.sealed import SIGNER

from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import AuditQuery, SeesAll
from narrowgate.trail.index import Index
from narrowgate.trail.journal import Journal


def all_of(folder: Path) -> list[AuditEntry]:
    index = Index.open(folder)
    index.update()
    found = [one.entry for one in index.search(AuditQuery(), SeesAll())]
    index.close()
    return found


def test_taking_in_twice_changes_nothing(tmp_path: Path) -> None:
    a_record(tmp_path)
    once = all_of(tmp_path / "trail")
    assert all_of(tmp_path / "trail") == once
    assert len(once) == 5


def test_a_reused_audit_id_does_not_hide_another_request(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "w0", SIGNER)
    for at, verb in (("2026-01-01T00:00:00.000001Z", "delete"), ("2026-01-01T00:00:00.000002Z", "get")):
        journal.append(
            b'{"auditID":"same","stage":"ResponseComplete","verb":"%b","requestReceivedTimestamp":"%b","stageTimestamp":"3"}'
            % (verb.encode(), at.encode())
        )
    journal.write()
    journal.close()
    assert [entry.verb for entry in all_of(tmp_path)] == ["get", "delete"]


def test_what_cannot_be_read_is_counted_not_fatal(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "w0", SIGNER)
    for event in (
        b"{}",
        b'{"auditID":1}',
        b'{"auditID":"x","stage":"s","verb":"v","annotations":{"narrowgate.dev/chain":"{"}}',
    ):
        journal.append(event)
    journal.write()
    journal.close()
    index = Index.open(tmp_path)
    index.update()
    assert (index.unreadable, [one.entry for one in index.search(AuditQuery(), SeesAll())]) == (3, [])
    index.close()


def test_progress_ends_where_everything_is_taken_in(tmp_path: Path) -> None:
    a_record(tmp_path)
    told: list[tuple[int, int]] = []
    index = Index.open(tmp_path / "trail")
    index.update(lambda done, total: told.append((done, total)))
    index.close()
    size = (tmp_path / "trail" / "w0" / "00000001.jsonl").stat().st_size
    assert told == [(size, size)]
