"""`narrowgate sessions show --tree`: by the files of a gate, and by its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.drawn_tree import EXAMPLE
from tests.recorded_sessions import header
from tests.unit.cli.recorded_calls import OTHER, SIGN_IN, TASK, call, keep_sign_in
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.session_gate import SessionGate
from tests.unit.cli.terminal import Terminal
from tests.unit.control.test_trees import ROOT

from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts
from narrowgate.cli.sign_in_files import keep_sign_in as keep_signed_in
from narrowgate.store.open import open_store


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[SessionGate]:
    made = SessionGate(tmp_path, capsys)
    store = open_store(f"sqlite:{made.data}/gate.db", made.data)
    root = msgspec.structs.replace(ROOT, id=TASK, seconds=1e9, ends_at=2e9)
    child = msgspec.structs.replace(root, id=OTHER, parent=TASK, name="bot/helper")
    for task in (root, child):
        store.tasks.add(task, by="test", at=1.0)
    store.close()
    made.note(*call("a-1", task=TASK), *call("77aa0000-0002", task=OTHER, recording="2026-11-18/s.recording"))
    yield made
    made.close()


def test_a_task_is_shown_with_what_hangs_on_it_and_what_was_named_is_marked(gate: SessionGate) -> None:
    code, out, _ = gate.sessions("show", OTHER, "--tree")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"bot  task {TASK}  active")
    assert "1 request" in lines[0]
    assert lines[1].startswith(f"└─ bot/helper  task {OTHER}  active")
    assert lines[1].endswith("<- this one")


def test_a_recording_is_found_by_its_end_and_marked_below_its_task(gate: SessionGate) -> None:
    gate.record("77aa0000-0002", of=msgspec.structs.replace(header(), task=OTHER))
    for session in ("77aa0000-0002", "0002"):
        code, out, _ = gate.sessions("show", session, "--tree", "-o", "json")
        assert code == 0
        (child,) = json.loads(out)["children"]
        assert [(stream["id"], stream["isNamed"]) for stream in child["streams"]] == [("77aa0000-0002", True)]


def test_it_is_drawn_into_a_file(gate: SessionGate, tmp_path: Path) -> None:
    path = tmp_path / "tree.svg"
    code, out, err = gate.sessions("show", TASK, "--svg", str(path))
    assert (code, out.startswith("bot  task"), "as a picture" in err) == (0, True, True)
    assert path.read_text().startswith("<svg ")


def test_a_sign_in_has_a_tree_of_its_own(gate: SessionGate) -> None:
    keep_sign_in(gate.data)
    code, out, _ = gate.sessions("show", SIGN_IN, "--tree")
    assert (code, out.startswith(f"alice  sign-in {SIGN_IN}  ")) == (0, True)


def test_where_nothing_hangs_on_a_session_it_says_so_and_what_to_do(gate: SessionGate) -> None:
    gate.note(*call("6b2a1f9e-0001"))
    gate.record("6b2a1f9e-0001")
    code, out, err = gate.sessions("show", "6b2a1f9e-0001", "--tree")
    assert (code, out) == (1, "")
    assert "of no task and of no sign-in" in err
    assert "narrowgate sessions show 6b2a1f9e-0001" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gate", "https://gate.example:8444", "--tree"), "--config names local files"),
        (("--tree", "nothing"), "unexpected extra argument"),
    ],
)
def test_what_does_not_go_together_is_misuse(gate: SessionGate, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = gate.sessions("show", TASK, *arguments)
    assert (code, said in err) == (2, True), err


@pytest.fixture
def told_gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    assert home
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_signed_in(scripted.url, KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"))
    return scripted


def test_a_gate_is_asked_by_who_is_signed_in(shell: Terminal, told_gate: ScriptedGate) -> None:
    told_gate.answers(f"/api/v1/sessions/{TASK}/tree", told(msgspec.to_builtins(EXAMPLE)))
    done = shell.bare("sessions", "show", TASK, "--tree", "--gate", told_gate.url)
    assert (done.code, done.out.splitlines()[0].startswith("incident-bot  task")) == (0, True), done.err


@pytest.mark.parametrize("session", ["../agents", "a b", "", "x" * 65, "a/b", "a?b"])
def test_what_is_no_id_becomes_no_part_of_an_address(shell: Terminal, told_gate: ScriptedGate, session: str) -> None:
    done = shell.bare("sessions", "show", session, "--tree", "--gate", told_gate.url)
    assert (done.code, "write the whole id" in done.err) == (2, True), done.err


def test_a_gate_shows_no_recording(shell: Terminal, told_gate: ScriptedGate) -> None:
    done = shell.bare("sessions", "show", TASK, "--gate", told_gate.url)
    assert (done.code, "a gate tells trees" in done.err) == (2, True)
