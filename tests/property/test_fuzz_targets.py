"""The fuzz targets themselves: each runs as a file from anywhere, tells its seed, and a finding is not passed over."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
TARGETS = sorted(path.stem for path in FUZZ.glob("fuzz_*.py"))
PATIENCE = 300.0
"""Seconds; a target starts in one or two, and tries twenty inputs in less."""

FINDING = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from tests.fuzz.driver import fuzz

def check(source, made):
    if made > 90:
        raise ValueError("more than ninety")
    return "few" if made < 50 else "many"

sys.exit(fuzz(None, "numbers", lambda source: source.randrange(100), check))
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    ran = [sys.executable, *command]
    return subprocess.run(ran, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_as_a_file_and_counts_what_it_has_tried(target: str, tmp_path: Path) -> None:
    command = (str(FUZZ / f"{target}.py"), "--tries", "20", "--seconds", str(PATIENCE), "--seed", "7")
    done = run(*command, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"seed 7\nseed 7: 20 [a-z ]+, \d+ .+\n", done.stdout), done.stdout


def test_a_finding_is_told_with_its_seed_and_its_input_and_can_be_had_again(tmp_path: Path) -> None:
    script = tmp_path / "target.py"
    script.write_text(FINDING)
    command = (str(script), str(FUZZ.parents[1]), "--seconds", str(PATIENCE), "--seed", "11")
    first, second = run(*command, folder=tmp_path), run(*command, folder=tmp_path)
    assert first.returncode == 1
    assert re.search(r"^seed 11, try \d+: 9\d$", first.stderr, flags=re.MULTILINE)
    assert "ValueError: more than ninety" in first.stderr
    assert second.stderr == first.stderr


def test_no_time_is_no_try(tmp_path: Path) -> None:
    script = tmp_path / "target.py"
    script.write_text(FINDING)
    done = run(str(script), str(FUZZ.parents[1]), "--seconds", "0", "--seed", "11", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "seed 11\nseed 11: 0 numbers, \n")
