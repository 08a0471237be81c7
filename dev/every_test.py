#!/usr/bin/env python3
"""Runs every test, as `make test` and CI do; what its company upset gets a second look, alone and by name.

Thousands of tests share one machine with a real cluster, browsers and gates that are killed. One that fails among them
and passes alone says something about its company: it is printed, and it is a fault to mend, but no reason to distrust
the commit. Laws and values have no such company: they fail once and for all (docs/decisions/0050). They run beside the
others, which mostly wait for a cluster; what they have said is printed behind.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LAST_FAILED = REPOSITORY / ".pytest_cache" / "v" / "cache" / "lastfailed"
BY_THEMSELVES = ("tests/unit", "tests/property", "tests/house")
IN_COMPANY = ("tests/contract", "tests/fault", "tests/e2e")
SLOWEST = 30
"""Tests whose times are printed: a run that grows is cut down from there."""
MOST = 5
"""Tests that get a second look; where more fail, it is not the company."""
FAILED = 1
"""pytest's exit code where tests ran and some failed."""


def pytest(*arguments: str) -> list[str]:
    """One session of pytest as a command; Hypothesis tries the same examples whoever runs it."""
    return [sys.executable, "-m", "pytest", "--hypothesis-profile=ci", f"--durations={SLOWEST}", *arguments]


def main() -> int:
    """The exit code: 0 where each test passed, at once or, where it has company, alone."""
    with tempfile.TemporaryFile() as said:
        # What failed last is for the others to write down.
        quiet = pytest("-p", "no:cacheprovider", *BY_THEMSELVES)
        beside = subprocess.Popen(quiet, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            code = in_company()
        finally:
            beside_code = beside.wait()
            said.seek(0)
            print(
                f"\nmeanwhile, {', '.join(BY_THEMSELVES)}:", said.read().decode(errors="replace"), sep="\n", flush=True
            )
    return code or beside_code


def in_company() -> int:
    """The exit code of what runs with a real cluster, second look included."""
    code = subprocess.run(pytest(*IN_COMPANY), cwd=REPOSITORY).returncode
    if code != FAILED:
        return code
    # Where what failed is no test, but the end of the session, say, there is nothing to look at again.
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.is_file() else []
    failed = [each for each in failed if each.startswith(IN_COMPANY)]
    if not failed or len(failed) > MOST:
        return code
    print(f"\n{len(failed)} failed in company; once more, alone:", *failed, sep="\n  ", flush=True)
    code = subprocess.run(pytest(*failed), cwd=REPOSITORY).returncode
    if code == 0:
        print("\npassed alone, and to be looked at, since each fails among others:", *failed, sep="\n  ", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
