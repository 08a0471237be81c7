from __future__ import annotations

from pathlib import Path

from narrowgate.trail.findings import Finding, Trouble


def test_a_finding_reads_as_place_trouble_and_what_was_seen() -> None:
    assert (
        str(Finding(Trouble.EDITED, Path("w0/00000001.jsonl"), 4, 12, "its hash is another"))
        == "w0/00000001.jsonl, line 4 (entry 12): edited: its hash is another"
    )
    assert str(Finding(Trouble.MISSING_JOURNAL, Path("w1"), None, None, "gone")) == "w1: missing journal: gone"
