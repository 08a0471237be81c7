"""A gate that is killed while it writes: what it said is recorded is there, and the journal still proves itself."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.fault.trail_load import PEM, PRIVATE

from narrowgate.trail.journal import Journal, JournalInUse
from narrowgate.trail.read import events
from narrowgate.trail.segments import segments_of
from narrowgate.trail.signing import Signer, Verifier
from narrowgate.trail.verify import verify

ROUNDS = 20
LOOKS = 30


def killed_under_load(folder: Path, start: int, acknowledgements: int) -> set[int]:
    """Run the load, kill it after so many acknowledgements, and return the numbers of all that it gave."""
    program = [sys.executable, "tests/fault/trail_load.py", str(folder), "w0", str(start)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        said += process.stdout.readlines()
    return {int(line.split()[1]) for line in said if line.endswith(b"\n")}


def received(folder: Path) -> set[int]:
    entries = [msgspec.json.decode(line.event) for line in events(folder)]
    return {int(entry["auditID"]) for entry in entries if entry["stage"] == "RequestReceived"}


def test_every_acknowledged_entry_survives_twenty_kills(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    chance = random.Random(8443)
    for number in range(ROUNDS):
        acknowledged |= killed_under_load(tmp_path, number * 10**7, chance.randint(1, 3000))
        report = verify(tmp_path, Verifier.from_pem(PEM))
        assert report.content, [str(problem) for problem in report.problems]
    assert len(acknowledged) > ROUNDS
    assert acknowledged <= received(tmp_path)


def test_verify_is_content_beside_writers_that_rotate_and_seal(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    program = [sys.executable, "tests/fault/trail_load.py", str(tmp_path)]
    with (
        subprocess.Popen([*program, "w0", "0"], stdout=subprocess.PIPE, cwd=root) as one,
        subprocess.Popen([*program, "w1", "1"], stdout=subprocess.PIPE, cwd=root) as two,
    ):
        for number in range(LOOKS):
            for process in (one, two):
                # The pipe holds the writers back, so that they are never far ahead and always in the middle of things.
                assert process.stdout is not None
                assert all(process.stdout.readline() for _ in range(400))
            report = verify(tmp_path, Verifier.from_pem(PEM))
            assert report.content, [str(problem) for problem in report.problems]
            assert sum(journal.lines for journal in report.journals) > number * 400
        one.kill()
        two.kill()


@pytest.mark.parametrize("kept", [1, 7, 80, 150])
def test_a_torn_last_line_is_set_aside_and_said(tmp_path: Path, kept: int) -> None:
    signer = Signer(PRIVATE)
    journal = Journal.open(tmp_path, "w0", signer)
    journal.append(b'{"auditID":"whole"}')
    journal.append(b'{"auditID":"torn away","and":"some more text, so that there is enough of it to be cut"}')
    journal.write()
    journal.close()
    (segment,) = segments_of(tmp_path / "w0")
    whole, torn = segment.path.read_bytes().splitlines(keepends=True)[:2], None
    torn = segment.path.read_bytes().splitlines(keepends=True)[2][:kept]
    segment.path.write_bytes(b"".join(whole) + torn)

    again = Journal.open(tmp_path, "w0", signer)
    again.append(b'{"auditID":"after"}')
    again.write()

    side = [path for path in (tmp_path / "w0").iterdir() if ".torn-" in path.name]
    assert [path.read_bytes() for path in side] == [torn]
    lines = b"".join(each.path.read_bytes() for each in segments_of(tmp_path / "w0"))
    assert b'"recovered":{"segment":1' in lines
    assert [msgspec.json.decode(line.event)["auditID"] for line in events(tmp_path)] == ["whole", "after"]
    again.close()


def test_a_crash_before_the_first_line_of_a_segment_leaves_no_gap(tmp_path: Path) -> None:
    signer = Signer(PRIVATE)
    Journal.open(tmp_path, "w0", signer).close()
    (tmp_path / "w0" / "00000002.jsonl").write_bytes(b'{"seq":2,"pr')

    journal = Journal.open(tmp_path, "w0", signer)

    assert [each.number for each in segments_of(tmp_path / "w0")] == [1, 2]
    assert journal.head.seq == 3
    journal.close()


def test_a_second_writer_is_told_who_has_the_journal(tmp_path: Path) -> None:
    first = Journal.open(tmp_path, "w0", Signer(PRIVATE))
    with pytest.raises(JournalInUse, match=r"written by another process \(pid \d+\)"):
        Journal.open(tmp_path, "w0", Signer(PRIVATE))
    first.close()
    Journal.open(tmp_path, "w0", Signer(PRIVATE)).close()
