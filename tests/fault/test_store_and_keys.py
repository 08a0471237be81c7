"""The disk says no: what the store and the keys answer then, and that nothing is half done."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from narrowgate.core.agent import AgentRecord
from narrowgate.keys import Keys
from narrowgate.store.port import StoreUnavailable
from narrowgate.store.sqlite import SQLiteStore

PROGRAM_SECONDS = 60

AN_AGENT = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="x" * 20_000,
    cluster="prod",
    credential_id="id",
    credential_hash=b"h" * 32,
    created_at=0.0,
    expires_at=1.0,
)


def with_full_disk(program: str, *arguments: str, limit: int) -> subprocess.CompletedProcess[str]:
    """Run `program` where no file can grow beyond `limit` bytes: writes fail as on a full disk, root's too."""
    preamble = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    return subprocess.run(
        [sys.executable, "-c", preamble + program, *arguments], capture_output=True, text=True, timeout=PROGRAM_SECONDS
    )


def test_on_a_full_disk_a_change_is_refused_and_the_store_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    with closing(SQLiteStore(path)) as store:
        store.add_revision([("a.yaml", "old")], by="a", at=1.0)
    size = path.stat().st_size
    program = (
        "import sys; from pathlib import Path; from narrowgate.store.sqlite import SQLiteStore;"
        "from narrowgate.store.port import StoreUnavailable;"
        "s = SQLiteStore(Path(sys.argv[1]))\n"
        "try: s.add_revision([('a.yaml', 'x' * 500_000)], by='a', at=2.0)\n"
        "except StoreUnavailable as error: print(error); print(s.revision().files)"
    )
    done = with_full_disk(program, str(path), limit=size + 40_000)
    assert done.returncode == 0, done.stderr
    told, seen = done.stdout.splitlines()
    assert told.startswith(f"{path}: the store cannot be used: ")
    assert seen == "(('a.yaml', 'old'),)"
    with closing(SQLiteStore(path)) as store:
        assert store.revision().files == (("a.yaml", "old"),)
        assert len(store.changes()) == 1


def test_on_a_full_disk_no_key_is_left_half_written(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from narrowgate.keys import Keys, KeysUnusable\n"
        "try: Keys.load_or_make(Path(sys.argv[1]))\n"
        "except KeysUnusable as error: print(error)"
    )
    done = with_full_disk(program, str(tmp_path / "data"), limit=100)
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert "make room" in done.stdout
    assert [path.name for path in (tmp_path / "data" / "keys").iterdir()] == [".lock"]
    assert Keys.load_or_make(tmp_path / "data").ca_pem


def test_a_store_that_another_process_holds_locked_is_given_up_in_time_and_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"locked; another process holds it"):
            store.add_agent(AN_AGENT, by="a", at=1.0)
        assert store.agents() == (), "readers never wait for a writer"
        other.execute("ROLLBACK")
        store.add_agent(AN_AGENT, by="a", at=1.0)
        assert store.agents() == (AN_AGENT,)


def test_a_store_killed_in_the_middle_of_writing_has_every_acknowledged_change(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    program = (
        "import sys; from pathlib import Path; from narrowgate.store.sqlite import SQLiteStore;"
        "s = SQLiteStore(Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    n += 1; s.add_revision([('a.yaml', str(n))], by='a', at=1.0); print(n, flush=True)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) == 20:
            writer.kill()
            break
    acknowledged = max([20, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.stdout.close()
    writer.wait(timeout=PROGRAM_SECONDS)
    with closing(SQLiteStore(path)) as store:
        assert store.revision().number >= acknowledged
        assert store.revision(acknowledged).files == (("a.yaml", str(acknowledged)),)
        assert [change.subject for change in store.changes(1)] == [str(store.revision().number)]


def test_a_damaged_database_is_refused_and_not_repaired_by_guessing(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    with closing(SQLiteStore(path)) as store:
        for number in range(50):
            store.add_revision([("a.yaml", f"{number}" * 1000)], by="a", at=1.0)
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with (
        pytest.raises(StoreUnavailable, match=r"gate\.db: the store cannot be used"),
        closing(SQLiteStore(path)) as store,
    ):
        store.revision()
    assert path.read_bytes() == content
