"""A process that starts while the one before it is just ending: it waits for the files, and is refused after that."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.recordings.spool import Spool, SpoolInUse
from narrowgate.trail.journal import Journal, JournalInUse
from narrowgate.trail.signing import Signer

PRIVATE = Ed25519PrivateKey.generate()
PATIENCE = 60.0
"""Seconds; far more than a loaded machine needs to end a process."""
A_MOMENT = 0.3
"""Seconds that somebody is waited for who does not end."""

GATE = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from narrowgate.recordings.spool import Spool
from narrowgate.trail.journal import Journal
from narrowgate.trail.signing import Signer
root = Path(sys.argv[1])
journal = Journal.open(root / "trail", "gate-0", Signer(Ed25519PrivateKey.generate()))
spool = Spool.open(root / "spool", "gate-0", ())
print("serving", flush=True)
sys.stdin.read()
"""


@contextmanager
def gate_before(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes a journal and a spool until it is killed."""
    command = [sys.executable, "-c", GATE, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as before:
        assert before.stdout is not None
        assert before.stdout.readline() == "serving\n"
        try:
            yield before
        finally:
            before.kill()


def test_what_a_killed_process_still_holds_is_waited_for_and_taken_over(tmp_path: Path) -> None:
    opened = []

    def start() -> None:
        journal = Journal.open(tmp_path / "trail", "gate-0", Signer(PRIVATE), wait=PATIENCE)
        spool = Spool.open(tmp_path / "spool", "gate-0", (), wait=PATIENCE)
        opened.append((journal, spool))

    with gate_before(tmp_path) as before:
        starting = threading.Thread(target=start)
        starting.start()
        # It cannot get anywhere before the other one is gone.
        starting.join(A_MOMENT)
        assert starting.is_alive()
        before.kill()
        starting.join(PATIENCE)
        ((journal, spool),) = opened
    assert journal.head.segment == 2
    journal.close()
    spool.close()


def test_a_process_that_does_not_end_keeps_its_journal(tmp_path: Path) -> None:
    with (
        gate_before(tmp_path) as before,
        pytest.raises(JournalInUse, match=rf"written by another process \(pid {before.pid}\)"),
    ):
        Journal.open(tmp_path / "trail", "gate-0", Signer(PRIVATE), wait=A_MOMENT)


def test_a_process_that_does_not_end_keeps_its_spool(tmp_path: Path) -> None:
    with gate_before(tmp_path), pytest.raises(SpoolInUse, match="another process records here"):
        Spool.open(tmp_path / "spool", "gate-0", (), wait=A_MOMENT)
