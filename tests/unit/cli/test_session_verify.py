"""`narrowgate sessions verify`: every recording against the record, and what is wrong in a clear list."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.recorded_sessions import a_session, header
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate

from narrowgate.cli.session_place import opened_place
from narrowgate.cli.session_verify import Check
from narrowgate.recordings.verification import Fault, Found, Wrong

DAY = "2026-11-18"


def path_of(gate: SessionGate, session: str) -> Path:
    return gate.data / "recordings" / DAY / f"{session}.recording"


def verified(gate: SessionGate, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = gate.sessions("verify", *arguments, "-o", "json")
    return code, json.loads(out)


def faults(gate: SessionGate, *arguments: str) -> dict[str, str]:
    code, found = verified(gate, *arguments)
    assert (code, found["content"]) == ((1, False) if found["problems"] else (0, True))
    return {one["session"]: one["fault"] for one in found["problems"]}


def test_what_is_as_it_was_written_is_said_to_be(recorded: SessionGate) -> None:
    code, out, err = recorded.sessions("verify", "--all")
    assert (code, out, err) == (0, "content: 3 recordings, 5 blocks, 4 of them vouched for by the record\n", "")
    code, found = verified(recorded, FIRST, SECOND[:4] + "0000")
    assert (code, found["recordings"], found["unfinished"], found["problems"]) == (0, 2, 0, [])


def test_each_fault_is_named_with_its_session(recorded: SessionGate) -> None:
    names = ["changed", "shortened", "swapped", "other", "missing"]
    for name in names:
        recorded.record(name)
    content = bytearray(path_of(recorded, "changed").read_bytes())
    content[-60] ^= 1
    path_of(recorded, "changed").write_bytes(bytes(content))
    path_of(recorded, "shortened").write_bytes(path_of(recorded, "shortened").read_bytes()[:-40])
    path_of(recorded, "swapped").write_bytes(path_of(recorded, "other").read_bytes())
    path_of(recorded, "missing").unlink()
    live = recorded.begin("planted")
    live.write(a_session())
    live.finish()
    expected = {name: name for name in ("changed", "shortened", "swapped", "missing")} | {"planted": "unvouched"}
    assert faults(recorded, "--all") == expected
    code, out, _ = recorded.sessions("verify", "--all")
    lines = out.splitlines()
    assert (code, lines[-1].startswith("NOT CONTENT: 5 of 9 recordings")) == (1, True)
    assert {line.split()[1]: line.split()[0].lower() for line in lines[:-1]} == expected
    assert faults(recorded, FIRST, "missing", "other") == {"missing": "missing"}
    assert faults(recorded, FIRST, "other") == {}


def test_what_began_while_the_record_was_read_is_held_against_what_it_says_now(recorded: SessionGate) -> None:
    began = time.time() - 5
    path = recorded.record("later", of=msgspec.structs.replace(header(), began=int(began * 1_000_000)))
    check = Check(opened_place(str(recorded.config)), {}, began)
    later = check.result(f"{path.parent.name}/later.recording")
    assert isinstance(later, Found)
    assert later.vouched == later.blocks
    first = check.result(f"{DAY}/{FIRST}.recording")
    assert isinstance(first, Wrong)
    assert first.fault is Fault.UNVOUCHED


def test_what_retention_may_have_let_go_is_counted_and_not_held_against_anybody(recorded: SessionGate) -> None:
    path_of(recorded, FIRST).unlink()
    assert faults(recorded, "--all") == {FIRST: "missing"}
    recorded.configure(encrypted=False, retention={"recordings": "1s"})
    code, found = verified(recorded, "--all")
    assert (code, found["letGo"], found["problems"]) == (0, 1, [])


def test_without_their_key_recordings_are_not_said_to_be_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = SessionGate(tmp_path, capsys, encrypted=True)
    gate.record(FIRST)
    assert faults(gate, "--all") == {}
    gate.configure(encrypted=False)
    assert faults(gate, "--all") == {FIRST: "unreadable"}
    gate.close()


def test_what_a_killed_gate_left_is_no_damage(recorded: SessionGate) -> None:
    recorded.spool.close()
    assert faults(recorded, "--all") == {}
    assert faults(recorded, RUNNING) == {}
    recorded.reopen()


def test_sessions_are_named_or_all_are_meant(recorded: SessionGate) -> None:
    assert recorded.sessions("verify")[0] == 2
    assert recorded.sessions("verify", FIRST, "--all")[0] == 2
    assert recorded.sessions("verify", "nope")[0] == 1


def test_a_gate_without_recordings_is_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = SessionGate(tmp_path, capsys)
    assert faults(gate, "--all") == {}
    gate.close()
