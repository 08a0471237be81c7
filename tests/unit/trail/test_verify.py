"""What `verify` says about each thing that can be done to a trail: the word, the file, the line, the entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.findings import Finding, Trouble
from narrowgate.trail.journal import Bounds, Journal, TrailDamaged
from narrowgate.trail.segments import segments_of
from narrowgate.trail.signing import Signer
from narrowgate.trail.verify import NoTrail, Report, verify

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
ENTRY = b'{"auditID":"%d","filler":"' + b"x" * 200 + b'"}'


class Trail:
    """A trail of one writer with three segments: lines 1-6, 7-12 and 13-17, sealed at 1, 9 and 17."""

    def __init__(self, folder: Path, bounds: Bounds | None = None) -> None:
        self.folder = folder
        self.checkpoints = Checkpoints(folder, SIGNER)
        self.journal = Journal.open(folder, "w0", SIGNER, bounds=bounds or Bounds(segment_bytes=1700))
        self.seal()
        for number in range(14):
            self.add(number)
            if number == 6:
                self.seal()
        self.seal()

    def add(self, number: int) -> None:
        self.journal.append(ENTRY % number)
        self.journal.write()

    def seal(self, *, closed: bool = False) -> None:
        self.checkpoints.add(self.journal.sync(), closed=closed)

    def file(self, segment: int) -> Path:
        return segments_of(self.folder / "w0")[segment - 1].path

    def lines(self, segment: int) -> list[bytes]:
        return self.file(segment).read_bytes().splitlines(keepends=True)

    def write(self, segment: int, lines: list[bytes]) -> None:
        self.file(segment).write_bytes(b"".join(lines))

    def verify(self) -> Report:
        return verify(self.folder, SIGNER.verifier)

    def found(self) -> list[tuple[Trouble, str, int | None, int | None]]:
        return [self.place(problem) for problem in self.verify().problems]

    @staticmethod
    def place(problem: Finding) -> tuple[Trouble, str, int | None, int | None]:
        return problem.trouble, problem.file.name, problem.line, problem.seq


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    made = Trail(tmp_path)
    assert [len(made.lines(number)) for number in (1, 2, 3)] == [6, 6, 5]
    return made


def test_an_untouched_trail_is_content_and_counted(trail: Trail) -> None:
    report = trail.verify()
    assert report.content
    assert report.checkpoints == 3
    (journal,) = report.journals
    assert (journal.segments, journal.lines, journal.sealed_seq, journal.head.seq) == (3, 17, 17, 17)


def test_entries_after_the_last_checkpoint_are_chained_but_not_sealed(trail: Trail) -> None:
    trail.add(99)
    (journal,) = trail.verify().journals
    assert (journal.sealed_seq, journal.head.seq) == (17, 18)


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


def test_a_missing_journal_is_found(trail: Trail) -> None:
    for path in (trail.folder / "w0").iterdir():
        path.unlink()
    (trail.folder / "w0").rmdir()
    assert trail.found() == [(Trouble.MISSING_JOURNAL, "w0", None, None)]


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


def test_missing_checkpoints_are_found(trail: Trail) -> None:
    (trail.folder / "checkpoints.jsonl").unlink()
    assert trail.found() == [(Trouble.MISSING_CHECKPOINTS, "checkpoints.jsonl", None, None)]


def test_another_key_makes_every_signature_bad(trail: Trail) -> None:
    report = verify(trail.folder, STRANGER.verifier)
    assert {problem.trouble for problem in report.problems} >= {Trouble.BAD_SIGNATURE}
    assert not report.content


def test_a_changed_checkpoint_is_named(trail: Trail) -> None:
    path = trail.folder / "checkpoints.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":7'))
    assert (Trouble.BAD_SIGNATURE, "checkpoints.jsonl", 2, None) in trail.found()


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


def test_a_copy_of_the_checkpoints_shows_what_a_matching_cut_of_both_files_hides(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trail")
    copy = tmp_path / "copy.jsonl"
    own = tmp_path / "trail" / "checkpoints.jsonl"
    copy.write_bytes(own.read_bytes())
    own.write_bytes(b"".join(own.read_bytes().splitlines(keepends=True)[:2]))
    trail.file(3).unlink()
    trail.write(2, trail.lines(2)[:4])
    assert trail.found() == []
    report = verify(trail.folder, SIGNER.verifier, checkpoints=copy)
    assert sorted(problem.trouble.value for problem in report.problems) == ["cut tail", "cut tail"]


def dropped_by_retention(trail: Trail) -> None:
    expired = trail.journal.expired()
    assert expired is not None
    trail.journal.append_dropped(expired)
    trail.journal.write()
    trail.seal()
    trail.journal.drop(expired)


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


def test_age_lets_go_of_finished_segments_only(tmp_path: Path) -> None:
    trail = Trail(tmp_path, Bounds(segment_bytes=1700, retain_age=0.0))
    expired = trail.journal.expired()
    assert expired is not None
    assert [each.number for each in expired.segments] == [1, 2]
    assert expired.last.seq == 12


def test_a_segment_too_old_is_finished_before_it_is_full(tmp_path: Path) -> None:
    now = [1_700_000_000.0]
    journal = Journal.open(tmp_path, "w0", SIGNER, bounds=Bounds(segment_age=60.0), clock=lambda: now[0])
    journal.append(ENTRY % 1)
    journal.write()
    now[0] += 61
    journal.append(ENTRY % 2)
    assert journal.write().segment == 2
    journal.close()


def test_a_damaged_end_stops_the_gate_from_writing_on(trail: Trail) -> None:
    trail.journal.close()
    trail.write(3, [*trail.lines(3)[:4], b"what is this?\n"])
    with pytest.raises(TrailDamaged, match="run `narrowgate audit verify`"):
        Journal.open(trail.folder, "w0", SIGNER)


def test_a_checkpoint_of_somebody_else_is_not_carried_on(trail: Trail) -> None:
    with pytest.raises(TrailDamaged, match="not signed with this gate's key"):
        Checkpoints(trail.folder, STRANGER).add(trail.journal.head)


@pytest.mark.parametrize("text", ["my shopping list\n", "milk", "bread\nmilk"])
def test_a_copy_that_is_no_file_of_checkpoints_is_not_written_to(trail: Trail, tmp_path: Path, text: str) -> None:
    copy = tmp_path / "notes.txt"
    copy.write_text(text)
    with pytest.raises(TrailDamaged, match=r"notes\.txt: the last line is no checkpoint"):
        Checkpoints(trail.folder, SIGNER, copy_to=copy).add(trail.journal.head)
    assert copy.read_text() == text


def test_a_copy_begun_late_gets_all_that_is_there(trail: Trail, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    Checkpoints(trail.folder, SIGNER, copy_to=copy).add(trail.journal.head)
    assert copy.read_bytes() == (trail.folder / "checkpoints.jsonl").read_bytes()


def test_progress_ends_with_everything_read(trail: Trail) -> None:
    told: list[tuple[int, int]] = []
    report = verify(trail.folder, SIGNER.verifier, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (report.bytes, report.bytes)


@pytest.mark.parametrize("is_there", [True, False])
def test_no_trail_is_said_in_a_sentence(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "trail").mkdir()
    with pytest.raises(NoTrail, match="give the data folder of a gate"):
        verify(tmp_path / "trail", SIGNER.verifier)


@pytest.mark.parametrize("entry", [b"", b"[]", b'{"a":\n1}', b"{" + b"x" * (5 * 1024 * 1024) + b"}"])
def test_what_is_no_single_line_is_not_taken(trail: Trail, entry: bytes) -> None:
    with pytest.raises(ValueError, match="one JSON object without a line break"):
        trail.journal.append(entry)


@pytest.mark.parametrize("name", ["", "..", "W0", "a/b", "x" * 64])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a journal"):
        Journal.open(tmp_path, name, SIGNER)
