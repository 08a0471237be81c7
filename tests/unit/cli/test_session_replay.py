"""`narrowgate sessions replay` into a file: nothing is waited for, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.recorded_sessions import header
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate

from narrowgate.core.recording import Ended, Entry
from narrowgate.core.stream_events import Channel, ChannelData

BINARY = bytes(range(256)) * 300


def test_a_terminal_is_played_as_it_was(recorded: SessionGate) -> None:
    assert recorded.sessions("replay", FIRST) == (0, "$ ls\r\nREADME\r\n", "")


def test_what_runs_is_played_as_far_as_it_is(recorded: SessionGate) -> None:
    assert recorded.sessions("replay", RUNNING) == (0, "$ ", "")


def test_a_session_without_a_terminal_is_a_timeline(recorded: SessionGate) -> None:
    code, out, _ = recorded.sessions("replay", SECOND)
    assert (code, out.splitlines()[1].split(maxsplit=2)) == (0, ["0.000", "-", "connection 1 to port 5432"])


def test_a_terminal_is_a_timeline_where_that_is_asked_for(recorded: SessionGate) -> None:
    _, out, _ = recorded.sessions("replay", FIRST, "--timeline", "--from", "1.55s")
    assert [line.split(maxsplit=2)[1:] for line in out.splitlines()] == [
        ["out", "ls"], ["out", "README"], ["-", "exit code 0"], ["-", "end: the process ended"],
    ]  # fmt: skip


def test_it_begins_where_the_output_holds_a_text(recorded: SessionGate) -> None:
    code, out, err = recorded.sessions("replay", FIRST, "--timeline", "--search", "readme")
    assert (code, err) == (0, "found at 1.6s\n")
    assert out.startswith("     1.600  out  ls\n")
    code, out, err = recorded.sessions("replay", FIRST, "--search", "nowhere")
    assert (code, out) == (1, "")
    assert 'the output does not hold "nowhere"' in err


def test_the_bytes_of_a_channel_are_what_they_were(recorded: SessionGate) -> None:
    of = msgspec.structs.replace(header(), tty=False)
    entries = [
        Entry(1, ChannelData(Channel.STDOUT, BINARY[:70_000])),
        Entry(2, ChannelData(Channel.STDERR, b"warning\n")),
        Entry(3, ChannelData(Channel.STDOUT, BINARY[70_000:])),
        Entry(4, Ended("done")),
    ]
    recorded.record("eeee", entries, of)
    for channel, expected in (("stdout", BINARY), ("stderr", b"warning\n"), ("stdin", b"")):
        command = [sys.executable, "-m", "narrowgate.cli", "sessions", "replay", "eeee", "--raw", channel]
        done = subprocess.run([*command, "--config", str(recorded.config)], capture_output=True, check=True)
        assert done.stdout == expected


@pytest.mark.parametrize(
    "arguments", [("--speed", "-1"), ("--speed", "nan"), ("--idle", "soon"), ("--from", "-3s"), ("--raw", "nothing")]
)
def test_what_makes_no_sense_is_misuse(recorded: SessionGate, arguments: tuple[str, str]) -> None:
    assert recorded.sessions("replay", FIRST, *arguments)[0] == 2


def test_a_damaged_recording_is_played_to_where_it_is_damaged_and_that_is_said(recorded: SessionGate) -> None:
    path = recorded.data / "recordings" / "2026-11-18" / f"{FIRST}.recording"
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(bytes(content))
    code, _, err = recorded.sessions("replay", FIRST)
    assert code == 1
    assert str(path) in err


def test_an_encrypted_one_needs_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = SessionGate(tmp_path, capsys, encrypted=True)
    gate.record(FIRST)
    assert gate.sessions("replay", FIRST)[1] == "$ ls\r\nREADME\r\n"
    gate.configure(encrypted=False)
    code, out, err = gate.sessions("replay", FIRST)
    assert (code, out, "key" in err) == (1, "", True)
    gate.close()
