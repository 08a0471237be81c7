"""What is said about each thing that can be done to a journal: the word, the file, the line, the entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.sealed import ENTRY, SIGNER, STRANGER, Trail, dropped_by_retention

from narrowgate.trail.findings import Trouble
from narrowgate.trail.journal import Bounds, Journal
from narrowgate.trail.segments import segments_of


@pytest.mark.parametrize(("segment", "line", "seq"), [(1, 3, 3), (1, 6, 6), (2, 4, 10), (3, 4, 16)])
def test_an_edited_line_is_named(trail: Trail, segment: int, line: int, seq: int) -> None:
    lines = trail.lines(segment)
    lines[line - 1] = lines[line - 1].replace(b"xxx", b"xyx", 1)
    trail.write(segment, lines)
    assert trail.found() == [(Trouble.EDITED, f"0000000{segment}.jsonl", line, seq)]


def test_an_edited_hash_is_blamed_on_the_line_that_carries_it(trail: Trail) -> None:
    lines = trail.lines(1)
    at = lines[3].index(b'"prev":"') + 8
    lines[3] = lines[3][:at] + (b"0" if lines[3][at : at + 1] != b"0" else b"1") + lines[3][at + 1 :]
    trail.write(1, lines)
    assert trail.found() == [(Trouble.EDITED, "00000001.jsonl", 4, 4)]


def test_a_line_that_is_no_line_any_more_is_named(trail: Trail) -> None:
    lines = trail.lines(2)
    lines[2] = b"\0" * 20 + b"\n"
    trail.write(2, lines)
    assert (Trouble.EDITED, "00000002.jsonl", 3, 9) in trail.found()


def test_a_changed_number_is_named(trail: Trail) -> None:
    lines = trail.lines(1)
    lines[3] = lines[3].replace(b'"seq":4', b'"seq":5')
    trail.write(1, lines)
    assert trail.found() == [(Trouble.EDITED, "00000001.jsonl", 4, 4)]


def test_a_deleted_entry_is_named_where_it_is_missing(trail: Trail) -> None:
    lines = trail.lines(1)
    del lines[3]
    trail.write(1, lines)
    assert trail.found() == [(Trouble.DELETED, "00000001.jsonl", 4, 4)]


def test_a_repeated_entry_is_named(trail: Trail) -> None:
    lines = trail.lines(1)
    lines.insert(4, lines[2])
    trail.write(1, lines)
    assert trail.found() == [(Trouble.REPEATED, "00000001.jsonl", 5, 3)]


def test_lines_that_changed_places_are_not_called_missing(trail: Trail) -> None:
    lines = trail.lines(1)
    lines[2], lines[3] = lines[3], lines[2]
    trail.write(1, lines)
    assert trail.found() == [(Trouble.REORDERED, "00000001.jsonl", 4, 3)]


def test_a_cut_tail_is_found_by_the_checkpoint(trail: Trail) -> None:
    trail.write(3, trail.lines(3)[:3])
    assert trail.found() == [(Trouble.CUT_TAIL, "00000003.jsonl", 3, 15)]


def test_a_tail_cut_within_a_line_is_found_too(trail: Trail) -> None:
    trail.write(3, [*trail.lines(3)[:3], trail.lines(3)[3][:50]])
    assert trail.found() == [(Trouble.CUT_TAIL, "00000003.jsonl", 3, 15)]


def test_a_missing_segment_in_the_middle_is_found(trail: Trail) -> None:
    trail.file(2).unlink()
    assert (Trouble.MISSING_SEGMENT, "00000003.jsonl", None, None) in trail.found()


def test_a_missing_first_segment_is_found(trail: Trail) -> None:
    trail.file(1).unlink()
    assert trail.found() == [(Trouble.MISSING_SEGMENT, "w0", None, None)]


def test_a_missing_last_segment_is_found(trail: Trail) -> None:
    trail.file(3).unlink()
    assert trail.found() == [(Trouble.CUT_TAIL, "00000002.jsonl", 6, 12)]


def test_a_journal_rewritten_from_its_beginning_is_found_by_the_checkpoints(trail: Trail, tmp_path: Path) -> None:
    other = Journal.open(tmp_path / "other", "w0", SIGNER)
    for number in range(20):
        other.append(ENTRY % (number + 100))
    other.write()
    other.close()
    for segment in (3, 2):
        trail.file(segment).unlink()
    trail.file(1).write_bytes((tmp_path / "other" / "w0" / "00000001.jsonl").read_bytes())
    assert [each[0] for each in trail.found()] == [Trouble.REWRITTEN]


def test_what_is_added_after_an_orderly_stop_is_found(trail: Trail) -> None:
    trail.seal(closed=True)
    trail.add(99)
    assert trail.found() == [(Trouble.ADDED, "00000003.jsonl", 6, 18)]


def test_a_restart_after_an_orderly_stop_is_content(trail: Trail) -> None:
    trail.seal(closed=True)
    trail.journal.close()
    trail.journal = Journal.open(trail.folder, "w0", SIGNER)
    trail.seal()
    trail.add(99)
    assert trail.found() == []


def test_an_entry_written_with_the_gates_own_code_but_no_key_is_found(trail: Trail) -> None:
    trail.seal(closed=True)
    trail.journal.close()
    forger = Journal.open(trail.folder, "w0", STRANGER)
    forger.append(b'{"auditID":"forged"}')
    forger.write()
    forger.close()
    assert (Trouble.BAD_SIGNATURE, "00000004.jsonl", 1, 18) in trail.found()


def test_what_retention_removed_is_no_problem_and_is_said(tmp_path: Path) -> None:
    trail = Trail(tmp_path, Bounds(segment_bytes=1700, retain_bytes=3600))
    dropped_by_retention(trail)
    report = trail.verify()
    assert report.content, [str(problem) for problem in report.problems]
    assert report.journals[0].dropped_through_seq == 6
    assert "entries up to 6 were removed: retention keeps 3600 bytes" in report.notes[0]


def test_retention_does_not_excuse_more_than_it_removed(tmp_path: Path) -> None:
    trail = Trail(tmp_path, Bounds(segment_bytes=1700, retain_bytes=3600))
    dropped_by_retention(trail)
    trail.file(1).unlink()
    assert [each[0] for each in trail.found()] == [Trouble.MISSING_SEGMENT]


def test_a_retention_line_without_the_gates_signature_excuses_nothing(tmp_path: Path) -> None:
    trail = Trail(tmp_path, Bounds(segment_bytes=1700, retain_bytes=3600))
    dropped_by_retention(trail)
    last = len(segments_of(tmp_path / "w0"))
    lines = trail.lines(last)
    at = next(number for number, line in enumerate(lines) if b'"dropped"' in line)
    lines[at] = lines[at].replace(b'"signature":"', b'"signature":"AAAA')[: len(lines[at])]
    trail.write(last, lines)
    assert Trouble.MISSING_SEGMENT in [each[0] for each in trail.found()]
