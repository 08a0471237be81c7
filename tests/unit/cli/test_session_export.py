"""`narrowgate sessions export`: each form holds what the recording does, and a file is there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.recorded_sessions import a_session, header
from tests.unit.cli.session_gate import FIRST, SECOND, SessionGate

from narrowgate.core.recording import Entry
from narrowgate.core.recording_lines import entry_of


def exported(gate: SessionGate, form: str, *more: str) -> str:
    code, out, err = gate.sessions("export", FIRST, "--as", form, *more)
    assert (code, err) == (0, "")
    return out


def test_lines_of_json_hold_everything(recorded: SessionGate) -> None:
    entries = [entry_of(line.encode()) for line in exported(recorded, "jsonl").splitlines()]
    assert entries == [Entry(0, header()), *a_session()]


def test_asciicasts_are_of_the_version_that_was_asked_for_and_hold_input_only_on_demand(recorded: SessionGate) -> None:
    for form, version in (("asciicast", 2), ("asciicast-v3", 3)):
        head, *events = map(json.loads, exported(recorded, form).splitlines())
        assert head["version"] == version
        assert "i" not in {event[1] for event in events}
        assert ["i", "ls\r"] in [
            json.loads(line)[1:] for line in exported(recorded, form, "--with-input").splitlines()[1:]
        ]


def test_a_file_is_for_its_owner_and_there_whole_or_not_at_all(recorded: SessionGate, tmp_path: Path) -> None:
    file = tmp_path / "out" / "session.html"
    file.parent.mkdir()
    code, out, err = recorded.sessions("export", FIRST, "--as", "html", "-o", str(file))
    assert (code, out, err) == (0, "", f"wrote {file}\n")
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    damaged = recorded.data / "recordings" / "2026-11-18" / f"{FIRST}.recording"
    content = bytearray(damaged.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    damaged.write_bytes(bytes(content))
    for form in ("html", "jsonl", "asciicast"):
        code, _, err = recorded.sessions("export", FIRST, "--as", form, "-o", str(file))
        assert (code, str(damaged) in err) == (1, True)
    assert [each.name for each in file.parent.iterdir()] == ["session.html"]
    assert file.read_bytes() == before


def test_forwarded_ports_become_a_page_without_a_screen(recorded: SessionGate) -> None:
    code, out, _ = recorded.sessions("export", SECOND, "--as", "html")
    assert (code, '"tty":false' in out, "connection 1 to port 5432" in out) == (0, True, True)


@pytest.mark.parametrize(
    "arguments", [("--as", "pdf"), (), ("--as", "html", "--with-input"), ("--as", "jsonl", "--with-input")]
)
def test_what_makes_no_sense_is_misuse(recorded: SessionGate, arguments: tuple[str, ...]) -> None:
    assert recorded.sessions("export", FIRST, *arguments)[0] == 2


def test_a_folder_that_is_not_there_is_named(recorded: SessionGate, tmp_path: Path) -> None:
    code, _, err = recorded.sessions("export", FIRST, "--as", "jsonl", "-o", str(tmp_path / "nowhere" / "x"))
    assert (code, "nowhere" in err) == (1, True)
