"""`narrowgate sessions list`: what runs and what is kept, newest first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.session_gate import FIRST, RUNNING, SECOND, SessionGate


def listed(gate: SessionGate, *arguments: str) -> list[str]:
    code, out, _ = gate.sessions("list", "-o", "json", *arguments)
    assert code == 0
    return [one["session"] for one in json.loads(out)]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), [RUNNING, SECOND, FIRST]),
        (("--who", "ci"), [RUNNING, FIRST]),
        (("--who", "person:alice"), [RUNNING, FIRST]),
        (("--who", "bob"), [SECOND]),
        (("--who", "c"), []),
        (("--cluster", "dev"), [SECOND]),
        (("-n", "shop"), [SECOND]),
        (("--pod", "web-0"), [RUNNING, FIRST]),
        (("--kind", "portForward"), [SECOND]),
        (("--live",), [RUNNING]),
        (("--live", "--cluster", "dev"), []),
        (("--since", "2026-11-18T11:07:00Z"), [RUNNING, SECOND]),
        (("--since", "2026-11-19T11:07:00Z"), []),
        (("--limit", "1"), [RUNNING]),
        (("--limit", "0"), [RUNNING, SECOND, FIRST]),
    ],
)
def test_sessions_are_found_by(recorded: SessionGate, arguments: tuple[str, ...], found: list[str]) -> None:
    assert listed(recorded, *arguments) == found


def test_the_table_says_who_did_what_where_and_how_it_ended(recorded: SessionGate) -> None:
    code, out, err = recorded.sessions("list")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == ["ID", "BEGAN", "LENGTH", "WHO", "KIND", "CLUSTER", "POD", "COMMAND", "END", "HOLD"]
    assert lines[1][-1] == "LIVE"
    assert lines[3] == [
        FIRST, "2026-11-18T11:06:40Z", "1.7s", "agent:ci", "exec", "prod", "ci/web-0", "sh", "-c", "ls",
        "exit", "0",
    ]  # fmt: skip


def test_what_a_killed_gate_left_is_cut_and_not_live(recorded: SessionGate) -> None:
    recorded.spool.close()
    _, out, _ = recorded.sessions("list")
    assert out.splitlines()[1].split()[-1] == "cut"
    assert listed(recorded, "--live") == []
    (left,) = [one for one in json.loads(recorded.sessions("list", "-o", "json")[1]) if one["session"] == RUNNING]
    assert (left["live"], left["cut"]) == (False, True)
    code, _, err = recorded.sessions("end", RUNNING, "--because", "x")
    assert (code, "ended with its gate, which was killed" in err) == (1, True)
    recorded.reopen()
    assert listed(recorded, "--live") == [RUNNING]


def test_that_there_are_more_is_said(recorded: SessionGate) -> None:
    _, out, err = recorded.sessions("list", "--limit", "2")
    assert (len(out.splitlines()), err) == (3, "the latest 2; more with --limit\n")


def test_no_sessions_are_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = SessionGate(tmp_path, capsys)
    assert gate.sessions("list") == (0, "", "no recorded session matches\n")
    assert json.loads(gate.sessions("list", "-o", "json")[1]) == []
    gate.close()


def test_a_time_that_is_none_is_misuse(recorded: SessionGate) -> None:
    code, _, err = recorded.sessions("list", "--since", "yesterday")
    assert code == 2
    assert "--since" in err


def test_a_recording_that_cannot_be_read_does_not_hide_the_others(recorded: SessionGate) -> None:
    path = recorded.data / "recordings" / "2026-11-18" / f"{FIRST}.recording"
    path.write_bytes(b"rubbish" * 100)
    code, out, err = recorded.sessions("list")
    assert code == 0
    assert "cannot be read" in out
    assert str(path) in err
    assert listed(recorded) == [RUNNING, SECOND, FIRST]


def test_without_their_key_recordings_are_listed_by_name_and_the_key_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = SessionGate(tmp_path, capsys, encrypted=True)
    gate.record(FIRST)
    assert "agent:ci" in gate.sessions("list")[1]
    gate.configure(encrypted=False)
    code, out, err = gate.sessions("list")
    assert (code, "agent:ci" in out, FIRST in out) == (0, False, True)
    assert "key" in err
    gate.close()
