"""What every fuzz target does: try for a time from a seed, count what came of it, tell a finding so that it can be had
again.

    python tests/fuzz/fuzz_target.py --seconds 60 [--seed 7] [--tries 100]

A target says how an input is made and what must hold of it. What raises anything is a finding: exit status 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

SECONDS = 20.0
"""How long a target runs where nobody says."""

Made = TypeVar("Made")


def fuzz(
    about: str | None,
    counted: str,
    make: Callable[[random.Random], Made],
    check: Callable[[random.Random, Made], str | tuple[str, ...]],
) -> int:
    """Try until the time is over, or as often as the command line says; 1 where something was found.

    `about` is the target's docstring, `counted` what its inputs are called. `check` says in a word or two what became
    of one, for the count, or of several parts of it. The same seed makes the same inputs, whatever else is going on.
    """
    asked = _asked(about)
    sys.stdout.write(f"seed {asked.seed}\n")
    sys.stdout.flush()
    source = random.Random(asked.seed)
    seen: Counter[str] = Counter()
    tries, until = 0, time.monotonic() + asked.seconds
    while time.monotonic() < until and (asked.tries is None or tries < asked.tries):
        made = make(source)
        try:
            outcome = check(source, made)
        except Exception:  # noqa: BLE001 - whatever was not expected is what is looked for
            sys.stderr.write(f"seed {asked.seed}, try {tries}: {made!r}\n{traceback.format_exc()}")
            return 1
        seen.update((outcome,) if isinstance(outcome, str) else outcome)
        tries += 1
    counts = ", ".join(f"{count} {what}" for what, count in seen.most_common())
    sys.stdout.write(f"seed {asked.seed}: {tries} {counted}, {counts}\n")
    return 0


def _asked(about: str | None) -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments.add_argument("--tries", type=int, default=None)
    return arguments.parse_args()
