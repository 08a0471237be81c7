"""How a journal is written: segments, retention, what it takes and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.trail.sealed import ENTRY, SIGNER, Trail

from narrowgate.trail.journal import Bounds, Journal, TrailDamaged


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


@pytest.mark.parametrize("entry", [b"", b"[]", b'{"a":\n1}', b"{" + b"x" * (5 * 1024 * 1024) + b"}"])
def test_what_is_no_single_line_is_not_taken(trail: Trail, entry: bytes) -> None:
    with pytest.raises(ValueError, match="one JSON object without a line break"):
        trail.journal.append(entry)


@pytest.mark.parametrize("name", ["", "..", "W0", "a/b", "x" * 64])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a journal"):
        Journal.open(tmp_path, name, SIGNER)
