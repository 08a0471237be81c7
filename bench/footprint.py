"""What a program uses, from the kernel's own accounts: processor time and memory of it and of all it started."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Linux: CPUCLOCK_SCHED, the clock of a whole process, in the low bits of a clock id; see clock_getcpuclockid(3).
_PROCESS_CLOCK = 2
_KIB = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes. `shared_out` (PSS) counts pages that several processes share once in all; `resident` (RSS) in each."""

    resident: int
    shared_out: int
    peak_resident: int


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += _children(one)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time, user and system, of these processes since they began, to the nanosecond.

    /proc/<pid>/stat would count in hundredths of a second, too coarse for a run of a few seconds.
    """
    return sum(time.clock_gettime_ns((~pid << 3) | _PROCESS_CLOCK) for pid in pids) / 1e9


def memory(pids: Iterable[int]) -> Memory:
    """Memory of these processes now, and at most since `forget_peak`."""
    resident = shared_out = peak = 0
    for pid in pids:
        status = _table(Path(f"/proc/{pid}/status"))
        resident += status["VmRSS"]
        peak += status["VmHWM"]
        shared_out += _table(Path(f"/proc/{pid}/smaps_rollup"))["Pss"]
    return Memory(resident, shared_out, peak)


def forget_peak(pids: Iterable[int]) -> None:
    """Begins VmHWM anew at the present size (proc(5): 5 written to clear_refs)."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _children(pid: int) -> list[int]:
    lists = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for text in lists for child in text.split()]


def _table(path: Path) -> dict[str, int]:
    """The lines `Name:   123 kB` of a file under /proc, in bytes."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) * _KIB
    return found
