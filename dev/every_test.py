#!/usr/bin/env python3
"""Runs every test, as `make test` and CI do; what its company upset gets a second look, alone and by name.

Thousands of tests share one machine with a real cluster, browsers and gates that are killed. One that fails among them
and passes alone says something about its company: it is printed, and it is a fault to mend, but no reason to distrust
the commit. Laws and values have no such company: they fail once and for all (docs/decisions/0050).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LAST_FAILED = REPOSITORY / ".pytest_cache" / "v" / "cache" / "lastfailed"
TIERS = ("unit", "property", "house", "contract", "fault", "e2e")
IN_COMPANY = ("tests/contract/", "tests/fault/", "tests/e2e/")
SLOWEST = 30
"""Tests whose times are printed: a run that grows is cut down from there."""
MOST = 5
"""Tests that get a second look; where more fail, it is not the company."""
FAILED = 1
"""pytest's exit code where tests ran and some failed."""


def run(*arguments: str) -> int:
    """The exit code of one session of pytest; Hypothesis tries the same examples whoever runs it."""
    command = [sys.executable, "-m", "pytest", "--hypothesis-profile=ci", f"--durations={SLOWEST}", *arguments]
    return subprocess.run(command, cwd=REPOSITORY).returncode


def main() -> int:
    """The exit code: 0 where each test passed, at once or alone."""
    code = run(*(f"tests/{tier}" for tier in TIERS))
    if code != FAILED:
        return code
    # Where what failed is no test, but the end of the session, say, there is nothing to look at again.
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.is_file() else []
    if not failed or len(failed) > MOST or not all(each.startswith(IN_COMPANY) for each in failed):
        return code
    print(f"\n{len(failed)} failed in company; once more, alone:", *failed, sep="\n  ", flush=True)
    code = run(*failed)
    if code == 0:
        print("\npassed alone, and to be looked at, since each fails among others:", *failed, sep="\n  ", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
