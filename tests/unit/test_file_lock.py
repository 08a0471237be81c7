"""Locks between processes: who gets one, who waits, and that none outlives its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from narrowgate.file_lock import FOR_EVER, held, is_taken, shared, take

PATIENCE = 30.0
"""Seconds; far more than a loaded machine needs to end a process."""

HOLDER = """
import sys
from narrowgate.file_lock import take
taken = take(sys.argv[1])
print("held" if taken is not None else "refused", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_lock_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(path):
        assert take(path) is None
        assert is_taken(path)
        with held(path, wait=0.1) as is_held:
            assert not is_held
    with held(path, wait=PATIENCE) as is_held:
        assert is_held


def test_a_lock_ends_with_its_process_even_where_that_is_killed_while_somebody_waits(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(path) as holder:
        assert take(path) is None
        os.kill(holder.pid, signal.SIGKILL)
        lock = take(path, wait=PATIENCE)
        assert lock is not None
        os.close(lock)


def test_whoever_waits_for_ever_gets_it_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with another_process(path) as holder:
        assert holder.stdin is not None
        holder.stdin.close()
        with held(path, FOR_EVER) as is_held:
            assert is_held


def test_who_only_reads_keeps_others_out_but_not_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path):
        pass
    with shared(path), shared(path):
        assert take(path) is None
        assert not is_taken(path)
    with held(path) as is_held:
        assert is_held


def test_a_lock_that_nobody_ever_took_is_free_and_is_not_made_by_looking(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_taken(path)
    with shared(path):
        assert not path.exists()
    with held(path) as is_held:
        assert is_held
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_where_no_file_can_be_is_told_and_not_taken_for_free(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.write_text("")
    with pytest.raises(NotADirectoryError):
        take(plain / "lock")
    with pytest.raises(IsADirectoryError), held(tmp_path):
        pytest.fail("a folder was taken for a lock")
